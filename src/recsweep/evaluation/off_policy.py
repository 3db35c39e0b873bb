"""What a policy would earn, estimated from another policy's log."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Annotated, Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from recsweep.data.logged import BanditLog, DotScorer
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES, Scorer, Target, check_not_empty, without_nan
from recsweep.metrics import off_policy

ITEM_SHRINKAGE = 10.0  # rows at the overall mean that each item's mean reward starts with


@runtime_checkable
class Policy(Protocol):
    """A model that is a distribution over the items, given the user."""

    def log_policy(self, user: Tensor) -> Tensor:
        """Log-probabilities [B, n_items] of users [B]."""


class LoggedBatch(NamedTuple):
    """Log rows of a batch of users.

    Args:
        user: [L] distinct users, ascending.
        row: [P] place in `user` of each row's user.
        item, propensity, reward: [P] the rows.
        predicted: [L, n_items] rewards that the reward model expects.
        known: [L, n_items] rewards that the simulator knows; [L, 0] where nobody does.
    """

    user: Tensor
    row: Tensor
    item: Tensor
    propensity: Tensor
    reward: Tensor
    predicted: Tensor
    known: Tensor


class OffPolicyEvaluation(Metric):
    """Value of a policy by IPS, SNIPS, the direct method and doubly robust, each with its 95 % interval.

    The reward model is the log's ranker; without one, each item's mean reward in the rows that the model may know,
    shrunk towards the mean of all.

    Args:
        objective: the estimate that selects the model.
        max_weight: importance weights are clipped there, which biases an estimate and calms it; None clips nothing.
        batch_size: users at once; fewer where the catalogue is large.
    """

    full_state_update = False
    mode = "max"
    rows: list[Tensor]
    true: list[Tensor]

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

    def reset(self) -> None:
        """Forgets all batches."""
        super().reset()
        for state, shape in ((self.rows, (0, 4)), (self.true, (0,))):  # known also to a process that has no batch
            state.append(torch.empty(shape, dtype=torch.float64, device=self.device))

    def batches(self, target: Target, device: torch.device) -> Iterator[LoggedBatch]:
        """What `update` takes after the scorer; `UserError` where the data is no bandit log."""
        log = bandit_log(target.data)
        check_not_empty(target)
        predict = RewardModel(log.take(target.seen))
        users, place = torch.unique(log.user[target.held_out], return_inverse=True)
        order = place.argsort(stable=True)
        held_out = target.held_out[order]
        chunks = torch.split(users, max(1, min(self.batch_size, MAX_SCORES // log.n_items)))
        counts = torch.bincount(place, minlength=len(users)).split([len(chunk) for chunk in chunks])
        parts = torch.split(held_out, [int(count.sum()) for count in counts])
        for user, count, rows in zip(chunks, counts, parts, strict=True):
            batch = LoggedBatch(
                user,
                torch.arange(len(user)).repeat_interleave(count),
                log.item[rows],
                log.propensity[rows],
                log.rating[rows],
                predict(user),
                torch.empty(len(user), 0) if log.reward is None else log.reward[user].float(),
            )
            yield LoggedBatch(*(column.to(device) for column in batch))

    def update(self, scorer: Scorer, *batch: Tensor) -> None:
        """Adds one batch of `batches`; `UserError` where a probability is NaN."""
        user, row, item, propensity, reward, predicted, known = batch
        policy = without_nan(cast(Policy, scorer).log_policy(user)).exp()
        weight = (policy[row, item] / propensity).clamp(max=self.max_weight)
        expected = (policy * predicted).sum(1)[row]
        self.rows.append(torch.stack([weight, reward, predicted[row, item], expected], 1).double())
        if known.shape[1]:
            self.true.append((policy * known).sum(1)[row].double())

    def compute(self) -> dict[str, Tensor]:
        """`off_policy/…`: the estimates of `metrics.off_policy`, and the `true` value where it is known."""
        found, true = off_policy.estimates(*dim_zero_cat(self.rows).unbind(1)), dim_zero_cat(self.true)
        if len(true):
            found["true"] = true.mean()
        return {f"off_policy/{name}": value for name, value in found.items()}


def bandit_log(data: Interactions) -> BanditLog:
    """The data itself; `UserError` where it is no bandit log."""
    if not isinstance(data, BanditLog):
        raise UserError(f"{data.name} is no bandit log, it has no propensities: use data=bandit or data=bandit_table")
    return data


class RewardModel(nn.Module):
    """Users [B] -> expected rewards [B, n_items], from what the log's rows tell.

    The log's ranker, whose scores are logits; without one, each item's mean reward, shrunk towards the mean of all.
    """

    def __init__(self, log: BanditLog) -> None:
        super().__init__()
        self.logits = log.ranker is not None
        self.scorer = deepcopy(log.ranker) or DotScorer(torch.ones(log.n_users, 1), _item_means(log)[:, None])

    def forward(self, user: Tensor) -> Tensor:
        scores = self.scorer.score_all(user)
        return scores.sigmoid() if self.logits else scores


def _item_means(log: BanditLog) -> Tensor:
    """[n_items] float32."""
    total = torch.bincount(log.item, log.rating.double(), log.n_items)
    count = torch.bincount(log.item, minlength=log.n_items)
    return ((total + ITEM_SHRINKAGE * log.rating.double().mean()) / (count + ITEM_SHRINKAGE)).float()
