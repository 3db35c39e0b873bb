"""Batches: every row once an epoch, in an order that nothing but (seed, epoch) decides."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shell import fit_model, same, tiny
from torch import Generator, Tensor

from recsweep.data.batches import Batches, Ratings
from recsweep.models.layers import GaussianNoise

SIZES = {
    "n": st.integers(1, 60),
    "size": st.integers(1, 20),
    "steps": st.integers(1, 9),
    "epoch": st.integers(0, 3),
    "seed": st.integers(0, 3),
}


def columns(n: int) -> Ratings:
    """Row r is (r, r + 1000, r / 2)."""
    row = torch.arange(n)
    return Ratings(row, row + 1000, row / 2)


def epoch_of(batches: Batches, epoch: int) -> list[Ratings]:
    return [batch for index in range(len(batches)) for batch in batches.group(epoch, index)]


@given(**SIZES)
def test_an_epoch_visits_each_row_once_and_keeps_rows_together(
    n: int, size: int, steps: int, epoch: int, seed: int
) -> None:
    batches = Batches(columns(n), size, steps, seed)
    found = epoch_of(batches, epoch)
    assert len(found) == batches.n_batches == -(-n // size)
    assert [len(batch.user) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert len(found[-1].user) == n - size * (len(found) - 1)  # the smaller last one is kept
    user = torch.cat([batch.user for batch in found])
    assert sorted(user.tolist()) == list(range(n))
    assert torch.equal(torch.cat([batch.item for batch in found]), user + 1000)
    assert torch.equal(torch.cat([batch.rating for batch in found]), user / 2)


@given(**SIZES)
def test_the_order_depends_on_seed_and_epoch_alone(n: int, size: int, steps: int, epoch: int, seed: int) -> None:
    """Neither on the grouping, nor on what was drawn before, nor on torch's global state."""
    batches = Batches(columns(n), size, steps, seed)
    epoch_of(batches, epoch + 1)
    torch.rand(3)
    found, expected = epoch_of(batches, epoch), epoch_of(Batches(columns(n), size, 1, seed), epoch)
    assert all(torch.equal(batch.user, twin.user) for batch, twin in zip(found, expected, strict=True))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 3), st.integers(0, 3))
def test_users_are_shuffled_with_their_rows_together(user: list[int], epoch: int, seed: int) -> None:
    """User after user, each with all rows in the order that they have in the table."""
    batches = Batches(columns(len(user)), 7, 2, seed, together=torch.tensor(user))
    order = batches.order(epoch).tolist()
    users = list(dict.fromkeys(user[row] for row in order))
    assert sorted(users) == sorted(set(user))
    assert order == [row for one in users for row in range(len(user)) if user[row] == one]


def test_epochs_and_seeds_differ() -> None:
    together = torch.arange(50) // 2
    pairs = [
        Batches(columns(50), 50, 1, seed, together=together).order(epoch) for seed in range(3) for epoch in range(3)
    ]
    assert len({tuple(order.tolist()) for order in pairs}) == 9
    orders = [Batches(columns(50), 50, 1, seed).order(epoch).tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9


@given(**SIZES, limit=st.integers(1, 6))
def test_a_limit_cuts_the_epoch(n: int, size: int, steps: int, epoch: int, seed: int, limit: int) -> None:
    limited, whole = Batches(columns(n), size, steps, seed, limit), Batches(columns(n), size, steps, seed)
    found, expected = epoch_of(limited, epoch), epoch_of(whole, epoch)[:limit]
    assert limited.n_batches == len(found)
    assert limited.n_rows == sum(len(batch.user) for batch in found)
    assert all(torch.equal(batch.user, twin.user) for batch, twin in zip(found, expected, strict=True))


def test_every_epoch_has_a_generator_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, forward = [], GaussianNoise.forward

    def note_and_add(self: GaussianNoise, x: Tensor, generator: Generator) -> Tensor:
        seeds.append(generator.initial_seed())
        return forward(self, x, generator)

    monkeypatch.setattr(GaussianNoise, "forward", note_and_add)
    words = ["trainer.max_epochs=3", "regularization.rating_noise=1.0"]
    for run, seed in enumerate((0, 0, 1)):
        fit_model(tiny(*words, f"seed={seed}"), tmp_path / str(run))
    first, again, other = (seeds[run * len(seeds) // 3 :][: len(seeds) // 3] for run in range(3))
    assert len(set(first)) == 3
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize("scheduler", ["plateau", "one_cycle"])
def test_grouping_steps_changes_no_weight(scheduler: str, tmp_path: Path) -> None:
    words = [f"scheduler={scheduler}", "regularization.rating_noise=0.1", "regularization.augmentation=0.3"]
    models = [
        fit_model(tiny(*words, f"trainer.steps_per_call={steps}"), tmp_path / str(steps)).state_dict()
        for steps in (1, 7, 64)
    ]
    assert same(models[0], models[1])
    assert same(models[0], models[2])
