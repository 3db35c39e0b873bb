"""The report's plots of a comparison: its configurations, a swept number, learning curves."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from recsweep.report.comparisons import Comparison
from recsweep.report.stats import Spread
from recsweep.report.svg import (
    ACCENT,
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
        mark(axes, "oracle", c.ceiling, ORACLE)
        mark(axes, c.baseline, c.test[c.baseline].mean, MUTED)
        for place, label in enumerate(labels):
            colour = ACCENT if place == 0 else MUTED if label == c.baseline else SERIES[0]
            _configuration(axes, c.test[label], c.of(label)[c.metric].to_numpy(), place, colour)
            if narrow:
                note(axes, shorten(label, 48), (0, place), ("axes fraction", "data"), 10)
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


def numeric_plot(key: str, metric: str, lines: Sequence[pd.DataFrame]) -> str:
    """A metric against a swept number: a line a configuration of the other keys, with its 95 % band.

    Args:
        lines: each with columns `mean` and `half_width`, index the key's values upwards.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 270)
        for number, line in enumerate(lines):
            _line(axes, line, number, markevery=1)
        values = np.unique(np.concatenate([line.index.to_numpy(dtype=float) for line in lines]))
        positive = values[values > 0]
        if len(positive) > 1 and values[0] >= 0 and positive[-1] / positive[0] >= 16:
            if values[0] > 0:
                axes.set_xscale("log")
            else:
                axes.set_xscale("symlog", linthresh=positive[0])
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.set_xlabel(key)
        axes.set_title(metric, loc="left", fontsize=12, color=INK)
        return as_svg(figure, f"numeric {key} {metric}")


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
        # The first epochs fall from far above, and would flatten everything that is to be seen.
        means = np.concatenate([curve["mean"].to_numpy() for curve in curves.values()])
        low, high = np.nanmin([*means, *levels.values()]), np.nanmax([np.nanquantile(means, 0.95), *levels.values()])
        margin = 0.06 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_title(tag, loc="left", fontsize=12, color=INK)
        return as_svg(figure, f"curve {tag}")


def _line(axes: Axes, line: pd.DataFrame, number: int, markevery: int | list[int]) -> None:
    """A line with its band, in the colour and with the marker of its number."""
    x, colour = line.index.to_numpy(dtype=float), SERIES[number]
    low, high = line["mean"] - line["half_width"], line["mean"] + line["half_width"]
    axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(x, line["mean"], color=colour, marker=MARKERS[number], markevery=markevery, markersize=6, linewidth=1.8)
