"""Off-policy estimates in the report, against the true values or against one another."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from run_folders import compare_runs, write_policy_run, write_run

from recsweep.report import off_policy
from recsweep.report.answers import describe_effects
from recsweep.report.panels import panels
from recsweep.report.table import main_table


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
    assert table["label"].tolist() == ["loss=ips_1"] * 3 + ["loss=ce"] * 5
    assert table["snips_high"].tolist()[:3] == pytest.approx([0.6 + 0.1 + 0.2, 0.61 + 0.1 + 0.2, 0.62 + 0.1 + 0.2])
    (panel,) = (panel for panel in panels(comparison, runs) if "from the log" in panel.caption)
    assert "against its true value" in panel.caption
    assert [name for _, name in panel.legend] == ["loss=ips_1", "loss=ce"]
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
    assert plot.index(">loss=ips_1<") < plot.index(">loss=ce<")
    assert [count_points(plot, series) for series in range(4)] == [2, 2, 2, 0]  # one per configuration; not DR
    assert ">logged<" in plot


# Mean weights with a standard error of 0.02, if a 95 % interval has 1.96 of them on each side.
HEALTHY = {"mean_weight": 0.97, "mean_weight_low": 0.97 - 0.0392, "mean_weight_high": 0.97 + 0.0392}
SHORT = {"mean_weight": 0.95, "mean_weight_low": 0.95 - 0.0392, "mean_weight_high": 0.95 + 0.0392}


@pytest.mark.parametrize(
    ("weights", "doubt"),
    [
        (HEALTHY | {"max_weight_share": 0.05, "unsupported_mass": 0.02}, ""),
        ({}, ""),
        (SHORT, "the mean weight is 0.950 ± 0.020, not 1"),
        (HEALTHY | {"max_weight_share": 0.31}, "one row has 31 % of all weight"),
        (HEALTHY | {"unsupported_mass": 0.12}, "12 % of the policy lies where the log has no rows"),
        (
            SHORT | {"unsupported_mass": 0.5},
            "the mean weight is 0.950 ± 0.020, not 1; 50 % of the policy lies where the log has no rows",
        ),
    ],
)
def test_intervals_do_not_count_where_weights_have_heavy_tails(
    tmp_path: Path, weights: dict[str, float], doubt: str
) -> None:
    write_policy_run(tmp_path, "ce", 0, 0.5, weights=weights)
    comparison, _ = compare_runs(tmp_path)
    assert off_policy.estimates(comparison)["doubt"].tolist() == [doubt]


@pytest.mark.parametrize("unknown", [(), ("true",)], ids=["truth", "no truth"])
def test_intervals_that_do_not_count_are_drawn_hollow_beside_the_bounds(
    tmp_path: Path, unknown: tuple[str, ...]
) -> None:
    bounds = {"bounds_low": 0.1, "bounds_high": 0.9}
    for seed in range(3):
        write_policy_run(tmp_path, "ce", seed, 0.5, *unknown, weights=SHORT | bounds if seed else HEALTHY | bounds)
        write_policy_run(tmp_path, "ips_1", seed, 0.6, *unknown, weights=HEALTHY | bounds)
    comparison, runs = compare_runs(tmp_path)
    (panel,) = (panel for panel in panels(comparison, runs) if "from the log" in panel.caption)
    assert "bounds that hold with 95 % confidence for any weights" in panel.caption
    assert "Hollow and dotted: intervals that do not count" in panel.caption
    doubts = off_policy.describe_doubts(off_policy.estimates(comparison))
    assert "loss=ce (2 of 3 runs, such as: the mean weight is 0.950 ± 0.020, not 1)" in doubts
    assert "ips_1" not in doubts
    hollow = [plot.count("fill: var(--page)") - plot.count("fill: var(--page); opacity") for plot in panel.plots]
    if unknown:
        assert hollow[0] > 0
    else:
        ips, snips, dm, dr = hollow
        assert ips == snips == dr and ips > dm


@pytest.mark.parametrize("truth", [(), ("true",)], ids=["truth", "no truth"])
def test_a_single_run_with_missing_estimates_is_drawn_without_warnings(tmp_path: Path, truth: tuple[str, ...]) -> None:
    write_policy_run(tmp_path, "ce", 0, 0.5, *truth, "snips", "snips_low", "snips_high", "ips_low", "ips_high")
    comparison, runs = compare_runs(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (panel,) = panels(comparison, runs)
    assert "from the log" in panel.caption
    assert not any("SNIPS" in text for text in (*panel.plots, *(name for _, name in panel.legend)))


def write_estimated_run(folder: Path, loss: str, objective: str, weights: dict[str, float]) -> None:
    """A run that was selected by an estimate, with bounds."""
    numbers = {"snips": 0.4, "dm": 0.4, "bounds_low": 0.1, "bounds_high": 0.9, **weights}
    metrics = {f"test/off_policy/{name}": number for name, number in numbers.items()}
    metrics |= {f"val/off_policy/{name}": 0.4 for name in ("snips", "dm")}
    run = {"name": f"val/off_policy/{objective}", "value": 0.4, "mode": "max"}
    write_run(folder / loss, "model=nominator", f"loss={loss}", model="nominator", objective=run, metrics=metrics)


@pytest.mark.parametrize(("objective", "marked"), [("snips", ["loss=ce"]), ("dm", [])])
def test_a_main_metric_whose_intervals_do_not_count_is_marked(
    tmp_path: Path, objective: str, marked: list[str]
) -> None:
    write_estimated_run(tmp_path, "ce", objective, HEALTHY | {"max_weight_share": 0.31})
    write_estimated_run(tmp_path, "snips", objective, HEALTHY)
    comparison, _ = compare_runs(tmp_path)
    assert [row.label for row in main_table(comparison).rows if "†" in row.label] == [f"{one} †" for one in marked]
    assert (describe_effects(comparison)[0].startswith("± and p of test/off_policy/snips do not count")) == bool(marked)


@pytest.mark.parametrize(
    ("weights", "end"),
    [
        (SHORT, "The bounds hold all the same."),
        (SHORT | {"bounds_low": np.nan, "bounds_high": np.nan}, "not 1)."),
        ({"mean_weight": 1.3, "mean_weight_low": 1.25, "mean_weight_high": 1.35}, "the bounds do not hold either."),
    ],
)
def test_bounds_hold_where_there_are_some_and_weights_are_at_most_1_on_average(
    tmp_path: Path, weights: dict[str, float], end: str
) -> None:
    """A mean of 1.3 with a standard error of 0.026 is beyond chance: no lack of support makes weights too large."""
    write_estimated_run(tmp_path, "ce", "snips", weights)
    comparison, _ = compare_runs(tmp_path)
    assert off_policy.describe_doubts(off_policy.estimates(comparison)).endswith(end)
