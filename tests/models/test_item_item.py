"""Item-to-item baselines against their definitions."""

import numpy as np
import pytest
import torch

from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError
from recsweep.models import item_item
from recsweep.models.item_item import EASE, ItemKNN

PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2), (2, 3), (3, 0), (3, 0)]  # one twice, and user 4 has none
FLAGS = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])


def rows(pairs: list[tuple[int, int]] = PAIRS, n_users: int = 5, n_items: int = 4) -> Interactions:
    user, item = (torch.tensor(column) for column in zip(*pairs, strict=True))
    rating = torch.ones(len(pairs))
    ids = IdMap(np.arange(n_users), "user"), IdMap(np.arange(n_items), "item")
    return Interactions("toy", user, item, rating, None, *ids, (0.0, 1.0))


def fit(model: EASE | ItemKNN, data: Interactions) -> EASE | ItemKNN:
    model.fit(data)
    return model


def test_nearest_neighbours_by_hand() -> None:
    """Users of the items: 3, 2, 2, 1; of pairs: (0, 1) 2, and (0, 2), (1, 2), (2, 3) one each. One neighbour each."""
    model = fit(ItemKNN(rows(), neighbours=1, shrinkage=1.0), rows())
    expected = torch.zeros(4, 4)
    expected[1, 0] = expected[0, 1] = 2 / (6**0.5 + 1)
    expected[3, 2] = expected[2, 3] = 1 / (2**0.5 + 1)  # above 1 / (4 ** 0.5 + 1), that of 1 and 2
    torch.testing.assert_close(model.weights, expected)
    scores = model.score_all(torch.tensor([1, 4]))
    torch.testing.assert_close(scores[0], expected[:3].sum(0))  # user 1 has items 0, 1 and 2
    assert scores[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_ease_is_a_ridge_regression_that_leaves_the_item_itself_out(l2: float) -> None:
    generator = torch.Generator().manual_seed(0)
    flags = (torch.rand(30, 7, generator=generator) < 0.4).double()
    pairs = [(int(user), int(item)) for user, item in flags.nonzero()]
    data = rows(pairs, 30, 7)
    model = fit(EASE(data, l2=l2), data)
    for item in range(7):
        other_items = [other for other in range(7) if other != item]
        x, y = flags[:, other_items], flags[:, item]
        solution = torch.linalg.solve(x.T @ x + l2 * torch.eye(6).double(), x.T @ y)
        torch.testing.assert_close(model.weights[other_items, item].double(), solution, rtol=1e-5, atol=1e-6)
        assert model.weights[item, item] == 0


def test_flags_and_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order of users, repeated or not, and however many are counted at once."""
    monkeypatch.setattr(item_item, "USERS_AT_ONCE", 2)
    model = fit(EASE(rows(), l2=1.0), rows())
    users = torch.tensor([3, 1, 4, 1, 0])
    assert torch.equal(model.flags(users), FLAGS[users])
    all_scores = model.score_all(torch.arange(5))
    torch.testing.assert_close(model.score(users, torch.tensor([0, 3, 1, 2, 2])), all_scores[users, [0, 3, 1, 2, 2]])
    monkeypatch.undo()
    assert torch.equal(fit(EASE(rows(), l2=1.0), rows()).weights, model.weights)


@pytest.mark.parametrize("sparse", [0, 10**6])
def test_few_items_a_user_are_counted_and_added_up_without_the_others(
    sparse: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item that stands twice in the rows of a user, as in those of a sequence, counts once."""
    monkeypatch.setattr(item_item, "SPARSE", sparse)
    model = fit(EASE(rows(), l2=1.0), rows())
    users = torch.tensor([3, 1, 4, 1, 0])
    torch.testing.assert_close(model.score_all(users), FLAGS[users] @ model.weights)
    model.items, model.start = torch.tensor([0, 1, 0, 1, 2, 2, 3, 0, 0]), torch.tensor([0, 2, 5, 7, 9, 9])
    assert torch.equal(model.count_pairs(), (FLAGS.T @ FLAGS).double())


def test_a_second_fit_uses_the_new_rows() -> None:
    model = ItemKNN(rows(PAIRS[:2]), neighbours=2, shrinkage=0.0)
    model.fit(rows())
    assert torch.equal(model.flags(torch.arange(5)), FLAGS)


def test_a_catalogue_can_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_item, "MAX_ITEMS", 3)
    with pytest.raises(UserError, match=r"^this model weighs every pair of items, and 4 are more than 3 of them$"):
        EASE(rows(), l2=1.0)
