"""Synthetic ratings, drawn from a generative model with known expected ratings and propensities.

1. User and item factors are partly explained by features (gender, age, occupation; genres), partly noise.
2. Popularity and activity are long-tailed; popular items and older ones are rated somewhat better.
3. Exposure: user u is offered item i in proportion to its popularity, and accepts it with a probability that grows
   with their match ⟨p_u, q_i⟩. So the policy is P(i | u) = pop_i · accept_ui / Σ_j pop_j · accept_uj. A user's items
   are successive draws from it without replacement, in the order of their timestamps.
4. A rating is μ + user bias + item bias + match + Gaussian noise, rounded and clipped to 1..5.
5. Rows are sorted by timestamp.

No users x items matrix is built: offers are drawn by popularity and accepted or rejected pair by pair, which is exact.
So 1M users x 1M items are possible.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor

from recsweep.data.assemble import unknown_split_error
from recsweep.data.schema import Features, IdMap, Interactions, Split
from recsweep.data.splits import position_in_group
from recsweep.data.truth import MATCH_STD, SyntheticTruth, acceptance
from recsweep.errors import UserError
from recsweep.seeding import Seed

SPECTRUM = (0.8, 0.12, 0.05, 0.03)  # shares of the factors in the variance of the match
USER_STD, ITEM_STD = 0.43, 0.43  # of the biases, in stars
FEATURE_SHARE = 0.4  # of the factors' variance, explained by the features
POPULARITY_STD, ACTIVITY_STD = 1.5, 1.0  # of their logarithms
FIRST_YEAR, LAST_YEAR = 1960, 1998
START, SPAN = 874_700_000, 200 * 86_400  # seconds; users arrive within 200 days from September 1997
SLOTS_PER_ITEM = 32  # on average; popularity is a multiple of 1 / Σ slots, so that one look-up draws an offer
ROWS_AT_ONCE = 1 << 17
MAX_SIZE = 10**8  # users, items and rows that the memory of a large machine holds

GENDERS = {"F": 0.3, "M": 0.7}
AGES = {"under 18": 0.06, "18-24": 0.2, "25-34": 0.34, "35-44": 0.2, "45-54": 0.14, "55+": 0.06}
JOBS = {"student": 0.28, "other": 0.22, "educator": 0.18, "engineer": 0.16, "writer": 0.1, "retired": 0.06}
GENRES = {
    "Drama": 0.3,
    "Comedy": 0.24,
    "Action": 0.15,
    "Thriller": 0.1,
    "Romance": 0.09,
    "Crime": 0.07,
    "War": 0.05,
}


@dataclass(frozen=True)
class Synthetic:
    """A data set of any size. The same arguments give the same tensors, bit for bit.

    Args:
        n_users, n_items: sizes. Some items may have no row, as in real data.
        n_interactions: number of rows, at most a quarter of all pairs, to leave room for the long tail of activity.
        noise: standard deviation of the rating noise, in stars.
    """

    n_users: Annotated[int, Field(gt=0, le=MAX_SIZE)]
    n_items: Annotated[int, Field(gt=3, le=MAX_SIZE)]
    n_interactions: Annotated[int, Field(gt=0, le=MAX_SIZE)]
    noise: Annotated[float, Field(gt=0)]
    seed: Seed

    name = "synthetic"
    ships = ()

    def __post_init__(self) -> None:
        if self.n_interactions > self.n_users * self.n_items // 4:
            raise UserError(
                f"data.n_interactions {self.n_interactions} is too many for {self.n_users} users and "
                f"{self.n_items} items: at most a quarter of their pairs, {self.n_users * self.n_items // 4}"
            )

    def ready(self) -> bool:
        """Always true: `read` draws the data."""
        return True

    def read(self) -> Interactions:
        """Draws the data set."""
        generator = Generator().manual_seed(self.seed)
        user_features, user_factors = _draw_users(self.n_users, generator)
        item_features, item_factors = _draw_items(self.n_items, generator)
        truth = _draw_truth(user_factors, item_factors, item_features.columns["year"], self.noise, generator)
        activity = _draw_activity(self.n_users, self.n_items, self.n_interactions, generator)
        user, item = _draw_exposure(truth, activity, generator)
        timestamp = _draw_timestamps(user, self.n_users, generator)
        by_time = timestamp.argsort(stable=True)
        user, item, timestamp = user[by_time], item[by_time], timestamp[by_time]
        return Interactions(
            name=self.name,
            user=user,
            item=item,
            rating=_draw_ratings(truth, user, item, generator),
            timestamp=timestamp,
            user_ids=IdMap(np.arange(1, self.n_users + 1), "user"),
            item_ids=IdMap(np.arange(1, self.n_items + 1), "item"),
            rating_scale=(1.0, 5.0),
            user_features=user_features,
            item_features=item_features,
            item_titles=_titles(item_features.columns["year"]),
            truth=truth,
        )

    def parts(self, name: str, data: Interactions) -> Split:
        """Raises `UserError`: synthetic data ship no split."""
        raise unknown_split_error(self, name)


def _draw_users(n: int, generator: Generator) -> tuple[Features, Tensor]:
    """Features and factors [n, d] of users."""
    columns, labels, explained = {}, {}, torch.zeros(n, len(SPECTRUM))
    for name, shares in {"gender": GENDERS, "age": AGES, "occupation": JOBS}.items():
        columns[name] = torch.multinomial(_probabilities(shares), n, replacement=True, generator=generator)
        labels[name] = tuple(shares)
        explained += torch.randn(len(shares), len(SPECTRUM), generator=generator)[columns[name]]
    return Features(columns, labels), _draw_factors(explained, generator)


def _draw_items(n: int, generator: Generator) -> tuple[Features, Tensor]:
    """Features and factors [n, d] of items: one or more genres, and a year, mostly a late one."""
    shares = _probabilities(GENRES)
    genres = (torch.rand(n, len(GENRES), generator=generator) < shares).float()
    genres[torch.arange(n), torch.multinomial(shares, n, replacement=True, generator=generator)] = 1.0
    effect = torch.randn(len(GENRES), len(SPECTRUM), generator=generator)
    explained = genres @ effect / genres.sum(1, keepdim=True).sqrt()
    age = torch.empty(n).exponential_(1 / 10, generator=generator).long() % (LAST_YEAR - FIRST_YEAR + 1)
    years = tuple(str(year) for year in range(FIRST_YEAR, LAST_YEAR + 1))
    features = Features(
        {"year": LAST_YEAR - FIRST_YEAR - age, "genres": genres}, {"year": years, "genres": tuple(GENRES)}
    )
    return features, _draw_factors(explained, generator)


def _draw_truth(
    user_factors: Tensor, item_factors: Tensor, year: Tensor, noise: float, generator: Generator
) -> SyntheticTruth:
    """Adds biases and popularity to the factors, and scales the match ⟨p, q⟩ to a standard deviation of MATCH_STD."""
    n_users, n_items = len(user_factors), len(item_factors)
    scale = torch.tensor(SPECTRUM).pow(0.25) * math.sqrt(MATCH_STD)
    popularity = torch.randn(n_items, generator=generator)  # logarithm, standardised
    slots = (SLOTS_PER_ITEM * n_items * torch.softmax(POPULARITY_STD * popularity.double(), 0)).round().clamp(min=1)
    quality = 0.5 * popularity - 0.2 * _standardise(year.float()) + 0.8 * torch.randn(n_items, generator=generator)
    return SyntheticTruth(
        user_factors=scale * user_factors,
        item_factors=scale * item_factors,
        user_bias=USER_STD * torch.randn(n_users, generator=generator),
        item_bias=ITEM_STD * quality,
        slots=slots.long(),
        noise=noise,
    )


def _draw_activity(n_users: int, n_items: int, n_interactions: int, generator: Generator) -> Tensor:
    """Number of rows per user [n_users]: long-tailed, at most about half the items each, `n_interactions` in total.

    A user with weight w has floor + (cap - floor) · (1 - exp(-rate · w)) rows; bisection finds the rate.
    """
    floor, cap = n_interactions // (5 * n_users), n_items // 2
    weight = (ACTIVITY_STD * torch.randn(n_users, generator=generator, dtype=torch.float64)).exp()
    low, high = -50.0, 50.0  # logarithm of the rate
    for _ in range(64):
        log_rate = (low + high) / 2
        rows = floor + (cap - floor) * -torch.expm1(-math.exp(log_rate) * weight)
        low, high = (log_rate, high) if float(rows.sum()) < n_interactions else (low, log_rate)
    return rows.cumsum(0).round().long().diff(prepend=torch.zeros(1, dtype=torch.int64))


def _draw_exposure(truth: SyntheticTruth, activity: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Users [N] and items [N] of all rows, grouped by user, in the order of the draws."""
    users_at_once = max(1, ROWS_AT_ONCE * len(activity) // int(activity.sum()))
    catalogue = torch.arange(len(truth.slots)).repeat_interleave(truth.slots)
    parts = [
        _draw_items_of_users(truth, catalogue, users, activity[users], generator)
        for users in torch.arange(len(activity)).split(users_at_once)
    ]
    user, item = (torch.cat(column) for column in zip(*parts, strict=True))
    return user, item


def _draw_items_of_users(
    truth: SyntheticTruth, catalogue: Tensor, users: Tensor, count: Tensor, generator: Generator
) -> tuple[Tensor, Tensor]:
    """The first `count` [b] distinct items that each of `users` [b], consecutive ids, accepts.

    Offers are drawn from `catalogue` [Σ slots], which lists each item once per slot. Each round makes twice as many
    offers per missing row as the one before: users who still miss rows have already accepted most popular items.
    """
    n_items, first_user = len(truth.slots), int(users[0])
    user = item = torch.empty(0, dtype=torch.int64)
    missing, offers = count, 4
    while missing.any():
        offer_user = users.repeat_interleave(missing * offers)
        offer_item = catalogue[torch.randint(len(catalogue), offer_user.shape, generator=generator)]
        is_accepted = torch.rand(len(offer_user), generator=generator) < acceptance(truth.match(offer_user, offer_item))
        user, item = torch.cat([user, offer_user[is_accepted]]), torch.cat([item, offer_item[is_accepted]])
        distinct = _first_occurrences(user * n_items + item)
        user, item = user[distinct], item[distinct]
        order = user.argsort(stable=True)
        position = position_in_group(user - first_user, order, len(users))
        rows = order[(position < count[user - first_user])[order]]
        user, item = user[rows], item[rows]
        missing = count - torch.bincount(user - first_user, minlength=len(users))
        offers *= 2
    return user, item


def _first_occurrences(key: Tensor) -> Tensor:
    """Indices [·], ascending, of the first occurrence of each value of `key` [N]."""
    value, order = key.sort(stable=True)
    is_first = torch.ones_like(value, dtype=torch.bool)
    is_first[1:] = value[1:] != value[:-1]
    return order[is_first].sort().values


def _draw_timestamps(user: Tensor, n_users: int, generator: Generator) -> Tensor:
    """Seconds [N], increasing within each user, of rows grouped by `user` [N]: minutes apart, days between visits."""
    arrival = START + torch.randint(SPAN, (n_users,), generator=generator)
    gap = 1 + torch.empty(len(user)).exponential_(1 / 60, generator=generator).long()
    pause = torch.randint(5 * 86_400, user.shape, generator=generator)
    gap += pause * (torch.rand(user.shape, generator=generator) < 0.03)
    elapsed, count = gap.cumsum(0), torch.bincount(user, minlength=n_users)
    first_row = (count.cumsum(0) - count)[user]
    return arrival[user] + elapsed - elapsed[first_row]


def _draw_ratings(truth: SyntheticTruth, user: Tensor, item: Tensor, generator: Generator) -> Tensor:
    """Ratings [N] float32 in 1..5. Works in chunks, since the factors of 32M rows would not fit in memory."""
    chunks = zip(user.split(ROWS_AT_ONCE), item.split(ROWS_AT_ONCE), strict=True)
    latent = torch.cat([truth.latent(*chunk) for chunk in chunks])
    return (latent + truth.noise * torch.randn(len(user), generator=generator)).round().clamp(1, 5)


def _draw_factors(explained: Tensor, generator: Generator) -> Tensor:
    """Factors [n, d] of unit variance: a share FEATURE_SHARE comes from `explained` [n, d], the rest from noise."""
    noise = torch.randn(explained.shape, generator=generator)
    return math.sqrt(FEATURE_SHARE) * _standardise(explained) + math.sqrt(1 - FEATURE_SHARE) * noise


def _standardise(x: Tensor) -> Tensor:
    """`x` [n, ...] shifted and scaled to mean 0 and variance 1 over its rows."""
    return (x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-6)


def _probabilities(shares: dict[str, float]) -> Tensor:
    return torch.tensor(list(shares.values()))


def _titles(year: Tensor) -> tuple[str, ...]:
    return tuple(f"Item {number} ({FIRST_YEAR + code})" for number, code in enumerate(year.tolist(), start=1))
