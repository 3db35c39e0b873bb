"""Rankings by one stage and by two: the nominator's own top, and the ranker's order of the nominator's slate."""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.errors import UserError
from recsweep.evaluation.off_policy import LoggedBatch, OffPolicyEvaluation, Policy, bandit_log, move_scorer
from recsweep.evaluation.protocol import Evidence, Rows, Scorer, Target, check_scores
from recsweep.metrics import ranking
from recsweep.sampling import group_items

STAGES = ("one_stage", "two_stage")
N_LOGGED = len(LoggedBatch._fields)
LOWEST = torch.finfo(torch.float32).min  # of a score, since -inf marks what is masked


class TwoStageEvaluation(Metric):
    """Evaluates a nominator by its own order (`one_stage/`) and by the ranker's order of its slate (`two_stage/`).

    One list a user: the catalogue without the items that the log shows the user liked. The simulator says which of the
    remaining items are relevant. (The paper's code also counts masked ones in recall's denominator, and cuts a list at
    the number of relevant items for NDCG.) Metrics are means over the users with a relevant item; `value`, the share of
    users whose first item is relevant, is a mean over all users. Ties count against the model. Items beyond the slate
    are not found, so `mrr` is that of the slate. A policy is also evaluated by `OffPolicyEvaluation`.

    Args:
        slate_size: items that the first stage passes to the second.
        ks: cut-offs, at most `slate_size`.
        objective: the metric that selects the model, such as "two_stage/precision@10".
        batch_size: users ranked at once; fewer if the catalogue is large.
    """

    full_state_update = False
    mode = "max"
    totals: Tensor
    values: Tensor
    n_lists: Tensor
    n_users: Tensor
    n_by_policy: Tensor

    def __init__(
        self,
        slate_size: Annotated[int, Field(gt=0)],
        ks: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)],
        objective: str,
        batch_size: Annotated[int, Field(gt=0, lt=2**31)],
    ) -> None:
        super().__init__()
        self.slate_size = slate_size
        self.ks = tuple(ks)
        self.objective = objective
        self.names = tuple(ranking.per_list(torch.empty(0, 1), torch.empty(0, dtype=torch.int64), self.ks))
        choices = [f"{stage}/{name}" for stage in STAGES for name in (*self.names, "value")]
        if objective not in choices:
            raise UserError(f"evaluation.objective={objective} is not computed: choose from {', '.join(choices)}")
        if max(self.ks) > slate_size:
            raise UserError(f"evaluation.ks={list(ks)}: k={max(ks)} exceeds evaluation.slate_size={slate_size}")
        self.off_policy = OffPolicyEvaluation("snips", None, batch_size)
        self.add_state("totals", torch.zeros(2, len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("values", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("n_lists", "n_users", "n_by_policy"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def reset(self) -> None:
        """Forgets all batches."""
        super().reset()
        self.off_policy.reset()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Adds the batches of another evaluation with the same settings."""
        assert isinstance(incoming_state, TwoStageEvaluation)
        super().merge_state(incoming_state)
        self.off_policy.merge_state(incoming_state.off_policy)

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """What `update` takes after the scorer: a `LoggedBatch`, the masked pairs (position in its users [S], item
        [S]), relevant [L, n_items] bool, and the ranker's logits [L, n_items]."""
        log = bandit_log(target.data)
        if log.ranker is None or log.relevant is None:
            raise UserError(f"{log.name} has no ranker and no simulator: use evaluation=off_policy")
        row = target.seen[log.rating[target.seen] > 0]
        masked = group_items(log.user[row], log.item[row], log.n_users, log.n_items)
        fewest = log.n_items - int(masked.start.diff().max())
        if self.slate_size > fewest:
            raise UserError(
                f"evaluation.slate_size={self.slate_size}: a user has only {fewest} of the {log.n_items} items left"
            )
        ranker, all_relevant = move_scorer(log.ranker, device), log.relevant.to(device)
        for batch in self.off_policy.batches(target, device):
            user_index, item = (column.to(device) for column in masked.pairs_of(batch.user.cpu()))
            relevant = all_relevant[batch.user].index_put((user_index, item), all_relevant.new_zeros(()))
            logits = check_scores(ranker.score_all(batch.user), len(batch.user), 2)
            yield *batch, user_index, item, relevant, logits

    def measure(self, scorer: Scorer, *batch: Tensor) -> "StagedLists":
        """The metrics of every list in one batch of `batches`; `UserError` if a score is NaN."""
        logged, (user_index, item, relevant, ranker_logits) = LoggedBatch(*batch[:N_LOGGED]), batch[N_LOGGED:]
        logged_rows = self.off_policy.measure(scorer, *logged) if isinstance(scorer, Policy) else None
        scores = check_scores(scorer.score_all(logged.user), len(logged.user), 2).double().clamp(min=LOWEST)
        scores = scores.index_put((user_index, item), scores.new_full((), -torch.inf))
        slate = _top_k(scores, relevant, self.slate_size)
        order = _top_k(ranker_logits.double().gather(1, slate), relevant.gather(1, slate), self.slate_size)
        hits_of_stages = [relevant.gather(1, items) for items in (slate, slate.gather(1, order))]
        n_relevant = relevant.sum(1)
        has_relevant = n_relevant > 0
        list_index = has_relevant.nonzero()[:, 0]
        ranks = torch.arange(1, self.slate_size + 1, device=slate.device, dtype=torch.float64)
        stages = []
        for hits in hits_of_stages:
            rank = torch.where(hits[list_index], ranks, torch.inf).sort(1).values
            values = ranking.per_list(rank, n_relevant[list_index], self.ks)
            stages.append((values, hits[:, 0].double()))
        return StagedLists(logged.user, has_relevant, stages, logged_rows)

    def update(self, staged: "StagedLists") -> None:
        """Adds what `measure` found."""
        if staged.logged is not None:
            self.off_policy.update(staged.logged)
            self.n_by_policy = self.n_by_policy + 1
        totals = [torch.stack([values[name].sum() for name in self.names]) for values, _ in staged.stages]
        self.totals = self.totals + torch.stack(totals)
        self.values = self.values + torch.stack([value.sum() for _, value in staged.stages])
        self.n_lists = self.n_lists + staged.has_relevant.sum()
        self.n_users = self.n_users + len(staged.has_relevant)

    def evidence(self, staged: "StagedLists") -> Evidence:
        """The metrics of every user, NaN for users without a relevant item, and the logged rows for a policy."""
        columns = {}
        for stage, (values, value) in zip(STAGES, staged.stages, strict=True):
            for name in self.names:
                column = torch.full_like(value, torch.nan)
                columns[f"{stage}/{name}"] = column.masked_scatter(staged.has_relevant, values[name])
            columns[f"{stage}/value"] = value
        evidence: Evidence = {"user": Rows(staged.user, columns)}
        return evidence if staged.logged is None else {**evidence, **self.off_policy.evidence(staged.logged)}

    def compute(self) -> dict[str, Tensor]:
        """Every metric of both stages, float64, and those of `OffPolicyEvaluation` for a policy.

        Raises:
            UserError: no user has a relevant item.
        """
        if self.n_lists == 0:
            raise UserError("no user has a relevant item left to find: lower data.threshold")
        metrics: dict[str, Tensor] = {}
        for stage, totals, value in zip(STAGES, self.totals, self.values, strict=True):
            metrics |= {f"{stage}/{name}": total / self.n_lists for name, total in zip(self.names, totals, strict=True)}
            metrics[f"{stage}/value"] = value / self.n_users
        return metrics | (self.off_policy.compute() if self.n_by_policy else {})


class StagedLists(NamedTuple):
    """A batch of lists, one a user, as each of the two stages ranks them.

    Args:
        user: [L] int64.
        has_relevant: [L] bool; R of the lists have a relevant item.
        stages: of each stage, metric -> [R], and `value` [L], float64.
        logged: what `OffPolicyEvaluation` measures; None for a model that is no policy.
    """

    user: Tensor
    has_relevant: Tensor
    stages: list[tuple[dict[str, Tensor], Tensor]]
    logged: Rows | None


def _top_k(scores: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Columns [L, k] of the k highest scores [L, n], best first; of equal scores the irrelevant one comes first.

    Scores must be float32 values in float64: lowering a relevant one by one float64 step then only breaks ties.
    """
    lowered = torch.nextafter(scores, scores.new_full((), -torch.inf))
    lowered = torch.where(scores == 0, -1e-50, lowered)  # the number below 0 is subnormal and would be flushed to 0
    return torch.where(relevant, lowered, scores).topk(k).indices
