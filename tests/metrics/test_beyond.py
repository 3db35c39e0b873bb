"""Metrics of recommended items: against twins in plain Python, and by hand."""

from itertools import combinations
from math import log2

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from recsweep.metrics.beyond import diversity, gini, in_long_tail, list_mean, self_information

N_ITEMS = 7
LISTS = st.lists(st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=5, unique=True), min_size=1, max_size=4)
VECTORS = st.lists(st.tuples(*[st.sampled_from([-2.0, 0.0, 1.0, 3.0])] * 3), min_size=N_ITEMS, max_size=N_ITEMS)
CODES = st.lists(st.integers(0, 2), min_size=N_ITEMS, max_size=N_ITEMS)
COUNTS = st.lists(st.integers(0, 4), min_size=1, max_size=12)


def pad(lists):
    """Items [L, 5] and whether they are listed; the places behind a list hold item 1, which does not count."""
    item, is_listed = torch.full((len(lists), 5), 1), torch.zeros(len(lists), 5, dtype=torch.bool)
    for index, items in enumerate(lists):
        item[index, : len(items)], is_listed[index, : len(items)] = tensor(items), True
    return item, is_listed


def cosine(first, second) -> float:
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.dot(first, second) / lengths) if lengths else 0.0


def expected_diversity(items, vectors, codes) -> float:
    pairs = list(combinations(items, 2))
    similarity = [(cosine(vectors[a], vectors[b]) + (codes[a] == codes[b])) / 2 for a, b in pairs]
    return 1 - sum(similarity) / len(pairs) if pairs else np.nan


@settings(deadline=None)
@given(lists=LISTS, vectors=VECTORS, codes=CODES)
def test_diversity_equals_the_twin_over_all_pairs(lists, vectors, codes):
    got = diversity([tensor(vectors), tensor(codes)], *pad(lists))
    expected = [expected_diversity(items, vectors, codes) for items in lists]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_diversity_by_hand():
    # Genres a, ab, none: cosines 1/√2, 0, 0. Codes 4, 4, 5: one pair of three is equal.
    genres, code = tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), tensor([4, 4, 5])
    lists = tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool)
    assert diversity([genres], *lists).item() == pytest.approx(1 - 1 / np.sqrt(2) / 3)
    assert diversity([code], *lists).item() == pytest.approx(2 / 3)
    assert diversity([genres, code], *lists).item() == pytest.approx(1 - (1 / np.sqrt(2) + 1) / 6)


def test_items_of_one_genre_have_no_diversity():
    genres = tensor([[0.1, 0.3]]).repeat(10, 1)
    assert abs(diversity([genres], torch.arange(10)[None], torch.ones(1, 10, dtype=torch.bool)).item()) < 1e-12


@settings(deadline=None)
@given(lists=LISTS, values=st.lists(st.integers(-9, 9), min_size=N_ITEMS, max_size=N_ITEMS))
def test_a_mean_over_a_list_skips_what_is_not_listed(lists, values):
    got = list_mean(tensor(values, dtype=torch.float64), *pad(lists))
    assert got.tolist() == pytest.approx([np.mean([values[item] for item in items]) for items in lists], abs=1e-12)


@given(count=COUNTS)
def test_self_information_is_that_of_the_share_of_interactions(count):
    expected = [-log2(max(n, 1) / max(sum(count), 1)) for n in count]
    assert self_information(tensor(count)).tolist() == pytest.approx(expected, abs=1e-12)


@given(count=COUNTS)
def test_the_head_is_a_fifth_of_the_items_rounded_up(count):
    in_order = sorted(range(len(count)), key=lambda item: (-count[item], item))
    head = {item for place, item in enumerate(in_order) if place < len(count) / 5}
    assert in_long_tail(tensor(count)).tolist() == [item not in head for item in range(len(count))]


def test_of_many_equally_popular_items_the_first_are_the_head():
    assert in_long_tail(torch.ones(1000, dtype=torch.int64)).nonzero().flatten().tolist() == list(range(200, 1000))


@given(exposure=COUNTS.filter(lambda counts: len(counts) > 1 and sum(counts)))
def test_gini_is_the_mean_difference_of_two_items(exposure):
    """Half the mean absolute difference of two different items over the mean exposure."""
    difference = np.mean([abs(a - b) for a, b in combinations(exposure, 2)])
    assert gini(tensor(exposure)).item() == pytest.approx(difference / 2 / np.mean(exposure), abs=1e-12)


@pytest.mark.parametrize(
    ("exposure", "expected"), [([3, 3, 3], 0), ([0, 9, 0, 0], 1), ([1, 0], 1), ([4], np.nan), ([0, 0], np.nan)]
)
def test_gini_by_hand(exposure, expected):
    assert gini(tensor(exposure)).item() == pytest.approx(expected, nan_ok=True)
