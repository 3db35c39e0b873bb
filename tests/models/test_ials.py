"""Implicit ALS against its objective, written out over all pairs."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError
from recsweep.models import ials
from recsweep.models.ials import IALS
from recsweep.sampling import group_items

N_USERS, N_ITEMS = 30, 9


def rows(pairs: Tensor, n_users: int = N_USERS, n_items: int = N_ITEMS) -> Interactions:
    """Ratings from 0 to 4, which must make no difference."""
    rating = torch.arange(len(pairs)) % 5.0
    ids = IdMap(np.arange(n_users), "user"), IdMap(np.arange(n_items), "item")
    return Interactions("toy", pairs[:, 0], pairs[:, 1], rating, None, *ids, (0.0, 4.0))


@pytest.fixture(scope="module")
def flags() -> Tensor:
    """[n_users, n_items]; two users have no item, one has all but item 4, which no user has."""
    flags = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)) < torch.linspace(0.1, 0.9, N_ITEMS)
    flags[7] = True
    flags[:, 4] = False
    flags[[3, 11]] = False
    return flags


@pytest.fixture(scope="module")
def data(flags: Tensor) -> Interactions:
    """One row a pair, except for one that comes twice."""
    pairs = flags.nonzero()
    return rows(torch.cat([pairs, pairs[:1]]))


def fit_ials(data: Interactions, epochs: int = 1, exponent: float = 1.0, seed: int = 0, l2: float = 0.05) -> IALS:
    ials_model = IALS(
        data,
        embedding_dim=3,
        l2=l2,
        unobserved_weight=0.3,
        frequency_exponent=exponent,
        epochs=epochs,
        init_std=0.1,
        seed=seed,
    )
    ials_model.fit(data)
    return ials_model


def penalties(flags: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """λ of the users and of the items."""
    users, items = flags.double().sum(1), flags.double().sum(0)
    return 0.05 * (users + 0.3 * len(items)) ** exponent, 0.05 * (items + 0.3 * len(users)) ** exponent


def objective(user: Tensor, item: Tensor, flags: Tensor, exponent: float) -> Tensor:
    scores = user @ item.T
    of_users, of_items = penalties(flags, exponent)
    squares = ((1 - scores[flags]) ** 2).sum() + 0.3 * (scores**2).sum()
    return squares + of_users @ (user**2).sum(1) + of_items @ (item**2).sum(1)


def slopes(user: Tensor, item: Tensor, flags: Tensor, exponent: float) -> tuple[Tensor, ...]:
    """The objective's gradients by the users' and the items' vectors."""
    vectors = user.double().requires_grad_(), item.double().requires_grad_()
    return torch.autograd.grad(objective(*vectors, flags, exponent), vectors)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("epochs", [1, 3])
def test_each_side_is_at_its_minimum_after_it_is_solved(
    epochs: int, exponent: float, data: Interactions, flags: Tensor
) -> None:
    ials_model = fit_ials(data, epochs, exponent)
    of_users, of_items = slopes(ials_model.user, ials_model.item, flags, exponent)
    assert of_items.abs().max() < 1e-4 < 1e-2 < of_users.abs().max()
    again = ials_model.solve(group_items(data.user, data.item, N_USERS, N_ITEMS), ials_model.item)
    of_users, of_items = slopes(again, ials_model.item, flags, exponent)
    assert of_users.abs().max() < 1e-4 < 1e-2 < of_items.abs().max()


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_the_objective_never_rises(exponent: float, data: Interactions, flags: Tensor) -> None:
    fits = [fit_ials(data, epochs, exponent) for epochs in range(1, 9)]
    values = [float(objective(fit.user.double(), fit.item.double(), flags, exponent)) for fit in fits]
    assert all(after < before + 1e-5 for before, after in pairwise(values))
    assert values[-1] < values[0] - 0.1


def test_a_solution_by_hand() -> None:
    """q = (2, 1), one user with item 0: λ = 0.25 · (1 + 0.5 · 2) = 1/2, so p = 2 / (4 + 0.5 · (4 + 1) + 1/2) = 2/7."""
    one = rows(torch.tensor([[0, 0]]), 1, 2)
    ials_model = IALS(
        one, embedding_dim=1, l2=0.25, unobserved_weight=0.5, frequency_exponent=1.0, epochs=1, init_std=0.1, seed=0
    )
    solved = ials_model.solve(group_items(one.user, one.item, 1, 2), torch.tensor([[2.0], [1.0]]))
    torch.testing.assert_close(solved, torch.tensor([[2 / 7]]))


@pytest.mark.parametrize("cells", [1, 60, ials.CELLS])
def test_solutions_are_ridge_regressions_however_many_are_solved_at_once(
    cells: int, data: Interactions, flags: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each user, the rows q_i → 1 of their items, √0.3 q_i → 0 of all items, and √λ I → 0."""
    monkeypatch.setattr(ials, "CELLS", cells)
    item = torch.randn(N_ITEMS, 3, generator=torch.Generator().manual_seed(1))
    actual = fit_ials(data).solve(group_items(data.user, data.item, N_USERS, N_ITEMS), item)
    strength = penalties(flags, 1.0)[0].sqrt()
    for user in range(N_USERS):
        item_vectors = item[flags[user]].double()
        left = torch.cat([item_vectors, 0.3**0.5 * item.double(), strength[user] * torch.eye(3).double()])
        right = torch.zeros(len(left)).double()
        right[: len(item_vectors)] = 1
        torch.testing.assert_close(
            actual[user].double(), torch.linalg.lstsq(left, right).solution, rtol=1e-4, atol=1e-5
        )


def test_chunks_hold_every_user_once_and_no_more_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts 9 0 2 9 5 1 1 with d = 2 and room for 40 numbers: 18 a user at first, then 10, then 4."""
    monkeypatch.setattr(ials, "CELLS", 40)
    count = torch.tensor([9, 0, 2, 9, 5, 1, 1])
    assert [chunk.tolist() for chunk in ials._chunks(count, 2)] == [[0, 3], [4, 2, 5, 6]]
    monkeypatch.setattr(ials, "CELLS", 8)
    assert [chunk.tolist() for chunk in ials._chunks(count, 2)] == [[0], [3], [4], [2, 5], [6]]
    monkeypatch.setattr(ials, "CELLS", 50)  # two d x d matrices, for d = 5
    assert [chunk.tolist() for chunk in ials._chunks(count[4:], 5)] == [[0, 1], [2]]


def test_users_and_items_without_rows_score_zero(data: Interactions) -> None:
    ials_model = fit_ials(data, epochs=2)
    scores = ials_model.score_all(torch.arange(N_USERS))
    assert scores[[3, 11]].count_nonzero() == 0 and scores[:, 4].count_nonzero() == 0
    assert scores[7, :4].count_nonzero() == 4


def test_it_learns_blocks() -> None:
    """Users and items fall into two halves; each user misses one item of their own half, and gets that one."""
    user, item = torch.cartesian_prod(torch.arange(20), torch.arange(10)).unbind(1)
    alike = user % 2 == item % 2
    missing = item == (2 * user + user % 2) % 10
    ials_model = fit_ials(rows(torch.stack([user, item], 1)[alike & ~missing], 20, 10), epochs=5)
    others = ials_model.score(user[~alike], item[~alike])
    assert (alike & missing).sum() == 20
    assert ials_model.score(user[alike & missing], item[alike & missing]).min() > others.max() + 0.3


def test_scores_are_products_of_vectors(data: Interactions) -> None:
    ials_model = fit_ials(data, epochs=2)
    users, items = torch.tensor([5, 0, 5]), torch.tensor([1, 8, 2])
    products = ials_model.user_vectors(users) @ ials_model.item_vectors().T
    torch.testing.assert_close(ials_model.score_all(users), products)
    torch.testing.assert_close(ials_model.score(users, items), products[[0, 1, 2], items])


def test_the_seed_alone_decides(data: Interactions) -> None:
    """Also when the model was fitted to other rows before."""
    first, other = fit_ials(data, epochs=2), fit_ials(data, epochs=2, seed=1)
    again = fit_ials(data.take(torch.arange(10)), epochs=2)
    again.fit(data)
    assert torch.equal(first.user, again.user) and torch.equal(first.item, again.item)
    assert not torch.allclose(first.item, other.item, atol=1e-2)


def test_regularisation_can_be_too_weak() -> None:
    with pytest.raises(UserError, match=r"^model.l2=1e-30 is too weak to solve the equations in float32: raise it$"):
        fit_ials(rows(torch.tensor([[0, 0]]), 1, 1), l2=1e-30)
