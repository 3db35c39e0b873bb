"""What judged models get besides their protocol's metrics: against a twin in plain Python, and by hand."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from math import log2, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_cases import (
    ScoreTable,
    full_ranking,
    own_metrics,
    pair_target,
    pairs_of_rows,
    random_pairs,
    sampled_ranking,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import TINY, read_metrics, train_run

from recsweep.data.schema import Features
from recsweep.evaluation import BinaryEvaluation, Evidence, JointEvaluation, RatingEvaluation, Target, evaluate

N_USERS, N_ITEMS = 4, 6
PAIRS = st.lists(st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), max_size=16)
DISTINCT = st.lists(st.permutations(range(N_ITEMS)), min_size=N_USERS, max_size=N_USERS)
GENRES = st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=N_ITEMS, max_size=N_ITEMS)


def with_features(target: Target, **columns) -> Target:
    tensors = {name: torch.as_tensor(values) for name, values in columns.items()}
    return target._replace(data=replace(target.data, item_features=Features(tensors, {})))


def lists_of(scorer: ScoreTable, target: Target, k: int) -> list[list[int]]:
    """The first k items of each user with held-out rows, of those not seen, if all scores are different."""
    held_out, seen = (set(pairs_of_rows(target, rows)) for rows in (target.held_out, target.seen))
    lists = []
    for user in sorted({user for user, _ in held_out}):
        items = [i for i in range(target.data.n_items) if (user, i) in held_out or (user, i) not in seen]
        lists.append(sorted(items, key=lambda item: -scorer.scores[user, item].item())[:k])
    return lists


def cosine(first, second) -> float:
    lengths = sqrt(sum(x * x for x in first) * sum(x * x for x in second))
    return sum(x * y for x, y in zip(first, second, strict=True)) / lengths if lengths else 0.0


def expected_supplements(scorer: ScoreTable, target: Target, k: int, genres) -> dict[str, float]:
    n_items, lists = target.data.n_items, lists_of(scorer, target, k)
    count = Counter(item for _, item in pairs_of_rows(target, target.seen))
    head = sorted(range(n_items), key=lambda item: (-count[item], item))[: -(-n_items // 5)]
    information = [-log2(max(count[item], 1) / max(count.total(), 1)) for item in range(n_items)]
    exposure = Counter(item for items in lists for item in items)
    differences = [abs(exposure[a] - exposure[b]) for a, b in combinations(range(n_items), 2)]
    different = [
        1 - np.mean([cosine(genres[a], genres[b]) for a, b in combinations(items, 2)])
        for items in lists
        if len(items) > 1
    ]
    return {
        f"beyond/novelty@{k}": np.mean([np.mean([information[item] for item in items]) for items in lists]),
        f"beyond/popularity@{k}": np.mean([np.mean([count[item] for item in items]) for items in lists]),
        f"beyond/long_tail@{k}": np.mean([np.mean([item not in head for item in items]) for items in lists]),
        f"beyond/diversity@{k}": np.mean(different) if different else np.nan,
        f"beyond/gini@{k}": np.mean(differences) / 2 / (exposure.total() / n_items),
    }


@settings(max_examples=50, deadline=None)
@given(scores=DISTINCT, seen=PAIRS, held_out=PAIRS.filter(len), genres=GENRES, batch_size=st.integers(1, 5))
def test_recommended_items_equal_the_twin(scores, seen, held_out, genres, batch_size):
    """Also for lists of fewer than k items."""
    scorer, target = ScoreTable(scores), pair_target(seen, held_out, N_USERS, N_ITEMS)
    target = with_features(target, genre=torch.tensor(genres).float())
    evaluation = full_ranking(ks=(2, 4), objective="mrr", batch_size=batch_size)
    own, got = own_metrics(scorer, evaluation, target), evaluate(scorer, evaluation, target)
    expected = expected_supplements(scorer, target, 4, genres)
    assert got == pytest.approx({**own, **expected}, abs=1e-12, nan_ok=True)
    assert list(got) == [*own, *expected]


def test_recommended_items_by_hand():
    # Item 0 has two of three seen rows, item 1 one; the head is item 0. User 0 gets 2, 3; user 1 gets 0, 2.
    # Information: log2(3/2) of item 0, log2(3) of the others. Genres: 2 and 3 differ, 0 and 2 are alike.
    seen, held_out = [(0, 0), (0, 1), (2, 0)], [(0, 2), (1, 3)]
    target = with_features(pair_target(seen, held_out, 3, 4), genre=[0, 1, 0, 1])
    scorer = ScoreTable([[9, 8, 7, 6], [4, 1, 3, 2], [0, 0, 0, 0]])
    got = evaluate(scorer, full_ranking(ks=(1, 2), objective="ndcg@2"), target)
    assert got["beyond/novelty@2"] == pytest.approx((log2(3) + (log2(3 / 2) + log2(3)) / 2) / 2)
    assert got["beyond/popularity@2"] == (0 + (2 + 0) / 2) / 2
    assert got["beyond/long_tail@2"] == (1 + 1 / 2) / 2
    assert got["beyond/diversity@2"] == (1 + 0) / 2
    # Exposures 0, 1, 1, 2: (-3 · 0 - 1 · 1 + 1 · 1 + 3 · 2) / 4 / 3.
    assert got["beyond/gini@2"] == 6 / 4 / 3


def test_a_list_of_one_item_does_not_count_in_diversity():
    # User 0 has only item 0 left; user 1 gets items 0 and 1, of different genres.
    target = with_features(pair_target([(0, 1), (0, 2)], [(0, 0), (1, 0)], 2, 3), genre=[0, 1, 1])
    evidence = list[Evidence]()
    got = evaluate(ScoreTable([[3.0, 2.0, 1.0]] * 2), full_ranking(ks=(2,)), target, evidence.append)
    assert got["beyond/diversity@2"] == 1
    np.testing.assert_equal(evidence[0]["user"].values["beyond/diversity@2"].tolist(), [np.nan, 1])
    assert got["beyond/popularity@2"] == (0 + 1 / 2) / 2


def test_of_equal_scores_the_irrelevant_item_is_recommended():
    # Items 0 and 1 tie; item 0 is held out, so item 1, with two seen rows, is first.
    target = pair_target([(1, 1), (2, 1), (1, 0)], [(0, 0)], n_users=3, n_items=3)
    got = evaluate(ScoreTable([[1.0, 1.0, 0.0]] * 3), full_ranking(ks=(1,)), target)
    assert got["beyond/popularity@1"] == 2


@pytest.mark.parametrize(("objective", "k"), [("ndcg@1", 1), ("mrr", 3), ("mrr_all", 3), ("coverage@2", 2)])
def test_the_cut_off_is_that_of_the_objective_or_the_largest(objective, k):
    scorer, target = random_pairs()
    joint = JointEvaluation([1, 2, 3], {"mrr": 1.0}, objective, 10)
    scorer.rate = scorer.score
    for evaluation in (full_ranking(objective=objective), joint):
        names = [name for name in evaluate(scorer, evaluation, target) if name.startswith("beyond/")]
        assert names == [f"beyond/{name}@{k}" for name in ("novelty", "popularity", "long_tail", "gini")]


@pytest.mark.parametrize("objective", ["ndcg@1", "ndcg@3"])
def test_there_is_diversity_of_two_or_more_items_with_categories(objective):
    scorer, target = random_pairs(n_items=5)
    numbers, categories = {"year": torch.rand(5)}, {"genre": torch.rand(5, 2), "studio": torch.arange(5)}
    for columns, has_categories in ((numbers, False), (categories, True), ({**numbers, **categories}, True)):
        metrics = evaluate(scorer, full_ranking(objective=objective), with_features(target, **columns))
        assert (f"beyond/diversity{objective[-2:]}" in metrics) == (has_categories and objective == "ndcg@3")


def test_numbers_do_not_count_in_diversity():
    scorer, target = random_pairs(n_items=5)
    genre = torch.rand(5, 2)
    alone, beside = with_features(target, genre=genre), with_features(target, genre=genre, year=torch.rand(5) + 1990)
    assert evaluate(scorer, full_ranking(), alone) == evaluate(scorer, full_ranking(), beside)


def test_sampled_rankings_have_no_supplements():
    scorer, target = random_pairs()
    assert evaluate(scorer, sampled_ranking(4), target) == own_metrics(scorer, sampled_ranking(4), target)


def test_calibration_of_clipped_ratings_by_hand():
    # Predicted 9 → 5, 3, 1 for 4, 5, 2: errors 1, -2, -1; centred 2, 0, -2 times the ratings is 4, over 8.
    target = pair_target([], [(0, 0), (0, 1), (1, 0)], n_users=2, n_items=2, ratings=[4.0, 5.0, 2.0])
    metrics = evaluate(ScoreTable([[9.0, 3.0], [1.0, 0.0]]), RatingEvaluation("mse", batch_size=2), target)
    assert (metrics["calibration/bias"], metrics["calibration/slope"]) == (pytest.approx(-2 / 3), 4 / 8)


def test_calibration_of_probabilities_by_hand():
    # Probability 1/2 for 0, 1, 0 and 3/4 for 1: gaps 1/2 - 1/3 of three rows and 1/4 of one.
    target = pair_target([], [(0, 0), (0, 1), (0, 2), (1, 0)], n_users=2, n_items=3, ratings=[0.0, 1.0, 0.0, 1.0])
    metrics = evaluate(ScoreTable([[0, 0, 0], [np.log(3), 0, 0]]), BinaryEvaluation("auc", 3), target)
    assert metrics["calibration/ece"] == pytest.approx((3 / 6 + 1 / 4) / 4, abs=1e-7)


def test_each_list_leaves_its_values():
    scorer, target = random_pairs(n_items=5)
    target, evidence = with_features(target, genre=torch.arange(5)), list[Evidence]()
    metrics = evaluate(scorer, full_ranking(objective="ndcg@2"), target, evidence.append)
    for name in ("novelty@2", "popularity@2", "long_tail@2", "diversity@2"):
        values = torch.cat([batch["user"].values[f"beyond/{name}"] for batch in evidence])
        assert values.nanmean().item() == pytest.approx(metrics[f"beyond/{name}"])
    assert {len(batch["user"].values["beyond/novelty@2"]) for batch in evidence} == {1, 2}


def test_a_run_has_them_at_its_end_and_not_in_each_epoch(tmp_path: Path) -> None:
    run = train_run(tmp_path, *TINY, "model=bpr_mf", "logger=csv", "trainer.max_epochs=2")
    metrics = read_metrics(run)["metrics"]
    names = ("novelty@10", "popularity@10", "long_tail@10", "diversity@10", "gini@10")
    assert {f"{part}/beyond/{name}" for part in ("val", "test") for name in names} <= metrics.keys()
    columns = (run / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {name for name in columns if "val/beyond" in name} == {f"best/val/beyond/{name}" for name in names}
