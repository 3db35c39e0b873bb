"""Replay draws in proportion to its priorities, weighs, overwrites and ages as a naive list does, and resumes."""

import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from recsweep.errors import UserError
from recsweep.models.drr.replay import (
    BLOCK,
    EPSILON,
    MAX_TOTAL,
    UNIT,
    Replay,
    Transitions,
    annealed,
    draw_proportional,
)

N, D = 3, 2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def transitions(numbers):
    """One transition for each number, which everything in it tells."""
    user = torch.tensor(numbers, dtype=torch.int64)
    memory = user[:, None] * 10 + torch.arange(N) + 10**9
    action = user[:, None] / 4 + torch.arange(D)
    return Transitions(user, user + 7, memory, action, user / 2, memory + 5, (user % 2).float())


def filled(td_errors, alpha):
    """A full memory of transitions 0, 1, … with these TD errors."""
    n = len(td_errors)
    replay = Replay(N, D, capacity=n, alpha=alpha)
    replay.add(transitions(range(n)))
    replay.update(torch.arange(n), torch.tensor(td_errors, dtype=torch.float64))
    return replay


def in_blocks(masses):
    """Arguments of `draw_proportional` for some first masses."""
    mass = torch.zeros(-(-len(masses) // BLOCK) * BLOCK, dtype=torch.int64)
    mass[: len(masses)] = torch.as_tensor(masses)
    return mass, mass.view(-1, BLOCK).sum(1)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_transitions_are_drawn_in_proportion_to_a_power_of_their_priorities():
    td_error = torch.linspace(-2, 3, 2 * BLOCK + 7).tolist()
    replay, generator = filled(td_error, alpha=0.6), seeded()
    drawn = [int(replay.sample(1, 0.4, generator).place) for _ in range(3000)]
    share = np.array([(abs(error) + EPSILON) ** 0.6 for error in td_error])
    observed = np.bincount(drawn, minlength=len(share))
    # Neighbours together, so that a cell expects 3000 / 15 draws or so.
    expected = np.add.reduceat(share, range(0, 135, 9)) / share.sum() * len(drawn)
    assert chisquare(np.add.reduceat(observed, range(0, 135, 9)), expected).pvalue > 0.01


@given(
    st.lists(st.one_of(st.just(0), st.integers(1, 3), st.integers(1, 2**40)), min_size=1, max_size=3 * BLOCK).filter(
        any
    ),
    st.integers(1, 200),
    st.integers(0, 2**31),
)
def test_a_place_comes_as_often_as_its_share_says_give_or_take_two(masses, n, seed):
    place = draw_proportional(*in_blocks(masses), n, seeded(seed)).tolist()
    assert len(place) == n
    assert place == sorted(place)
    for i, count in Counter(place).items():
        assert masses[i] > 0
        # An interval of length n · P overlaps fewer than n · P + 2 of the unit ones, and holds more than n · P - 2.
        assert count < n * masses[i] / sum(masses) + 2
    for i, mass in enumerate(masses):
        assert place.count(i) > n * mass / sum(masses) - 2


def test_of_as_many_draws_as_equal_places_each_gets_one():
    n = 50_000
    mass = 2**30 + 63  # 2^30 in float32, which would move the last draws by 0.003 of a place
    assert torch.equal(draw_proportional(*in_blocks([mass] * n), n, seeded()), torch.arange(n))


@pytest.mark.parametrize("masses", [[0, 1, 0], [0, 0, MAX_TOTAL, 0], [1, MAX_TOTAL - 2, 1], [0] * BLOCK + [0, 1]])
def test_sums_from_the_least_to_the_largest_are_searched_to_their_ends(masses):
    place = draw_proportional(*in_blocks(masses), 1000, seeded())
    likely = max(range(len(masses)), key=masses.__getitem__)
    assert place.tolist() == [likely] * 1000


def test_the_last_place_is_drawn_by_the_largest_random_number(monkeypatch):
    almost_one = 1 - 2**-53
    monkeypatch.setattr(torch, "rand", lambda n, **_: torch.full((n,), almost_one, dtype=torch.float64))
    # (2 - 1) + 1 - 2^-53 rounds to 2, so the point falls on the sum itself.
    assert draw_proportional(*in_blocks([3, 4]), 2, seeded()).tolist() == [1, 1]


def weighed():
    """α = 1/2 and priorities 1/4, 1/16, 1/64: p^α = 1/2, 1/4, 1/8 with sum 7/8, so P = 4/7, 2/7, 1/7."""
    return filled([1 / 4 - EPSILON, EPSILON - 1 / 16, 1 / 64 - EPSILON], alpha=0.5)


def test_seven_parts_fall_to_sevenths():
    assert weighed().sample(7, 1.0, seeded()).place.tolist() == [0, 0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("beta", "weight"),
    [
        # (N · P)^-1 = 7/12, 7/6, 7/3; the largest is 7/3.
        (1.0, [1 / 4, 1 / 2, 1]),
        (0.5, [1 / 2, (1 / 2) ** 0.5, 1]),
        (0.0, [1.0, 1.0, 1.0]),
    ],
)
def test_weights_worked_by_hand(beta, weight):
    sample = weighed().sample(7, beta, seeded())
    expected = torch.tensor(weight)[sample.place]
    assert sample.weight.dtype == torch.float32
    torch.testing.assert_close(sample.weight, expected, rtol=1e-6, atol=0)


def test_weights_are_divided_by_the_largest_of_the_batch():
    replay = filled([1 - EPSILON, 1 - EPSILON, 3e-6], alpha=1.0)  # the last is one draw in 20,000
    sample = replay.sample(2, 1.0, seeded())
    assert sample.place.tolist() == [0, 1]
    assert sample.weight.tolist() == [1, 1]


def test_alpha_of_zero_draws_uniformly():
    assert filled([0.0, 5.0, 100.0], alpha=0.0).sample(3, 1.0, seeded()).place.tolist() == [0, 1, 2]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="cpprb has no wheels for Python 3.13 and later")
@pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.4), (1.0, 1.0), (0.3, 0.9)])
def test_cpprb_has_the_same_probabilities_and_weights(alpha, beta):
    from cpprb import PrioritizedReplayBuffer

    torch.set_flush_denormal(False)  # which cpprb, compiled with -ffast-math, turns on for the whole process
    n = 100
    td_error = torch.randn(n, generator=seeded(), dtype=torch.float64)
    theirs = PrioritizedReplayBuffer(n, {"user": {"dtype": np.int64}}, alpha=alpha, eps=EPSILON)
    theirs.add(user=np.arange(n))
    theirs.update_priorities(np.arange(n), td_error.abs().numpy())
    ours = filled(td_error.tolist(), alpha)

    their_batch, our_batch = theirs.sample(20_000, beta), ours.sample(20_000, beta, seeded())
    their_weight, our_weight = np.full(n, np.nan), np.full(n, np.nan)
    their_weight[their_batch["indexes"]], our_weight[our_batch.place] = their_batch["weights"], our_batch.weight
    both = ~np.isnan(their_weight) & ~np.isnan(our_weight)
    assert both.sum() > 0.9 * n
    # Theirs are divided by the largest weight of the memory, ours by that of the batch.
    np.testing.assert_allclose(our_weight[both], their_weight[both] / their_weight[both].max(), rtol=1e-5)
    # P is w^(-1/β), up to a factor; both draw from equal parts of the sum.
    share = their_weight[both] ** (-1 / beta)
    count = np.bincount(our_batch.place, minlength=n)[both]
    np.testing.assert_allclose(count, share / share.sum() * count.sum(), atol=2.5)
    np.testing.assert_allclose(count, np.bincount(their_batch["indexes"], minlength=n)[both], atol=4)


class Twin:
    """A replay memory as a list of [number, priority, when it was added]."""

    def __init__(self, capacity):
        self.rows, self.capacity, self.added, self.highest = [None] * capacity, capacity, 0, 1.0

    def add(self, numbers):
        for number in numbers:
            self.rows[self.added % self.capacity] = [number, self.highest, self.added]
            self.added += 1

    def update(self, errors):
        largest = {}
        for place, error in errors:
            largest[place] = max(abs(error), largest.get(place, 0))
        for place, error in largest.items():
            self.rows[place][1] = error + EPSILON
            self.highest = max(self.highest, error + EPSILON)

    @property
    def held(self):
        return [(place, *row) for place, row in enumerate(self.rows) if row]


@st.composite
def histories(draw):
    """Capacity, then additions (of how many) and updates (of which place, by a fraction of those held; TD error)."""
    capacity = draw(st.integers(1, 2 * BLOCK + 5))
    errors = st.lists(st.tuples(st.integers(0, 9), st.floats(-50, 50)), min_size=1, max_size=8)
    return capacity, draw(st.lists(st.tuples(st.integers(1, capacity), errors), min_size=1, max_size=8))


@given(histories(), st.sampled_from([0.0, 0.6, 1.0]))
def test_a_list_holds_the_same_after_any_history(history, alpha):
    capacity, steps = history
    replay, twin = Replay(N, D, capacity=capacity, alpha=alpha), Twin(capacity)
    assert len(replay) == 0
    for n, errors in steps:
        numbers = range(twin.added, twin.added + n)
        replay.add(transitions(numbers))
        twin.add(numbers)
        errors = [(tenth * len(twin.held) // 10, error) for tenth, error in errors]
        place, error = zip(*errors, strict=True)
        replay.update(torch.tensor(place), torch.tensor(error, dtype=torch.float64))
        twin.update(errors)
        place, number, priority, when = (torch.from_numpy(np.array(column)) for column in zip(*twin.held, strict=True))
        assert len(replay) == len(place)
        assert replay.age(place).tolist() == (twin.added - 1 - when).tolist()
        expected = torch.zeros_like(replay.mass, dtype=torch.float64)
        expected[place] = priority**alpha
        torch.testing.assert_close(replay.mass.double() * UNIT, expected, rtol=1e-12, atol=UNIT)
        assert torch.equal(replay.block_mass, replay.mass.view(-1, BLOCK).sum(1))
        sample = replay.sample(20, 0.5, seeded(n))
        position = torch.searchsorted(place, sample.place)
        assert same(sample.transitions, transitions(number[position].tolist()))


def test_a_sample_has_the_types_that_were_added():
    added = transitions(range(5))
    drawn = filled([1.0] * 5, 0.6).sample(2, 0.4, seeded()).transitions
    assert [column.dtype for column in drawn] == [column.dtype for column in added]


def test_the_highest_priority_so_far_outlives_the_transition_that_had_it():
    replay = Replay(N, D, capacity=2, alpha=1.0)
    replay.add(transitions([0]))
    replay.update(torch.tensor([0]), torch.tensor([7 - EPSILON], dtype=torch.float64))
    replay.update(torch.tensor([0]), torch.tensor([2.0]))
    replay.add(transitions([1, 2]))
    assert (replay.mass[:2] * UNIT).tolist() == [7, 7]


def test_td_errors_beyond_all_measure_are_held_to_a_share_of_the_sum():
    replay = filled([1e30, -3e38, 1.0], alpha=1.0)
    assert int(replay.block_mass.sum()) <= MAX_TOTAL
    assert replay.sample(100, 1.0, seeded()).place.unique().tolist() == [0, 1]


def worked(replay, steps, generator):
    """What an agent would do with it; the samples."""
    samples = []
    for _ in range(steps):
        replay.add(transitions(torch.randint(100, (7,), generator=generator).tolist()))
        samples.append(replay.sample(16, 0.4, generator))
        replay.update(samples[-1].place, torch.randn(16, generator=generator))
    return samples


def test_a_resumed_memory_goes_on_as_an_undisturbed_one(tmp_path):
    replay, generator = Replay(N, D, capacity=100, alpha=0.6), seeded()
    worked(replay, 20, generator)
    torch.save({"replay": replay.state_dict(), "generator": generator.get_state()}, tmp_path / "last.ckpt")
    undisturbed = worked(replay, 20, generator)

    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    resumed = Replay(N, D, capacity=100, alpha=0.6)
    resumed.load_state_dict(saved["replay"])
    generator.set_state(saved["generator"])
    for one, other in zip(worked(resumed, 20, generator), undisturbed, strict=True):
        assert same((one.place, one.weight, *one.transitions), (other.place, other.weight, *other.transitions))
    assert same(resumed.buffers(), replay.buffers())


def test_the_generator_alone_decides_what_is_drawn():
    replay = filled(torch.rand(200, generator=seeded()).tolist(), alpha=0.6)
    first = replay.sample(50, 0.4, seeded(1)).place
    torch.rand(9)  # of torch's own generator
    assert torch.equal(replay.sample(50, 0.4, seeded(1)).place, first)
    assert not torch.equal(replay.sample(50, 0.4, seeded(2)).place, first)


def test_neither_sample_nor_memory_hangs_on_a_graph():
    action = torch.ones(1, D, requires_grad=True)
    replay = Replay(N, D, capacity=2, alpha=0.6)
    replay.add(transitions([4])._replace(action=action * 2))
    replay.update(torch.tensor([0]), action.sum(1))
    assert not any(values.requires_grad for values in replay.buffers())
    assert replay.sample(1, 0.4, seeded()).transitions.action.tolist() == [[2, 2]]


def test_a_million_transitions_take_less_than_120_mb():
    replay = Replay(5, 8, capacity=10**6, alpha=0.6)
    assert sum(values.nbytes for values in replay.buffers()) < 120e6


def test_beta_rises_in_a_line_and_stays_at_one():
    # 0.4 + 0.6 · 25,000 / 100,000 = 0.4 + 0.15
    beta = [annealed(step, 0.4, 100_000) for step in (0, 25_000, 100_000, 10**7)]
    assert beta == pytest.approx([0.4, 0.55, 1, 1], abs=1e-12)


def test_more_transitions_than_the_capacity_are_refused_in_one_line():
    replay = Replay(N, D, capacity=4, alpha=0.6)
    with pytest.raises(UserError, match=r"^a replay of capacity=4 cannot hold the 5 transitions of a step; raise it$"):
        replay.add(transitions(range(5)))
    assert len(replay) == 0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_diverged_td_error_is_refused_in_one_line_and_changes_nothing(wrong):
    replay = filled([1.0, 2.0], alpha=0.6)
    before = replay.mass.clone()
    with pytest.raises(UserError, match=r"^training diverged: a TD error is not finite; lower optimizer.lr$"):
        replay.update(torch.tensor([0, 1]), torch.tensor([3.0, wrong]))
    assert torch.equal(replay.mass, before)


def test_an_empty_memory_cannot_be_sampled():
    with pytest.raises(ValueError, match="no transitions"):
        Replay(N, D, capacity=4, alpha=0.6).sample(2, 0.4, seeded())
