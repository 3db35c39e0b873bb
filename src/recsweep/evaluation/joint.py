"""Ranking and rating by one model, and one number that selects it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.errors import UserError
from recsweep.evaluation.protocol import Evidence, PairScorer, RatingScorer, Rows, Scorer, Target
from recsweep.evaluation.ranking import MRR_ALL, RankedLists, RankingEvaluation
from recsweep.evaluation.rating import RatingEvaluation

JOINT = "joint"
PAIRS_AT_ONCE = 2**16  # ratings predicted in one batch


class JointEvaluation(Metric):
    """Full ranking by a model's scores and errors of its predicted ratings, on the same rows.

    The metric `joint` is a weighted sum of metrics of both tasks; it selects one checkpoint for both.

    Args:
        ks: cut-offs of the ranking.
        joint: metric -> weight in the sum; negative for metrics of which lower is better.
        objective: the metric that selects the model: "joint", or one of which higher is better.
        batch_size: users ranked at once; fewer where the catalogue is large.
    """

    full_state_update = False
    mode = "max"

    def __init__(
        self,
        ks: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)],
        joint: Annotated[dict[str, float], Field(min_length=1)],
        objective: str,
        batch_size: Annotated[int, Field(gt=0, lt=2**31)],
    ) -> None:
        super().__init__()
        self.ranking = RankingEvaluation(None, "exact", ks, MRR_ALL, 0, batch_size)
        self.rating = RatingEvaluation("mse", PAIRS_AT_ONCE)
        _check_metrics("joint", joint, (*self.ranking.choices, "mse", "rmse", "mae"))
        if not any(joint.values()):
            raise UserError("evaluation.joint: all weights are 0, so it cannot select a model; raise one")
        _check_metrics("objective", [objective], (JOINT, *self.ranking.choices))
        self.joint = dict(joint)
        self.objective = objective

    def reset(self) -> None:
        """Forgets all batches."""
        super().reset()
        self.ranking.reset()
        self.rating.reset()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Adds the batches of another evaluation with the same settings."""
        assert isinstance(incoming_state, JointEvaluation)
        self.ranking.merge_state(incoming_state.ranking)
        self.rating.merge_state(incoming_state.rating)

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Any, ...]]:
        """The task's name, then one batch of its own evaluation; the same on every call."""
        for batch in self.ranking.batches(target, device):
            yield "ranking", *batch
        for batch in self.rating.batches(target, device):
            yield "rating", *batch

    def measure(self, scorer: Scorer, task: str, *batch: Any) -> RankedLists | Rows:
        """What the task's own evaluation measures in one batch of `batches`; `UserError` if a score is NaN."""
        if task == "ranking":
            return self.ranking.measure(scorer, *batch)
        assert isinstance(scorer, RatingScorer), "the configuration was checked"
        return self.rating.measure(_RatingsAsScores(scorer), *batch)

    def update(self, measured: RankedLists | Rows) -> None:
        """Adds what `measure` found."""
        if isinstance(measured, RankedLists):
            self.ranking.update(measured)
        else:
            self.rating.update(measured)

    def evidence(self, measured: RankedLists | Rows) -> Evidence:
        """That of the task's own evaluation."""
        if isinstance(measured, RankedLists):
            return self.ranking.evidence(measured)
        return self.rating.evidence(measured)

    def compute(self) -> dict[str, Tensor]:
        """Every metric of both tasks, and "joint", float64."""
        metrics = self.ranking.compute() | self.rating.compute()
        terms = [weight * metrics[name] for name, weight in self.joint.items()]
        return {JOINT: torch.stack(terms).sum(), **metrics}


def _check_metrics(key: str, names: Iterable[str], choices: tuple[str, ...]) -> None:
    """`UserError` if `evaluation.KEY` names a metric that is not among the choices."""
    for name in names:
        if name not in choices:
            raise UserError(f"evaluation.{key}: {name} is not among {', '.join(choices)}")


@dataclass(frozen=True)
class _RatingsAsScores(PairScorer):
    """Scores of a model that are its predicted ratings."""

    model: RatingScorer

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.model.rate(user, item)
