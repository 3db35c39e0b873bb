"""New users: whoever has the rows of a user in training gets that user's scores; the solvers against other formulas."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from retrieval_models import ROWS, bpr_mf, two_tower
from scipy.optimize import minimize
from scipy.special import logsumexp
from shell import tiny_config

from recsweep.data.schema import Features, IdMap, Interactions
from recsweep.errors import UserError
from recsweep.models import new_users
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline, Means, Popularity
from recsweep.models.biased_mf import MLP, BiasedMF, SVDpp
from recsweep.models.ials import IALS
from recsweep.models.item_item import EASE, ItemKNN
from recsweep.models.markov_chain import MarkovChain
from recsweep.models.new_users import Gaussian, fit_gaussian, maximize_softmax, solve_ridge
from recsweep.models.user_knn import UserKNN
from recsweep.runs import build
from recsweep.seeding import generator

CHAIN = {"reach": 2, "step_decay": 0.5, "popularity_exponent": 0.5, "shrinkage": 1.0}
ALS = {"embedding_dim": 2, "l2": 0.1, "unobserved_weight": 0.3, "frequency_exponent": 1.0, "init_std": 0.1, "seed": 0}
OLD = [4, 0, 2]  # users in training, whom the new users 0, 1 and 2 repeat
RATED = replace(ROWS, rating=torch.arange(len(ROWS)) % 3 / 2)


def history_of(data: Interactions, users: list[int]) -> Interactions:
    """The rows of these users as those of new users, the last rows first."""
    number = torch.full((data.n_users,), -1)
    number[users] = torch.arange(len(users))
    rows = data.take((number[data.user] >= 0).nonzero()[:, 0].flip(0))
    return replace(rows, user=number[rows.user], user_ids=IdMap(np.arange(len(users)) + 100, "user"))


def histories(history: str, **options: Any) -> Callable[[], RecModule]:
    return lambda: two_tower(history=history, user_ids=False, max_history=9, **options)


FITTED: dict[str, Callable[[], Baseline]] = {
    "popularity": lambda: Popularity(RATED),
    "means": lambda: Means(RATED, user_shrinkage=1.0, item_shrinkage=2.0),
    "ease": lambda: EASE(RATED, l2=1.0),
    "item_knn": lambda: ItemKNN(RATED, neighbours=2, shrinkage=1.0),
    "markov_chain": lambda: MarkovChain(RATED, **CHAIN, max_history=2, history_decay=0.5),
    "ials": lambda: IALS(RATED, **ALS, epochs=400),  # until the vectors of users are those of the last items
}
ENCODING: dict[str, Callable[[], RecModule]] = {
    "mean": histories("mean", item_features=["colour"]),
    "attention": histories("attention"),
    "gru": histories("gru"),
    "transformer": histories("transformer", time_gaps=True),
}


@pytest.mark.parametrize("name", [*FITTED, *ENCODING])
def test_the_rows_of_a_user_in_training_give_the_scores_of_that_user(name: str) -> None:
    model: Any = FITTED[name]() if name in FITTED else ENCODING[name]().eval()
    if name in FITTED:
        model.fit(RATED)
    before = model.score_all(torch.arange(ROWS.n_users))
    folded = model.fold_in(history_of(RATED, OLD), RATED)
    torch.testing.assert_close(folded.score_all(torch.arange(3)), before[OLD], rtol=1e-4, atol=1e-5)
    pairs = folded.score(torch.tensor([2, 0]), torch.tensor([1, 5]))
    torch.testing.assert_close(pairs, before[torch.tensor([2, 4]), torch.tensor([1, 5])], rtol=1e-4, atol=1e-5)
    assert torch.equal(model.score_all(torch.arange(ROWS.n_users)), before)


def test_a_new_user_has_the_neighbours_that_the_same_user_has_in_training() -> None:
    """In training nobody is their own neighbour; here user 0 is not there at all."""
    others = ROWS.take((ROWS.user != 0).nonzero()[:, 0])
    with_user, without = (UserKNN(data, neighbours=2, shrinkage=1.0) for data in (ROWS, others))
    with_user.fit(ROWS)
    without.fit(others)
    expected = with_user.score_all(torch.tensor([0]))
    assert expected.any()
    torch.testing.assert_close(without.fold_in(history_of(ROWS, [0]), others).score_all(torch.tensor([0])), expected)


@pytest.mark.parametrize("model_class", [BiasedMF, SVDpp])
def test_ratings_that_a_user_explains_in_full_give_back_that_user(model_class: type[BiasedMF]) -> None:
    """The training rows have no error, so ratings count for all and the other users for nothing."""
    pairs = (torch.rand(20, 12, generator=generator(0)) < 0.7).nonzero()
    user, item = pairs.T
    ids = IdMap(np.arange(20), "user"), IdMap(np.arange(12), "item")
    data = Interactions("toy", user, item, torch.ones(len(user)), None, *ids, (-99.0, 99.0))
    options = {"item_side": True, "user_features": [], "item_features": []} if model_class is SVDpp else {}
    model = model_class(
        data, build.training(tiny_config("regularization=none")), embedding_dim=3, init_std=0.5, **options
    )
    torch.nn.init.normal_(model.table.rows.weight, std=0.7, generator=generator(1))
    with torch.no_grad():
        data = replace(data, rating=model.score(user, item))
        vectors, biases = model.table(user, item)
        p, _ = model.training_factors(vectors, user, item, torch.ones(len(user)))[0]
        told = model.mean + biases.sum(0) + (p * model.item_factors()[item]).sum(1)
        expected = model.score_all(torch.arange(20))
    history = history_of(replace(data, rating=told), [7, 3])
    folded = model.fold_in(history, data).score_all(torch.arange(2))
    torch.testing.assert_close(folded, expected[[7, 3]], rtol=1e-3, atol=1e-3)


def factorization(model_class: type[BiasedMF]) -> BiasedMF:
    """With random vectors and biases; SVD++ knows the age of users."""
    ages = Features({"age": torch.tensor([0, 1, 0, 1, 1])}, {"age": ("young", "old")})
    options = {"item_side": True, "user_features": ["age"], "item_features": []} if model_class is SVDpp else {}
    data = replace(RATED, user_features=ages)
    model = model_class(
        data, build.training(tiny_config("regularization=none")), embedding_dim=2, init_std=0.5, **options
    )
    torch.nn.init.normal_(model.table.rows.weight, std=0.7, generator=generator(1))
    return model


@pytest.mark.parametrize("model_class", [BiasedMF, SVDpp])
def test_a_new_user_of_ratings_against_least_squares_of_stacked_rows(model_class: type[BiasedMF]) -> None:
    """The prior is that of users who have rows, all but user 3; the new user rates items 5 and 1."""
    model = factorization(model_class)
    with torch.no_grad():
        rest = model.score(RATED.user, RATED.item) - RATED.rating
        (p, bias), q = model.table.users(), model.item_factors().numpy()
        own, item_bias = torch.cat([p, bias[:, None]], 1), model.table.items()[1].numpy()
        y = np.zeros((9, 2))
        if isinstance(model, SVDpp) and model.user_features is not None:
            own[:, :2] += model.user_features()
            y = model.rated_items.vectors.weight.numpy()
        prior = fit_gaussian(own[[0, 1, 2, 4]])
    items, rating, deviation = [5, 1], torch.tensor([1.0, 0.5]), float(rest.square().mean().sqrt())
    user, ids = torch.zeros(2).long(), IdMap(np.array([100]), "user")
    history = replace(RATED, user=user, item=torch.tensor(items), rating=rating, timestamp=None, user_ids=ids)
    target = rating.numpy() - float(model.mean) - item_bias[items] - (y[items[::-1]] * q[items]).sum(1)
    stacked = [np.column_stack([q[items], np.ones(2)]) / deviation, np.linalg.cholesky(prior.precision.numpy()).T]
    x = np.linalg.lstsq(np.concatenate(stacked), np.concatenate([target / deviation, stacked[1] @ prior.mean.numpy()]))[
        0
    ]
    expected = float(model.mean) + x[2] + item_bias + q @ (x[:2] + y[items].sum(0) / np.sqrt(2))
    folded = model.fold_in(history, RATED).score_all(torch.tensor([0]))[0].detach()
    assert folded.numpy() == pytest.approx(expected, abs=1e-4)


def test_a_gaussian_of_four_vectors() -> None:
    """Variances 4 and 1, so the sphere has 5/2; its weight is 2 / (4 + 2): 4 · 2/3 + 5/2 · 1/3 = 7/2, and 3/2."""
    mean, precision = fit_gaussian(torch.tensor([[0.0, 0], [4, 0], [0, 2], [4, 2]]))
    assert mean.tolist() == [2, 1]
    torch.testing.assert_close(precision, torch.tensor([[2 / 7, 0], [0, 2 / 3]]).double())


def test_ridge_against_least_squares_of_stacked_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_users, "USERS_AT_ONCE", 2)
    rng = np.random.default_rng(0)
    user, a, y = np.array([0, 3, 0, 1, 3, 3, 0]), rng.normal(size=(7, 3)), rng.normal(size=7)
    prior = fit_gaussian(torch.tensor(rng.normal(size=(9, 3))))
    mean, root = prior.mean.numpy(), np.linalg.cholesky(prior.precision.numpy()).T
    solution = solve_ridge(torch.tensor(user), torch.tensor(a), torch.tensor(y), 4, 0.25, prior)
    for number, x in enumerate(solution.numpy()):
        own = user == number
        stacked, target = np.concatenate([a[own] / 0.5, root]), np.concatenate([y[own] / 0.5, root @ mean])
        assert x == pytest.approx(np.linalg.lstsq(stacked, target)[0], abs=1e-5)


def test_a_factorization_has_the_vectors_of_largest_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against scipy's minimum of the same objective; the prior is that of users who have rows, all but user 3."""
    monkeypatch.setattr(new_users, "CELLS_AT_ONCE", 2 * len(ROWS.item_ids))
    model = bpr_mf().eval()
    history = history_of(ROWS, OLD)
    history = replace(history, user_ids=IdMap(np.arange(4), "user"))  # one more, without rows
    repeated = history.take(torch.tensor([*range(len(history)), 0, 0]))  # a set of items: repeats count once
    with torch.no_grad():
        folded = model.fold_in(repeated, ROWS).score_all(torch.arange(4)).numpy()
        (q, bias), p = (tensors.double().numpy() for tensors in model.table.items()), model.table.users()[0].double()
    known = p[[0, 1, 2, 4]]
    prior = fit_gaussian(known)
    mean, precision = prior.mean.numpy(), prior.precision.numpy()
    for user in range(4):
        items = history.item[history.user == user].numpy()

        def loss(x: np.ndarray, items: np.ndarray = items) -> float:
            logits = q @ x + bias
            return (x - mean) @ precision @ (x - mean) / 2 - (logits[items] - logsumexp(logits)).sum()

        best = minimize(loss, mean, tol=1e-10).x
        assert folded[user] == pytest.approx(q @ best + bias, abs=2e-3)


def test_a_step_too_far_is_halved() -> None:
    """The user has the three of 30 items that nobody else takes: the first step goes from 0 to about 9.

    There the softmax has log(1/3) for each item and the prior 9² / 2, while at 0 it is 3 · log(1/(3 + 27e³)).
    """
    history = replace(history_of(ROWS, [0]), user=torch.zeros(3).long(), item=torch.arange(3))
    q, bias = torch.tensor([3.0] * 3 + [0.0] * 27)[:, None], torch.tensor([-3.0] * 3 + [0.0] * 27)
    prior = Gaussian(torch.zeros(1).double(), torch.ones(1, 1).double())
    ids = IdMap(np.arange(30), "item")
    x = float(maximize_softmax(replace(history, item_ids=ids), q, bias, prior)[0])
    share = 3 / (3 + 27 * np.exp(3 - 3 * x))
    assert 9 * (1 - share) - x == pytest.approx(0, abs=0.01)  # the gradient


@pytest.mark.parametrize(
    ("build_model", "history", "message"),
    [
        (two_tower, ROWS, "TwoTower cannot recommend to users who were not in training: model.user_ids=true gives"),
        (ENCODING["transformer"], replace(ROWS, timestamp=None), "histories: no column timestamp, and model.time_gaps"),
        (FITTED["means"], replace(ROWS, rating=ROWS.rating + 1), "rating 2; this model learns from ratings, from 0 to"),
        (lambda: factorization(BiasedMF), replace(ROWS, rating=ROWS.rating - 2), "rating -1; this model learns from"),
        (FITTED["means"], replace(ROWS, rating=ROWS.rating.log() / 0), "no rating; this model learns from ratings"),
        (
            lambda: MLP(ROWS, bpr_mf().training_setup, embedding_dim=2, init_std=0.1, hidden=[2]),
            ROWS,
            "MLP cannot recommend to users who were not in training: it learned something of its own about each user",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_folded_in_is_refused(build_model: Any, history: Interactions, message: str) -> None:
    with pytest.raises(UserError) as mistake:
        build_model().fold_in(history, ROWS)
    assert message in str(mistake.value) and "\n" not in str(mistake.value)
