"""Metrics of users by activity and of items by popularity."""

import re
from pathlib import Path

import numpy as np
import pytest
from run_folders import compare_runs, leave_evidence, write_run

from recsweep.errors import UserError
from recsweep.report import group_plots
from recsweep.report.crossed import Estimate, estimate
from recsweep.report.groups import Groups, group_items, group_users, read_repeats
from recsweep.report.panels import panels


def means(groups: Groups, label: str) -> dict[str, list[float]]:
    """The metric of each group, by seed."""
    return {group: layout.values.mean(0).tolist() for group, layout in groups.layouts[label].items()}


def test_users_are_in_quarters_by_their_rows(tmp_path: Path) -> None:
    """The groups' mse are the sums over the rows: (8 + 1) / (2 + 1), (7 + 2) / 2 and so on."""
    sums, n = [1.0, 8, 2, 7, 3, 6, 4, 5], [1, 2, 1, 1, 1, 1, 1, 1]
    leave_evidence(write_run(tmp_path / "0"), sums, n, n_seen=[20, 10, 40, 30, 60, 50, 1080, 70])
    comparison, runs = compare_runs(tmp_path)
    groups = group_users(comparison, read_repeats(comparison, runs, ["means"]))
    assert means(groups, "means") == {"10–20": [3], "30–40": [4.5], "50–60": [4.5], "70–1,080": [4.5]}
    assert (groups.metric, set(groups.sizes.values())) == ("test/mse", {2})


def test_users_with_equally_many_rows_are_in_one_group(tmp_path: Path) -> None:
    leave_evidence(write_run(tmp_path / "0"), [1.0, 2, 3, 4, 9], n_seen=[1, 1, 1, 1, 7])
    comparison, runs = compare_runs(tmp_path)
    groups = group_users(comparison, read_repeats(comparison, runs, ["means"]))
    assert groups.sizes == {"1": 4, "7": 1} and means(groups, "means") == {"1": [2.5], "7": [9]}


def test_groups_of_items_that_some_runs_lack_are_left_out(tmp_path: Path) -> None:
    """Columns may be missing where a file was edited, or an evaluation has other metrics."""
    for seed, names in enumerate((["head", "tail"], ["tail"])):
        groups = {name: ([1.0, 5], [1, 1]) for name in names}
        leave_evidence(write_run(tmp_path / str(seed), f"seed={seed}"), [1.0, 13], n_seen=[1, 2], groups=groups)
    comparison, runs = compare_runs(tmp_path)
    assert list(group_items(comparison, read_repeats(comparison, runs, ["means"])).sizes) == ["tail"]
    leave_evidence(write_run(tmp_path / "2", "seed=2"), [1.0, 13], n_seen=[1, 2], groups={"middle": ([1.0, 5], [1, 1])})
    comparison, runs = compare_runs(tmp_path)
    with pytest.raises(UserError, match="no value for each held-out item in common"):
        group_items(comparison, read_repeats(comparison, runs, ["means"]))


def test_items_are_grouped_by_popularity(tmp_path: Path) -> None:
    """An error of each seed; a group without rows is left out."""
    for seed in range(2):
        groups = {"head": ([1.0 + seed, 5], [1, 1]), "middle": ([0.0, 0], [0, 0]), "tail": ([0.0, 8], [0, 2])}
        leave_evidence(write_run(tmp_path / str(seed), f"seed={seed}"), [1.0, 13], [1, 3], n_seen=[1, 2], groups=groups)
    comparison, runs = compare_runs(tmp_path)
    found = group_items(comparison, read_repeats(comparison, runs, ["means"]))
    assert means(found, "means") == {"head": [3, 3.5], "tail": [4, 4]}
    assert (found.metric, found.sizes) == ("test/mse", {"head": 2, "tail": 2})
    write_run(tmp_path / "2", "model=svdpp", model="svdpp")
    (panel,) = panels(*compare_runs(tmp_path))
    assert len(panel.plots) == 2 and [name for _, name in panel.legend] == ["means"]
    assert panel.caption.endswith("2 in the head, 2 in the tail. Means of 1 of 2 configurations with 95 % intervals.")


def test_users_of_folds_are_in_groups_by_their_mean_number_of_rows(tmp_path: Path) -> None:
    """Means 1, 1.5, 7 and 2; rounded, those of u1 and u3 are the same."""
    for fold, n_seen in enumerate(([1, 1, 7, 2], [1, 2, 7, 2])):
        run = write_run(tmp_path / str(fold), f"split=u{fold + 1}")
        leave_evidence(run, [1.0, 2, 9, 4], n_seen=n_seen)
    comparison, runs = compare_runs(tmp_path)
    groups = group_users(comparison, read_repeats(comparison, runs, ["means"]))
    assert means(groups, "means") == {"1": [1, 1], "2": [3, 3], "7": [9, 9]}


def test_users_without_rows_in_a_group_of_items_do_not_count(tmp_path: Path) -> None:
    """Ten users, two of whom have a row in the tail: the interval is Student's of 1 and 3, 2 ± 12.706."""
    tail = ([1.0, 3] + [0] * 8, [1, 1] + [0] * 8)
    leave_evidence(write_run(tmp_path / "0"), [1.0] * 10, n_seen=[1] * 10, groups={"head": tail, "tail": tail})
    comparison, runs = compare_runs(tmp_path)
    found = group_items(comparison, read_repeats(comparison, runs, ["means"]))
    one = estimate(found.layouts["means"]["tail"].values)
    assert (one.mean, one.n_users) == (2, 2) and one.half_width == pytest.approx(12.706, abs=1e-3)


def test_the_page_says_what_earlier_runs_did_not_write_down(tmp_path: Path) -> None:
    leave_evidence(write_run(tmp_path / "0"), [1.0, 2])
    comparison, runs = compare_runs(tmp_path)
    repeats = read_repeats(comparison, runs, ["means"])
    for group in (group_users, group_items):
        with pytest.raises(UserError, match="earlier version"):
            group(comparison, repeats)
    (panel,) = panels(comparison, runs)
    assert not panel.plots and panel.caption.startswith("No plot of users by activity: the evidence does not count")


def test_a_metric_that_is_no_mean_has_no_groups(tmp_path: Path) -> None:
    metrics = {"val/auc": 0.5, "test/auc": 0.5}
    objective = {"name": "val/auc", "value": 0.5, "mode": "max"}
    leave_evidence(write_run(tmp_path / "0", metrics=metrics, objective=objective), [1.0, 2], n_seen=[1, 2])
    comparison, runs = compare_runs(tmp_path)
    with pytest.raises(UserError, match=r"^test/auc is not known by user$"):
        group_users(comparison, read_repeats(comparison, runs, ["means"]))


def test_the_marks_of_the_plots_say_their_values(tmp_path: Path) -> None:
    """Users with one row have the errors 2 and 4. Series 0 is the first entry of the legend, which hides it."""
    leave_evidence(write_run(tmp_path / "0"), [2.0, 4, 4, 5], n_seen=[1, 1, 7, 9])
    (panel,) = panels(*compare_runs(tmp_path))
    marks = re.findall(r'<g data-series="0"><title>means\nrows of the user: (\d)\ntest/mse ([0-9.]+)', panel.plots[0])
    assert set(marks) == {("1", "3"), ("7", "4"), ("9", "5")}


def test_the_bars_of_gains_say_how_many_users_they_hold() -> None:
    """Forty bars of 0.05 between -1 and 1, cut at the 99th percentile of the absolute gains, 0.98 + 0.01 * 0.02."""
    plot = group_plots.gains_plot("test/mrr", np.array([-1.0, 0.98, 0.12, 0.12]), 760)
    assert re.findall("<title>([1-9].*)\n(.*)</title>", plot) == [
        ("1 user", "gain in test/mrr −0.95 or less"),
        ("2 users", "gain in test/mrr 0.10 to 0.15"),
        ("1 user", "gain in test/mrr 0.95 or more"),
    ]


def test_a_difference_says_its_group_and_its_test() -> None:
    difference = Estimate(0.5, 0.2, 0.01, 0.3, 9, 1, "users")
    plot = group_plots.difference_plot("users", "test/mrr", {"1–9 (9)": difference}, 360)
    assert plot.count("<title>1–9 (9)\ndifference in test/mrr +0.50 ± 0.20\np = 0.010</title>") == 2


@pytest.mark.parametrize(
    ("metric", "mean", "colour"), [("mrr", 0.5, "accent"), ("mrr", -0.5, "series-0"), ("mse", -0.5, "accent")]
)
def test_a_significant_difference_has_the_colour_of_the_better_one(metric: str, mean: float, colour: str) -> None:
    difference = Estimate(mean, 0.2, 0.01, 0.3, 9, 1, "users")
    plot = group_plots.difference_plot("users", f"test/{metric}", {"1–9 (9)": difference}, 760)
    assert {"accent", "series-0"} & set(re.findall(r"var\(--([\w-]+)\)", plot)) == {colour}
