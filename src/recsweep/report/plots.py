"""The report's plots of a comparison: its configurations, a swept value, learning curves."""

from collections.abc import Collection, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recsweep.report.comparisons import Comparison
from recsweep.report.labels import Value
from recsweep.report.scale import LETTERS, numeric, scale
from recsweep.report.stats import Spread
from recsweep.report.svg import (
    ACCENT,
    CLEAR,
    DASHED,
    INK,
    MARKERS,
    MUTED,
    ORACLE,
    SERIES,
    STYLE,
    as_svg,
    canvas,
    mark,
    note,
    shorten,
)

SHOWN = 24
"""Configurations in the comparison plot: the best ones, and the baseline."""


def comparison_plot(comparison: Comparison, width: int) -> str:
    """A row a configuration: its runs as points, their mean and 95 % interval, best on validation on top.

    Args:
        width: px; the labels stand above the rows where the page is narrow.
    """
    c = comparison
    labels = c.top(SHOWN)
    narrow = width < 500
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, (42 if narrow else 28) * len(labels) + 70)
        for place, label in enumerate(labels):
            colour = ACCENT if place == 0 else MUTED if label == c.baseline else SERIES[0]
            _configuration(axes, c.test[label], c.of(label)[c.metric].to_numpy(), place, colour)
            if narrow:
                note(axes, shorten(label, 48), (0, place), ("axes fraction", "data"), 10, bbox=CLEAR)
        mark(axes, "oracle", c.ceiling, ORACLE)
        mark(axes, c.baseline, c.test[c.baseline].mean, MUTED)
        axes.set_ylim(len(labels) - 0.3, -0.9 if narrow else -0.7)
        axes.set_yticks(range(len(labels)), ["" if narrow else shorten(label, 44) for label in labels])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(c.metric)
        return as_svg(figure, f"comparison {c.title} {width}")


def _configuration(axes: Axes, spread: Spread, runs: np.ndarray, place: int, colour: str) -> None:
    if len(runs) > 1:
        below = np.full(len(runs), place + 0.22)
        axes.plot(runs, below, "o", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
    if np.isfinite(spread.half_width):
        ends = [spread.mean - spread.half_width, spread.mean + spread.half_width]
        axes.plot(ends, [place, place], color=colour, linewidth=2.6, solid_capstyle="round")
    axes.plot([spread.mean], [place], "o", color=colour, markersize=8, markeredgewidth=0)


def value_plot(key: str, metric: str, lines: Sequence[pd.DataFrame]) -> str:
    """A metric against a swept value: a line a configuration of the other keys, with its 95 % intervals.

    Args:
        lines: each with columns `value`, `mean` and `half_width`.
    """
    values = [value for line in lines for value in line["value"]]
    places = np.split(scale(values).places, np.cumsum([len(line) for line in lines])[:-1])
    with mpl.rc_context(STYLE):
        figure, axes = _value_axes(key, metric, values)
        for number, (line, at) in enumerate(zip(lines, places, strict=True)):
            placed = line.set_index(pd.Index(at)).sort_index()
            if numeric(values):
                _line(axes, placed, number, markevery=1)
            else:
                _marks(axes, placed, number, shift=0.03 * (number - (len(lines) - 1) / 2))
        return as_svg(figure, f"value {key} {metric}")


def scatter_plot(key: str, metric: str, points: pd.DataFrame) -> str:
    """What selects against a value that was searched along with others: a point a configuration, the best one last.

    Args:
        metric: the name of what selects.
        points: columns `value` and `selected`, the best configuration first.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _value_axes(key, metric, list(points["value"]))
        places, heights = scale(list(points["value"])).places, points["selected"].to_numpy()
        axes.plot(places[1:], heights[1:], "o", color=SERIES[0], alpha=0.5, markersize=6, markeredgewidth=0)
        axes.plot(places[:1], heights[:1], "o", color=ACCENT, markersize=9, markeredgewidth=0)
        return as_svg(figure, f"scatter {key} {metric}")


def curve_plot(tag: str, names: Sequence[str], curves: Mapping[str, pd.DataFrame], levels: Mapping[str, float]) -> str:
    """A logged scalar by epoch: a line a configuration, with its 95 % band over seeds.

    Args:
        names: configurations; the place of one gives its colour.
        curves: by name, columns `mean` and `half_width`, index epoch.
        levels: by name, a number to draw as a dashed line for a configuration without a curve.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 270)
        for number, name in enumerate(names):
            if name in curves:
                _line(axes, curves[name], number, markevery=[-1])
            elif name in levels:
                axes.axhline(levels[name], color=SERIES[number], linewidth=1.4, linestyle=DASHED)
        axes.set_ylim(_late(curves.values(), levels.values()))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_title(tag, loc="left", fontsize=12, color=INK)
        return as_svg(figure, f"curve {tag}")


def _late(curves: Collection[pd.DataFrame], levels: Collection[float]) -> tuple[float, float]:
    """Ends of an axis that holds the curves and levels but for the first epochs, which would flatten all the rest."""
    means = np.concatenate([curve["mean"].to_numpy() for curve in curves])
    falling = sum(curve["mean"].iloc[0] - curve["mean"].iloc[-1] for curve in curves) > 0
    low, high = np.nanquantile(means, [0, 0.95] if falling else [0.05, 1])
    low, high = min(low, *levels, high), max(high, *levels, low)
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def _value_axes(key: str, metric: str, values: Sequence[Value]) -> tuple[Figure, Axes]:
    """Empty axes whose width is the `scale` of the values."""
    figure, axes = canvas(370, 270)
    ticks = scale(values).ticks
    long = sum(map(len, ticks.values())) > LETTERS
    axes.set_xticks(list(ticks), [shorten(name, 18) for name in ticks.values()])
    axes.tick_params(axis="x", labelrotation=20 if long else 0)
    axes.set_xlim(-0.08, 1.08)
    axes.set_xlabel(key)
    axes.set_title(metric, loc="left", fontsize=12, color=INK)
    return figure, axes


def _line(axes: Axes, line: pd.DataFrame, number: int, markevery: int | list[int]) -> None:
    """A line with its band, in the colour and with the marker of its number."""
    x, colour = line.index.to_numpy(dtype=float), SERIES[number]
    low, high = line["mean"] - line["half_width"], line["mean"] + line["half_width"]
    axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(x, line["mean"], color=colour, marker=MARKERS[number], markevery=markevery, markersize=6, linewidth=1.8)


def _marks(axes: Axes, line: pd.DataFrame, number: int, shift: float) -> None:
    """A mark with its interval at each place, side by side with those of other numbers."""
    x, colour = line.index.to_numpy(dtype=float) + shift, SERIES[number]
    axes.plot(x, line["mean"], color=colour, alpha=0.35, linewidth=1)
    axes.vlines(x, line["mean"] - line["half_width"], line["mean"] + line["half_width"], color=colour, linewidth=1.6)
    axes.plot(x, line["mean"], MARKERS[number], color=colour, markersize=7, markeredgewidth=0)
