"""Two metrics at once: what each configuration gives of one for the other, and which nobody beats in both."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd

from recsweep.metrics import ERRORS
from recsweep.report import stats
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.svg import DASHED, MARKERS, MUTED, SERIES, STYLE, as_svg, canvas


class Goal(NamedTuple):
    """One of two aims: a column of `Runs.table` such as "test/mse", and whether a higher value is better."""

    metric: str
    higher: bool

    def label(self) -> str:
        return f"{self.metric} ({'higher' if self.higher else 'lower'} is better)"


def goals(comparison: Comparison, runs: Runs) -> tuple[Goal, Goal] | None:
    """The first two aims of a guided search, else of `evaluation.joint`; None where there is one aim only."""
    c = comparison
    first = runs.runs[c.table.index[0]]
    part = c.metric.split("/")[0]
    weighed = first.config.get("evaluation", {}).get("joint", {})
    aims = [Goal(name, _higher(name)) for name in first.searched]
    aims = aims if len(aims) > 1 else [Goal(f"{part}/{name}", weight > 0) for name, weight in weighed.items()]
    known = [aim for aim in aims if aim.metric in c.table]
    return (known[0], known[1]) if len(known) > 1 else None


def _higher(name: str) -> bool:
    return name != "n_parameters" and not name.startswith("seconds/") and name.rpartition("/")[2] not in ERRORS


def reached(comparison: Comparison, aims: Sequence[Goal]) -> pd.DataFrame:
    """The configurations that have both metrics: the front, then the others, best on validation first in each.

    Returns:
        columns `x`, `y` (means), `dx`, `dy` (half widths of the 95 % intervals, NaN for a single run) and `front`
        (whether no other configuration is better in one mean and no worse in the other); index label.
    """
    c = comparison
    across, upwards = (stats.summarise(c.table, goal.metric) for goal in aims)
    table = pd.DataFrame(
        [(across[n].mean, upwards[n].mean, across[n].half_width, upwards[n].half_width) for n in c.labels],
        index=c.labels,
        columns=["x", "y", "dx", "dy"],
    ).dropna(subset=["x", "y"])
    signs = np.array([1 if goal.higher else -1 for goal in aims])
    table = table.assign(front=pareto(table[["x", "y"]].to_numpy() * signs))
    return table.sort_values("front", ascending=False, kind="stable")


def pareto(points: np.ndarray) -> np.ndarray:
    """Which points are not dominated: no other is at least as high in every coordinate and higher in one.

    Args:
        points: [n, k], higher is better.

    Returns:
        [n] bool.

    >>> pareto(np.array([[1.0, 3.0], [2.0, 2.0], [1.0, 2.0]])).tolist()
    [True, True, False]
    """
    others, own = points[None, :, :], points[:, None, :]
    dominated = np.all(others >= own, axis=2) & np.any(others > own, axis=2)
    return ~np.any(dominated, axis=1)


def trade_off_plot(title: str, aims: Sequence[Goal], table: pd.DataFrame) -> str:
    """A point a configuration with both intervals; the front is filled and joined, the others are hollow.

    Args:
        title: of the comparison.
        aims: across and upwards.
        table: as from `reached`; the first rows have the colours.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 300)
        front = table[table["front"]].sort_values("x")
        axes.plot(front["x"], front["y"], color=MUTED, linewidth=1.2, linestyle=DASHED)
        rows = table[["x", "y", "dx", "dy"]].to_numpy(dtype=float)
        for number, (x, y, dx, dy) in enumerate(rows):
            colour, marker = (SERIES[number], MARKERS[number]) if number < len(SERIES) else (MUTED, "o")
            filling = colour if number < len(front) else "none"
            axes.errorbar(x, y, dy, dx, color=colour, alpha=0.4, linewidth=1.4)
            axes.plot(x, y, marker, color=colour, markersize=8, markeredgewidth=1.6, markerfacecolor=filling)
        axes.set_xlabel(aims[0].label())
        axes.set_ylabel(aims[1].label())
        return as_svg(figure, f"trade-off {title}")
