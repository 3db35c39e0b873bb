"""Off-policy estimates from logs: against the true values if a simulator knows them, else against one another."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from recsweep.report.comparisons import Comparison
from recsweep.report.svg import (
    DASHED,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    STYLE,
    TEXT_BOX,
    annotate,
    canvas,
    mark_level,
    shorten,
    to_svg,
)

PREFIX = "test/off_policy/"
ESTIMATORS = {"ips": "IPS", "snips": "SNIPS", "dm": "direct method", "dr": "doubly robust"}
ENDS = ("_low", "_high")
DOTS = (0, (1, 3))


def estimates(comparison: Comparison) -> pd.DataFrame:
    """The runs with an estimate of their policy's value, best configuration first.

    Returns:
        a row per run: `label`, `true`, `logged`, the `ESTIMATORS`, and the ends of their intervals, `ips_low`,
        `ips_high`; NaN if unknown.
    """
    columns = ["label", "true", "logged", *(name + end for name in ESTIMATORS for end in ("", *ENDS))]
    runs = comparison.table.rename(columns=lambda name: name.removeprefix(PREFIX)).reindex(columns=columns)
    runs = runs.dropna(subset=list(ESTIMATORS), how="all")
    return runs.sort_values("label", key=lambda label: label.map(comparison.labels.index), kind="stable")


def estimators(runs: pd.DataFrame) -> dict[str, str]:
    """Titles by name of those `ESTIMATORS` that any run has."""
    return {name: title for name, title in ESTIMATORS.items() if runs[name].notna().any()}


def truth_plots(title: str, runs: pd.DataFrame) -> list[str]:
    """A plot per estimator, all with the same axes: a point per run, its true value across, the estimate upwards.

    Args:
        title: of the comparison.
        runs: from `estimates`, all with a `true` value, and with at most as many configurations as there are colours.
    """
    names = estimators(runs)
    x_limits = _axis_limits(runs["true"])
    y_limits = _axis_limits(runs[["true", "logged", *(name + end for name in names for end in ("", *ENDS))]])
    plots = []
    with mpl.rc_context(STYLE):
        for name in names:
            figure, axes = canvas(370, 270)
            axes.axline((x_limits[0], x_limits[0]), slope=1, color=MUTED, linewidth=1.2, linestyle=DASHED)
            _draw_log_mean(axes, runs["logged"].mean())
            for number, (_, rows) in enumerate(runs.groupby("label", sort=False)):
                x, y, colour = rows["true"], rows[name], SERIES[number]
                axes.vlines(x, rows[f"{name}_low"], rows[f"{name}_high"], color=colour, alpha=0.45)
                axes.plot(x, y, MARKERS[number], color=colour, markersize=6, markeredgewidth=0)
            axes.set_xlim(x_limits)
            axes.set_ylim(y_limits)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_xlabel("true value")
            axes.set_title(ESTIMATORS[name], loc="left", fontsize=12, color=INK)
            plots.append(to_svg(figure, f"off-policy {title} {name}"))
    return plots


def forest_plot(title: str, runs: pd.DataFrame) -> str:
    """The estimates of each configuration below its name: means over its runs of the estimate and of its interval.

    Args:
        title: of the comparison.
        runs: from `estimates`.
    """
    names = estimators(runs)
    groups = runs.groupby("label", sort=False)
    n_lines = len(names) + 1
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 18 * n_lines * len(groups) + 70)
        mark_level(axes, "logged", runs["logged"].mean(), MUTED)
        for group, (label, rows) in enumerate(groups):
            top = n_lines * group
            annotate(axes, shorten(str(label), 48), (0, top), ("axes fraction", "data"), -4, bbox=TEXT_BOX)
            for number, name in enumerate(names):
                _draw_estimate(axes, rows[[name, *(name + end for end in ENDS)]], top + 1 + number, number)
        axes.set_ylim(n_lines * len(groups) - 0.3, -0.7)
        axes.set_yticks([])
        axes.set_xlabel("value")
        return to_svg(figure, f"off-policy {title}")


def _axis_limits(values: pd.Series | pd.DataFrame) -> tuple[float, float]:
    """Ends of an axis that holds all values, with a margin."""
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def _draw_log_mean(axes: Axes, level: float) -> None:
    """The log's mean reward as a dotted line with its name; nothing if unknown."""
    if np.isfinite(level):
        axes.axhline(level, color=MUTED, linewidth=1.2, linestyle=DOTS)
        annotate(axes, "logged", (1, level), ("axes fraction", "data"), 3, ha="right", color=MUTED, fontsize=11)


def _draw_estimate(axes: Axes, runs: pd.DataFrame, y: int, number: int) -> None:
    """One estimator's line at height `y`; columns of `runs` are the estimate and the ends of its interval."""
    mean, low, high = runs.mean()
    colour = SERIES[number]
    axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot([mean], [y], MARKERS[number], color=colour, markersize=7, markeredgewidth=0)
