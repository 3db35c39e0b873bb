"""Ranking and rating in one network: heads and losses against twins in plain Python, and what reaches which table."""

from copy import deepcopy
from functools import cache
from math import exp, log1p
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from rows import interactions
from shell import SYNTHETIC, read_metrics, tiny, train_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from recsweep.data.batches import Ratings
from recsweep.data.schema import Interactions
from recsweep.evaluation import RatingScorer
from recsweep.models.base import Training
from recsweep.models.multitask import Multitask
from recsweep.runs import build
from recsweep.sampling import group_items, sample_negatives, unseen
from recsweep.seeding import generator

N_USERS, N_ITEMS, DIM, HIDDEN = 4, 7, 3, 5
ROWS = interactions(
    [(0, 1, 5), (0, 3, 2), (0, 4, 4), (1, 2, 1), (1, 0, 3), (2, 5, 5), (3, 0, 4), (3, 6, 1)], N_USERS, N_ITEMS
)
BATCH = Ratings(ROWS.user, ROWS.item, ROWS.rating)
MEAN = 25 / 8
TASKS = ("factorization", "regression")
NOTED = [f"train/{task}_{what}" for task in TASKS for what in ("loss", "weight")]
BOTH = pytest.mark.parametrize("shared", [True, False], ids=["shared", "separate"])


@cache
def configured(*words: str) -> DictConfig:
    return tiny("model=multitask", "regularization.dropout=0", *words)


def training(*words: str) -> Training:
    """A new one every time, for a balance may learn."""
    return build.training(configured(*words))


def multitask(*words: str, shared: bool = True, dim: int = DIM, hidden: int = HIDDEN) -> Multitask:
    """A model whose every parameter is random."""
    options = {"embedding_dim": dim, "hidden": [hidden], "shared_embeddings": shared, "init_std": 1.0}
    made = Multitask(ROWS, training(*words), **options)
    for place, parameter in enumerate(made.parameters()):
        torch.nn.init.normal_(parameter, generator=generator(place))
    return made


def lost(model: Multitask, batch: Ratings, seed: int = 0) -> Tensor:
    """The training loss, with negatives from the generator of this seed."""
    model.generator, model.noted = generator(seed), {}
    return model.training_loss(batch)


def slopes(task: str, batch: Ratings, shared: bool = True) -> dict[str, Tensor]:
    """Gradients of one task's loss, by parameter."""
    words = [f"loss.{name}_weight={int(name == task)}" for name in TASKS]
    model = multitask(*words, shared=shared)
    lost(model, batch).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def moved(model: Multitask, direction: list[Tensor], by: float) -> Multitask:
    """A copy whose parameters are `by` steps further."""
    copy = deepcopy(model)
    with torch.no_grad():
        for parameter, way in zip(copy.parameters(), direction, strict=True):
            parameter += by * way
    return copy


def every_pair() -> tuple[Tensor, Tensor]:
    user, item = torch.cartesian_prod(torch.arange(N_USERS), torch.arange(N_ITEMS)).T
    return user, item


def assert_equal(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-5, atol=1e-5)


# ---- heads, as sums of products of plain numbers


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def score_of(model: Multitask, user: int, item: int) -> float:
    """<p_u, q_i> + b_i."""
    rows = model.vectors.weight.tolist()
    return dot(rows[user], rows[N_USERS + item]) + model.item_bias.weight[item].item()


def rating_of(model: Multitask, user: int, item: int) -> float:
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
    user, item = every_pair()
    pairs = list(zip(user.tolist(), item.tolist(), strict=True))
    assert_equal(model.score(user, item), [score_of(model, *pair) for pair in pairs])
    assert_equal(model.rate(user, item), [rating_of(model, *pair) for pair in pairs])
    users = torch.tensor([2, 0, 2])
    assert_equal(model.score_all(users), [[score_of(model, u, i) for i in range(N_ITEMS)] for u in users.tolist()])
    assert isinstance(model, RatingScorer)


@BOTH
@torch.no_grad()
def test_a_batch_of_one_keeps_its_dimension(shared: bool) -> None:
    model, one = multitask(shared=shared).eval(), torch.tensor([3])
    assert (model.score(one, one).shape, model.rate(one, one).shape, model.score_all(one).shape) == (
        (1,),
        (1,),
        (1, N_ITEMS),
    )


def test_the_regression_head_is_as_wide_as_the_exercises() -> None:
    layers = multitask(dim=32, hidden=64).perceptron
    assert [type(layer).__name__ for layer in layers] == ["Linear", "ReLU", "Linear"]
    assert [tuple(layers[place].weight.shape) for place in (0, 2)] == [(64, 96), (1, 64)]


def size(model: Multitask) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_separate_embeddings_are_another_table() -> None:
    """(4 + 7) · 32 and 7 biases, 96 · 64 + 64 and 64 + 1 of the head; the other table has 11 · 32."""
    shared, separate = (multitask(shared=shared, dim=32, hidden=64) for shared in (True, False))
    assert size(shared) == 11 * 32 + 7 + 96 * 64 + 64 + 64 + 1
    assert size(separate) - size(shared) == 11 * 32
    assert size(multitask("loss=uncertainty", dim=32, hidden=64)) - size(shared) == 2  # a variance for each task


# ---- the losses


def twin(model: Multitask, batch: Ratings, function: str, n_negatives: int, seed: int) -> tuple[float, float]:
    """Both losses of a batch, row by row, against the negatives that the seed gives."""
    allowed = unseen(group_items(ROWS.user, ROWS.item, N_USERS, N_ITEMS), N_ITEMS)
    negatives = sample_negatives(batch.user, n_negatives, allowed, generator(seed))
    choices, errors = [], []
    for user, item, rating, others in zip(*(column.tolist() for column in (*batch, negatives)), strict=True):
        odds = [exp(score_of(model, user, other) - score_of(model, user, item)) for other in others]
        choices += [log1p(odd) for odd in odds] if function == "bpr" else [log1p(sum(odds))]
        errors.append((rating_of(model, user, item) - rating) ** 2)
    return sum(choices) / len(choices), sum(errors) / len(errors)


@BOTH
@pytest.mark.parametrize(("function", "n_negatives"), [("bpr", 1), ("bpr", 3), ("softmax", 3)])
@pytest.mark.parametrize(("factorization", "regression"), [(0.995, 0.005), (0.5, 0.5), (0.0, 1.0), (2.0, 0.0)])
def test_training_loss_equals_the_twin(
    factorization: float, regression: float, function: str, n_negatives: int, shared: bool
) -> None:
    weights = [f"loss.factorization_weight={factorization}", f"loss.regression_weight={regression}"]
    ranking = [f"loss.ranking.function={function}", f"loss.ranking.n_negatives={n_negatives}"]
    model = multitask(*weights, *ranking, shared=shared)
    choice, error = twin(model, BATCH, function, n_negatives, seed=3)
    assert_equal(lost(model, BATCH, seed=3), factorization * choice + regression * error)
    noted = {name: torch.stack(values).tolist() for name, values in model.noted.items()}
    assert noted == {
        name: [pytest.approx(value, rel=1e-5)]
        for name, value in zip(NOTED, (choice, factorization, error, regression), strict=True)
    }


@BOTH
def test_gradients_equal_finite_differences(shared: bool) -> None:
    """Along a random direction through all parameters."""
    model = multitask("loss=uncertainty", shared=shared).double()
    batch, parameters = BATCH._replace(rating=BATCH.rating.double()), list(model.parameters())
    direction = [
        torch.randn(p.shape, generator=generator(9, place), dtype=p.dtype) for place, p in enumerate(parameters)
    ]
    slopes = torch.autograd.grad(lost(model, batch), parameters)
    ahead, behind = (lost(moved(model, direction, by), batch) for by in (1e-6, -1e-6))
    along = sum((slope * way).sum() for slope, way in zip(slopes, direction, strict=True))
    torch.testing.assert_close(along, (ahead - behind) / 2e-6, rtol=1e-6, atol=0)


@BOTH
def test_uncertainty_and_what_it_starts_from(shared: bool) -> None:
    """σ² = 1, so L_F + L_R / 2."""
    model = multitask("loss=uncertainty", shared=shared)
    torch.nn.init.zeros_(model.balance.log_variance)
    choice, error = twin(model, BATCH, "bpr", 1, seed=0)
    assert_equal(lost(model, BATCH), choice + error / 2)


def test_gradnorm_measures_the_pull_at_the_shared_vectors() -> None:
    """Biases are the ranking's alone.

    Both tasks are where they started, and α = 0: the pulls come closer by a step of 1e-4 times their lengths.
    """
    pulls = [slopes(task, BATCH)["vectors.weight"].norm() for task in TASKS]
    model = multitask("loss=gradnorm", "loss.alpha=0", "loss.lr=0.0001")
    lost(model, BATCH)
    towards = 1.0 if pulls[0] < pulls[1] else -1.0
    moved = torch.stack([1 + 1e-4 * towards * pulls[0], 1 - 1e-4 * towards * pulls[1]])
    torch.testing.assert_close(model.balance.weight, 2 * moved / moved.sum(), rtol=0, atol=1e-6)
    assert (model.balance.weight - 1).abs().min() > 1e-5


# ---- what a loss reaches


@BOTH
def test_bpr_reaches_the_factorisation_alone(shared: bool) -> None:
    found = slopes("factorization", BATCH, shared)
    reached = {name for name, slope in found.items() if slope.any()}
    assert reached == {"vectors.weight", "item_bias.weight"}
    for name in reached:
        assert found[name].any(1).all()  # every user and item has a row or is a negative


@BOTH
def test_mse_reaches_the_regression_alone(shared: bool) -> None:
    found = slopes("regression", BATCH, shared)
    table = "vectors.weight" if shared else "own_vectors.weight"
    reached = {name for name, slope in found.items() if slope.any()}
    assert reached == {table, *(name for name in found if name.startswith("perceptron"))}
    assert found[table][:N_USERS].any(1).all() and found[table][N_USERS + ROWS.item].any(1).all()


def test_negatives_are_what_the_user_does_not_have() -> None:
    """Of every row; the items that BPR reaches in it are the positive and two others, in time all that are left."""
    model = multitask("loss.factorization_weight=1", "loss.regression_weight=0", "loss.ranking.n_negatives=2")
    for row in range(len(ROWS)):
        user, item = int(ROWS.user[row]), int(ROWS.item[row])
        own, drawn = set(ROWS.item[ROWS.user == user].tolist()), set()
        for seed in range(20):
            model.zero_grad()
            lost(model, Ratings(*(column[row : row + 1] for column in BATCH)), seed).backward()
            reached = set((model.vectors.weight.grad[N_USERS:].any(1)).nonzero().flatten().tolist())
            assert item in reached and len(reached) == 3
            drawn |= reached - {item}
        assert drawn == set(range(N_ITEMS)) - own


# ---- learning

N = 40


def halves() -> Interactions:
    """User u rates 5 the items of the same parity but for item u + 2, and 1 the items u + 1, u + 3 and u + 5."""
    gaps = [*((gap, 5) for gap in range(0, N, 2) if gap != 2), (1, 1), (3, 1), (5, 1)]
    return interactions([(user, (user + gap) % N, rating) for user in range(N) for gap, rating in gaps], N, N)


def learned(loss: str, shared: bool) -> Multitask:
    """A model of `halves` after 60 steps."""
    options = {"embedding_dim": 8, "hidden": [16], "shared_embeddings": shared, "init_std": 0.1}
    model = Multitask(halves(), training(f"loss={loss}", "loss.ranking.n_negatives=4"), **options)
    model.generator, model.noted = generator(0), {}
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=0.02), model.columns(halves())
    for _ in range(60):
        optimizer.zero_grad()
        model.training_loss(batch).backward()
        optimizer.step()
    return model.eval()


LEARNERS = [
    ("bpr_mse_50_50", True),
    ("bpr_mse_50_50", False),
    ("uncertainty", True),
    ("uncertainty", False),
    ("gradnorm", True),
]


@pytest.mark.parametrize(("loss", "shared"), LEARNERS)
def test_it_learns_halves(loss: str, shared: bool) -> None:
    """What a user misses of their own half ends above all of the other half, and is expected to be rated 5, not 1."""
    model, user = learned(loss, shared), torch.arange(N)
    own, others = (user + 2) % N, (user[:, None] + torch.arange(7, N, 2)) % N
    with torch.no_grad():
        scores = model.score_all(user)
        assert (scores[user, own] > scores.gather(1, others).amax(1)).all()
        assert (model.rate(user, own) - 5).square().mean() < 0.1
        assert (model.rate(user[:, None].expand_as(others).flatten(), others.flatten()) - 1).square().mean() < 0.1


def weights(loss: str) -> Tensor:
    """[2, 2] of the first step and the last, the ranking's first."""
    noted = learned(loss, shared=True).noted
    return torch.stack([torch.stack(noted[f"train/{task}_weight"])[[0, -1]] for task in TASKS], 1)


def test_fixed_weights_stay() -> None:
    assert weights("bpr_mse_50_50").tolist() == [[1 / 2, 1 / 2]] * 2


def test_uncertainty_falls_with_both_losses() -> None:
    """And so both weigh more."""
    first, last = weights("uncertainty")
    assert first.tolist() == [1, 1 / 2]
    assert (last > 1.2 * first).all()


def test_gradnorm_favours_the_slower_task() -> None:
    """Which here is the ranking: MSE falls to a hundredth, and BPR does not."""
    first, last = weights("gradnorm")
    assert last[0] > 1.02 > first[0]
    assert_equal(torch.stack([first.sum(), last.sum()]), [2.0, 2.0])


# ---- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["model=multitask", "loss=gradnorm", *SYNTHETIC, "trainer.max_epochs=3", "trainer.batch_size=64"]
    return train_run(tmp_path_factory.mktemp("run"), *words)


def test_tensorboard_holds_both_losses_and_their_weights(run: Path) -> None:
    events = EventAccumulator(str(run / "tb")).Reload()
    curves = {tag: [event.value for event in events.Scalars(tag)] for tag in [*NOTED, "val/joint", "val/mrr_all"]}
    assert {len(curve) for curve in curves.values()} == {3}  # epochs
    loss_f, weight_f, loss_r, weight_r = (curves[tag] for tag in NOTED)
    assert [f + r for f, r in zip(weight_f, weight_r, strict=True)] == pytest.approx([2, 2, 2])
    assert len(set(weight_f)) == 3
    assert loss_f[2] < loss_f[0] and loss_r[2] < loss_r[0]


def test_metrics_json_tells_both_tasks_apart(run: Path) -> None:
    said, events = read_metrics(run), EventAccumulator(str(run / "tb")).Reload()
    assert said["objective"] == {"name": "val/joint", "value": said["metrics"]["val/joint"], "mode": "max"}
    for part in ("val", "test"):
        found = {name: said["metrics"][f"{part}/{name}"] for name in ("joint", "mrr_all", "mse", "rmse", "ndcg@10")}
        assert found["joint"] == pytest.approx(found["mrr_all"] - found["mse"])
        assert found["rmse"] ** 2 == pytest.approx(found["mse"])
    joint = [event.value for event in events.Scalars("val/joint")]
    chosen = joint.index(max(joint))
    assert said["training"] == {
        name: pytest.approx(events.Scalars(name)[chosen].value) for name in [*NOTED, "train/loss"]
    }


def test_what_is_known_of_the_data_is_judged_by_both_tasks(run: Path) -> None:
    """The policy that exposed users to items ranks, and expected ratings rate: each better than three epochs do."""
    said = read_metrics(run)
    assert said["oracle"].keys() == {name for name in said["metrics"] if name.startswith("test/")}
    assert said["oracle"]["test/mse"] < said["metrics"]["test/mse"]
    assert said["oracle"]["test/mrr_all"] > said["metrics"]["test/mrr_all"]
