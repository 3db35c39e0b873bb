"""The multitask model learns both tasks, and each balance weighs them as its paper says."""

from functools import cache

import pytest
import torch
from rows import interactions
from shell import tiny_config
from torch import Tensor

from recsweep.data.schema import Interactions
from recsweep.models.multitask import TASKS, Multitask
from recsweep.runs import build
from recsweep.seeding import generator

pytestmark = pytest.mark.xdist_group("multitask_learning")  # one process trains each model once
N = 40


def halves() -> Interactions:
    """User u rates 5 the items of the same parity except item u + 2, and 1 the items u + 1, u + 3 and u + 5."""
    gaps = [*((gap, 5) for gap in range(0, N, 2) if gap != 2), (1, 1), (3, 1), (5, 1)]
    return interactions([(user, (user + gap) % N, rating) for user in range(N) for gap, rating in gaps], N, N)


@cache
def learn_halves(loss: str, shared: bool) -> Multitask:
    """A model of `halves` after 60 steps; treat it as read-only."""
    overrides = ["model=multitask", "regularization.dropout=0", f"loss={loss}", "loss.ranking.n_negatives=4"]
    options = {"embedding_dim": 8, "hidden": [16], "shared_embeddings": shared, "init_std": 0.1}
    model = Multitask(halves(), build.training(tiny_config(*overrides)), **options)
    model.generator, model.notes = generator(0), {}
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
    """The missing item of a user's half ends above all items of the other half, with a rating near 5 against 1."""
    model, user = learn_halves(loss, shared), torch.arange(N)
    missing, other_half = (user + 2) % N, (user[:, None] + torch.arange(7, N, 2)) % N
    with torch.no_grad():
        scores = model.score_all(user)
        assert (scores[user, missing] > scores.gather(1, other_half).amax(1)).all()
        assert (model.rate(user, missing) - 5).square().mean() < 0.1
        ratings = model.rate(user[:, None].expand_as(other_half).flatten(), other_half.flatten())
        assert (ratings - 1).square().mean() < 0.1


def first_and_last_weights(loss: str) -> Tensor:
    """[2, 2] weights of the first step and the last, the ranking's first."""
    notes = learn_halves(loss, True).notes
    return torch.stack([torch.stack(notes[f"train/{task}_weight"])[[0, -1]] for task in TASKS], 1)


def test_fixed_weights_stay() -> None:
    assert first_and_last_weights("bpr_mse_50_50").tolist() == [[1 / 2, 1 / 2]] * 2


def test_uncertainty_weighs_falling_losses_more() -> None:
    first, last = first_and_last_weights("uncertainty")
    assert first.tolist() == [1, 1 / 2]
    assert (last > 1.2 * first).all()


def test_gradnorm_favours_the_slower_task() -> None:
    """That is the ranking here: MSE falls to a hundredth, and BPR does not."""
    first, last = first_and_last_weights("gradnorm")
    assert last[0] > 1.02 > first[0]
    sums = torch.stack([first.sum(), last.sum()])
    torch.testing.assert_close(sums, torch.tensor([2.0, 2.0]), rtol=1e-5, atol=1e-5)
