"""Nearest users by hand."""

import pytest
import torch
from rows import interactions

from recsweep.models import user_knn
from recsweep.models.user_knn import UserKNN

ROWS = [(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 1.0), (1, 2, 1.0), (2, 2, 1.0), (2, 3, 1.0), (3, 0, 1.0)]
"""User 4 has none."""


def fit(neighbours: int) -> UserKNN:
    data = interactions([*ROWS, ROWS[0]], n_users=5, n_items=4)
    model = UserKNN(data, neighbours=neighbours, shrinkage=1.0)
    model.fit(data)
    return model


@pytest.mark.parametrize("cells", [1, 10, user_knn.CELLS])
def test_nearest_users_by_hand(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items of the users: 2, 3, 2, 1, 0. Items of both: (0, 1) 2, and (0, 3), (1, 2), (1, 3) one each."""
    monkeypatch.setattr(user_knn, "CELLS", cells)
    similarity = {(0, 1): 2 / (6**0.5 + 1), (0, 3): 1 / (2**0.5 + 1), (1, 2): 1 / (6**0.5 + 1)}
    similarity[1, 3] = 1 / (3**0.5 + 1)
    items = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    users = torch.tensor([3, 0, 4, 2])
    both = [  # of two neighbours each; user 2 has only one, and user 4 none
        similarity[0, 3] * items[0] + similarity[1, 3] * items[1],
        similarity[0, 1] * items[1] + similarity[0, 3] * items[3],
        items[4],
        similarity[1, 2] * items[1],
    ]
    torch.testing.assert_close(fit(2).score_all(users), torch.stack(both))
    nearest = fit(1)
    torch.testing.assert_close(nearest.score_all(torch.tensor([3]))[0], similarity[0, 3] * items[0])
    pairs = nearest.score(torch.tensor([3, 1, 3]), torch.tensor([1, 1, 2]))
    torch.testing.assert_close(pairs, torch.tensor([similarity[0, 3], similarity[0, 1], 0.0]))


def test_all_other_users_are_neighbours_of_few() -> None:
    torch.testing.assert_close(fit(100).score_all(torch.arange(5)), fit(4).score_all(torch.arange(5)))
