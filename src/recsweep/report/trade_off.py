"""Two metrics at once: what each configuration trades of one for the other, and the Pareto front."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd

from recsweep.metrics import lower_is_better
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.svg import DASHED, MARKERS, MUTED, SERIES, STYLE, add_title, canvas, to_svg


class Goal(NamedTuple):
    """One of two goals: a column of `Runs.table` such as "test/mse", and whether a higher value is better."""

    metric: str
    higher_is_better: bool

    def label(self) -> str:
        return f"{self.metric} ({'higher' if self.higher_is_better else 'lower'} is better)"


def goals(comparison: Comparison, runs: Runs) -> tuple[Goal, Goal] | None:
    """The first two objectives of a guided search, else those of `evaluation.joint`; None if there is only one."""
    c = comparison
    first = runs.runs[c.table.index[0]]
    part = c.metric.split("/")[0]
    weights = first.config.get("evaluation", {}).get("joint", {})
    candidates = [Goal(name, _higher_is_better(name)) for name in first.search_objectives]
    if len(candidates) < 2:
        candidates = [Goal(f"{part}/{name}", weight > 0) for name, weight in weights.items()]
    candidates = [goal for goal in candidates if goal.metric in c.table]
    return (candidates[0], candidates[1]) if len(candidates) > 1 else None


def _higher_is_better(name: str) -> bool:
    return name != "n_parameters" and not name.startswith("seconds/") and not lower_is_better(name)


def trade_off_table(comparison: Comparison, pair: Sequence[Goal]) -> pd.DataFrame:
    """The configurations that have both metrics: first the front, then the rest, each best on validation first.

    Returns:
        columns `x`, `y` (means), `dx`, `dy` (half widths of the 95 % intervals, NaN for a single run) and `front`
        (whether no other configuration is better in one mean and no worse in the other); index label.
    """
    c = comparison
    x, y = (c.estimates(goal.metric) for goal in pair)
    table = pd.DataFrame(
        [(x[label].mean, y[label].mean, x[label].half_width, y[label].half_width) for label in c.labels],
        index=c.labels,
        columns=["x", "y", "dx", "dy"],
    ).dropna(subset=["x", "y"])
    signs = np.array([1 if goal.higher_is_better else -1 for goal in pair])
    table = table.assign(front=pareto_mask(table[["x", "y"]].to_numpy() * signs))
    return table.sort_values("front", ascending=False, kind="stable")


def pareto_mask(points: np.ndarray) -> np.ndarray:
    """Which points are not dominated: no other point is at least as high in every coordinate and higher in one.

    Args:
        points: [n, k], higher is better.

    Returns:
        [n] bool.

    >>> pareto_mask(np.array([[1.0, 3.0], [2.0, 2.0], [1.0, 2.0]])).tolist()
    [True, True, False]
    """
    left, right = points[None, :, :], points[:, None, :]
    is_dominated = np.all(left >= right, axis=2) & np.any(left > right, axis=2)
    return ~np.any(is_dominated, axis=1)


def trade_off_plot(title: str, pair: Sequence[Goal], table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """A point per configuration with both intervals; filled and joined on the front, hollow elsewhere.

    Args:
        title: of the comparison.
        pair: the goals of the horizontal and the vertical axis.
        table: from `trade_off_table`; the first rows have the colours.
        titles: of the points, by label.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 300)
        front = table[table["front"]].sort_values("x")
        axes.plot(front["x"], front["y"], color=MUTED, linewidth=1.2, linestyle=DASHED)
        rows = table[["x", "y", "dx", "dy"]].to_numpy(dtype=float)
        for number, (label, (x, y, dx, dy)) in enumerate(zip(table.index, rows, strict=True)):
            colour, marker = (SERIES[number], MARKERS[number]) if number < len(SERIES) else (MUTED, "o")
            filling = colour if number < len(front) else "none"
            intervals = axes.errorbar(x, y, dy, dx, color=colour, alpha=0.4, linewidth=1.4).get_children()
            point = axes.plot(x, y, marker, color=colour, markersize=8, markeredgewidth=1.6, markerfacecolor=filling)
            add_title([*intervals, *point], titles[label], number)
        axes.set_xlabel(pair[0].label())
        axes.set_ylabel(pair[1].label())
        return to_svg(figure, f"trade-off {title}")
