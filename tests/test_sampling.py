"""Negatives are distinct, unseen and uniform; slates are independent draws; both are reproducible."""

from collections import Counter
from itertools import combinations, combinations_with_replacement
from math import factorial, prod

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from recsweep.errors import UserError
from recsweep.sampling import group_items, sample_negatives, sample_others, sample_slates, unseen_items


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def cases(draw):
    n_items = draw(st.integers(2, 12))
    excluded = draw(st.lists(st.sets(st.integers(0, n_items - 1), max_size=n_items - 1), min_size=1, max_size=5))
    user = draw(st.lists(st.integers(0, len(excluded) - 1), max_size=8))
    n = draw(st.integers(1, n_items - max(map(len, excluded))))
    return n_items, excluded, user, n


def group(excluded, n_items):
    pairs = [(user, item) for user, items in enumerate(excluded) for item in items]
    user, item = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    return group_items(user, item, len(excluded), n_items)


@given(cases(), st.integers(0, 2**31))
def test_negatives_are_distinct_and_unseen(case, seed):
    n_items, excluded, user, n = case
    rows = torch.tensor(user, dtype=torch.int64)
    negatives = sample_negatives(rows, n, unseen_items(group(excluded, n_items), n_items), make_generator(seed))
    assert negatives.shape == (len(user), n)
    for row, items in zip(user, negatives.tolist(), strict=True):
        assert len(set(items)) == n
        assert set(items) <= set(range(n_items)) - excluded[row]


@given(cases())
def test_items_are_grouped_by_user(case):
    n_items, excluded, _, _ = case
    groups = group(excluded, n_items)
    user, item = groups.pairs_between(0, len(excluded))
    pairs = [(user, item) for user, items in enumerate(excluded) for item in sorted(items)]
    assert list(zip(user.tolist(), item.tolist(), strict=True)) == pairs


def test_pairs_between_count_users_from_the_first():
    user, item = group_items(torch.tensor([2, 0, 2, 1, 2]), torch.tensor([4, 1, 3, 0, 4]), 3, 5).pairs_between(1, 3)
    assert user.tolist() == [0, 1, 1]
    assert item.tolist() == [0, 3, 4]


def test_all_sets_of_unseen_items_are_equally_likely():
    # Items 0, 2, 3, 5, 6 are unseen: 10 pairs, 20,000 draws.
    n_draws = 20_000
    user = torch.zeros(n_draws, dtype=torch.int64)
    pairs = sample_negatives(user, 2, unseen_items(group([{1, 4}], 7), 7), make_generator()).sort(dim=1).values
    counts = [(pairs == torch.tensor(pair)).all(1).sum().item() for pair in combinations([0, 2, 3, 5, 6], 2)]
    assert sum(counts) == n_draws
    assert chisquare(counts).pvalue > 0.001


@given(cases(), st.data(), st.integers(0, 2**31))
def test_others_are_unseen_and_drawn_equally_often(case, data, seed):
    n_items, excluded, user, _ = case
    count = data.draw(st.lists(st.integers(0, 2 * n_items), min_size=len(user), max_size=len(user)))
    user_column, count_column = (torch.tensor(column, dtype=torch.int64) for column in (user, count))
    unseen = unseen_items(group(excluded, n_items), n_items)
    others = sample_others(user_column, count_column, unseen, make_generator(seed)).tolist()
    assert len(others) == sum(count)
    for row, n in zip(user, count, strict=True):
        copies, others = Counter(others[:n]), others[n:]
        allowed = set(range(n_items)) - excluded[row]
        assert copies.keys() <= allowed
        assert {copies[item] for item in allowed} <= {n // len(allowed), -(-n // len(allowed))}


@pytest.mark.parametrize("count", [3, 8])  # 8: all of them once, and 3 twice
def test_all_sets_of_others_are_equally_likely(count):
    # Items 0, 2, 3, 5, 6 are unseen: 10 sets of 3, 20,000 draws.
    unseen = unseen_items(group([{1, 4}], 7), 7)
    rows = torch.zeros(20_000, dtype=torch.int64)
    others = sample_others(rows, torch.full_like(rows, count), unseen, make_generator()).view(-1, count)
    times = torch.zeros(20_000, 7).scatter_add_(1, others, torch.ones(others.shape)) - count // 5
    counts = Counter(tuple(row.nonzero()[:, 0].tolist()) for row in times.clamp(min=0))
    assert counts.keys() == set(combinations([0, 2, 3, 5, 6], 3))
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_others_of_a_user_without_unseen_items():
    with pytest.raises(UserError, match="a user has only 0 of the catalogue's 3 items left"):
        sample_others(torch.tensor([0]), torch.tensor([1]), unseen_items(group([{0, 1, 2}], 3), 3), make_generator())


def test_same_seed_same_negatives():
    user, unseen = torch.arange(50), unseen_items(group([{1}] * 50, 100), 100)
    first, same_seed, new_seed = (sample_negatives(user, 5, unseen, make_generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, same_seed)
    assert not torch.equal(first, new_seed)


def test_the_global_seed_is_not_touched():
    before = torch.get_rng_state()
    sample_negatives(torch.arange(3), 2, unseen_items(group([set()] * 3, 9), 9), make_generator())
    assert torch.equal(before, torch.get_rng_state())


def test_a_catalogue_that_is_too_small_is_an_error():
    message = "cannot sample 4 distinct negatives: a user has only 3 of the catalogue's 5 items left"
    with pytest.raises(UserError, match=message):
        sample_negatives(torch.tensor([0, 1]), 4, unseen_items(group([{0}, {2, 3}], 5), 5), make_generator())


@st.composite
def distributions(draw):
    n_items = draw(st.integers(1, 40))
    masses = st.lists(st.sampled_from([0.0, 0.0, 1e-6, 0.3, 1.0, 50.0]), min_size=n_items, max_size=n_items)
    rows = draw(st.lists(masses.filter(any), min_size=1, max_size=4))
    mass = torch.tensor(rows, dtype=draw(st.sampled_from([torch.float32, torch.float64])))
    return mass / mass.sum(1, keepdim=True)


@given(distributions(), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**31))
@example(torch.tensor([[1.0]]), 3, 4, 0)
@example(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 200, 50, 0)
@example(torch.tensor([[0.0] * 500 + [0.5, 0.0, 0.5] + [0.0] * 500]), 200, 50, 0)
def test_slates_ascend_and_hold_only_items_that_can_be_drawn(probs, n_slates, slate_size, seed):
    slates = sample_slates(probs, n_slates, slate_size, make_generator(seed))
    assert slates.shape == (len(probs), n_slates, slate_size)
    assert slates.min() >= 0 and slates.max() < probs.shape[1]
    assert (slates.diff(dim=2) >= 0).all()
    assert (probs.gather(1, slates.flatten(1).long()) > 0).all()


def skew_distribution(n_items):
    """Log-normal probabilities with an item of 30 %, a range of tiny probabilities and a range of zeros."""
    mass = torch.randn(n_items, generator=make_generator(), dtype=torch.float64).mul(2).exp()
    mass[100:600] *= 1e-4
    mass[700:900] = 0
    mass[50] = mass.sum() * 3 / 7
    return mass / mass.sum()


@pytest.mark.parametrize(
    "probs",
    [torch.full((999,), 1 / 999, dtype=torch.float64), skew_distribution(3883), skew_distribution(1024)],
    ids=["even", "large", "small"],
)
def test_items_are_drawn_with_their_probabilities(probs):
    # 300,000 draws; neighbouring items are pooled to at least 20 expected draws, the rest joins the last pool.
    counts = torch.bincount(
        sample_slates(probs.expand(10, -1), 1000, 30, make_generator()).flatten(), minlength=len(probs)
    )
    observed, expected = [0.0], [0.0]
    for count, mass in zip(counts.tolist(), probs.tolist(), strict=True):
        if expected[-1] >= 20 and sum(expected) < 300_000 - 20:
            observed.append(0.0)
            expected.append(0.0)
        observed[-1] += count
        expected[-1] += mass * 300_000
    assert len(expected) > 100
    assert chisquare(observed, expected).pvalue > 0.001


def test_rare_items_are_drawn():
    # Ten million draws of an item with probability 1e-5: 100 ± 10.
    probs = torch.tensor([[1 - 1e-5, 1e-5]]).expand(10, -1)
    count = sample_slates(probs, 1000, 1000, make_generator()).sum().item()
    assert abs(count - 100) < 40


def test_draws_within_a_slate_are_independent():
    # Every multiset m of 3 items has probability 3! Π p^m / m!.
    p, n_draws = [0.1, 0.2, 0.3, 0.4], 30_000
    slates = sample_slates(torch.tensor(p).expand(100, -1), n_draws // 100, 3, make_generator())
    counts = Counter(map(tuple, slates.flatten(0, 1).tolist()))
    multisets = list(combinations_with_replacement(range(4), 3))
    expected = [
        6 * prod(p[i] for i in multiset) / prod(factorial(multiset.count(i)) for i in set(multiset)) * n_draws
        for multiset in multisets
    ]
    assert chisquare([counts[multiset] for multiset in multisets], expected).pvalue > 0.001


@pytest.mark.parametrize(("rows", "n_slates"), [(1, 2), (2, 1)], ids=["slates of a row", "rows"])
def test_slates_are_independent_of_each_other(rows, n_slates):
    # Two slates of one draw each: a pair of items has probability p p'.
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    pairs = sample_slates(p.expand(20_000 * rows, -1), n_slates, 1, make_generator()).reshape(-1, 2)
    counts = torch.bincount(pairs[:, 0] * 3 + pairs[:, 1], minlength=9)
    assert chisquare(counts, torch.outer(p, p).flatten() * len(pairs)).pvalue > 0.001


def test_each_row_is_drawn_from_its_own_distribution():
    probs = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.2, 0.2, 0.6]])
    slates = sample_slates(probs, 1000, 20, make_generator())
    shares = torch.stack([torch.bincount(row.flatten(), minlength=3) for row in slates]) / 20_000
    assert (shares - probs).abs().max() < 4 * (0.25 / 20_000) ** 0.5


def test_same_seed_same_slates():
    probs = torch.full((3, 50), 0.02)
    before = torch.get_rng_state()
    first, same_seed, new_seed = (sample_slates(probs, 4, 5, make_generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, same_seed)
    assert not torch.equal(first, new_seed)
    assert torch.equal(before, torch.get_rng_state())


def test_slates_of_a_diverged_policy_are_an_error():
    for probs in (torch.full((2, 4), torch.nan), torch.tensor([[1.0, 0.0], [torch.nan, 0.5]]), torch.zeros(1, 3)):
        with pytest.raises(UserError, match="did training diverge"):
            sample_slates(probs, 2, 3, make_generator())


def test_pairs_of_any_users() -> None:
    """Users in any order, repeated, and one without items."""
    items = group_items(torch.tensor([2, 0, 2, 2]), torch.tensor([4, 1, 3, 4]), n_users=3, n_items=5)
    user_index, item = items.pairs_of(torch.tensor([2, 1, 0, 2]))
    assert list(zip(user_index.tolist(), item.tolist(), strict=True)) == [(0, 3), (0, 4), (2, 1), (3, 3), (3, 4)]
