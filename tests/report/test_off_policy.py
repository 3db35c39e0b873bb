"""Estimates from logs in the report, beside the truth or beside one another."""

import re
import warnings
from pathlib import Path

import pytest
from run_folders import write_policy_run, write_sweep

from recsweep.commands.report import run as report
from recsweep.report import off_policy
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons


def points(plot: str, series: int) -> int:
    return len(re.findall(rf"<use[^>]*fill: var\(--series-{series}\)", plot))


def test_estimates_stand_beside_the_truth(tmp_path: Path) -> None:
    for seed in range(3):
        write_policy_run(tmp_path, "ce", seed, 0.5 + 0.01 * seed)
        write_policy_run(tmp_path, "ips_1", seed, 0.6 + 0.01 * seed)
    write_policy_run(tmp_path, "ce", 3, 0.5, "true")
    write_policy_run(tmp_path, "ce", 4, 0.1, "ips", "ips_low", "ips_high")
    (found,) = comparisons(collect(tmp_path), None)
    runs = off_policy.estimated(found)
    assert runs["label"].tolist() == ["nominator loss=ips_1"] * 3 + ["nominator loss=ce"] * 5
    assert runs["snips_high"].tolist()[:3] == pytest.approx([0.6 + 0.1 + 0.2, 0.61 + 0.1 + 0.2, 0.62 + 0.1 + 0.2])
    plots = off_policy.truth_plots(found.title, runs.dropna(subset="true"))
    for plot, title in zip(plots, ["IPS", "SNIPS", "direct method", "doubly robust"], strict=True):
        assert f">{title}<" in plot and ">true value<" in plot and ">logged<" in plot
        assert (points(plot, 0), points(plot, 1)) == (3, 3 if title == "IPS" else 4)
    ticks = [re.findall(r">(\d\.\d+)<", plot) for plot in plots]
    assert ticks[0] and all(axis == ticks[0] for axis in ticks)
    report([str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    assert "against its true value" in page and "What the log alone tells" not in page


def test_without_a_truth_the_estimates_stand_beside_one_another(tmp_path: Path) -> None:
    for loss, value in {"ce": 0.5, "ips_1": 0.6}.items():
        for seed in range(2):
            write_policy_run(tmp_path, loss, seed, value, "true", "dr")
    (found,) = comparisons(collect(tmp_path), None)
    plot = off_policy.forest_plot(found.title, off_policy.estimated(found))
    assert plot.index(">nominator loss=ips_1<") < plot.index(">nominator loss=ce<")
    assert [points(plot, series) for series in range(4)] == [2, 2, 2, 0]  # one a configuration, no doubly robust
    assert ">logged<" in plot
    report([str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    assert "What the log alone tells" in page and "</span> SNIPS<" in page and "doubly robust" not in page


@pytest.mark.parametrize("truth", [(), ("true",)], ids=["truth", "no truth"])
def test_one_run_with_an_estimate_that_nobody_knows_is_drawn(tmp_path: Path, truth: tuple[str, ...]) -> None:
    write_policy_run(tmp_path, "ce", 0, 0.5, *truth, "snips", "snips_low", "snips_high", "ips_low", "ips_high")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report([str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    assert "What the log alone" in page and "SNIPS" not in page


def test_runs_without_estimates_have_no_such_plot(tmp_path: Path) -> None:
    report([str(write_sweep(tmp_path))])
    assert "What the log alone" not in (tmp_path / "report.html").read_text()
