"""Simple models that every table shows next to the trained ones. They are fitted at once, without gradient steps."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from recsweep.data.logged import BanditLog
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import (
    Evaluation,
    RankingEvaluation,
    RatingEvaluation,
    Scorer,
    SessionEvaluation,
    TwoStageEvaluation,
)
from recsweep.models.new_users import NewUsers, check_ratings, refuse_new_users

Shrinkage = Annotated[float, Field(ge=0)]
SECONDS_PER_DAY = 86_400


def shrunk_means(data: Interactions, user_shrinkage: float, item_shrinkage: float) -> tuple[Tensor, Tensor, Tensor]:
    """Global mean mu, user offsets b_u [n_users] and item offsets b_i [n_items], each pulled towards zero.

    They minimise Σ (r - mu - b_u - b_i)² + user_shrinkage Σ b_u² + item_shrinkage Σ b_i² (Koren 2010, "Factor in the
    neighbors", equation 2), by alternating least squares until no offset changes by more than 1e-6. An offset without
    rows is 0.
    """
    mean = data.rating.double().mean()
    residual = data.rating - mean
    item_total = torch.bincount(data.item, residual, data.n_items)
    user_total = torch.bincount(data.user, residual, data.n_users)
    item_weight = (torch.bincount(data.item, minlength=data.n_items) + item_shrinkage).clamp(min=1e-9)
    user_weight = (torch.bincount(data.user, minlength=data.n_users) + user_shrinkage).clamp(min=1e-9)
    user, change = torch.zeros_like(user_total), 1.0
    while change > 1e-6:
        previous = user
        item = (item_total - torch.bincount(data.item, user[data.user], data.n_items)) / item_weight
        user = (user_total - torch.bincount(data.user, item[data.item], data.n_users)) / user_weight
        change = float((user - previous).abs().max())
    return mean.float(), user.float(), item.float()


TRAINING = (
    *("max_epochs", "batch_size", "accumulate", "shuffle", "steps_per_call", "limit_batches", "overfit_batches"),
    *("gradient_clip", "gradient_clip_by", "precision", "profiler"),
)


class Baseline(nn.Module, ABC):
    """A `Scorer` that `fit` computes at once; its state is in buffers."""

    evaluations: ClassVar[tuple[type[Evaluation], ...]]
    simple_baseline: ClassVar[bool] = True
    """Whether reports test other models against this one by default; metrics.json records it."""

    fits_on_device: ClassVar[bool] = False
    """Whether `fit` computes where the model's buffers are, and not on the CPU, where the data are."""

    ignores: ClassVar[tuple[str, ...]] = (
        *("loss", "optimizer", "scheduler", "regularization"),
        *(f"trainer.{name}" for name in TRAINING),
        *("callbacks.early_stopping", "callbacks.extra"),
    )
    """Settings of a training by gradient steps, which have no effect here; see `RecModule.ignores`."""

    @classmethod
    def find_ignored(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """As `RecModule.find_ignored`."""
        return cls.ignores

    @abstractmethod
    def fit(self, data: Interactions) -> None:
        """Computes the model from the training rows."""

    @abstractmethod
    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores [B] of pairs."""

    @abstractmethod
    def score_all(self, user: Tensor) -> Tensor:
        """Scores [B, n_items] of the whole catalogue."""

    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """As of `RecModule`."""
        raise refuse_new_users(self)


class Means(Baseline):
    """Global mean + user offset + item offset: what a rating model must beat."""

    evaluations = (RatingEvaluation, RankingEvaluation)

    mean: Tensor
    user: Tensor
    item: Tensor

    def __init__(self, data: Interactions, *, user_shrinkage: Shrinkage, item_shrinkage: Shrinkage) -> None:
        super().__init__()
        self.shrinkage = (user_shrinkage, item_shrinkage)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("user", torch.zeros(data.n_users))
        self.register_buffer("item", torch.zeros(data.n_items))

    def fit(self, data: Interactions) -> None:
        self.mean, self.user, self.item = shrunk_means(data, *self.shrinkage)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.mean + self.user[user] + self.item[item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.mean + self.user[user, None] + self.item

    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """The offset that minimises the objective of the fit, with the offsets of items as they are."""
        check_ratings(history)
        user, residual = history.user, history.rating - self.mean.cpu() - self.item.cpu()[history.item]
        weight = (torch.bincount(user, minlength=history.n_users) + self.shrinkage[0]).clamp(min=1e-9)
        offset = (torch.bincount(user, residual, history.n_users) / weight).to(self.item)
        return NewUsers(lambda user: self.mean + offset[user, None] + self.item)


class Popularity(Baseline):
    """Ranks items by their number of training rows (in a bandit log, by their reward); the same for every user."""

    evaluations: ClassVar[tuple[type[Evaluation], ...]] = (RankingEvaluation, SessionEvaluation, TwoStageEvaluation)

    count: Tensor

    def __init__(self, data: Interactions) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(data.n_items))

    def fit(self, data: Interactions) -> None:
        weight = data.rating if isinstance(data, BanditLog) else torch.ones(len(data))
        self.count = torch.bincount(data.item, weight, data.n_items).float()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.count[item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.count.expand(len(user), -1)

    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """The model itself, which does not tell users apart."""
        return self


class RecentPopularity(Popularity):
    """Popularity that fades: a training row counts 2^(-age / half_life); the same for every user.

    The age is that before the last training row. Ji et al. (SIGIR 2020, "A re-visit of the popularity baseline in
    recommender systems") show that popularity at the time of a recommendation is the stronger baseline.

    Args:
        half_life: days after which a row counts half.

    Raises:
        UserError: timestamps are missing, or are no seconds of one clock.
    """

    evaluations = (RankingEvaluation, SessionEvaluation)

    def __init__(self, data: Interactions, *, half_life: Annotated[float, Field(gt=0)]) -> None:
        super().__init__(data)
        if data.timestamp is None or not data.has_seconds:
            raise UserError(f"model recent_popularity needs times, and {data.name} has none: take model=popularity")
        self.half_life = half_life

    def fit(self, data: Interactions) -> None:
        days = (data.seconds.max() - data.seconds).double() / SECONDS_PER_DAY
        self.count = torch.bincount(data.item, torch.exp2(-days / self.half_life), data.n_items).float()
