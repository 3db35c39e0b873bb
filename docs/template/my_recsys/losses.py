"""Two losses of my own: of ratings, a function; of rankings, a function and its competitors."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import huber_loss

from recsweep.losses.ranking import BatchLogits, RankingLoss

Positive = Annotated[float, Field(gt=0)]


def huber(prediction: Tensor, rating: Tensor, *, delta: Positive) -> Tensor:
    """Squared below an error of `delta`, linear above (Huber 1964)."""
    return huber_loss(prediction, rating, delta=delta)


def hinge(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Mean of max(0, margin - (s⁺ - s⁻)) over all pairs (Joachims, KDD 2002): positives [B], negatives [B, C]."""
    return (margin - positive[:, None] + negative).clamp(min=0).mean()


@dataclass(frozen=True)
class Hinge(RankingLoss):
    """`hinge` against negatives that are drawn for each row."""

    margin: Positive
    n_negatives: Annotated[int, Field(ge=1)]

    def __call__(self, batch: BatchLogits) -> Tensor:
        return hinge(*batch.against_negatives(self.n_negatives), self.margin)
