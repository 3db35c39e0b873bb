"""What logs alone told of policies: estimates beside the truth where a simulator knows it, else beside one another."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from recsweep.report.comparisons import Comparison
from recsweep.report.svg import CLEAR, DASHED, INK, MARKERS, MUTED, SERIES, STYLE, as_svg, canvas, mark, note, shorten

PREFIX = "test/off_policy/"
ESTIMATORS = {"ips": "IPS", "snips": "SNIPS", "dm": "direct method", "dr": "doubly robust"}
ENDS = ("_low", "_high")
DOTTED = (0, (1, 3))


def estimated(comparison: Comparison) -> pd.DataFrame:
    """The runs with an estimate of their policy's value, best configuration first.

    Returns:
        a row a run: `label`, `true`, `logged`, the `ESTIMATORS`, and the ends of their intervals, `ips_low`,
        `ips_high`; NaN where unknown.
    """
    columns = ["label", "true", "logged", *(name + end for name in ESTIMATORS for end in ("", *ENDS))]
    known = comparison.table.rename(columns=lambda name: name.removeprefix(PREFIX)).reindex(columns=columns)
    known = known.dropna(subset=list(ESTIMATORS), how="all")
    return known.sort_values("label", key=lambda label: label.map(comparison.labels.index), kind="stable")


def shown(runs: pd.DataFrame) -> dict[str, str]:
    """Those of the `ESTIMATORS` that any run has."""
    return {name: title for name, title in ESTIMATORS.items() if runs[name].notna().any()}


def truth_plots(title: str, runs: pd.DataFrame) -> list[str]:
    """A plot an estimator, on axes that they share: a point a run, its true value across, the estimate upwards.

    Args:
        title: of the comparison.
        runs: as from `estimated`, each with its `true` value, of at most as many configurations as there are colours.
    """
    names = shown(runs)
    across = _limits(runs["true"])
    upwards = _limits(runs[["true", "logged", *(name + end for name in names for end in ("", *ENDS))]])
    plots = []
    with mpl.rc_context(STYLE):
        for name in names:
            figure, axes = canvas(370, 270)
            axes.axline((across[0], across[0]), slope=1, color=MUTED, linewidth=1.2, linestyle=DASHED)
            _logged(axes, runs["logged"].mean())
            for number, (_, of) in enumerate(runs.groupby("label", sort=False)):
                axes.vlines(of["true"], of[f"{name}_low"], of[f"{name}_high"], color=SERIES[number], alpha=0.45)
                axes.plot(of["true"], of[name], MARKERS[number], color=SERIES[number], markersize=6, markeredgewidth=0)
            axes.set_xlim(across)
            axes.set_ylim(upwards)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_xlabel("true value")
            axes.set_title(ESTIMATORS[name], loc="left", fontsize=12, color=INK)
            plots.append(as_svg(figure, f"off-policy {title} {name}"))
    return plots


def forest_plot(title: str, runs: pd.DataFrame) -> str:
    """The estimates of each configuration below its name: their mean over its runs, and the mean interval.

    Args:
        title: of the comparison.
        runs: as from `estimated`.
    """
    names = shown(runs)
    groups = runs.groupby("label", sort=False)
    rows = len(names) + 1
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 18 * rows * len(groups) + 70)
        mark(axes, "logged", runs["logged"].mean(), MUTED)
        for group, (label, of) in enumerate(groups):
            note(axes, shorten(str(label), 48), (0, rows * group), ("axes fraction", "data"), -4, bbox=CLEAR)
            for number, name in enumerate(names):
                _estimates(axes, of[[name, *(name + end for end in ENDS)]], rows * group + 1 + number, number)
        axes.set_ylim(rows * len(groups) - 0.3, -0.7)
        axes.set_yticks([])
        axes.set_xlabel("value")
        return as_svg(figure, f"off-policy {title}")


def _limits(values: pd.Series | pd.DataFrame) -> tuple[float, float]:
    """Ends of an axis that holds all values, with some air."""
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def _logged(axes: Axes, level: float) -> None:
    """The log's own mean as a faint line with its name."""
    if np.isfinite(level):
        axes.axhline(level, color=MUTED, linewidth=1.2, linestyle=DOTTED)
        note(axes, "logged", (1, level), ("axes fraction", "data"), 3, ha="right", color=MUTED, fontsize=11)


def _estimates(axes: Axes, runs: pd.DataFrame, place: int, number: int) -> None:
    """One estimator's row: columns are the estimate and the ends of its interval."""
    mean, low, high = runs.mean()
    colour = SERIES[number]
    axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot([mean], [place], MARKERS[number], color=colour, markersize=7, markeredgewidth=0)
