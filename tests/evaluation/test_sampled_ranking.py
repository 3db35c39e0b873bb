"""Rankings of a held-out item among negatives, published or drawn."""

from collections import Counter
from math import inf

import numpy as np
import pytest
import torch
from evaluation_cases import (
    ScoreTable,
    list_metrics,
    pair_target,
    pairs_of_rows,
    random_pairs,
    sampled_ranking,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from recsweep.errors import UserError
from recsweep.evaluation import RankingEvaluation, Target, evaluate

N_USERS, N_ITEMS = 4, 6


PAIRS = st.lists(st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), max_size=16)


TIED = st.lists(
    st.lists(st.sampled_from([-inf, -1.0, 0.0, 0.5, 2.0, inf]), min_size=N_ITEMS, max_size=N_ITEMS),
    min_size=N_USERS,
    max_size=N_USERS,
)


@st.composite
def candidate_cases(draw):
    """Held-out pairs, and three distinct negatives for each."""
    held_out = draw(PAIRS.filter(len))
    candidates = [draw(st.permutations(sorted(set(range(N_ITEMS)) - {item})))[:3] for _, item in held_out]
    return held_out, candidates


@settings(max_examples=40, deadline=None)
@given(scores=TIED, case=candidate_cases())
def test_published_candidates_equal_the_twin(scores, case):
    held_out, candidates = case
    scorer, target = ScoreTable(scores), pair_target([], held_out, N_USERS, N_ITEMS, candidates)
    metrics = evaluate(scorer, sampled_ranking(3), target)
    of_lists = []
    for (user, item), negatives in zip(held_out, candidates, strict=True):
        rank = 1 + sum(scorer.scores[user, negative] >= scorer.scores[user, item] for negative in negatives)
        of_lists.append(list_metrics([int(rank)], 1, (1, 2)))
    for name in of_lists[0]:
        expected = sum(values[name] for values in of_lists) / len(of_lists)
        assert metrics[name] == pytest.approx(expected, abs=1e-12), name
    assert metrics.keys() - of_lists[0].keys() == {"coverage@1", "coverage@2"}


@pytest.mark.parametrize("n_negatives", [None, 7])
def test_mrr_all_of_one_held_out_item_each_is_mrr(n_negatives):
    scorer, target = random_pairs()
    first = target.data.user[target.held_out].diff(prepend=torch.tensor([-1])) > 0
    alone = target._replace(held_out=target.held_out[first])
    got = evaluate(scorer, RankingEvaluation(n_negatives, "exact", [5], "mrr_all", seed=0, batch_size=16), alone)
    assert got["mrr_all"] == pytest.approx(got["mrr"], abs=1e-12)


def test_sampled_negatives_are_neither_seen_nor_held_out():
    _, target = random_pairs()
    data = target.data
    pairs = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    batches = list(sampled_ranking(20).batches(target, torch.device("cpu")))
    first = torch.cat([candidates[:, 0] for _, candidates in batches])
    assert torch.equal(first, data.item[target.held_out])
    for users, candidates in batches:
        for user, (_, *negatives) in zip(users.tolist(), candidates.tolist(), strict=True):
            assert len(set(negatives)) == 20
            assert not {(user, item) for item in negatives} & pairs


def draw_negatives(target: Target, n_negatives: int, negatives: str) -> list[tuple[int, list[int]]]:
    """Each list's user and negatives."""
    batches = sampled_ranking(n_negatives, negatives=negatives).batches(target, torch.device("cpu"))
    user, candidates = (torch.cat(column).tolist() for column in zip(*batches, strict=True))
    return [(owner, items[1:]) for owner, items in zip(user, candidates, strict=True)]


def test_reference_negatives_are_items_that_are_not_held_out():
    """Of seven items two are held out; the other five are the negatives, items that the user has seen included."""
    target = pair_target([(0, 0), (0, 3)], [(0, 1), (0, 6)], n_users=1, n_items=7)
    assert [sorted(items) for _, items in draw_negatives(target, 5, "reference")] == [[0, 2, 3, 4, 5]] * 2
    assert [sorted(items) for _, items in draw_negatives(target, 3, "exact")] == [[2, 4, 5]] * 2
    with pytest.raises(UserError, match="a user has only 3 of the catalogue's 7 items left"):
        draw_negatives(target, 4, "exact")


def test_reference_negatives_are_uniform():
    """A seen item is drawn as often as any other item that is not held out."""
    _, target = random_pairs()
    seen, held_out = pairs_of_rows(target, target.seen), pairs_of_rows(target, target.held_out)
    negatives = {
        name: [(user, item) for user, items in draw_negatives(target, 20, name) for item in items]
        for name in ("exact", "reference")
    }
    assert not set(negatives["reference"]) & set(held_out)
    assert not set(negatives["exact"]) & {*seen, *held_out}
    n_seen, n_held_out = (Counter(user for user, _ in pairs) for pairs in (seen, held_out))
    expected = np.mean([n_seen[user] / (60 - n_held_out[user]) for user, _ in held_out])
    seen_pairs = set(seen)
    share = sum(pair in seen_pairs for pair in negatives["reference"]) / len(negatives["reference"])
    assert share == pytest.approx(expected, rel=0.1)


def test_the_kind_of_negatives_does_not_change_a_full_ranking():
    scorer, target = random_pairs()
    exact, reference = (RankingEvaluation(None, name, [5], "mrr_all", 0, 16) for name in ("exact", "reference"))
    assert evaluate(scorer, exact, target) == evaluate(scorer, reference, target)


@settings(max_examples=20, deadline=None)
@given(scores=TIED, case=candidate_cases())
def test_the_kind_of_negatives_does_not_change_published_ones(scores, case):
    held_out, candidates = case
    target = pair_target([(0, 0), (1, 2)], held_out, N_USERS, N_ITEMS, candidates)
    exact, reference = (sampled_ranking(3, negatives=name) for name in ("exact", "reference"))
    assert evaluate(ScoreTable(scores), exact, target) == evaluate(ScoreTable(scores), reference, target)


def test_sampled_lists_depend_on_the_seed_alone():
    scorer, target = random_pairs()
    first = evaluate(scorer, sampled_ranking(20), target)
    assert evaluate(scorer, sampled_ranking(20, batch_size=7), target) == pytest.approx(first, abs=1e-12)
    assert evaluate(scorer, sampled_ranking(20, seed=1), target) != first


def test_a_cut_off_beyond_the_sampled_list_is_an_error():
    target = pair_target([], [(0, 1)], n_users=1, n_items=5)
    with pytest.raises(UserError, match="k=4 exceeds the 3 candidates of a list"):
        evaluate(ScoreTable(torch.zeros(1, 5)), sampled_ranking(2, ks=(4,)), target)


def test_the_number_of_published_candidates_must_match():
    target = pair_target([], [(0, 1)], n_users=1, n_items=5, candidates=[[0, 2, 3]])
    with pytest.raises(UserError, match="n_negatives=2, but toy publishes 3 negatives a row"):
        evaluate(ScoreTable(torch.zeros(1, 5)), sampled_ranking(2), target)
