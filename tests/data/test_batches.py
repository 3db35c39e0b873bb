"""Batches: every row once per epoch, in an order that depends only on (seed, epoch)."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shell import equal_weights, fit_model, tiny_config
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


def epoch_batches(batches: Batches, epoch: int) -> list[Ratings]:
    return [batch for index in range(len(batches)) for batch in batches.group(epoch, index)]


@given(**SIZES)
def test_an_epoch_visits_each_row_once_and_keeps_columns_aligned(
    n: int, size: int, steps: int, epoch: int, seed: int
) -> None:
    batches = Batches(columns(n), size, steps, seed)
    visited = epoch_batches(batches, epoch)
    assert len(visited) == batches.n_batches == -(-n // size)
    assert [len(batch.user) for batch in visited[:-1]] == [size] * (len(visited) - 1)
    assert len(visited[-1].user) == n - size * (len(visited) - 1)  # the last batch may be smaller
    user = torch.cat([batch.user for batch in visited])
    assert sorted(user.tolist()) == list(range(n))
    assert torch.equal(torch.cat([batch.item for batch in visited]), user + 1000)
    assert torch.equal(torch.cat([batch.rating for batch in visited]), user / 2)


def users_of(batches: list[Ratings]) -> list[list[int]]:
    return [batch.user.tolist() for batch in batches]


@given(**SIZES)
def test_the_order_depends_on_seed_and_epoch_alone(n: int, size: int, steps: int, epoch: int, seed: int) -> None:
    """Not on the size of groups, on earlier draws, or on torch's global state."""
    batches = Batches(columns(n), size, steps, seed)
    epoch_batches(batches, epoch + 1)
    torch.rand(3)
    twin = Batches(columns(n), size, 1, seed)
    assert users_of(epoch_batches(batches, epoch)) == users_of(epoch_batches(twin, epoch))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 3), st.integers(0, 3))
def test_users_are_shuffled_as_blocks_of_rows(user: list[int], epoch: int, seed: int) -> None:
    """User after user, each with all their rows in the order of the table."""
    batches = Batches(columns(len(user)), 7, 2, seed, shuffle_by=torch.tensor(user))
    order = batches.order(epoch).tolist()
    users = list(dict.fromkeys(user[row] for row in order))
    assert sorted(users) == sorted(set(user))
    assert order == [row for block in users for row in range(len(user)) if user[row] == block]


@pytest.mark.parametrize("shuffle_by", [None, torch.arange(50) // 2])
def test_epochs_and_seeds_differ(shuffle_by: Tensor | None) -> None:
    batches = [Batches(columns(50), 50, 1, seed, shuffle_by=shuffle_by) for seed in range(3)]
    assert len({tuple(of_seed.order(epoch).tolist()) for of_seed in batches for epoch in range(3)}) == 9


@given(**SIZES, limit=st.integers(1, 6))
def test_a_limit_cuts_the_epoch(n: int, size: int, steps: int, epoch: int, seed: int, limit: int) -> None:
    limited, unlimited = Batches(columns(n), size, steps, seed, limit), Batches(columns(n), size, steps, seed)
    visited = epoch_batches(limited, epoch)
    assert limited.n_batches == len(visited)
    assert limited.n_rows == sum(len(batch.user) for batch in visited)
    assert users_of(visited) == users_of(epoch_batches(unlimited, epoch)[:limit])


def test_each_epoch_has_its_own_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, forward = [], GaussianNoise.forward

    def note_seed_and_add_noise(self: GaussianNoise, x: Tensor, generator: Generator) -> Tensor:
        seeds.append(generator.initial_seed())
        return forward(self, x, generator)

    monkeypatch.setattr(GaussianNoise, "forward", note_seed_and_add_noise)
    overrides = ["trainer.max_epochs=3", "regularization.rating_noise=1.0", "trainer.limit_batches=3"]
    cfg = tiny_config(*overrides)
    for run, seed in enumerate((0, 0, 1)):
        cfg.seed = seed
        fit_model(cfg, tmp_path / str(run))
    first, same_seed, next_seed = (seeds[run * len(seeds) // 3 :][: len(seeds) // 3] for run in range(3))
    assert len(set(first)) == 3
    assert first == same_seed
    assert not set(first) & set(next_seed)


@pytest.mark.parametrize("scheduler", ["plateau", "one_cycle"])
def test_grouping_steps_changes_no_weight(scheduler: str, tmp_path: Path) -> None:
    overrides = [f"scheduler={scheduler}", "regularization.rating_noise=0.1", "regularization.augmentation=0.3"]
    cfg = tiny_config(*overrides)
    models = []
    for steps in (1, 7, 64):
        cfg.trainer.steps_per_call = steps
        models.append(fit_model(cfg, tmp_path / str(steps)).state_dict())
    assert equal_weights(models[0], models[1])
    assert equal_weights(models[0], models[2])
