"""Heads and losses of the multitask model against twins in plain Python, and the parameters that each loss trains."""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from math import exp, log1p
from typing import Any

import pytest
import torch
from rows import interactions
from shell import tiny_config
from torch import Tensor

from recsweep.data.batches import Ratings
from recsweep.evaluation import RatingScorer
from recsweep.losses.multitask import Balance, Fixed, GradNorm, Uncertainty
from recsweep.losses.ranking import Sampled
from recsweep.models.base import Training
from recsweep.models.multitask import TASKS, Multitask
from recsweep.runs import build
from recsweep.sampling import group_items, sample_negatives, unseen_items
from recsweep.seeding import generator

N_USERS, N_ITEMS, DIM, HIDDEN = 4, 7, 3, 5
ROWS = interactions(
    [(0, 1, 5), (0, 3, 2), (0, 4, 4), (1, 2, 1), (1, 0, 3), (2, 5, 5), (3, 0, 4), (3, 6, 1)], N_USERS, N_ITEMS
)
BATCH = Ratings(ROWS.user, ROWS.item, ROWS.rating)
MEAN = 25 / 8
BPR = Sampled(function="bpr", n_negatives=1)
BOTH = pytest.mark.parametrize("shared", [True, False], ids=["shared", "separate"])


@cache
def default_training() -> Training:
    return build.training(tiny_config("model=multitask", "regularization.dropout=0"))


def multitask(balance: Balance | None = None, shared: bool = True, dim: int = DIM, hidden: int = HIDDEN) -> Multitask:
    """A model whose parameters are all random, those of the balance included."""
    training = replace(default_training(), loss=balance or Fixed(0.5, 0.5, BPR))
    options = {"embedding_dim": dim, "hidden": [hidden], "shared_embeddings": shared, "init_std": 1.0}
    model = Multitask(ROWS, training, **options)
    for index, parameter in enumerate(model.parameters()):
        torch.nn.init.normal_(parameter, generator=generator(index))
    return model


def training_loss(model: Multitask, batch: Ratings, seed: int = 0) -> Tensor:
    """The training loss, with negatives from the generator of this seed."""
    model.generator, model.notes = generator(seed), {}
    return model.training_loss(batch)


def gradients(task: str, batch: Ratings, shared: bool = True) -> dict[str, Tensor]:
    """Gradients of one task's loss, by parameter."""
    model = multitask(Fixed(float(task == TASKS[0]), float(task == TASKS[1]), BPR), shared)
    training_loss(model, batch).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_equal(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=1e-5, atol=1e-5)


# ---- heads, as sums of products of plain numbers


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def twin_score(model: Multitask, user: int, item: int) -> float:
    """<p_u, q_i> + b_i."""
    rows = model.vectors.weight.tolist()
    return dot(rows[user], rows[N_USERS + item]) + model.item_bias.weight[item].item()


def twin_rating(model: Multitask, user: int, item: int) -> float:
    """The mean of the training ratings + w · relu(W (p ⊕ q ⊕ p ⊙ q) + c) + b."""
    rows = (model.own_vectors or model.vectors).weight.tolist()
    p, q = rows[user], rows[N_USERS + item]
    x = [*p, *q, *(a * b for a, b in zip(p, q, strict=True))]
    first, last = model.perceptron[0], model.perceptron[2]
    units = [max(0.0, dot(w, x) + c) for w, c in zip(first.weight.tolist(), first.bias.tolist(), strict=True)]
    return MEAN + dot(last.weight.tolist()[0], units) + last.bias.item()


@BOTH
@torch.no_grad()
def test_scores_and_ratings_by_their_formulas(shared: bool) -> None:
    model = multitask(shared=shared).eval()
    user, item = torch.cartesian_prod(torch.arange(N_USERS), torch.arange(N_ITEMS)).T
    pairs = list(zip(user.tolist(), item.tolist(), strict=True))
    assert_equal(model.score(user, item), [twin_score(model, *pair) for pair in pairs])
    assert_equal(model.rate(user, item), [twin_rating(model, *pair) for pair in pairs])
    users = torch.tensor([2, 0, 2])
    assert_equal(model.score_all(users), [[twin_score(model, u, i) for i in range(N_ITEMS)] for u in users.tolist()])
    assert isinstance(model, RatingScorer)


@BOTH
@torch.no_grad()
def test_a_batch_of_one_keeps_its_dimension(shared: bool) -> None:
    model, index = multitask(shared=shared).eval(), torch.tensor([3])
    assert model.score(index, index).shape == (1,)
    assert model.rate(index, index).shape == (1,)
    assert model.score_all(index).shape == (1, N_ITEMS)


def test_the_regression_head_has_one_hidden_layer_on_three_vectors() -> None:
    layers = multitask(dim=32, hidden=64).perceptron
    assert [type(layer).__name__ for layer in layers] == ["Linear", "ReLU", "Linear"]
    assert [tuple(layers[index].weight.shape) for index in (0, 2)] == [(64, 96), (1, 64)]


def size(model: Multitask) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_separate_embeddings_are_a_second_table() -> None:
    """(4 + 7) · 32 and 7 biases, 96 · 64 + 64 and 64 + 1 of the head; the second table has 11 · 32."""
    shared, separate = (multitask(shared=shared, dim=32, hidden=64) for shared in (True, False))
    assert size(shared) == 11 * 32 + 7 + 96 * 64 + 64 + 64 + 1
    assert size(separate) - size(shared) == 11 * 32
    assert size(multitask(Uncertainty(BPR), dim=32, hidden=64)) - size(shared) == 2  # a variance for each task


# ---- losses


def twin_losses(model: Multitask, batch: Ratings, ranking: Sampled, seed: int) -> tuple[float, float]:
    """Both losses of a batch, row by row, against the negatives of the seed."""
    unseen = unseen_items(group_items(ROWS.user, ROWS.item, N_USERS, N_ITEMS), N_ITEMS)
    negatives = sample_negatives(batch.user, ranking.n_negatives, unseen, generator(seed))
    ranking_losses, errors = [], []
    for user, item, rating, row_negatives in zip(*(column.tolist() for column in (*batch, negatives)), strict=True):
        odds = [exp(twin_score(model, user, negative) - twin_score(model, user, item)) for negative in row_negatives]
        ranking_losses += [log1p(odd) for odd in odds] if ranking.function == "bpr" else [log1p(sum(odds))]
        errors.append((twin_rating(model, user, item) - rating) ** 2)
    return sum(ranking_losses) / len(ranking_losses), sum(errors) / len(errors)


@BOTH
@pytest.mark.parametrize(("function", "n_negatives"), [("bpr", 1), ("bpr", 3), ("softmax", 3)])
@pytest.mark.parametrize(("factorization", "regression"), [(0.995, 0.005), (0.5, 0.5), (0.0, 1.0), (2.0, 0.0)])
def test_training_loss_equals_the_twin(
    factorization: float, regression: float, function: Any, n_negatives: int, shared: bool
) -> None:
    ranking = Sampled(function, n_negatives)
    model = multitask(Fixed(factorization, regression, ranking), shared)
    ranking_loss, error = twin_losses(model, BATCH, ranking, seed=3)
    assert_equal(training_loss(model, BATCH, seed=3), factorization * ranking_loss + regression * error)
    notes = {name: torch.stack(values).tolist() for name, values in model.notes.items()}
    assert notes == {
        "train/factorization_loss": [pytest.approx(ranking_loss, rel=1e-5)],
        "train/factorization_weight": [pytest.approx(factorization, rel=1e-5)],
        "train/regression_loss": [pytest.approx(error, rel=1e-5)],
        "train/regression_weight": [pytest.approx(regression, rel=1e-5)],
    }


@BOTH
def test_gradients_equal_finite_differences(shared: bool) -> None:
    """Along a random direction through all parameters."""
    model = multitask(Uncertainty(BPR), shared).double()
    batch, parameters = BATCH._replace(rating=BATCH.rating.double()), list(model.parameters())
    direction = [
        torch.randn(p.shape, generator=generator(9, index), dtype=p.dtype) for index, p in enumerate(parameters)
    ]

    def loss_at(step: float) -> Tensor:
        copy = deepcopy(model)
        with torch.no_grad():
            for parameter, part in zip(copy.parameters(), direction, strict=True):
                parameter += step * part
        return training_loss(copy, batch)

    gradient = torch.autograd.grad(training_loss(model, batch), parameters)
    slope = sum((values * part).sum() for values, part in zip(gradient, direction, strict=True))
    torch.testing.assert_close(slope, (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6, rtol=1e-6, atol=0)


@BOTH
def test_uncertainty_starts_from_a_variance_of_one(shared: bool) -> None:
    """σ² = 1, so L_F + L_R / 2."""
    model = multitask(Uncertainty(BPR), shared)
    torch.nn.init.zeros_(model.balance.log_variance)
    ranking_loss, error = twin_losses(model, BATCH, BPR, seed=0)
    assert_equal(training_loss(model, BATCH), ranking_loss + error / 2)


def test_gradnorm_measures_gradients_in_the_shared_vectors() -> None:
    """Biases belong to the ranking alone, so they do not count.

    Both losses are the first ones, and α = 0: each weight moves by 1e-4 times its gradient norm, towards equal norms.
    """
    norms = [gradients(task, BATCH)["vectors.weight"].norm() for task in TASKS]
    model = multitask(GradNorm(alpha=0.0, lr=1e-4, ranking=BPR))
    training_loss(model, BATCH)
    sign = 1.0 if norms[0] < norms[1] else -1.0
    expected = torch.stack([1 + 1e-4 * sign * norms[0], 1 - 1e-4 * sign * norms[1]])
    torch.testing.assert_close(model.balance.weight, 2 * expected / expected.sum(), rtol=0, atol=1e-6)
    assert (model.balance.weight - 1).abs().min() > 1e-5


# ---- parameters that a loss trains


@BOTH
def test_bpr_trains_only_the_factorisation_head(shared: bool) -> None:
    by_name = gradients("factorization", BATCH, shared)
    trained = {name for name, gradient in by_name.items() if gradient.any()}
    assert trained == {"vectors.weight", "item_bias.weight"}
    for name in trained:
        assert by_name[name].any(1).all()  # each user and item has a row or is a negative


@BOTH
def test_mse_trains_only_the_regression_head(shared: bool) -> None:
    by_name = gradients("regression", BATCH, shared)
    table = "vectors.weight" if shared else "own_vectors.weight"
    trained = {name for name, gradient in by_name.items() if gradient.any()}
    assert trained == {table, *(name for name in by_name if name.startswith("perceptron"))}
    assert by_name[table][:N_USERS].any(1).all() and by_name[table][N_USERS + ROWS.item].any(1).all()


def test_negatives_are_items_that_the_user_does_not_have() -> None:
    """BPR trains the positive of a row and two negatives; over the seeds, these are all items without a row."""
    model = multitask(Fixed(1.0, 0.0, Sampled(function="bpr", n_negatives=2)))
    for row in range(len(ROWS)):
        user, item = int(ROWS.user[row]), int(ROWS.item[row])
        items, negatives = set(ROWS.item[ROWS.user == user].tolist()), set()
        for seed in range(12):
            model.zero_grad()
            training_loss(model, Ratings(*(column[row : row + 1] for column in BATCH)), seed).backward()
            trained = set((model.vectors.weight.grad[N_USERS:].any(1)).nonzero().flatten().tolist())
            assert item in trained and len(trained) == 3
            negatives |= trained - {item}
        assert negatives == set(range(N_ITEMS)) - items
