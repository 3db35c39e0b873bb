"""The evidence of a run: what every user adds to the metrics, from which they follow."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest
from drr_agents import SMALL
from evaluation_cases import (
    HELD_OUT,
    POLICY,
    REWARD,
    SEEN,
    PolicyTable,
    ScoreTable,
    full_ranking,
    log_target,
    off_policy,
    pair_target,
    sampled_ranking,
    two_stage,
)
from shell import QUIET, SYNTHETIC, TINY, TINY_BANDIT, modification_times, read_metrics, recsweep, train_run

from recsweep.evaluation import BinaryEvaluation, Evidence, RatingEvaluation, SessionEvaluation, Target, evaluate
from recsweep.report.evidence import read_evidence
from recsweep.runs.evidence import write_evidence
from recsweep.sweeps.jobs import start_over

LOG_2 = np.log(2)


def judge(folder: Path, scorer: Any, evaluation: Any, target: Target):
    """The evidence that this judgement leaves."""
    batches: list[Evidence] = []
    evaluate(scorer, evaluation, target, batches.append)
    write_evidence(folder, "test", target, batches)
    return read_evidence(folder, "test")


def ranking_case():
    """User 0 has seen item 0, and the held-out items 1 and 3 have ranks 1 and 3; user 2's item 2 has rank 3 of 4."""
    target = pair_target([(0, 0), (1, 0)], [(2, 2), (0, 1), (0, 3)], n_users=3, n_items=4)
    return ScoreTable([[9, 3, 2, 1], [0, 0, 0, 0], [4, 3, 2, 1]]), full_ranking(ks=(1, 2)), target


def sampled_case():
    """Ranks 1 and 2 of user 0's items, 3 of user 1's, each among three."""
    candidates = [[0, 2], [1, 3], [1, 0]]
    target = pair_target([], [(0, 1), (1, 2), (0, 3)], n_users=2, n_items=4, candidates=candidates)
    return ScoreTable([[2, 4, 1, 3], [3, 4, 1, 2]]), sampled_ranking(2), target


def rating_case():
    """Errors of user 1: 3 for 4 and 5 for 3; of user 0: 7, which is clipped to 5, for 5."""
    target = pair_target([], [(1, 0), (0, 0), (1, 1)], n_users=2, n_items=2, ratings=[4.0, 5.0, 3.0])
    return ScoreTable([[7, 0], [3, 5]]), RatingEvaluation("mse", 2), target


def binary_case():
    """Logits 0 of labels 0 and 1, which cost log 2 each; a logit of log 3 for label 1 costs -log(3/4)."""
    target = pair_target([], [(0, 0), (0, 1), (1, 0)], n_users=2, n_items=2, ratings=[0.0, 1.0, 1.0])
    return ScoreTable([[0, 0], [np.log(3), 0]]), BinaryEvaluation("auc", 2), target


def session_case():
    """User 0 likes items 0 and 1, of four; item 0 is above, 1 below the other two. User 1 likes item 0, the best."""
    target = pair_target([(1, 1), (1, 3)], [(0, 0), (0, 1), (1, 0)], n_users=2, n_items=4)
    return ScoreTable([[9, 0, 5, 5], [9, 0, 5, 0]]), SessionEvaluation("reward", 0, 2), target


RELEVANT = [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]


def two_stage_case():
    """User 0 liked item 1, which leaves item 0, at rank 1; user 1 liked the only relevant item; user 2 has two."""
    return PolicyTable(POLICY), two_stage(2), log_target(SEEN, HELD_OUT, 4, 4, [[2.0, 0.0, 1.0, 0.0]] * 4, RELEVANT)


def off_policy_case():
    return PolicyTable(POLICY), off_policy(batch_size=1), log_target(SEEN, HELD_OUT, 4, 4, reward=REWARD)


CASES: dict[str, tuple[Any, list[str], dict[str, tuple[list[float], list[float]]]]] = {
    "full ranking": (
        ranking_case,
        ["0", "2"],
        {
            "mrr": ([1, 1 / 3], [1, 1]),
            "recall@2": ([1 / 2, 0], [1, 1]),
            "map@1": ([1, 0], [1, 1]),
            "beyond/popularity@2": ([0, 2 / 2], [1, 1]),  # lists 1, 2 and 0, 1; item 0 has two seen rows
        },
    ),
    "sampled ranking": (
        sampled_case,
        ["0", "1"],
        {"mrr": ([1 + 1 / 2, 1 / 3], [2, 1]), "precision@2": ([1 / 2 + 1 / 2, 0], [2, 1])},
    ),
    "rating": (
        rating_case,
        ["0", "1"],
        {
            "mse": ([0, 1 + 4], [1, 2]),
            "rmse": ([0, 1 + 4], [1, 2]),
            "mae": ([0, 1 + 2], [1, 2]),
            "calibration/bias": ([0, -1 + 2], [1, 2]),
        },
    ),
    "binary": (binary_case, ["0", "1"], {"log_loss": ([2 * LOG_2, np.log(4 / 3)], [2, 1])}),
    "sessions": (
        session_case,
        ["0", "1"],
        {"reward": ([1 / 2, 1], [1, 1]), "session_reward": ([1, 1], [1, 1])},
    ),
    "two_stage": (
        two_stage_case,
        ["0", "1", "2"],
        {
            "one_stage/recall@1": ([1, 0, 1 / 2], [1, 0, 1]),
            "one_stage/value": ([1, 0, 1], [1, 1, 1]),
            "off_policy/logged": ([0 + 1, 1, 1 + 0], [2, 1, 2]),
        },
    ),
    # Weights of user 0: .5 / .5 and .25 / .2; of user 1: .4 / .05; of user 2: .5 / .125 and .5 / .75. The reward model
    # says 6/11, 1/2, 5/11, 1/2: rewards of `SEEN`, with ten more rows of 1/2 an item.
    "off_policy": (
        off_policy_case,
        ["0", "1", "2"],
        {
            "off_policy/ips": ([1.25, 8, 4], [2, 1, 2]),
            "off_policy/snips": ([1.25, 8, 4], [1 + 1.25, 8, 4 + 2 / 3]),
            "off_policy/dm": (
                [2 * 45 / 88, 0.1 * 6 / 11 + 0.2 / 2 + 0.3 * 5 / 11 + 0.4 / 2, 2 * (0.5 * 5 / 11 + 0.5 / 2)],
                [2, 1, 2],
            ),
            "off_policy/dr": (
                [
                    45 / 44 - 6 / 11 + 1.25 * 6 / 11,
                    0.1 * 6 / 11 + 0.1 + 0.3 * 5 / 11 + 0.2 + 8 / 2,
                    2 * (2.5 / 11 + 0.25) + 4 / 2 - 2 / 3 * 5 / 11,
                ],
                [2, 1, 2],
            ),
            "off_policy/true": ([2 * 0.5, 0.1 + 0.4, 2 * (0.5 + 0.5)], [2, 1, 2]),
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_terms_of_every_user(name: str, tmp_path: Path) -> None:
    make, users, expected = CASES[name]
    evidence = judge(tmp_path, *make())
    assert evidence.users.tolist() == users
    for metric, terms in expected.items():
        numerator, denominator = evidence.terms(metric)
        assert (numerator.dtype, denominator.dtype) == (np.float64, np.float64)
        np.testing.assert_allclose(numerator, terms[0], rtol=1e-6, atol=1e-7, err_msg=metric)
        np.testing.assert_allclose(denominator, terms[1], rtol=1e-6, err_msg=metric)


def test_a_file_has_the_held_out_rows_of_every_user(tmp_path: Path) -> None:
    judge(tmp_path, *ranking_case())
    table = pa_parquet.read_table(tmp_path / "evidence" / "test.parquet")
    assert table["user"].to_pylist() == ["0", "2"] and table["n"].to_pylist() == [2, 1]
    assert {str(table.schema.field(name).type) for name in table.column_names[2:-4]} == {"float"}


# Item 0 has both seen rows, so the order of popularity is 0, 1, 2, 3: a fifth of four is the head, half the tail.
# Item 1 is first in user 0's list, items 3 and 2 are third. Of two items without rows, 0 is the head and 1 the tail.
GROUPS = {
    "full ranking": (
        ranking_case,
        [1, 0],
        "recall@2",
        {"head": ([0, 0], [0, 0]), "middle": ([1, 0], [1, 0]), "tail": ([0, 0], [1, 1])},
    ),
    "sampled ranking": (
        sampled_case,
        [0, 0],
        "recall@2",
        {"head": ([0, 0], [0, 0]), "middle": ([1, 0], [1, 0]), "tail": ([1, 0], [1, 1])},
    ),
    "rating": (
        rating_case,
        [0, 0],
        "mse",
        {"head": ([0, 1], [1, 1]), "middle": ([0, 0], [0, 0]), "tail": ([0, 4], [0, 1])},
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_known_rows_and_groups_of_items(name: str, tmp_path: Path) -> None:
    make, n_seen, metric, expected = GROUPS[name]
    evidence = judge(tmp_path, *make())
    assert evidence.n_seen.tolist() == n_seen
    terms = {
        group: tuple(map(np.ndarray.tolist, of_group.terms(metric)))
        for group, of_group in evidence.by_popularity.items()
    }
    assert terms == expected


RUNS = {
    "rating": [*TINY, "model=biased_mf"],
    "full ranking": [*TINY, "model=bpr_mf", "evaluation.objective=mrr_all", "trainer.refit=true"],
    "baseline": [*SYNTHETIC, *QUIET, "model=popularity"],
    "sampled ranking": [*TINY, "model=bpr_mf", "evaluation=sampled_99", "evaluation.n_negatives=20"],
    "joint": [*TINY, "model=multitask"],
    "sessions": [*SMALL, "evaluation=sessions"],
    "binary": [*TINY_BANDIT, "model=ranker", "trainer.max_epochs=1"],
    "two_stage": [*TINY_BANDIT, "model=nominator", "trainer.max_epochs=1"],
    "no policy": [*TINY_BANDIT, "model=ranker", "evaluation=two_stage", "trainer.max_epochs=1"],
    "off_policy": [*TINY_BANDIT, "model=nominator", "evaluation=off_policy", "trainer.max_epochs=1"],
}


ENDS_OF_NO_MEANS = ("_low", "_high", "/ess", "_share")


def is_no_mean(metric: str) -> bool:
    no_means = ("auc", "joint", "calibration/slope", "calibration/ece")
    return metric in no_means or metric.startswith(("coverage@", "beyond/gini@")) or metric.endswith(ENDS_OF_NO_MEANS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages of the bandit, which several runs share."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.xdist_group("evidence")
@pytest.mark.parametrize("name", RUNS)
def test_every_mean_in_metrics_json_follows(name: str, cache: Path, tmp_path: Path) -> None:
    run = train_run(tmp_path, *RUNS[name], f"paths.cache_dir={cache}")
    metrics = read_metrics(run)["metrics"]
    for part in ("val", "test"):
        evidence = read_evidence(run, part)
        values = {name.removeprefix(f"{part}/"): value for name, value in metrics.items() if name.startswith(part)}
        assert set(evidence.metrics) == {metric for metric in values if not is_no_mean(metric)}
        for metric in evidence.metrics:
            numerator, denominator = evidence.terms(metric)
            mean = numerator.sum() / denominator.sum()
            assert (mean**0.5 if metric == "rmse" else mean) == pytest.approx(values[metric], rel=1e-6), metric


def test_a_run_leaves_none_where_it_is_switched_off(tmp_path: Path) -> None:
    run = train_run(tmp_path, *TINY, "model=means", "callbacks.evidence=false")
    assert not (run / "evidence").exists() and read_evidence(run, "test") is None


def test_evaluate_leaves_the_evidence_alone_and_a_fresh_start_removes_it(tmp_path: Path) -> None:
    run = train_run(tmp_path, *TINY, "model=means")
    before = modification_times(run / "evidence")
    assert {path.name for path in before} == {"val.parquet", "test.parquet"}
    assert recsweep(tmp_path, "evaluate", f"run={run}", "evaluation.objective=mae").status == 0
    assert modification_times(run / "evidence") == before
    start_over(run)
    assert not (run / "evidence").exists()
