"""Errors of predicted ratings."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics import Metric

from recsweep.evaluation.protocol import Evidence, PairScorer, Rows, Target, check_not_empty, check_scores
from recsweep.metrics.rating import mae, mse, rmse


class RatingEvaluation(Metric):
    """Errors of predicted ratings, which are clipped to the data's rating scale.

    Args:
        objective: the metric that selects the model.
        batch_size: pairs scored at once.
    """

    full_state_update = False
    mode = "min"
    squared_error: Tensor
    absolute_error: Tensor
    count: Tensor

    def __init__(
        self, objective: Literal["mse", "rmse", "mae"], batch_size: Annotated[int, Field(gt=0, lt=2**31)]
    ) -> None:
        super().__init__()
        self.objective = objective
        self.batch_size = batch_size
        for name in ("squared_error", "absolute_error", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def batches(self, target: Target, device: torch.device) -> Iterator[tuple[Any, ...]]:
        """(user [B], item [B], rating [B], rating_scale) of the held-out rows, in their order."""
        check_not_empty(target)
        for row in torch.split(target.held_out, self.batch_size):
            columns = (target.data.user[row], target.data.item[row], target.data.rating[row])
            yield *(column.to(device) for column in columns), target.data.rating_scale

    def measure(
        self, scorer: PairScorer, user: Tensor, item: Tensor, rating: Tensor, rating_scale: tuple[float, float]
    ) -> Rows:
        """Predictions, ratings and errors of one batch of `batches`; `UserError` if a score is NaN."""
        predicted = check_scores(scorer.score(user, item), len(user), 1).double().clamp(*rating_scale)
        error = predicted - rating.double()
        errors = {"squared_error": error.square(), "absolute_error": error.abs()}
        return Rows(user, {"predicted": predicted, "rating": rating, **errors}, item)

    def update(self, rows: Rows) -> None:
        """Adds what `measure` found."""
        self.squared_error = self.squared_error + rows.values["squared_error"].sum()
        self.absolute_error = self.absolute_error + rows.values["absolute_error"].sum()
        self.count = self.count + len(rows.user)

    def evidence(self, rows: Rows) -> Evidence:
        """The errors of every held-out row."""
        return {"row": rows._replace(values={name: rows.values[name] for name in ("squared_error", "absolute_error")})}

    def compute(self) -> dict[str, Tensor]:
        """{"mse", "rmse", "mae"}, float64."""
        return {
            "mse": mse(self.squared_error, self.count),
            "rmse": rmse(self.squared_error, self.count),
            "mae": mae(self.absolute_error, self.count),
        }
