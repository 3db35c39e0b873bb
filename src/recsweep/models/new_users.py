"""Users who were not in training: the scores of a model from their rows alone, with all that it learned unchanged.

Each model says in `fold_in` how a user's rows become scores. Where a user is a vector that was learned by gradient
steps, the distribution of these vectors over the users in training is the prior of a new one.
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
CELLS_AT_ONCE = 2**22  # of the scores and Hessians of users
STEPS = 30  # of Newton's method; on MovieLens 100K, NDCG@10 changes by less than 0.001 after ten


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


def maximize_softmax(history: Interactions, item: Tensor, bias: Tensor, prior: Gaussian) -> Tensor:
    """The vectors x_u [n_users, d] that maximise Σ_{i in N(u)} log softmax(Q x_u + b)_i - (x_u - m)ᵀ Λ (x_u - m) / 2.

    N(u) are the distinct items of user u; m and Λ are the mean and precision of `prior`. Without items x_u = m.

    Args:
        item: [n_items, d] the vectors q_i, the rows of Q.
        bias: [n_items] b.
    """
    items = group_items(history.user, history.item, history.n_users, history.n_items)
    items = UserItems(*(column.to(item.device) for column in items))
    total = embedding_bag(items.item, item, items.start, mode="sum", include_last_offset=True)
    count = items.start.diff()[:, None].to(total)
    n_at_once = max(1, min(USERS_AT_ONCE, CELLS_AT_ONCE // max(len(item), item.shape[1] ** 2)))
    parts = zip(total.split(n_at_once), count.split(n_at_once), strict=True)
    return torch.cat([_climb(*part, item, bias, prior) for part in parts])


def _climb(total: Tensor, count: Tensor, item: Tensor, bias: Tensor, prior: Gaussian) -> Tensor:
    """`maximize_softmax` of users [B] with the sums [B, d] and numbers [B, 1] of their items.

    Steps of Newton's method with the Hessian at the prior's mean, where it is |N(u)| · Cov(q) + Λ for every user. A
    step that would lower the objective is halved instead.
    """
    mean, precision = prior.mean.to(item), prior.precision.to(item)
    share = torch.softmax(item @ mean + bias, 0)
    centred = item - share @ item
    covariance = ((centred * share[:, None]).T @ centred).double()
    inverse = torch.linalg.inv(count[:, :, None] * covariance + prior.precision).to(item)
    vector, step = mean.repeat(len(count), 1), torch.zeros_like(total)
    value = torch.full_like(count, -torch.inf)
    for _ in range(STEPS):
        there = vector + step
        logits, offset = there @ item.T + bias, there - mean
        likelihood = (total * there).sum(1, True) - count * logits.logsumexp(1, True)
        there_value = likelihood - (offset @ precision * offset).sum(1, True) / 2
        is_higher = there_value >= value
        vector, value = torch.where(is_higher, there, vector), torch.where(is_higher, there_value, value)
        gradient = total - count * (logits.softmax(1) @ item) - offset @ precision
        step = torch.where(is_higher, (inverse @ gradient[..., None])[..., 0], step / 2)
    return vector
