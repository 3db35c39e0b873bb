"""A model that consists of random vectors, and a catalogue for it."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recsweep.data.schema import IdMap, Interactions
from recsweep.sampling import UserItems, group_items


class Vectors(NamedTuple):
    """Vectors of users [n_users, d] and items [n_items, d], as a model."""

    user: Tensor
    item: Tensor

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.user[user]

    def item_vectors(self) -> Tensor:
        return self.item

    def score_all(self, user: Tensor) -> Tensor:
        return self.user[user] @ self.item.T


def vectors(n_users: int, n_items: int, dim: int = 8, seed: int = 0) -> Vectors:
    """Standard normal vectors."""
    generator = torch.Generator().manual_seed(seed)
    return Vectors(torch.randn(n_users, dim, generator=generator), torch.randn(n_items, dim, generator=generator))


def catalogue(titles: tuple[str, ...] | None, rows: list[tuple[int, int]], n_users: int = 5) -> Interactions:
    """(user, item) rows; one item per title, or 4 without titles. Raw ids are u0, u1, … and 20, 21, …."""
    n_items = 4 if titles is None else len(titles)
    user, item = torch.tensor(rows).T
    users = IdMap(np.array([f"u{n}" for n in range(n_users)], dtype=object), "user")
    items = IdMap(np.arange(n_items) + 20, "item")
    return Interactions("toy", user, item, torch.ones(len(rows)), None, users, items, (0.0, 1.0), item_titles=titles)


N_USERS, N_ITEMS, DIM, K = 150, 300, 8, 10
MODEL = vectors(N_USERS, N_ITEMS, DIM)
EVERYONE = torch.arange(N_USERS)
SCORES = MODEL.score_all(EVERYONE)


def seen_best_items() -> UserItems:
    """User u has seen the u items of MODEL that score highest, so search must skip them."""
    best = SCORES.argsort(1, descending=True)
    user, column = (torch.arange(N_ITEMS) < EVERYONE[:, None]).nonzero().T
    return group_items(user, best[user, column], N_USERS, N_ITEMS)
