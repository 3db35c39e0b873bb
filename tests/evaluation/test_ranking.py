"""Full ranking: against a twin in plain Python, against ranx, and by hand where a rule decides."""

from itertools import pairwise
from math import inf

import numba
import numpy as np
import pytest
import torch
from evaluation_cases import (
    ScoreTable,
    full_ranking,
    list_metrics,
    own_metrics,
    pair_target,
    pairs_of_rows,
    random_pairs,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from recsweep.errors import UserError
from recsweep.evaluation import RankingEvaluation, Target, evaluate


def sort_items(scores: dict[int, float], relevant: set[int]) -> list[int]:
    """Items by descending score; among equals, irrelevant items first."""
    return sorted(scores, key=lambda item: (-scores[item], item in relevant))


def expected_metrics(scorer: ScoreTable, target: Target, ks) -> dict[str, float]:
    """Means over the users' lists, and coverage (which a tie between irrelevant items makes ambiguous)."""
    seen = set(pairs_of_rows(target, target.seen))
    held_out = set(pairs_of_rows(target, target.held_out))
    of_lists, rankings = [], []
    for user in sorted({user for user, _ in held_out}):
        relevant = {item for owner, item in held_out if owner == user}
        scores = {
            item: score
            for item, score in enumerate(scorer.scores[user].tolist())
            if item in relevant or (user, item) not in seen
        }
        ranking = sort_items(scores, relevant)
        ranks = [rank for rank, item in enumerate(ranking, start=1) if item in relevant]
        of_lists.append(list_metrics(ranks, len(relevant), ks))
        rankings.append(ranking)
    metrics = {name: sum(values[name] for values in of_lists) / len(of_lists) for name in of_lists[0]}
    for k in ks:
        metrics[f"coverage@{k}"] = len({item for items in rankings for item in items[:k]}) / target.data.n_items
    return metrics


N_USERS, N_ITEMS = 4, 6


PAIRS = st.lists(st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), max_size=16)


TIED = st.lists(
    st.lists(st.sampled_from([-inf, -1.0, 0.0, 0.5, 2.0, inf]), min_size=N_ITEMS, max_size=N_ITEMS),
    min_size=N_USERS,
    max_size=N_USERS,
)


DISTINCT = st.lists(st.permutations(range(N_ITEMS)), min_size=N_USERS, max_size=N_USERS)


@settings(max_examples=50, deadline=None)
@given(scores=TIED, seen=PAIRS, held_out=PAIRS.filter(len), batch_size=st.integers(1, 5))
def test_full_ranking_equals_the_twin_under_ties(scores, seen, held_out, batch_size):
    scorer, target = ScoreTable(scores), pair_target(seen, held_out, N_USERS, N_ITEMS)
    got = own_metrics(scorer, full_ranking(batch_size=batch_size), target)
    expected = expected_metrics(scorer, target, (1, 2, 3))
    assert got.keys() == expected.keys()
    for name, value in got.items():
        assert name.startswith("coverage") or value == pytest.approx(expected[name], abs=1e-12), name


@settings(max_examples=50, deadline=None)
@given(scores=DISTINCT, seen=PAIRS, held_out=PAIRS.filter(len))
def test_full_ranking_and_coverage_equal_the_twin_without_ties(scores, seen, held_out):
    scorer, target = ScoreTable(scores), pair_target(seen, held_out, N_USERS, N_ITEMS)
    got = own_metrics(scorer, full_ranking(ks=(1, 4, 6)), target)
    assert got == pytest.approx(expected_metrics(scorer, target, (1, 4, 6)), abs=1e-12)


def test_full_ranking_equals_ranx(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling takes a minute, running a moment
    import ranx

    scorer, target = random_pairs()
    relevant, run = {}, {}
    for user, item in pairs_of_rows(target, target.held_out):
        relevant.setdefault(f"u{user}", {})[f"i{item}"] = 1
        run[f"u{user}"] = {f"i{index}": score for index, score in enumerate(scorer.scores[user].tolist())}
    for user, item in pairs_of_rows(target, target.seen):
        run.get(f"u{user}", {}).pop(f"i{item}", None)
    # ranx divides average precision by all relevant items, as ours does where k is the whole catalogue.
    ours = {"hit_rate@5": "hit_rate@5", "recall@5": "recall@5", "precision@5": "precision@5"}
    ours |= {"ndcg@5": "ndcg@5", "mrr": "mrr", "map": "map@60"}
    theirs = ranx.evaluate(ranx.Qrels(relevant), ranx.Run(run), list(ours))
    got = evaluate(scorer, full_ranking(ks=(5, 60)), target)
    assert {name: got[our_name] for name, our_name in ours.items()} == pytest.approx(theirs, abs=1e-9)


def expected_mrr_all(scorer: ScoreTable, target: Target) -> float:
    """Mean over users of the mean 1/rank of their held-out items, ranked among all items that they have not seen."""
    values = []
    for user in sorted({user for user, _ in pairs_of_rows(target, target.held_out)}):
        scores = scorer.scores[user].clone()
        relevant = [item for owner, item in pairs_of_rows(target, target.held_out) if owner == user]
        seen = [item for owner, item in pairs_of_rows(target, target.seen) if owner == user and item not in relevant]
        scores[seen] = -inf
        values.append((1 / rankdata(-scores)[relevant]).mean())
    return float(np.mean(values))


@pytest.mark.parametrize("at_once", [2**24, 7 * 60, 1])
@pytest.mark.parametrize("on_cpu", [7 * 60, 1])
def test_mrr_all_equals_the_twin(at_once, on_cpu, monkeypatch):
    """Also if batches hold seven users or one, or are ranked in parts of seven or one."""
    monkeypatch.setattr("recsweep.evaluation.ranking.MAX_SCORES", at_once)
    monkeypatch.setattr("recsweep.evaluation.ranking.CPU_SCORES", on_cpu)
    scorer, target = random_pairs()
    got = evaluate(scorer, full_ranking(ks=(1, 5), objective="mrr_all", batch_size=100), target)
    assert got["mrr_all"] == pytest.approx(expected_mrr_all(scorer, target), abs=1e-12)
    assert got["mrr_all"] < got["mrr"]


def test_ties_count_against_every_held_out_item():
    # User 0 has seen items 0 and 3; of 2 and 4, which are held out, 1 is before 2 and 5 before 4: ranks 2 and 4.
    # User 1's held-out 3 and 5 follow item 2, one after the other: ranks 2 and 3.
    target = pair_target([(0, 0), (0, 3)], [(0, 2), (0, 4), (1, 3), (1, 5)], n_users=2, n_items=6)
    scores = [[3.0, 2.0, 2.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0, 0.0, 1.0]]
    got = evaluate(ScoreTable(scores), full_ranking(objective="mrr_all"), target)
    assert got["mrr_all"] == pytest.approx(((1 / 2 + 1 / 4) / 2 + (1 / 2 + 1 / 3) / 2) / 2, abs=1e-12)


def test_mrr_all_is_computed_only_as_the_objective():
    scorer, target = random_pairs()
    with_mrr_all, without = (own_metrics(scorer, full_ranking(objective=name), target) for name in ("mrr_all", "mrr"))
    assert with_mrr_all.keys() - without.keys() == {"mrr_all"}
    assert without == {name: with_mrr_all[name] for name in without}


def test_a_constant_model_ranks_last():
    # User 0 has seen item 0; the held-out item 1 ties with the three left, so its rank is 4.
    target = pair_target([(0, 0)], [(0, 1)], n_users=1, n_items=5)
    assert evaluate(ScoreTable(torch.zeros(1, 5)), full_ranking(), target)["mrr"] == 1 / 4


def test_masked_items_do_not_tie_with_a_score_of_minus_infinity():
    # Of five items three are seen; item 1 (held out) and item 4 both score -inf: rank 2, not 5.
    target = pair_target([(0, 0), (0, 2), (0, 3)], [(0, 1)], n_users=1, n_items=5)
    assert evaluate(ScoreTable(torch.full((1, 5), -inf)), full_ranking(), target)["mrr"] == 1 / 2


def test_an_item_both_seen_and_held_out_is_held_out():
    target = pair_target([(0, 1)], [(0, 1)], n_users=1, n_items=3)
    assert evaluate(ScoreTable([[1.0, 2.0, 0.0]]), full_ranking(), target)["hit_rate@1"] == 1


def test_seen_items_compete_where_they_are_not_masked():
    """Item 2 is held out. Item 3 scores higher, and so do 0 and 1, which the user has seen."""
    scorer, target = ScoreTable([[5.0, 4.0, 1.0, 3.0]]), pair_target([(0, 0), (0, 1), (0, 1)], [(0, 2), (0, 2)], 1, 4)
    for mask_seen, rank in ((True, 2), (False, 4)):
        evaluation = RankingEvaluation(None, "exact", [1], "mrr", 0, 9, mask_seen)
        assert own_metrics(scorer, evaluation, target)["mrr"] == 1 / rank


def test_a_pair_held_out_twice_is_one_relevant_item():
    target = pair_target([], [(0, 1), (0, 1)], n_users=1, n_items=3)
    assert evaluate(ScoreTable([[0.0, 2.0, 1.0]]), full_ranking(), target)["recall@1"] == 1


def test_users_without_held_out_rows_are_not_averaged():
    # User 0 would be a hit, user 1 a miss; only user 1 has a held-out row.
    target = pair_target([(0, 0)], [(1, 0)], n_users=2, n_items=3)
    assert evaluate(ScoreTable([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]), full_ranking(), target)["hit_rate@1"] == 0


def test_coverage_counts_items_over_all_users():
    # Top two of user 0: items 0, 1 (2 is seen); of user 1: items 1, 3. Three of five items.
    scores = [[5.0, 4.0, 6.0, 1.0, 0.0], [0.0, 5.0, 1.0, 4.0, 2.0]]
    target = pair_target([(0, 2)], [(0, 0), (1, 2)], n_users=2, n_items=5)
    assert evaluate(ScoreTable(scores), full_ranking(), target)["coverage@2"] == 3 / 5


def test_one_evaluation_serves_catalogues_of_different_sizes():
    evaluation = full_ranking()
    scorer, target = random_pairs(n_items=60)
    evaluate(scorer, evaluation, target)
    scorer, target = random_pairs(n_items=30)
    assert evaluate(scorer, evaluation, target) == evaluate(scorer, full_ranking(), target)


def test_the_scores_of_the_model_are_not_written_to(monkeypatch):
    scorer, target = random_pairs()
    scorer.scores[:, 3] = -inf
    monkeypatch.setattr(scorer, "score_all", lambda user: scorer.scores[: len(user)])  # a view
    before = scorer.scores.clone()
    evaluate(scorer, full_ranking(batch_size=100), target)
    assert torch.equal(scorer.scores, before)


def test_batches_shrink_with_the_catalogue(monkeypatch):
    monkeypatch.setattr("recsweep.evaluation.ranking.MAX_SCORES", 3 * 60)
    _, target = random_pairs(n_items=60)
    users = [batch[0] for batch in full_ranking(batch_size=100).batches(target, torch.device("cpu"))]
    assert max(map(len, users)) == 3
    assert all(first.max() < second.min() for first, second in pairwise(users))


def test_half_precision_scores_are_ranked():
    scorer, target = random_pairs()
    expected = evaluate(scorer, full_ranking(), target)
    scorer.scores = scorer.scores.to(torch.bfloat16)
    assert evaluate(scorer, full_ranking(), target) == expected


def test_an_objective_that_is_not_computed_lists_the_choices():
    with pytest.raises(UserError, match=r"evaluation.objective=ndcg@10 is not computed: .*ndcg@1, .*mrr"):
        full_ranking(objective="ndcg@10")


def test_a_cut_off_beyond_the_catalogue_is_an_error():
    target = pair_target([], [(0, 1)], n_users=1, n_items=5)
    message = r"k=6 exceeds the 5 candidates of a list \(the catalogue has 5 items\)"
    with pytest.raises(UserError, match=message):
        evaluate(ScoreTable(torch.zeros(1, 5)), full_ranking(ks=(2, 6)), target)
