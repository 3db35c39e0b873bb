"""Ranking metrics: by hand, as fractions, and against a list sorted in plain Python."""

from fractions import Fraction
from math import inf, log2

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsweep.metrics.ranking import (
    average_precision,
    coverage,
    hit_rate,
    mean_reciprocal_rank,
    ndcg,
    per_list,
    precision,
    ranks,
    recall,
    reciprocal_rank,
)

# Three lists: relevant items at ranks 1, 3 and 6; at rank 4; at ranks 2, 3, 4 and 5.
RANK = torch.tensor([[1, 3, 6, inf], [4, inf, inf, inf], [2, 3, 4, 5]], dtype=torch.float64)
N_RELEVANT = torch.tensor([3, 1, 4])


def assert_equals(values, *expected):
    assert values.tolist() == pytest.approx([float(value) for value in expected], abs=1e-12)


@pytest.mark.parametrize(("k", "expected"), [(1, (1, 0, 0)), (3, (1, 0, 1)), (4, (1, 1, 1))])
def test_hit_rate_needs_one_relevant_item(k, expected):
    assert_equals(hit_rate(RANK, k), *expected)


def test_precision_divides_by_k():
    # Relevant items among the first three: 2 (ranks 1, 3), 0 and 2 (ranks 2, 3).
    assert_equals(precision(RANK, 3), Fraction(2, 3), 0, Fraction(2, 3))


def test_precision_divides_by_k_beyond_the_number_of_relevant_items():
    assert_equals(precision(RANK, 10), Fraction(3, 10), Fraction(1, 10), Fraction(4, 10))


def test_recall_divides_by_all_relevant_items():
    assert_equals(recall(RANK, N_RELEVANT, 3), Fraction(2, 3), 0, Fraction(2, 4))


def test_recall_counts_relevant_items_that_have_no_column():
    # 8 relevant items, two of which have ranks: 2 / 8.
    assert_equals(recall(torch.tensor([[1.0, 2.0]]), torch.tensor([8]), 2), Fraction(2, 8))


def test_ndcg_discounts_by_rank():
    # The ideal lists have 3, 1 and 3 relevant items among the first three.
    ideal_3 = 1 + 1 / log2(3) + 1 / log2(4)
    assert_equals(ndcg(RANK, N_RELEVANT, 3), (1 + 1 / 2) / ideal_3, 0, (1 / log2(3) + 1 / 2) / ideal_3)


def test_ndcg_of_one_relevant_item():
    assert_equals(ndcg(RANK[1:2], N_RELEVANT[1:2], 5), 1 / log2(5))


def test_average_precision_divides_by_the_possible_hits():
    # 1/1 at rank 1, 2/3 at rank 3, over min(3, 3); nothing; 1/2 at rank 2, 2/3 at rank 3, over min(4, 3).
    expected = (Fraction(5, 3) / 3, 0, Fraction(7, 6) / 3)
    assert_equals(average_precision(RANK, N_RELEVANT, 3), *expected)


def test_average_precision_of_the_whole_list():
    # 1/1 + 2/3 + 3/6 over 3; 1/4; 1/2 + 2/3 + 3/4 + 4/5 over 4.
    expected = (Fraction(13, 6) / 3, Fraction(1, 4), Fraction(163, 60) / 4)
    assert_equals(average_precision(RANK, N_RELEVANT, 10), *expected)


def test_reciprocal_rank_takes_the_first_relevant_item():
    assert_equals(reciprocal_rank(RANK), 1, Fraction(1, 4), Fraction(1, 2))


def test_mean_reciprocal_rank_takes_every_relevant_item():
    # (1 + 1/3 + 1/6) / 3; 1/4 alone; (1/2 + 1/3 + 1/4 + 1/5) / 4 = (77/60) / 4.
    assert_equals(mean_reciprocal_rank(RANK, N_RELEVANT), Fraction(1, 2), Fraction(1, 4), Fraction(77, 240))


def test_mean_reciprocal_rank_of_one_relevant_item_is_its_reciprocal_rank():
    assert torch.equal(mean_reciprocal_rank(RANK[1:2], N_RELEVANT[1:2]), reciprocal_rank(RANK[1:2]))


@pytest.mark.parametrize(("k", "expected"), [(1, Fraction(1, 5)), (3, Fraction(3, 5)), (9, Fraction(4, 5))])
def test_coverage_is_the_share_of_items_that_ever_reach_the_first_k(k, expected):
    best_rank = torch.tensor([2.0, 1.0, inf, 3.0, 4.0])
    assert coverage(best_rank, k).item() == pytest.approx(float(expected))


def test_per_list_names_every_metric():
    names = {f"{name}@{k}" for name in ("hit_rate", "ndcg", "recall", "precision", "map") for k in (5, 10)}
    assert set(per_list(RANK, N_RELEVANT, (5, 10))) == names | {"mrr"}


def test_a_tie_counts_against_the_model():
    # Order: irrelevant 5, irrelevant 3, relevant 3, irrelevant 1, relevant 1, no item.
    rank, irrelevant_rank = ranks(torch.tensor([[3.0, 1.0, -inf]]), torch.tensor([[5.0, 3.0, 1.0, -inf]]))
    assert rank.tolist() == [[3, 5, inf]]
    assert irrelevant_rank.tolist() == [[1, 2, 4, inf]]


SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=8).map(lambda scores: sorted(scores, reverse=True))


@given(relevant=SCORES, irrelevant=SCORES)
def test_ranks_are_positions_in_the_sorted_list(relevant, irrelevant):
    rank, irrelevant_rank = ranks(torch.tensor([relevant]).double(), torch.tensor([irrelevant]).double())
    # Descending by score, irrelevant (False) before relevant (True) among equals.
    order = sorted([(-score, True) for score in relevant] + [(-score, False) for score in irrelevant])
    expected = {is_relevant: [] for is_relevant in (True, False)}
    for position, (_, is_relevant) in enumerate(order, start=1):
        expected[is_relevant].append(position)
    assert rank[0].tolist() == expected[True]
    assert irrelevant_rank[0].tolist() == expected[False]


@given(relevant=SCORES, irrelevant=SCORES, limit=st.integers(1, 8))
def test_the_best_of_either_side_give_exact_ranks_up_to_their_number(relevant, irrelevant, limit):
    whole = ranks(torch.tensor([relevant]).double(), torch.tensor([irrelevant]).double())
    head = ranks(torch.tensor([relevant[:limit]]).double(), torch.tensor([irrelevant[:limit]]).double())
    for exact, bounded in zip(whole, head, strict=True):
        for true_rank, rank in zip(exact[0].tolist(), bounded[0].tolist(), strict=False):
            assert rank == true_rank if true_rank <= limit else rank > limit
