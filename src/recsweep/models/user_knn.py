"""User-to-user neighbours: s_ui = Σ_v sim(u, v) over the neighbours v of user u who have item i."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import embedding_bag

from recsweep.data.schema import Interactions
from recsweep.evaluation import RankingEvaluation, Scorer, SessionEvaluation
from recsweep.models.baselines import Baseline, Shrinkage
from recsweep.models.new_users import NewUsers
from recsweep.sampling import UserItems, group_items

CELLS = 2**24
"""Most similarities computed at once, [n_users, users at once] float32: 64 MiB. A single user needs n_users of them."""


class UserKNN(Baseline):
    """Shrunk cosine to the nearest users (Herlocker et al., SIGIR 1999; for sets of items Sarwar et al., EC 2000).

    sim(u, v) = n_uv / (√(n_u n_v) + shrinkage) where v is among the `neighbours` users most similar to u, else 0; n_uv
    are the items of both. Every training pair counts once, whatever its rating.

    Args:
        neighbours: k; all other users where there are fewer.
        shrinkage: in items; lowers similarities that rest on few items.
    """

    evaluations = (RankingEvaluation, SessionEvaluation)
    fits_on_device = True

    neighbour: Tensor
    similarity: Tensor
    items: Tensor
    item_start: Tensor
    users: Tensor
    user_start: Tensor

    def __init__(self, data: Interactions, *, neighbours: Annotated[int, Field(ge=1)], shrinkage: Shrinkage) -> None:
        super().__init__()
        self.neighbours = min(neighbours, data.n_users)
        self.shrinkage = shrinkage
        self.users_at_once = max(1, CELLS // data.n_users)
        self.register_buffer("neighbour", torch.zeros(data.n_users, self.neighbours, dtype=torch.int64))
        self.register_buffer("similarity", torch.zeros(data.n_users, self.neighbours))
        self._store_pairs(data)

    def _store_pairs(self, data: Interactions) -> None:
        """The items of each user, and the users of each item."""
        device = self.similarity.device
        of_user = group_items(data.user, data.item, data.n_users, data.n_items)
        of_item = group_items(data.item, data.user, data.n_items, data.n_users)
        self.register_buffer("items", of_user.item.to(device), persistent=False)
        self.register_buffer("item_start", of_user.start.to(device), persistent=False)
        self.register_buffer("users", of_item.item.to(device), persistent=False)
        self.register_buffer("user_start", of_item.start.to(device), persistent=False)

    def fit(self, data: Interactions) -> None:
        self._store_pairs(data)
        user = torch.arange(data.n_users, device=self.items.device)
        nearest = [self._compute_nearest(users) for users in user.split(self.users_at_once)]
        self.similarity, self.neighbour = (torch.cat(part) for part in zip(*nearest, strict=True))

    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """By the users in training who are nearest to each new one."""
        rows = group_items(history.user, history.item, history.n_users, history.n_items)
        rows = UserItems(*(column.to(self.items.device) for column in rows))

        def score_all(user: Tensor) -> Tensor:
            chunks = user.split(self.users_at_once)
            return torch.cat([self._score_neighbours(*self._find_nearest(self._compare(rows, x))) for x in chunks])

        return NewUsers(score_all)

    def _compute_nearest(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities and ids of the users nearest to users in training [B], both [B, k], the nearest first."""
        similarity = self._compare(UserItems(self.items, self.item_start), user)
        similarity[user, torch.arange(len(user), device=user.device)] = 0
        return self._find_nearest(similarity)

    def _compare(self, rows: UserItems, user: Tensor) -> Tensor:
        """The similarities [n_users, B] of all users in training to users [B] of `rows`."""
        user_index, item = rows.pairs_of(user)
        flags = self.similarity.new_zeros(len(self.user_start) - 1, len(user))
        flags[item, user_index] = 1
        n_common = embedding_bag(self.items, flags, self.item_start, mode="sum", include_last_offset=True)
        count = self.item_start.diff().float()[:, None] * rows.start.diff().float()[user]
        return n_common / (count.sqrt() + self.shrinkage).clamp(min=1e-9)

    def _find_nearest(self, similarity: Tensor) -> tuple[Tensor, Tensor]:
        nearest = similarity.T.topk(self.neighbours)
        return nearest.values, nearest.indices

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        distinct, user_index = torch.unique(user, return_inverse=True)
        return self.score_all(distinct)[user_index, item]

    def score_all(self, user: Tensor) -> Tensor:
        chunks = user.split(self.users_at_once)
        return torch.cat([self._score_neighbours(self.similarity[users], self.neighbour[users]) for users in chunks])

    def _score_neighbours(self, nearest: Tensor, neighbour: Tensor) -> Tensor:
        """Scores [B, n_items] by the similarities and ids of the nearest users, both [B, k]."""
        similarity = self.similarity.new_zeros(len(nearest), len(self.similarity))
        similarity.scatter_(1, neighbour, nearest)
        scores = embedding_bag(
            self.users, similarity.T.contiguous(), self.user_start, mode="sum", include_last_offset=True
        )
        return scores.T
