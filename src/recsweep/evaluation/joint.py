"""Two tasks of one model, ranking and rating, and one number to select it by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.errors import UserError
from recsweep.evaluation.protocol import PairScorer, RatingScorer, Scorer, Target
from recsweep.evaluation.ranking import EVERY_RANK, RankingEvaluation
from recsweep.evaluation.rating import RatingEvaluation

JOINT = "joint"
PAIRS_AT_ONCE = 2**16  # whose rating is predicted


class JointEvaluation(Metric):
    """Full ranking by a model's scores and error of its predicted ratings, on the same rows.

    `joint` is a weighted sum of the metrics of both, so that one checkpoint serves both tasks.

    Args:
        ks: cut-offs of the ranking.
        joint: what is summed, metric -> weight; metrics that should be low have negative weights.
        objective: what selects the model: "joint", or a metric of which higher is better.
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
        self.ranking = RankingEvaluation(None, "exact", ks, EVERY_RANK, 0, batch_size)
        self.rating = RatingEvaluation("mse", PAIRS_AT_ONCE)
        _check("joint", joint, (*self.ranking.choices, "mse", "rmse", "mae"))
        if not any(joint.values()):
            raise UserError("evaluation.joint: every weight is 0, so that nothing is selected by it; raise one")
        _check("objective", [objective], (JOINT, *self.ranking.choices))
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
        """The task, then what its own evaluation takes after the scorer; the same on every call."""
        for batch in self.ranking.batches(target, device):
            yield "ranking", *batch
        for batch in self.rating.batches(target, device):
            yield "rating", *batch

    def update(self, scorer: Scorer, task: str, *batch: Any) -> None:
        """Adds one batch of `batches`; `UserError` where a score is NaN."""
        if task == "ranking":
            self.ranking.update(scorer, *batch)
        else:
            assert isinstance(scorer, RatingScorer), "the configuration was checked"
            self.rating.update(_Ratings(scorer), *batch)

    def compute(self) -> dict[str, Tensor]:
        """Every metric of both tasks, and "joint", float64."""
        metrics = self.ranking.compute() | self.rating.compute()
        terms = [weight * metrics[name] for name, weight in self.joint.items()]
        return {JOINT: torch.stack(terms).sum(), **metrics}


def _check(key: str, names: Iterable[str], choices: tuple[str, ...]) -> None:
    for name in names:
        if name not in choices:
            raise UserError(f"evaluation.{key}: {name} is not among {', '.join(choices)}")


@dataclass(frozen=True)
class _Ratings(PairScorer):
    """A model's ratings as its scores."""

    model: RatingScorer

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.model.rate(user, item)
