"""A replay stores, overwrites and ages transitions as a plain list does, and resumes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from replays import D, N, full_replay, torch_generator, transitions

from recsweep.errors import UserError
from recsweep.models.drr.replay import BLOCK, EPSILON, MAX_TOTAL, UNIT, Replay


def equal_tensors(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


class Twin:
    """A replay as a list of [number, priority, step at which it was added]."""

    def __init__(self, capacity):
        self.rows, self.capacity, self.added, self.highest = [None] * capacity, capacity, 0, 1.0

    def add(self, numbers):
        for number in numbers:
            self.rows[self.added % self.capacity] = [number, self.highest, self.added]
            self.added += 1

    def update(self, errors):
        largest = {}
        for index, error in errors:
            largest[index] = max(abs(error), largest.get(index, 0))
        for index, error in largest.items():
            self.rows[index][1] = error + EPSILON
            self.highest = max(self.highest, error + EPSILON)

    def content(self):
        return [(index, *row) for index, row in enumerate(self.rows) if row]


@st.composite
def histories(draw):
    """A capacity; then additions (a number) and updates (positions as tenths of the content, and TD errors)."""
    capacity = draw(st.integers(1, 2 * BLOCK + 5))
    errors = st.lists(st.tuples(st.integers(0, 9), st.floats(-50, 50, allow_subnormal=False)), min_size=1, max_size=8)
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
        errors = [(tenth * len(twin.content()) // 10, error) for tenth, error in errors]
        index, error = zip(*errors, strict=True)
        replay.update(torch.tensor(index), torch.tensor(error, dtype=torch.float64))
        twin.update(errors)
        columns = zip(*twin.content(), strict=True)
        index, number, priority, added_at = (torch.from_numpy(np.array(column)) for column in columns)
        assert len(replay) == len(index)
        assert replay.age(index).tolist() == (twin.added - 1 - added_at).tolist()
        expected = torch.zeros_like(replay.mass, dtype=torch.float64)
        expected[index] = priority**alpha
        torch.testing.assert_close(replay.mass.double() * UNIT, expected, rtol=1e-12, atol=UNIT)
        assert torch.equal(replay.block_mass, replay.mass.view(-1, BLOCK).sum(1))
        sample = replay.sample(20, 0.5, torch_generator(n))
        position = torch.searchsorted(index, sample.replay_index)
        assert equal_tensors(sample.transitions, transitions(number[position].tolist()))


def test_a_sample_has_the_types_that_were_added():
    added = transitions(range(5))
    sample = full_replay([1.0] * 5, 0.6).sample(2, 0.4, torch_generator()).transitions
    assert [column.dtype for column in sample] == [column.dtype for column in added]


def test_the_highest_priority_is_kept_after_its_transition_is_overwritten():
    replay = Replay(N, D, capacity=2, alpha=1.0)
    replay.add(transitions([0]))
    replay.update(torch.tensor([0]), torch.tensor([7 - EPSILON], dtype=torch.float64))
    replay.update(torch.tensor([0]), torch.tensor([2.0]))
    replay.add(transitions([1, 2]))
    assert (replay.mass[:2] * UNIT).tolist() == [7, 7]


def test_huge_td_errors_are_clamped_to_an_equal_share_of_the_sum():
    replay = full_replay([1e30, -3e38, 1.0], alpha=1.0)
    assert int(replay.block_mass.sum()) <= MAX_TOTAL
    assert replay.sample(100, 1.0, torch_generator()).replay_index.unique().tolist() == [0, 1]


def use_replay(replay, steps, generator):
    """The samples of some steps in which transitions are added, drawn and updated."""
    samples = []
    for _ in range(steps):
        replay.add(transitions(torch.randint(100, (7,), generator=generator).tolist()))
        samples.append(replay.sample(16, 0.4, generator))
        replay.update(samples[-1].replay_index, torch.randn(16, generator=generator))
    return samples


def test_a_resumed_replay_continues_like_an_uninterrupted_one(tmp_path):
    replay, generator = Replay(N, D, capacity=100, alpha=0.6), torch_generator()
    use_replay(replay, 20, generator)
    torch.save({"replay": replay.state_dict(), "generator": generator.get_state()}, tmp_path / "last.ckpt")
    uninterrupted = use_replay(replay, 20, generator)

    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    resumed = Replay(N, D, capacity=100, alpha=0.6)
    resumed.load_state_dict(saved["replay"])
    generator.set_state(saved["generator"])
    for sample, expected in zip(use_replay(resumed, 20, generator), uninterrupted, strict=True):
        assert equal_tensors((sample.replay_index, sample.weight), (expected.replay_index, expected.weight))
        assert equal_tensors(sample.transitions, expected.transitions)
    assert equal_tensors(resumed.buffers(), replay.buffers())


def test_neither_samples_nor_the_replay_need_gradients():
    action = torch.ones(1, D, requires_grad=True)
    replay = Replay(N, D, capacity=2, alpha=0.6)
    replay.add(transitions([4])._replace(action=action * 2))
    replay.update(torch.tensor([0]), action.sum(1))
    assert not any(values.requires_grad for values in replay.buffers())
    assert replay.sample(1, 0.4, torch_generator()).transitions.action.tolist() == [[2, 2]]


def test_a_million_transitions_take_less_than_120_mb():
    replay = Replay(5, 8, capacity=10**6, alpha=0.6)
    assert sum(values.nbytes for values in replay.buffers()) < 120e6


def test_more_transitions_than_the_capacity_are_an_error_of_one_line():
    replay = Replay(N, D, capacity=4, alpha=0.6)
    with pytest.raises(UserError, match=r"^a replay of capacity=4 cannot hold the 5 transitions of a step; raise it$"):
        replay.add(transitions(range(5)))
    assert len(replay) == 0


@pytest.mark.parametrize("error", [float("nan"), float("inf"), -float("inf")])
def test_a_diverged_td_error_is_an_error_of_one_line_and_changes_nothing(error):
    replay = full_replay([1.0, 2.0], alpha=0.6)
    before = replay.mass.clone()
    with pytest.raises(UserError, match=r"^training diverged: a TD error is not finite; lower optimizer.lr$"):
        replay.update(torch.tensor([0, 1]), torch.tensor([3.0, error]))
    assert torch.equal(replay.mass, before)


def test_an_empty_replay_cannot_be_sampled():
    with pytest.raises(ValueError, match="no transitions"):
        Replay(N, D, capacity=4, alpha=0.6).sample(2, 0.4, torch_generator())
