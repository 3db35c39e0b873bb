"""Implicit ALS: a matrix factorisation of users' items, with all other pairs as zeros of low weight."""

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import RankingEvaluation, Scorer, SessionEvaluation
from recsweep.models.baselines import Baseline
from recsweep.models.layers import Dimension, Std
from recsweep.models.new_users import NewUsers
from recsweep.sampling import UserItems, group_items
from recsweep.seeding import Seed, generator

CELLS = 2**20
"""Most numbers in a tensor of one chunk: 4 MiB. A single user with more items makes a larger chunk."""


class IALS(Baseline):
    """iALS (Hu, Koren and Volinsky, ICDM 2008) as Rendle, Krichene, Zhang and Koren tune it (RecSys 2022, section 3).

    Scores are s_ui = <p_u, q_i>, and S are the pairs of the training rows, each counted once and whatever its rating.

        Σ_{(u, i) in S} (1 - s_ui)² + unobserved_weight Σ_{u, i} s_ui² + Σ_u λ_u |p_u|² + Σ_i λ_i |q_i|²

    is minimised exactly for the users' vectors, then for the items', in turn. λ_u = l2 · (|N(u)| +
    unobserved_weight · n_items)^frequency_exponent, where N(u) are the user's items; λ_i likewise. Users and items
    without rows score zero.

    Args:
        embedding_dim: d, of the vectors.
        l2: strength of the regularisation.
        unobserved_weight: weight of every pair; a pair with a row has 1 more.
        frequency_exponent: 0 regularises all users alike, 1 in proportion to their weight in the first two sums.
        epochs: how often each side is solved.
        init_std: standard deviation of the items' initial values.
        seed: of the initial values.
    """

    evaluations = (RankingEvaluation, SessionEvaluation)
    fits_on_device = True

    user: Tensor
    item: Tensor

    def __init__(
        self,
        data: Interactions,
        *,
        embedding_dim: Dimension,
        l2: Annotated[float, Field(gt=0)],
        unobserved_weight: Annotated[float, Field(gt=0)],
        frequency_exponent: Annotated[float, Field(ge=0, le=1)],
        epochs: Annotated[int, Field(ge=1)],
        init_std: Std,
        seed: Seed,
    ) -> None:
        super().__init__()
        self.l2 = l2
        self.unobserved_weight = unobserved_weight
        self.frequency_exponent = frequency_exponent
        self.epochs = epochs
        self.init_std = init_std
        self.seed = seed
        self.register_buffer("user", torch.zeros(data.n_users, embedding_dim))
        self.register_buffer("item", torch.zeros(data.n_items, embedding_dim))

    def fit(self, data: Interactions) -> None:
        users = group_items(data.user, data.item, data.n_users, data.n_items)
        items = group_items(data.item, data.user, data.n_items, data.n_users)
        device, draws = self.item.device, generator("ials", self.seed)
        users, items = (UserItems(*(column.to(device) for column in side)) for side in (users, items))
        self.item = torch.empty(self.item.shape).normal_(0, self.init_std, generator=draws).to(device)
        for _ in range(self.epochs):
            self.user = self.solve(users, self.item)
            self.item = self.solve(items, self.user)

    def solve(self, user_items: UserItems, item: Tensor) -> Tensor:
        """The optimal user vectors [n_users, d] for item vectors [n_items, d]; with the sides swapped, those of items.

        p_u = (Σ_{i in N(u)} q_i q_iᵀ + unobserved_weight Σ_i q_i q_iᵀ + λ_u I)⁻¹ Σ_{i in N(u)} q_i

        Raises:
            UserError: λ_u is too small beside the rounding errors.
        """
        count = user_items.start.diff()
        weight = count + self.unobserved_weight * len(item)
        l2 = self.l2 * weight**self.frequency_exponent
        gram = self.unobserved_weight * item.T @ item
        user = item.new_zeros(len(count), item.shape[1])
        for chunk in _chunks(count, item.shape[1]):
            vectors = _pad_vectors(user_items, chunk, item)
            matrix = vectors.mT @ vectors + gram
            matrix.diagonal(dim1=1, dim2=2).add_(l2[chunk, None])
            factor, info = torch.linalg.cholesky_ex(matrix)
            if info.any():
                raise UserError(f"model.l2={self.l2} is too weak to solve the equations in float32: raise it")
            user[chunk] = torch.cholesky_solve(vectors.sum(1)[..., None], factor)[..., 0]
        return user

    def user_vectors(self, user: Tensor) -> Tensor:
        """[B, d] of users [B]; the dot product with an item's vector is the score."""
        return self.user[user]

    def item_vectors(self) -> Tensor:
        """[n_items, d]."""
        return self.item

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user[user] * self.item[item]).sum(1)

    def score_all(self, user: Tensor) -> Tensor:
        return self.user[user] @ self.item.T

    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """By the optimal vectors for the items' vectors as they are."""
        users = group_items(history.user, history.item, history.n_users, history.n_items)
        vectors = self.solve(UserItems(*(column.to(self.item.device) for column in users)), self.item)
        return NewUsers(lambda user: vectors[user] @ self.item.T)


def _chunks(count: Tensor, dim: int) -> Iterator[Tensor]:
    """The users who have items, in chunks, the busiest first: users of a chunk then need little padding."""
    busy = count.nonzero().flatten()
    busy = busy[count[busy].argsort(descending=True, stable=True)]
    while len(busy):
        longest = int(count[busy[0]])
        n_users = max(1, CELLS // (dim * max(dim, longest)))
        yield busy[:n_users]
        busy = busy[n_users:]


def _pad_vectors(user_items: UserItems, user: Tensor, item: Tensor) -> Tensor:
    """Vectors [B, L, d] of the items of users [B], padded with zeros to the longest list."""
    count = user_items.start.diff()[user]
    is_item = torch.arange(int(count.max()), device=item.device) < count[:, None]
    item_index = torch.full(is_item.shape, len(item), device=item.device).masked_scatter(
        is_item, user_items.pairs_of(user)[1]
    )
    return torch.cat([item, torch.zeros_like(item[:1])])[item_index]
