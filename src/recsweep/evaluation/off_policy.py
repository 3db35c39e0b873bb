"""The value of a policy, estimated from another policy's log."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Annotated, Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from recsweep.data.logged import BanditLog, DotScorer
from recsweep.data.schema import Interactions, Truth
from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES, Evidence, Rows, Scorer, Target, check_not_empty, check_scores
from recsweep.metrics import off_policy

TERMS = ("weight", "reward", "predicted", "expected")  # arguments of `metrics.off_policy.estimates`
SUPPORT = ("second_moment", "unsupported_mass")  # of the target policy in the log
ITEM_SHRINKAGE = 10.0  # pseudo-rows at the overall mean in each item's mean reward


@runtime_checkable
class Policy(Protocol):
    """A model that is a distribution over items, given the user."""

    def log_policy(self, user: Tensor) -> Tensor:
        """Log-probabilities [B, n_items] of users [B]."""


class LoggedBatch(NamedTuple):
    """Log rows of a batch of users.

    Args:
        user: [L] distinct users, ascending.
        user_index: [P] position in `user` of each row's user.
        item, propensity, reward: [P] the rows.
        predicted: [L, n_items] expected rewards by the reward model.
        true: [L, n_items] rewards by the simulator; [L, 0] without a simulator.
        logging: [L, n_items] probabilities by the logging policy; [L, 0] where they are unknown.
        n_rows: [] int64, rows of all batches together.
    """

    user: Tensor
    user_index: Tensor
    item: Tensor
    propensity: Tensor
    reward: Tensor
    predicted: Tensor
    true: Tensor
    logging: Tensor
    n_rows: Tensor


class OffPolicyEvaluation(Metric):
    """Value of a policy by IPS, SNIPS, the direct method and doubly robust, each with its 95 % interval.

    The reward model is the log's ranker; without one, each item's mean reward in the training rows, shrunk towards the
    overall mean.

    Args:
        objective: the estimate that selects the model.
        max_weight: importance weights are clipped there, which adds bias and reduces variance; None clips nothing.
        batch_size: users at once; fewer if the catalogue is large.
    """

    full_state_update = False
    mode = "max"
    rows: list[Tensor]
    true: list[Tensor]
    support: list[Tensor]

    def __init__(
        self,
        objective: Literal["ips", "snips", "dm", "dr"],
        max_weight: Annotated[float, Field(gt=0)] | None,
        batch_size: Annotated[int, Field(gt=0, lt=2**31)],
    ) -> None:
        super().__init__()
        self.objective = f"off_policy/{objective}"
        self.max_weight = torch.inf if max_weight is None else max_weight
        self.batch_size = batch_size
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("true", [], dist_reduce_fx="cat")
        self.add_state("support", [], dist_reduce_fx="cat")

    def reset(self) -> None:
        """Forgets all batches."""
        super().reset()
        shapes = ((self.rows, (0, len(TERMS))), (self.true, (0,)), (self.support, (0, len(SUPPORT))))
        for state, shape in shapes:  # in a process without batches, too
            state.append(torch.empty(shape, dtype=torch.float64, device=self.device))

    def batches(self, target: Target, device: torch.device) -> Iterator[LoggedBatch]:
        """What `update` takes after the scorer; `UserError` if the data is not a bandit log."""
        log = bandit_log(target.data)
        check_not_empty(target)
        predict, reward = RewardModel(log.take(target.seen)).to(device), log.reward
        logging_policy = move_scorer(log.logging_policy, device) if log.logging_policy else None
        reward = None if reward is None else reward.to(device)
        users, user_index = torch.unique(log.user[target.held_out], return_inverse=True)
        held_out = target.held_out[user_index.argsort(stable=True)]
        chunks = torch.split(users, max(1, min(self.batch_size, MAX_SCORES // log.n_items)))
        counts = torch.bincount(user_index, minlength=len(users)).split([len(chunk) for chunk in chunks])
        parts = torch.split(held_out, [int(count.sum()) for count in counts])
        n_rows = torch.full((), len(held_out), device=device)
        for users_of_batch, count, row in zip(chunks, counts, parts, strict=True):
            user = users_of_batch.to(device)
            unknown = torch.empty(len(user), 0, device=device)
            yield LoggedBatch(
                user,
                torch.arange(len(user)).repeat_interleave(count).to(device),
                log.item[row].to(device),
                log.propensity[row].to(device),
                log.rating[row].to(device),
                predict(user),
                unknown if reward is None else reward[user].float(),
                logging_policy.score_all(user).softmax(1) if logging_policy else unknown,
                n_rows,
            )

    def measure(self, scorer: Scorer, *batch: Tensor) -> Rows:
        """The terms of the estimates, of every logged row in one batch of `batches`, float64.

        They are `TERMS`; "true", the policy's value by the simulator, if there is one; and `SUPPORT` if the logging
        policy is known. Raises `UserError` if a probability is NaN.
        """
        user, user_index, item, propensity, reward, predicted, true, logging, n_rows = batch
        policy = check_scores(cast(Policy, scorer).log_policy(user), len(user), 2).exp()
        weight = (policy[user_index, item] / propensity).clamp(max=self.max_weight)
        expected = (policy * predicted).sum(1)[user_index]
        terms = dict(zip(TERMS, (weight, reward, predicted[user_index, item], expected), strict=True))
        if true.shape[1]:
            terms["true"] = (policy * true).sum(1)[user_index]
        if logging.shape[1]:
            terms["second_moment"] = off_policy.second_moment(policy, logging)[user_index]
            terms["unsupported_mass"] = off_policy.unsupported_mass(policy, logging, n_rows)[user_index]
        return Rows(user[user_index], {name: values.double() for name, values in terms.items()})

    def update(self, rows: Rows) -> None:
        """Adds what `measure` found."""
        self.rows.append(torch.stack([rows.values[name] for name in TERMS], 1))
        if "true" in rows.values:
            self.true.append(rows.values["true"])
        if SUPPORT[0] in rows.values:
            self.support.append(torch.stack([rows.values[name] for name in SUPPORT], 1))

    def evidence(self, rows: Rows) -> Evidence:
        """The terms of every logged row."""
        return {"logged row": rows}

    def compute(self) -> dict[str, Tensor]:
        """`off_policy/…`: the estimates of `metrics.off_policy`, and the `true` value if a simulator tells it.

        Where the logging policy is known, also `SUPPORT`, means over the rows.
        """
        estimates = off_policy.estimates(*dim_zero_cat(self.rows).unbind(1))
        true, support = dim_zero_cat(self.true), dim_zero_cat(self.support)
        if len(true):
            estimates["true"] = true.mean()
        if len(support):
            estimates |= dict(zip(SUPPORT, support.mean(0), strict=True))
        return {f"off_policy/{name}": value for name, value in estimates.items()}


def move_scorer(scorer: Truth | DotScorer, device: torch.device) -> Truth | DotScorer:
    """A copy on the device; the data's own stays where it is. The truth of a data set computes on the CPU alone."""
    return deepcopy(scorer).to(device) if isinstance(scorer, DotScorer) else scorer


def bandit_log(data: Interactions) -> BanditLog:
    """The data itself; `UserError` if it is not a bandit log."""
    if not isinstance(data, BanditLog):
        raise UserError(f"{data.name} is no bandit log (no propensities): use data=bandit or data=bandit_table")
    return data


class RewardModel(nn.Module):
    """Expected rewards [B, n_items] of users [B], learned from a log.

    Predicts by the log's ranker, whose scores are logits; without one, by each item's mean reward, shrunk towards the
    overall mean.
    """

    def __init__(self, log: BanditLog) -> None:
        super().__init__()
        self.has_logits = log.ranker is not None
        self.scorer = deepcopy(log.ranker) or DotScorer(torch.ones(log.n_users, 1), _item_means(log)[:, None])

    def forward(self, user: Tensor) -> Tensor:
        scores = self.scorer.score_all(user)
        return scores.sigmoid() if self.has_logits else scores


def _item_means(log: BanditLog) -> Tensor:
    """Shrunk mean reward [n_items] of each item, float32."""
    total = torch.bincount(log.item, log.rating.double(), log.n_items)
    count = torch.bincount(log.item, minlength=log.n_items)
    return ((total + ITEM_SHRINKAGE * log.rating.double().mean()) / (count + ITEM_SHRINKAGE)).float()
