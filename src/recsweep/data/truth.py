"""The truth of `synthetic` in closed form: expected ratings and the exposure policy of its generative model."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

MEAN = 2.95  # stars
MATCH_STD = 0.75  # of ⟨p_u, q_i⟩ over all pairs, in stars
ACCEPT_SLOPE, ACCEPT_OFFSET = 1.5, 1.5  # accept_ui = sigmoid(slope · match_ui / MATCH_STD - offset)


@dataclass(frozen=True)
class SyntheticTruth:
    """The generative model as a scorer and as the exposure policy.

    Args:
        user_factors, item_factors: [n_users, d] and [n_items, d].
        user_bias, item_bias: [n_users] and [n_items], in stars.
        slots: [n_items] int64, above 0: popularity. An offer is item i with probability slots_i / Σ slots.
        noise: standard deviation of the rating noise, in stars.
    """

    user_factors: Tensor
    item_factors: Tensor
    user_bias: Tensor
    item_bias: Tensor
    slots: Tensor
    noise: float

    def take(self, users: Tensor, items: Tensor) -> "SyntheticTruth":
        """The truth of these users and items only, numbered in this order."""
        return replace(
            self,
            user_factors=self.user_factors[users],
            item_factors=self.item_factors[items],
            user_bias=self.user_bias[users],
            item_bias=self.item_bias[items],
            slots=self.slots[items],
        )

    def match(self, user: Tensor, item: Tensor) -> Tensor:
        """Match ⟨p_u, q_i⟩ [B], in stars, of users [B] and items [B]."""
        return (self.user_factors.index_select(0, user) * self.item_factors.index_select(0, item)).sum(-1)

    def match_all(self, user: Tensor) -> Tensor:
        """Match [B, n_items] of users [B] with every item."""
        return self.user_factors[user] @ self.item_factors.T

    def latent(self, user: Tensor, item: Tensor) -> Tensor:
        """Expected stars [B] before rounding and clipping, of users [B] and items [B]."""
        return MEAN + self.user_bias[user] + self.item_bias[item] + self.match(user, item)

    def latent_all(self, user: Tensor) -> Tensor:
        """Expected stars [B, n_items] before rounding and clipping, of users [B] and every item."""
        return MEAN + self.user_bias[user, None] + self.item_bias + self.match_all(user)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Expected rating [B], after rounding and clipping, of users [B] and items [B]."""
        return expected_rating(self.latent(user, item), self.noise)

    def score_all(self, user: Tensor) -> Tensor:
        """Expected rating [B, n_items] of users [B] and every item."""
        return expected_rating(self.latent_all(user), self.noise)

    def chance_above(self, user: Tensor, rating: int) -> Tensor:
        """P(rating > `rating`) [B, n_items] of users [B] and every item."""
        return torch.special.ndtr((self.latent_all(user) - rating - 0.5) / self.noise)

    def propensity(self, user: Tensor) -> Tensor:
        """P(i | u) [B, n_items] float64 of the first draw of the exposure policy; rows sum to 1."""
        weight = self.slots * acceptance(self.match_all(user)).double()
        return weight / weight.sum(-1, keepdim=True)


@dataclass(frozen=True)
class Exposure:
    """The exposure policy as a scorer: it ranks items by the probability that they are a user's next one.

    Args:
        truth: the generative model.
        above: counts only next items with a rating above it; None counts all.
    """

    truth: SyntheticTruth
    above: float | None = None

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Log-probability [B] of pairs, up to a constant of the user."""
        log_chance = self.truth.slots[item].log() + acceptance(self.truth.match(user, item)).log()
        if self.above is None:
            return log_chance
        return log_chance + self._log_chance_above(self.truth.latent(user, item), self.above)

    def score_all(self, user: Tensor) -> Tensor:
        """Log-probability [B, n_items] of users [B], up to a constant of the user."""
        log_chance = self.truth.slots.log() + acceptance(self.truth.match_all(user)).log()
        if self.above is None:
            return log_chance
        return log_chance + self._log_chance_above(self.truth.latent_all(user), self.above)

    def _log_chance_above(self, latent: Tensor, above: float) -> Tensor:
        return torch.special.log_ndtr((latent - math.floor(above) - 0.5) / self.truth.noise)

    def rate(self, user: Tensor, item: Tensor) -> Tensor:
        """Expected rating [B] of pairs."""
        return self.truth.score(user, item)


def expected_rating(latent: Tensor, noise: float) -> Tensor:
    """Expectation of a rating, latent + noise · ε rounded and clipped to 1..5, with ε standard normal.

    E = 1 + Σ_{k=1..4} P(rating > k), and a rating is above k if latent + noise · ε > k + ½.

    Args:
        latent: [...] expected stars before rounding and clipping.
        noise: standard deviation, above 0.

    >>> expected_rating(torch.tensor([3.0, -50.0, 50.0]), 0.7)
    tensor([3., 1., 5.])
    """
    above = latent[..., None] - torch.arange(1.5, 5.0, device=latent.device)
    return 1 + torch.special.ndtr(above / noise).sum(-1)


def acceptance(match: Tensor) -> Tensor:
    """Probability, in (0, 1), that a user accepts an offered item, from their match in stars (any shape)."""
    return torch.sigmoid(ACCEPT_SLOPE / MATCH_STD * match - ACCEPT_OFFSET)
