"""Users who were not in training: the scores of a model from their rows alone, with all that it learned unchanged.

Each model says in `fold_in` how a user's rows become scores. Where a user is a vector that was learned by gradient
steps, the vectors of the users in training say what to expect: as a function of their items, or by their distribution.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.sampling import UserItems, group_items

USERS_AT_ONCE = 1024


@dataclass(frozen=True)
class NewUsers:
    """A `Scorer` of users who were folded in.

    Args:
        score_all: users [B] -> scores [B, n_items].
    """

    score_all: Callable[[Tensor], Tensor]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores [B] of pairs."""
        distinct, user_index = torch.unique(user, return_inverse=True)
        return self.score_all(distinct)[user_index, item]


class Gaussian(NamedTuple):
    """A distribution of vectors: `mean` [d], and `precision` [d, d], the inverse covariance; both float64."""

    mean: Tensor
    precision: Tensor


def refuse_new_users(model: object, reason: str = "it learned something of its own about each user") -> UserError:
    """The error of a model that cannot score users who were not in training."""
    return UserError(
        f"model {type(model).__name__} cannot recommend to users who were not in training: {reason}; "
        "ease, item_knn, ials, bpr_mf, svdpp and two_tower with user_ids=false can"
    )


def check_ratings(history: Interactions) -> None:
    """`UserError` unless every row has a rating within the scale of the data."""
    low, high = history.rating_scale
    is_wrong = ~((history.rating >= low) & (history.rating <= high))
    if is_wrong.any():
        row = int(is_wrong.int().argmax())
        value = float(history.rating[row])
        text = "no rating" if value != value else f"rating {value:g}"
        user, item = history.user_ids.raw[int(history.user[row])], history.item_ids.raw[int(history.item[row])]
        raise UserError(f"user={user}, item={item}: {text}; this model learns from ratings, from {low:g} to {high:g}")


def fit_gaussian(vectors: Tensor) -> Gaussian:
    """The mean and covariance of vectors [n, d].

    The covariance is mixed with a sphere of the same trace, with the weight d / (n + d), so that it has an inverse
    where the vectors are few.
    """
    n, d = vectors.shape
    vectors = vectors.double()
    covariance = torch.cov(vectors.T, correction=0).view(d, d)
    weight = d / (n + d)
    sphere = (covariance.trace() / d).clamp(min=1e-12) * torch.eye(d, dtype=torch.float64, device=vectors.device)
    return Gaussian(vectors.mean(0), torch.linalg.inv((1 - weight) * covariance + weight * sphere))


def solve_ridge(user: Tensor, features: Tensor, target: Tensor, n_users: int, noise: float, prior: Gaussian) -> Tensor:
    """The vectors x_u [n_users, d] float32 that minimise Σ (y - <a, x_u>)² / noise + (x_u - m)ᵀ Λ (x_u - m).

    The sum is over the features a and targets y of a user's rows; m and Λ are the mean and precision of `prior`.
    Without rows x_u = m.

    Args:
        user: [N].
        features: [N, d].
        target: [N].
        noise: the variance of the target, above 0.
    """
    features, residual = features.double(), target.double() - features.double() @ prior.mean
    vectors = []
    for first in range(0, n_users, USERS_AT_ONCE):
        n = min(USERS_AT_ONCE, n_users - first)
        rows = ((user >= first) & (user < first + n)).nonzero()[:, 0]
        matrix = prior.precision.repeat(n, 1, 1)
        right = residual.new_zeros(n, features.shape[1])
        for part in rows.split(USERS_AT_ONCE):
            x, index = features[part], user[part] - first
            matrix.index_add_(0, index, x[:, :, None] * x[:, None] / noise)
            right.index_add_(0, index, x * residual[part, None] / noise)
        vectors.append(torch.linalg.solve(matrix, right[..., None])[..., 0])
    return (prior.mean + torch.cat(vectors)).float()


def map_histories(history: Interactions, train: Interactions, item: Tensor, user: Tensor) -> Tensor:
    """Vectors [n_users, d] of new users: a linear map of their items' vectors, which ridge regression fits on `train`.

    The map takes Σ_{i in N(u)} q_i / √|N(u)|, log |N(u)| and 1, and minimises Σ_u |p_u - W f_u|² + |W|² over the users
    who have rows.

    Args:
        item: [n_items, d] the vectors q_i.
        user: [n_users of train, d] the vectors p_u.
    """
    features, count = _describe_histories(train, item)
    features, target = features[count > 0], user[count > 0].double()
    weights = torch.linalg.solve(features.T @ features + torch.eye(features.shape[1]).to(features), features.T @ target)
    return (_describe_histories(history, item)[0] @ weights).float()


def _describe_histories(rows: Interactions, item: Tensor) -> tuple[Tensor, Tensor]:
    """The features [n_users, d + 2] of users, float64, and how many items each has [n_users]."""
    items = group_items(rows.user, rows.item, rows.n_users, rows.n_items)
    items = UserItems(*(column.to(item.device) for column in items))
    count = items.start.diff()
    total = embedding_bag(items.item, item, items.start, mode="sum", include_last_offset=True).double()
    at_least_one = count.clamp(min=1).double()[:, None]
    return torch.cat([total / at_least_one.sqrt(), at_least_one.log(), torch.ones_like(at_least_one)], 1), count
