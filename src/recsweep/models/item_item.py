"""Item-to-item baselines: s_ui = Σ_{j in N(u)} w_ji, with weights w_ji between items that are fitted at once.

Every training pair counts once, whatever its rating.
"""

from abc import abstractmethod
from functools import partial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import RankingEvaluation, Scorer, SessionEvaluation
from recsweep.models.baselines import Baseline, Shrinkage
from recsweep.models.histories import Events
from recsweep.models.new_users import NewUsers
from recsweep.sampling import UserItems, group_items

USERS_AT_ONCE = 4096
MAX_ITEMS = 2**14  # their weights take 1 GiB
SPARSE = 64
"""Where a user has on average less than one in so many items, these alone are counted and added up, not all flags."""


class ItemItem(Baseline):
    """Scores x_u W, where x_u is 1 for the user's items and W is [n_items, n_items]."""

    evaluations = (RankingEvaluation, SessionEvaluation)
    fits_on_device = True

    weights: Tensor
    items: Tensor
    start: Tensor

    def __init__(self, data: Interactions) -> None:
        super().__init__()
        if data.n_items > MAX_ITEMS:
            raise UserError(
                f"this model weighs every pair of items, and {data.n_items} are more than {MAX_ITEMS} of them"
            )
        self.register_buffer("weights", torch.zeros(data.n_items, data.n_items))
        self.remember(data)

    def remember(self, data: Interactions) -> None:
        """Takes the rows of `data`, of the same users and items, for what users have; the weights stay."""
        user_items = self.group_rows(data)
        self.register_buffer("items", user_items.item.to(self.weights.device), persistent=False)
        self.register_buffer("start", user_items.start.to(self.weights.device), persistent=False)

    def fit(self, data: Interactions) -> None:
        self.remember(data)
        self.weights = self.compute_weights(self.count_pairs()).float()

    def group_rows(self, data: Interactions) -> UserItems | Events:
        """The items of each user that `count_pairs` and `score_users` read, as `items` and `start`."""
        return group_items(data.user, data.item, data.n_users, data.n_items)

    def count_pairs(self) -> Tensor:
        """XᵀX [n_items, n_items] float64: the users of both items, on the diagonal the users of each item."""
        if _is_sparse(self.items, self.start, len(self.weights)):
            shape = (len(self.start) - 1, len(self.weights))
            ones = np.ones(len(self.items))
            matrix = csr_array((ones, self.items.cpu().numpy(), self.start.cpu().numpy()), shape)
            matrix.sum_duplicates()
            matrix.data[:] = 1
            return torch.from_numpy((matrix.T @ matrix).toarray()).to(self.weights.device)
        counts = torch.zeros_like(self.weights, dtype=torch.float64)
        for users in torch.arange(len(self.start) - 1, device=counts.device).split(USERS_AT_ONCE):
            flags = self.flags(users)
            counts += (flags.T @ flags).double()  # whole numbers, exact in float32
        return counts

    @abstractmethod
    def compute_weights(self, counts: Tensor) -> Tensor:
        """W [n_items, n_items] from the result of `count_pairs`."""

    def flags(self, user: Tensor) -> Tensor:
        """x_u [B, n_items] of users [B]: 1 for their items, else 0."""
        return self._flag_items(UserItems(self.items, self.start), user)

    def _flag_items(self, rows: UserItems, user: Tensor) -> Tensor:
        user_index, item = rows.pairs_of(user)
        flags = torch.zeros(len(user), len(self.weights), device=user.device)
        return flags.index_put((user_index, item), flags.new_ones(()))

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        distinct, user_index = torch.unique(user, return_inverse=True)
        return self.score_all(distinct)[user_index, item]

    def score_all(self, user: Tensor) -> Tensor:
        return self.score_users(UserItems(self.items, self.start), user)

    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """The scores of users in training who have these rows."""
        rows = self.group_rows(history)
        device = self.weights.device
        return NewUsers(partial(self.score_users, UserItems(rows.item.to(device), rows.start.to(device))))

    def score_users(self, rows: UserItems, user: Tensor) -> Tensor:
        """Scores [B, n_items] of users [B] of `rows`, which are grouped as by `group_rows`."""
        if not _is_sparse(rows.item, rows.start, len(self.weights)):
            return self._flag_items(rows, user) @ self.weights
        start = pad((rows.start[user + 1] - rows.start[user]).cumsum(0), (1, 0))
        return embedding_bag(rows.pairs_of(user)[1], self.weights, start, mode="sum", include_last_offset=True)


def _is_sparse(item: Tensor, start: Tensor, n_items: int) -> bool:
    return len(item) * SPARSE < (len(start) - 1) * n_items


class EASE(ItemItem):
    """Embarrassingly shallow autoencoder (Steck, WWW 2019, equation 8): ridge regression of each item on the others.

    W = I - P / diag(P) by columns, P = (XᵀX + l2 · I)⁻¹.

    Args:
        l2: strength of the ridge penalty, in users.
    """

    def __init__(self, data: Interactions, *, l2: Annotated[float, Field(gt=0)]) -> None:
        super().__init__(data)
        self.l2 = l2

    def compute_weights(self, counts: Tensor) -> Tensor:
        inverse = torch.linalg.inv(counts + self.l2 * torch.eye(len(counts), dtype=counts.dtype, device=counts.device))
        return (-inverse / inverse.diagonal()).fill_diagonal_(0)


class ItemKNN(ItemItem):
    """Shrunk cosine to the nearest items (Deshpande and Karypis, TOIS 2004, section 4).

    w_ji = n_ji / (√(n_j n_i) + shrinkage) where j is among the `neighbours` items most similar to i, else 0.

    Args:
        neighbours: k; all items where the catalogue is smaller.
        shrinkage: in users; lowers similarities that rest on few users.
    """

    def __init__(self, data: Interactions, *, neighbours: Annotated[int, Field(ge=1)], shrinkage: Shrinkage) -> None:
        super().__init__(data)
        self.neighbours = neighbours
        self.shrinkage = shrinkage

    def compute_weights(self, counts: Tensor) -> Tensor:
        count = counts.diagonal()
        norm = (count[:, None] * count).sqrt() + self.shrinkage
        similarity = (counts / norm.clamp(min=1e-9)).fill_diagonal_(0)
        nearest = similarity.topk(min(self.neighbours, len(similarity)), dim=0)
        return torch.zeros_like(similarity).scatter_(0, nearest.indices, nearest.values)
