"""The report's plots, as SVG that takes its colours and its font from the page around it."""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recsweep.report.comparisons import Comparison
from recsweep.report.stats import Spread

if TYPE_CHECKING:  # older matplotlibs do not have it
    from matplotlib.typing import RcKeyType

# Stand-ins that matplotlib writes and `_svg` turns into the page's CSS variables, dark or light.
INK, MUTED, GRID, ACCENT, ORACLE = "#010101", "#020202", "#030303", "#040404", "#050505"
SERIES = ("#0a0101", "#0a0202", "#0a0303", "#0a0404", "#0a0505", "#0a0606")
DASHED = (0, (4, 3))
MARKERS = ("o", "s", "^", "D", "v", "P")
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", ACCENT: "accent", ORACLE: "oracle"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES)
}
STYLE: "dict[RcKeyType, Any]" = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
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
        figure, axes = _figure(width, (42 if narrow else 28) * len(labels) + 70)
        _mark(axes, "oracle", c.oracle, ORACLE)
        _mark(axes, c.baseline, c.test[c.baseline].mean, MUTED)
        for place, label in enumerate(labels):
            colour = ACCENT if place == 0 else MUTED if label == c.baseline else SERIES[0]
            _configuration(axes, c.test[label], c.of(label)[c.metric].to_numpy(), place, colour)
            if narrow:
                _note(axes, _shorten(label, 48), (0, place), ("axes fraction", "data"), 10)
        axes.set_ylim(len(labels) - 0.3, -0.9 if narrow else -0.7)
        axes.set_yticks(range(len(labels)), ["" if narrow else _shorten(label, 44) for label in labels])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(c.metric)
        return _svg(figure, f"comparison {c.title} {width}")


def _mark(axes: Axes, name: str, level: float, colour: str) -> None:
    """A dashed vertical line with its name on top; none where the level is unknown."""
    if np.isfinite(level):
        axes.axvline(level, color=colour, linewidth=1.2, linestyle=DASHED)
        _note(
            axes, _shorten(name, 22), (level, 1), ("data", "axes fraction"), 4, ha="center", color=colour, fontsize=11
        )


def _note(
    axes: Axes, text: str, at: tuple[float, float], coordinates: tuple[str, str], above: int, **style: Any
) -> None:
    """Text some px above a place."""
    axes.annotate(text, at, xycoords=coordinates, xytext=(0, above), textcoords="offset points", **style)


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
        figure, axes = _figure(370, 270)
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
        return _svg(figure, f"numeric {key} {metric}")


def curve_plot(tag: str, names: Sequence[str], curves: Mapping[str, pd.DataFrame], levels: Mapping[str, float]) -> str:
    """A logged scalar by epoch: a line a configuration, with its 95 % band over seeds.

    Args:
        names: configurations; the place of one gives its colour.
        curves: by name, columns `mean` and `half_width`, index epoch.
        levels: by name, a number to draw as a dashed line for a configuration without a curve.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(370, 270)
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
        return _svg(figure, f"curve {tag}")


def _line(axes: Axes, line: pd.DataFrame, number: int, markevery: int | list[int]) -> None:
    """A line with its band, in the colour and with the marker of its number."""
    x, colour = line.index.to_numpy(dtype=float), SERIES[number]
    low, high = line["mean"] - line["half_width"], line["mean"] + line["half_width"]
    axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(x, line["mean"], color=colour, marker=MARKERS[number], markevery=markevery, markersize=6, linewidth=1.8)


def _figure(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure of so many px, where matplotlib's point is the page's px."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element; ids are salted by `name`, so that several can stand on one page."""
    out = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return re.sub("|".join(VARIABLES), lambda match: f"var(--{VARIABLES[match[0]]})", text)
