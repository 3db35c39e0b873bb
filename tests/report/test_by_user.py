"""Metrics by user and seed, and their differences."""

import math
from pathlib import Path

import numpy as np
import pytest
from run_folders import compare_runs, leave_evidence, write_run
from scipy import stats

from recsweep.report.by_user import Layout, average, combine, read_layouts, read_user_metric, subtract
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons


def layout(seeds: str, *rows: list[float]) -> Layout:
    return Layout(np.array([f"u{number}" for number in range(len(rows))]), tuple(seeds), np.array(rows, dtype=float))


def test_layouts_are_read_from_evidence(tmp_path: Path) -> None:
    """Sums 2, 4 over 1, 3 rows: mse 6/4, influences (2 - 3/2)/2 and (4 - 9/2)/2. rmse: root R = √(3/2), ± 1/(8 R)."""
    run = leave_evidence(write_run(tmp_path / "0"), [2.0, 4.0], [1, 3])
    layouts = read_layouts([("7", run)], "test")
    assert set(layouts) == {"test/mse", "test/rmse"}
    assert layouts["test/mse"].seeds == ("7",)
    assert layouts["test/mse"].values.tolist() == [[1.75], [1.25]]
    root = math.sqrt(1.5)
    assert layouts["test/rmse"].values[:, 0] == pytest.approx([root + 1 / (8 * root), root - 1 / (8 * root)])
    assert read_layouts([("7", run), ("8", write_run(tmp_path / "1"))], "test") == {}


def test_a_users_own_metric_is_the_mean_over_its_rows(tmp_path: Path) -> None:
    """Sums 2, 4, 0 over 1, 3, 0 rows: the third user is not counted."""
    run = leave_evidence(write_run(tmp_path / "0"), [2.0, 4.0, 0.0], [1, 3, 0])
    for metric, values in (("test/mse", [2, 4 / 3]), ("test/rmse", [math.sqrt(2), math.sqrt(4 / 3)])):
        own = read_user_metric([("7", run)], metric)
        assert own is not None and own.users.tolist() == ["u0", "u1"]
        assert own.values[:, 0] == pytest.approx(values)
    assert read_user_metric([("7", run)], "test/auc") is None


def test_runs_of_the_same_seed_count_once(tmp_path: Path) -> None:
    runs = [("0", 1.0), ("1", 5.0), ("1", 7.0)]
    folders = [
        (seed, leave_evidence(write_run(tmp_path / str(number)), [value, 2 * value]))
        for number, (seed, value) in enumerate(runs)
    ]
    layouts = read_layouts(folders, "test")
    assert layouts["test/mse"].seeds == ("0", "1")
    assert layouts["test/mse"].values.tolist() == [[1, 6], [2, 12]]


def test_differences_are_paired_by_user_and_seed() -> None:
    difference = subtract(layout("01", [5, 6], [7, 9]), layout("120", [1, 0, 2], [3, 0, 4]))
    assert difference is not None
    assert difference.seeds == ("0", "1") and difference.values.tolist() == [[3, 5], [3, 6]]
    assert subtract(layout("01", [5, 6]), layout("2", [1])) is None


def test_a_configuration_without_seeds_is_compared_with_all_seeds_of_the_other() -> None:
    difference = subtract(layout("01", [5, 5], [7, 7]), layout("123", [1, 2, 3], [1, 2, 3]))
    assert difference is not None
    assert difference.seeds == ("0", "1", "2", "3")[1:] and difference.values.tolist() == [[4, 3, 2], [6, 5, 4]]
    one_seed = subtract(layout("1", [5], [7]), layout("123", [1, 2, 3], [1, 2, 3]))  # who knows
    assert one_seed is not None and one_seed.seeds == ("1",)


def test_users_of_other_folds_have_no_influence() -> None:
    """One value 4 among users u0, u1 of mean 3 is an influence of 1; among four users, it is one of 2."""
    left = layout("0", [4], [2])
    right = Layout(np.array(["u1", "u2", "u3"]), ("0",), np.full((3, 1), 1.0))
    difference = subtract(left, right)
    assert difference is not None
    assert difference.users.tolist() == ["u0", "u1", "u2", "u3"]
    assert difference.values[:, 0].tolist() == [3 + 2 - 1, 3 - 2 - 1, 2, 2]


def test_averages_are_over_those_that_have_the_seed() -> None:
    mean = average([layout("01", [1, 2]), layout("0", [5])])
    assert mean is not None
    assert mean.seeds == ("0", "1") and mean.values.tolist() == [[3, 2]]
    assert average([]) is None


def test_weighted_sums_of_metrics() -> None:
    both = {"a": layout("0", [1], [2]), "b": layout("0", [5], [7])}
    joint = combine(both, {"a": 1, "b": -2})
    assert joint is not None and joint.values.tolist() == [[-9], [-12]]
    assert combine(both, {"c": 1}) is None and combine(both, {}) is None


USERS = [0.9, 0.2, 0.4, 1.1, 0.6, 0.8]


def write_two(folder: Path, seeds: int, step: float = 0.0) -> None:
    """means with the errors `USERS`, svdpp with smaller ones; every seed adds `step` to svdpp's."""
    for seed in range(seeds):
        means = write_run(folder / f"m{seed}", "model=means", f"seed={seed}", value=0.9)
        leave_evidence(means, USERS)
        smaller = [error - 0.1 * (number % 3) - step * seed for number, error in enumerate(USERS)]
        svdpp = write_run(folder / f"s{seed}", "model=svdpp", f"seed={seed}", model="svdpp", value=0.8)
        leave_evidence(svdpp, smaller)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_deterministic_models_are_tested_over_users(n_seeds: int, tmp_path: Path) -> None:
    write_two(tmp_path, n_seeds)
    test = compare_runs(tmp_path)[0].tests["svdpp"]
    differences = [-0.1 * (number % 3) for number in range(6)]
    assert test.mean == pytest.approx(-0.1)
    assert test.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-4)
    assert (test.covers, test.n_users) == ("users", 6)


def test_random_models_are_tested_over_users_and_seeds(tmp_path: Path) -> None:
    write_two(tmp_path, 3, 0.01)
    comparison, _ = compare_runs(tmp_path)
    test = comparison.tests["svdpp"]
    assert test.mean == pytest.approx(-0.11) and test.covers == "users and seeds"
    assert comparison.test["means"].covers == "users"
    assert comparison.test["svdpp"].mean == pytest.approx(0.81)  # as metrics.json says


def test_runs_without_evidence_are_tested_over_seeds(tmp_path: Path) -> None:
    write_two(tmp_path, 3)
    for name in ("val", "test"):
        (tmp_path / "s1" / "evidence" / f"{name}.parquet").unlink()
    assert compare_runs(tmp_path)[0].tests["svdpp"].covers == ""  # all seeds gave the same


def test_damaged_evidence_is_named_and_the_rest_compared(tmp_path: Path) -> None:
    write_two(tmp_path, 2)
    (tmp_path / "s1" / "evidence" / "test.parquet").write_bytes(b"PAR1")
    comparison, _ = compare_runs(tmp_path)
    assert comparison.test["means"].covers == "users" and comparison.test["svdpp"].covers == ""
    (fault,) = comparison.measured.faults
    assert "svdpp" in fault and "s1/evidence/test.parquet" in fault


def test_folds_cover_users_and_folds(tmp_path: Path) -> None:
    """Every user has rows in one fold; each adds its error to the mean of all folds once."""
    for fold in range(3):
        run = write_run(tmp_path / str(fold), "split=k_fold", f"split.fold={fold}", "split.folds=3")
        errors, n = np.zeros(6), np.zeros(6, int)
        errors[2 * fold : 2 * fold + 2], n[2 * fold : 2 * fold + 2] = USERS[2 * fold : 2 * fold + 2], 1
        leave_evidence(run, errors.tolist(), n.tolist())
    (comparison,) = comparisons(collect(tmp_path), None)
    layouts = comparison.measured.layouts["means"]
    assert layouts.seeds == ("0", "1", "2")
    assert layouts.values.mean(0) == pytest.approx([0.55, 0.75, 0.7])
    influence = 3 * (np.array(USERS) - np.repeat([0.55, 0.75, 0.7], 2)) / 3
    assert layouts.values.mean(1) - layouts.values.mean() == pytest.approx(influence, abs=1e-6)
    assert comparison.test["means"].covers == "users and folds"
