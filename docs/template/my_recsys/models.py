"""Two models of my own: a baseline, and one that is trained by steps."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from recsweep.data.batches import Columns, Ratings, ratings
from recsweep.data.schema import Interactions
from recsweep.evaluation import RankingEvaluation, RatingEvaluation
from recsweep.losses.rating import RatingLoss
from recsweep.models.base import RecModule, Training
from recsweep.models.baselines import Baseline


class ItemMean(Baseline):
    """An item's mean rating, shrunk towards the mean of all ratings.

    Args:
        shrinkage: how many ratings at the overall mean are added to each item's own.
    """

    evaluations = (RatingEvaluation, RankingEvaluation)

    mean: Tensor

    def __init__(self, data: Interactions, *, shrinkage: Annotated[float, Field(ge=0)]) -> None:
        super().__init__()
        self.shrinkage = shrinkage
        self.register_buffer("mean", torch.zeros(data.n_items))

    def fit(self, data: Interactions) -> None:
        overall = data.rating.mean()
        total = torch.bincount(data.item, data.rating - overall, data.n_items)
        count = torch.bincount(data.item, minlength=data.n_items) + self.shrinkage
        self.mean = (overall + total / count.clamp(min=1e-9)).float()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.mean[item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.mean.expand(len(user), -1)


class Biases(RecModule):
    """The mean rating + a bias of the user + a bias of the item."""

    losses: ClassVar = RatingLoss
    evaluations: ClassVar = (RatingEvaluation, RankingEvaluation)
    sparse = False

    mean: Tensor

    def __init__(self, data: Interactions, training: Training) -> None:
        super().__init__(data, training)
        self.user_bias = nn.Parameter(torch.zeros(data.n_users))
        self.item_bias = nn.Parameter(torch.zeros(data.n_items))
        self.register_buffer("mean", data.rating.mean())

    def columns(self, data: Interactions) -> Columns:
        return ratings(data)

    def training_loss(self, batch: Ratings) -> Tensor:
        return self.training_setup.loss(self.score(batch.user, batch.item), batch.rating)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.mean + self.user_bias[user] + self.item_bias[item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.mean + self.user_bias[user, None] + self.item_bias
