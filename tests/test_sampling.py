"""Sampled negatives: distinct, allowed, uniform, reproducible."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from recsweep.errors import UserError
from recsweep.sampling import group_items, sample_negatives


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def cases(draw):
    n_items = draw(st.integers(2, 12))
    excluded = draw(st.lists(st.sets(st.integers(0, n_items - 1), max_size=n_items - 1), min_size=1, max_size=5))
    user = draw(st.lists(st.integers(0, len(excluded) - 1), max_size=8))
    n = draw(st.integers(1, n_items - max(map(len, excluded))))
    return n_items, excluded, user, n


def grouped(excluded, n_items):
    pairs = [(user, item) for user, items in enumerate(excluded) for item in items]
    user, item = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    return group_items(user, item, len(excluded), n_items)


@given(cases(), st.integers(0, 2**31))
def test_negatives_are_distinct_and_allowed(case, seed):
    n_items, excluded, user, n = case
    rows = torch.tensor(user, dtype=torch.int64)
    drawn = sample_negatives(rows, n, grouped(excluded, n_items), n_items, seeded(seed))
    assert drawn.shape == (len(user), n)
    for row, items in zip(user, drawn.tolist(), strict=True):
        assert len(set(items)) == n
        assert set(items) <= set(range(n_items)) - excluded[row]


@given(cases())
def test_items_are_grouped_by_user(case):
    n_items, excluded, _, _ = case
    groups = grouped(excluded, n_items)
    user, item = groups.between(0, len(excluded))
    pairs = [(user, item) for user, items in enumerate(excluded) for item in sorted(items)]
    assert list(zip(user.tolist(), item.tolist(), strict=True)) == pairs


def test_between_counts_users_from_the_first():
    user, item = group_items(torch.tensor([2, 0, 2, 1, 2]), torch.tensor([4, 1, 3, 0, 4]), 3, 5).between(1, 3)
    assert user.tolist() == [0, 1, 1]
    assert item.tolist() == [0, 3, 4]


def test_every_set_of_allowed_items_is_equally_likely():
    # Items 0, 2, 3, 5, 6 are allowed: 10 pairs, 20,000 draws.
    draws = 20_000
    user = torch.zeros(draws, dtype=torch.int64)
    drawn = sample_negatives(user, 2, grouped([{1, 4}], 7), 7, seeded()).sort(dim=1).values
    counts = [(drawn == torch.tensor(pair)).all(1).sum().item() for pair in combinations([0, 2, 3, 5, 6], 2)]
    assert sum(counts) == draws
    assert chisquare(counts).pvalue > 0.001


def test_same_seed_same_negatives():
    user, excluded = torch.arange(50), grouped([{1}] * 50, 100)
    first, again, other = (sample_negatives(user, 5, excluded, 100, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_seed_is_left_alone():
    before = torch.get_rng_state()
    sample_negatives(torch.arange(3), 2, grouped([set()] * 3, 9), 9, seeded())
    assert torch.equal(before, torch.get_rng_state())


def test_a_catalogue_that_is_too_small_is_an_error():
    message = "cannot sample 4 distinct negatives: a user has only 3 of the catalogue's 5 items left"
    with pytest.raises(UserError, match=message):
        sample_negatives(torch.tensor([0, 1]), 4, grouped([{0}, {2, 3}], 5), 5, seeded())
