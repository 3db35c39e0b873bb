"""Draws from a replay: in proportion to priorities, with importance weights, the same as cpprb's."""

import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from replays import full_replay, torch_generator
from scipy.stats import chisquare

from recsweep.models.drr.replay import BLOCK, EPSILON, MAX_TOTAL, anneal, draw_proportional


def in_blocks(masses):
    """Arguments of `draw_proportional` for the masses of the first positions."""
    mass = torch.zeros(-(-len(masses) // BLOCK) * BLOCK, dtype=torch.int64)
    mass[: len(masses)] = torch.as_tensor(masses)
    return mass, mass.view(-1, BLOCK).sum(1)


def test_transitions_are_drawn_in_proportion_to_a_power_of_their_priorities():
    td_error = torch.linspace(-2, 3, 2 * BLOCK + 7).tolist()
    replay, generator = full_replay(td_error, alpha=0.6), torch_generator()
    draws = [int(replay.sample(1, 0.4, generator).replay_index) for _ in range(3000)]
    share = np.array([(abs(error) + EPSILON) ** 0.6 for error in td_error])
    observed = np.bincount(draws, minlength=len(share))
    # Nine neighbours in one cell, so that a cell expects about 3000 / 15 draws.
    expected = np.add.reduceat(share, range(0, 135, 9)) / share.sum() * len(draws)
    assert chisquare(np.add.reduceat(observed, range(0, 135, 9)), expected).pvalue > 0.01


@given(
    st.lists(st.one_of(st.just(0), st.integers(1, 3), st.integers(1, 2**40)), min_size=1, max_size=3 * BLOCK).filter(
        any
    ),
    st.integers(1, 200),
    st.integers(0, 2**31),
)
def test_the_count_of_a_position_is_its_share_plus_or_minus_two(masses, n, seed):
    index = draw_proportional(*in_blocks(masses), n, torch_generator(seed)).tolist()
    assert len(index) == n
    assert index == sorted(index)
    for i, count in Counter(index).items():
        assert masses[i] > 0
        # An interval of length n · P overlaps fewer than n · P + 2 of the unit ones, and holds more than n · P - 2.
        assert count < n * masses[i] / sum(masses) + 2
    for i, mass in enumerate(masses):
        assert index.count(i) > n * mass / sum(masses) - 2


def test_n_draws_from_n_equal_masses_give_one_each():
    n = 50_000
    mass = 2**30 + 63  # 2^30 in float32, which would shift the last draws by 0.003 of a position
    assert torch.equal(draw_proportional(*in_blocks([mass] * n), n, torch_generator()), torch.arange(n))


@pytest.mark.parametrize("masses", [[0, 1, 0], [0, 0, MAX_TOTAL, 0], [1, MAX_TOTAL - 2, 1], [0] * BLOCK + [0, 1]])
def test_smallest_and_largest_sums_are_searched_to_their_ends(masses):
    index = draw_proportional(*in_blocks(masses), 1000, torch_generator())
    likely = max(range(len(masses)), key=masses.__getitem__)
    assert index.tolist() == [likely] * 1000


def test_the_largest_random_number_draws_the_last_position(monkeypatch):
    almost_one = 1 - 2**-53
    monkeypatch.setattr(torch, "rand", lambda n, **_: torch.full((n,), almost_one, dtype=torch.float64))
    # (2 - 1) + 1 - 2^-53 rounds to 2, so without the clamp the point would be the sum itself.
    assert draw_proportional(*in_blocks([3, 4]), 2, torch_generator()).tolist() == [1, 1]


def sevenths_replay():
    """α = 1/2 and priorities 1/4, 1/16, 1/64: p^α = 1/2, 1/4, 1/8 with sum 7/8, so P = 4/7, 2/7, 1/7."""
    return full_replay([1 / 4 - EPSILON, EPSILON - 1 / 16, 1 / 64 - EPSILON], alpha=0.5)


def test_seven_draws_by_sevenths():
    assert sevenths_replay().sample(7, 1.0, torch_generator()).replay_index.tolist() == [0, 0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("beta", "weight"),
    [
        # (N · P)^-1 = 7/12, 7/6, 7/3; the largest is 7/3.
        (1.0, [1 / 4, 1 / 2, 1]),
        (0.5, [1 / 2, (1 / 2) ** 0.5, 1]),
        (0.0, [1.0, 1.0, 1.0]),
    ],
)
def test_weights_by_hand(beta, weight):
    sample = sevenths_replay().sample(7, beta, torch_generator())
    expected = torch.tensor(weight)[sample.replay_index]
    assert sample.weight.dtype == torch.float32
    torch.testing.assert_close(sample.weight, expected, rtol=1e-6, atol=0)


def test_weights_are_divided_by_the_largest_of_the_batch():
    replay = full_replay([1 - EPSILON, 1 - EPSILON, 3e-6], alpha=1.0)  # the last is one draw in 20,000
    sample = replay.sample(2, 1.0, torch_generator())
    assert sample.replay_index.tolist() == [0, 1]
    assert sample.weight.tolist() == [1, 1]


def test_alpha_of_zero_draws_uniformly():
    sample = full_replay([0.0, 5.0, 100.0], alpha=0.0).sample(3, 1.0, torch_generator())
    assert sample.replay_index.tolist() == [0, 1, 2]


@pytest.fixture
def subnormal_numbers():
    """Keeps them in one test; cpprb, compiled with -ffast-math, flushes them for the whole process when imported."""
    import cpprb  # noqa: F401

    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(True)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="cpprb has no wheels for Python 3.13 and later")
@pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.4), (1.0, 1.0), (0.3, 0.9)])
def test_cpprb_has_the_same_probabilities_and_weights(alpha, beta, subnormal_numbers):
    from cpprb import PrioritizedReplayBuffer

    n = 100
    td_error = torch.randn(n, generator=torch_generator(), dtype=torch.float64)
    theirs = PrioritizedReplayBuffer(n, {"user": {"dtype": np.int64}}, alpha=alpha, eps=EPSILON)
    theirs.add(user=np.arange(n))
    theirs.update_priorities(np.arange(n), td_error.abs().numpy())
    ours = full_replay(td_error.tolist(), alpha)

    their_batch, our_batch = theirs.sample(20_000, beta), ours.sample(20_000, beta, torch_generator())
    their_weight, our_weight = np.full(n, np.nan), np.full(n, np.nan)
    their_weight[their_batch["indexes"]], our_weight[our_batch.replay_index] = their_batch["weights"], our_batch.weight
    in_both = ~np.isnan(their_weight) & ~np.isnan(our_weight)
    assert in_both.sum() > 0.9 * n
    # Theirs are divided by the largest weight in the replay, ours by the largest in the batch.
    np.testing.assert_allclose(our_weight[in_both], their_weight[in_both] / their_weight[in_both].max(), rtol=1e-5)
    # P is w^(-1/β), up to a factor; both draw from equal parts of the sum.
    share = their_weight[in_both] ** (-1 / beta)
    count = np.bincount(our_batch.replay_index, minlength=n)[in_both]
    np.testing.assert_allclose(count, share / share.sum() * count.sum(), atol=2.5)
    np.testing.assert_allclose(count, np.bincount(their_batch["indexes"], minlength=n)[in_both], atol=4)


def test_draws_depend_on_the_generator_alone():
    replay = full_replay(torch.rand(200, generator=torch_generator()).tolist(), alpha=0.6)
    first = replay.sample(50, 0.4, torch_generator(1)).replay_index
    torch.rand(9)  # of torch's own generator
    assert torch.equal(replay.sample(50, 0.4, torch_generator(1)).replay_index, first)
    assert not torch.equal(replay.sample(50, 0.4, torch_generator(2)).replay_index, first)


def test_beta_rises_linearly_and_stays_at_one():
    # 0.4 + 0.6 · 25,000 / 100,000 = 0.4 + 0.15
    beta = [anneal(step, 0.4, 100_000) for step in (0, 25_000, 100_000, 10**7)]
    assert beta == pytest.approx([0.4, 0.55, 1, 1], abs=1e-12)
