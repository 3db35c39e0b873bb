"""Off-policy estimates in the report, against the true values or against one another."""

import re
import warnings
from pathlib import Path

import pytest
from run_folders import compare_runs, write_policy_run

from recsweep.report import off_policy
from recsweep.report.panels import panels


def count_points(plot: str, series: int) -> int:
    return len(re.findall(rf"<use[^>]*fill: var\(--series-{series}\)", plot))


def test_estimates_are_plotted_against_the_true_values(tmp_path: Path) -> None:
    for seed in range(3):
        write_policy_run(tmp_path, "ce", seed, 0.5 + 0.01 * seed)
        write_policy_run(tmp_path, "ips_1", seed, 0.6 + 0.01 * seed)
    write_policy_run(tmp_path, "ce", 3, 0.5, "true")
    write_policy_run(tmp_path, "ce", 4, 0.1, "ips", "ips_low", "ips_high")
    comparison, runs = compare_runs(tmp_path)
    table = off_policy.estimates(comparison)
    assert table["label"].tolist() == ["nominator loss=ips_1"] * 3 + ["nominator loss=ce"] * 5
    assert table["snips_high"].tolist()[:3] == pytest.approx([0.6 + 0.1 + 0.2, 0.61 + 0.1 + 0.2, 0.62 + 0.1 + 0.2])
    (panel,) = (panel for panel in panels(comparison, runs) if "from the log" in panel.caption)
    assert "against its true value" in panel.caption
    assert [name for _, name in panel.legend] == ["nominator loss=ips_1", "nominator loss=ce"]
    for plot, title in zip(panel.plots, ["IPS", "SNIPS", "direct method", "doubly robust"], strict=True):
        assert f">{title}<" in plot and ">true value<" in plot and ">logged<" in plot
        assert (count_points(plot, 0), count_points(plot, 1)) == (3, 3 if title == "IPS" else 4)
    ticks = [re.findall(r">(\d\.\d+)<", plot) for plot in panel.plots]
    assert ticks[0] and all(axis == ticks[0] for axis in ticks)


def test_without_true_values_the_estimates_are_plotted_against_one_another(tmp_path: Path) -> None:
    for loss, value in {"ce": 0.5, "ips_1": 0.6}.items():
        for seed in range(2):
            write_policy_run(tmp_path, loss, seed, value, "true", "dr")
    (panel,) = (panel for panel in panels(*compare_runs(tmp_path)) if "from the log" in panel.caption)
    assert "from the log alone" in panel.caption
    assert [name for _, name in panel.legend] == ["IPS", "SNIPS", "direct method"]
    (plot,) = panel.plots
    assert plot.index(">nominator loss=ips_1<") < plot.index(">nominator loss=ce<")
    assert [count_points(plot, series) for series in range(4)] == [2, 2, 2, 0]  # one per configuration; not DR
    assert ">logged<" in plot


@pytest.mark.parametrize("truth", [(), ("true",)], ids=["truth", "no truth"])
def test_a_single_run_with_missing_estimates_is_drawn_without_warnings(tmp_path: Path, truth: tuple[str, ...]) -> None:
    write_policy_run(tmp_path, "ce", 0, 0.5, *truth, "snips", "snips_low", "snips_high", "ips_low", "ips_high")
    comparison, runs = compare_runs(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (panel,) = panels(comparison, runs)
    assert "from the log" in panel.caption
    assert not any("SNIPS" in text for text in (*panel.plots, *(name for _, name in panel.legend)))
