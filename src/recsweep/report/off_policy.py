"""Off-policy estimates from logs: against the true values if a simulator knows them, else against one another."""

from collections.abc import Hashable, Mapping
from statistics import NormalDist
from typing import Any

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
    PAGE,
    SERIES,
    STYLE,
    TEXT_BOX,
    add_title,
    annotate,
    canvas,
    mark_level,
    shorten,
    to_svg,
)

PREFIX = "test/off_policy/"
ESTIMATORS = {"ips": "IPS", "snips": "SNIPS", "dm": "direct method", "dr": "doubly robust"}
WEIGHTED = ("ips", "snips", "dr")
"""Estimators whose intervals fail where the weights have heavy tails."""
BOUNDS = "bounds"
ENDS = ("_low", "_high")
WEIGHTS = ("mean_weight", *(f"mean_weight{end}" for end in ENDS), "max_weight_share", "unsupported_mass")
MAX_SHARE = 0.05
"""Largest share of one row in all weight with which intervals count."""
MAX_UNSUPPORTED = 0.02
"""Largest share of the policy where the log has no rows with which intervals count."""
MAX_DEVIATION = 2.0
"""Standard errors of the mean weight from 1 with which intervals count."""
DOTS = (0, (1, 3))
HEAVY = "†"
"""Marks a configuration whose intervals of the main metric do not count."""


def estimates(comparison: Comparison) -> pd.DataFrame:
    """The runs with an estimate of their policy's value, best configuration first.

    Returns:
        a row per run: `run` (folder), `label`, `true`, `logged`, the `ESTIMATORS`, and the ends of their intervals,
        `ips_low`, `ips_high`, `bounds_low`, `bounds_high`, which hold for any weights, and `WEIGHTS`; NaN if unknown.
        `doubt` says in words why the intervals of `WEIGHTED` estimators do not count; empty if they do.
    """
    ends = [name + end for name in ESTIMATORS for end in ("", *ENDS)]
    columns = ["run", "label", "true", "logged", *ends, *(BOUNDS + end for end in ENDS), *WEIGHTS]
    runs = comparison.table.rename(columns=lambda name: name.removeprefix(PREFIX)).reindex(columns=columns)
    runs = runs.dropna(subset=list(ESTIMATORS), how="all")
    runs = runs.assign(doubt=[_doubt(row) for row in runs[list(WEIGHTS)].to_dict("records")])
    return runs.sort_values("label", key=lambda label: label.map(comparison.labels.index), kind="stable")


def labels_in_doubt(comparison: Comparison) -> list[str]:
    """Configurations with a run whose interval of the main metric does not count, best on validation first."""
    runs = estimates(comparison)
    return list(dict.fromkeys(runs.loc[_is_in_doubt(runs, comparison.metric.removeprefix(PREFIX)), "label"]))


def estimators(runs: pd.DataFrame) -> dict[str, str]:
    """Titles by name of those `ESTIMATORS` that any run has."""
    return {name: title for name, title in ESTIMATORS.items() if runs[name].notna().any()}


def _doubt(weights: Mapping[Hashable, float]) -> str:
    """Why no interval of a weighted estimate counts, in words; empty if nothing speaks against it."""
    mean, _, _, share, unsupported = (weights[name] for name in WEIGHTS)
    error = _error_of_mean_weight(weights)
    reasons = []
    if abs(mean - 1) > MAX_DEVIATION * error:
        reasons.append(f"the mean weight is {mean:.3f} ± {error:.3f}, not 1")
    if share > MAX_SHARE:
        reasons.append(f"one row has {100 * share:.0f} % of all weight")
    if unsupported > MAX_UNSUPPORTED:
        reasons.append(f"{100 * unsupported:.0f} % of the policy lies where the log has no rows")
    return "; ".join(reasons)


def _error_of_mean_weight(weights: Any) -> Any:
    """The standard error that an interval of the mean weight tells, of one run or of a table of runs."""
    return (weights["mean_weight_high"] - weights["mean_weight_low"]) / (2 * NormalDist().inv_cdf(0.975))


def describe_doubts(runs: pd.DataFrame) -> str:
    """One sentence on the configurations whose intervals do not count; empty if there are none.

    Args:
        runs: from `estimates`.
    """
    in_doubt = runs[runs["doubt"] != ""]
    if in_doubt.empty:
        return ""
    parts = []
    for label, rows in in_doubt.groupby("label", sort=False):
        n_runs = int((runs["label"] == label).sum())
        example = f", such as: {rows['doubt'].iloc[0]}" if n_runs > 1 else f": {rows['doubt'].iloc[0]}"
        parts.append(f"{label} ({len(rows)} of {n_runs} runs{example})")
    listed = f"Intervals of IPS, SNIPS and DR that do not count: {'; '.join(parts)}."
    if (in_doubt["mean_weight"] - MAX_DEVIATION * _error_of_mean_weight(in_doubt) > 1).any():
        return f"{listed} A mean weight above 1 speaks of wrong propensities, with which the bounds do not hold either."
    return f"{listed} The bounds hold all the same." if in_doubt["bounds_low"].notna().all() else listed


def truth_plots(title: str, runs: pd.DataFrame) -> list[str]:
    """A plot per estimator, all with the same axes: a point per run, its true value across, the estimate upwards.

    Args:
        title: of the comparison.
        runs: from `estimates`, all with a `true` value, and with at most as many configurations as there are colours.
    """
    names = estimators(runs)
    x_limits = _axis_limits(runs["true"])
    values = ["true", "logged", *(name + end for name in names for end in ("", *ENDS)), *(BOUNDS + end for end in ENDS)]
    y_limits = _axis_limits(runs[values])
    plots = []
    with mpl.rc_context(STYLE):
        for name in names:
            figure, axes = canvas(370, 270)
            axes.axline((x_limits[0], x_limits[0]), slope=1, color=MUTED, linewidth=1.2, linestyle=DASHED)
            _draw_log_mean(axes, runs["logged"].mean(), _find_room(runs["true"], x_limits))
            for number, (_, rows) in enumerate(runs.groupby("label", sort=False)):
                colour = SERIES[number]
                axes.vlines(rows["true"], rows[f"{BOUNDS}_low"], rows[f"{BOUNDS}_high"], MUTED, alpha=0.35, linewidth=1)
                for is_drawn_hollow, part in rows.groupby(_is_in_doubt(rows, name)):
                    x, y, style = part["true"], part[name], _line_style(is_drawn_hollow)
                    lows, highs = (part[f"{name}{end}"] for end in ENDS)
                    add_title([axes.vlines(x, lows, highs, colour, style, alpha=0.45)], "", number)
                    for run, true, estimate, low, high in zip(part["run"], x, y, lows, highs, strict=True):
                        point = axes.plot(
                            [true], [estimate], MARKERS[number], color=colour, markersize=6, **_fill(is_drawn_hollow)
                        )
                        text = f"{rows['label'].iloc[0]}\n{_describe_value(ESTIMATORS[name], estimate, low, high)}"
                        add_title(point, f"{text}\ntrue value {true:.3f}\nfolder {run}", number)
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
            low, high = (rows[BOUNDS + end].mean() for end in ENDS)
            for number, name in enumerate(names):
                axes.plot([low, high], [top + 1 + number] * 2, color=MUTED, alpha=0.35, linewidth=1)
                is_drawn_hollow = bool(_is_in_doubt(rows, name).any())
                columns = rows[[name, *(name + end for end in ENDS)]]
                text = (
                    f"{label}\n{_describe_value(ESTIMATORS[name], *columns.mean())}\nfolders {', '.join(rows['run'])}"
                )
                _draw_estimate(axes, columns, top + 1 + number, number, is_drawn_hollow, text)
        axes.set_ylim(n_lines * len(groups) - 0.3, -0.7)
        axes.set_yticks([])
        axes.set_xlabel("value")
        return to_svg(figure, f"off-policy {title}")


def _axis_limits(values: pd.Series | pd.DataFrame) -> tuple[float, float]:
    """Ends of an axis that holds all values, with a margin."""
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def _find_room(values: pd.Series, limits: tuple[float, float]) -> float:
    """The middle of the widest gap between values along an axis with these limits."""
    edges = np.sort([*limits, *values])
    widest = int(np.argmax(np.diff(edges)))
    return float(edges[widest : widest + 2].mean())


def _draw_log_mean(axes: Axes, level: float, x: float) -> None:
    """The log's mean reward as a dotted line with its name at `x`; nothing if unknown."""
    if np.isfinite(level):
        axes.axhline(level, color=MUTED, linewidth=1.2, linestyle=DOTS)
        annotate(axes, "logged", (x, level), ("data", "data"), 3, ha="center", color=MUTED, fontsize=11)


def _describe_value(estimator: str, value: float, low: float, high: float) -> str:
    """An estimate with its interval, in words."""
    interval = f", 95 % interval {low:.3f} to {high:.3f}" if np.isfinite(low) else ""
    return f"{estimator} {value:.3f}{interval}"


def _draw_estimate(axes: Axes, runs: pd.DataFrame, y: int, number: int, is_hollow: bool, title: str) -> None:
    """One estimator's line at height `y`; columns of `runs` are the estimate and the ends of its interval."""
    mean, low, high = runs.mean()
    colour = SERIES[number]
    width = 1.2 if is_hollow else 2.2
    line = axes.plot([low, high], [y, y], color=colour, linewidth=width, linestyle=_line_style(is_hollow))
    point = axes.plot([mean], [y], MARKERS[number], color=colour, markersize=7, **_fill(is_hollow))
    add_title([*line, *point], title, number)


def _is_in_doubt(runs: pd.DataFrame, name: str) -> pd.Series:
    """Whether each run's interval of the estimator does not count."""
    return (runs["doubt"] != "") & (name in WEIGHTED)


def _line_style(is_hollow: bool) -> Any:
    return DOTS if is_hollow else "solid"


def _fill(is_hollow: bool) -> dict[str, Any]:
    """How a marker is drawn: filled without an edge, or hollow."""
    return {"markerfacecolor": PAGE, "markeredgewidth": 1.4} if is_hollow else {"markeredgewidth": 0}
