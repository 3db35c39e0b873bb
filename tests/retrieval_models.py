"""Small retrieval models on a few rows with known histories."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from shell import tiny_config
from torch import Tensor

from recsweep.data.schema import Features, IdMap, Interactions
from recsweep.losses.ranking import Full, RankingLoss
from recsweep.models.base import Training
from recsweep.models.bpr_mf import BPRMF
from recsweep.models.retrieval import Positives, Retrieval
from recsweep.models.two_tower import TwoTower
from recsweep.runs import build
from recsweep.seeding import generator

N_USERS, N_ITEMS = 5, 9
ITEMS_OF_USER = {0: [1, 3, 4, 5], 1: [2, 0, 3], 2: [5], 4: [3, 6]}
"""Items of each user, first to last. User 3 and items 7 and 8 have no row."""
FREQUENCY = Counter(item for items in ITEMS_OF_USER.values() for item in items)
N_ROWS = FREQUENCY.total()
FULL = Full()


def _rows() -> Interactions:
    """The rows of `ITEMS_OF_USER` in random order. Items are red and blue in turn; item 8 is green."""
    table = [(user, item, time) for user, items in ITEMS_OF_USER.items() for time, item in enumerate(items)]
    order = torch.randperm(len(table), generator=generator(0))
    user, item, time = torch.tensor(table)[order].T
    ids = IdMap(np.arange(N_USERS), "user"), IdMap(np.arange(N_ITEMS), "item")
    colours = Features({"colour": torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 2])}, {"colour": ("red", "blue", "green")})
    return Interactions("toy", user, item, torch.ones(len(user)), time, *ids, (0.0, 1.0), item_features=colours)


ROWS = _rows()


@cache
def _training(*overrides: str) -> Training:
    return build.training(tiny_config("regularization.dropout=0", *overrides))


def bpr_mf(*overrides: str, loss: RankingLoss = FULL, data: Interactions = ROWS) -> BPRMF:
    """A model with random vectors and biases."""
    training = replace(_training("model=bpr_mf", *overrides), loss=loss)
    model = BPRMF(data, training, embedding_dim=3, init_std=1.0)
    torch.nn.init.normal_(model.table.rows.weight, generator=generator(1))
    return model


def two_tower(loss: RankingLoss = FULL, data: Interactions = ROWS, **options: Any) -> TwoTower:
    """A model of ids alone unless the options say otherwise."""
    defaults = {
        "embedding_dim": 4,
        "hidden": [16, 16],
        "user_ids": True,
        "history": "none",
        "max_history": 2,
        "item_features": [],
        "scale": 8.0,
        "learn_scale": False,
        "init_std": 1.0,
    }
    return TwoTower(data, replace(_training("model=two_tower"), loss=loss), **(defaults | options))


def two_tower_of_histories(loss: RankingLoss = FULL) -> TwoTower:
    """A model that knows users by their histories and items by ids and features."""
    return two_tower(loss, history="attention", item_features=["colour"], user_ids=False)


MODELS: dict[str, Callable[..., Retrieval]] = {
    "bpr_mf": bpr_mf,
    "two_tower": two_tower,
    "two_tower_of_histories": two_tower_of_histories,
}
"""Builders by name; each takes a `loss`."""


def training_batch(model: Retrieval) -> Positives:
    """All rows, by user and time."""
    return model.columns(ROWS)


def take_step(model: Retrieval) -> None:
    """One step of gradient descent on all rows."""
    model.generator = generator(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.training_loss(training_batch(model)).backward()
    optimizer.step()


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
