"""The report's plots, as SVG that takes its colours and its font from the page around it."""

import re
from collections.abc import Sequence
from io import StringIO

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recsweep.report.comparisons import Comparison

# Stand-ins that matplotlib writes and `_svg` turns into the page's CSS variables, dark or light.
INK, MUTED, GRID, ACCENT, ORACLE = "#010101", "#020202", "#030303", "#040404", "#050505"
SERIES = ("#0a0101", "#0a0202", "#0a0303", "#0a0404", "#0a0505", "#0a0606")
MARKERS = ("o", "s", "^", "D", "v", "P")
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", ACCENT: "accent", ORACLE: "oracle"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES)
}
STYLE = {
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
    labels = c.labels[:SHOWN] if c.baseline in c.labels[:SHOWN] else [*c.labels[: SHOWN - 1], c.baseline]
    narrow = width < 500
    pitch = 42 if narrow else 28
    with mpl.rc_context(STYLE):
        figure, axes = _figure(width, pitch * len(labels) + 70)
        for name, value, colour in (
            ("oracle", c.oracle, ORACLE),
            (c.baseline, c.test["mean"][c.baseline], MUTED),
        ):
            if np.isfinite(value):
                axes.axvline(value, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
                axes.annotate(
                    _shorten(name, 22), (value, 1), xycoords=("data", "axes fraction"), xytext=(0, 4),
                    textcoords="offset points", ha="center", color=colour, fontsize=11,
                )  # fmt: skip
        for place, label in enumerate(labels):
            colour = ACCENT if place == 0 else MUTED if label == c.baseline else SERIES[0]
            _configuration(axes, c, label, place, colour)
            if narrow:
                axes.annotate(
                    _shorten(label, 48), (0, place), xycoords=("axes fraction", "data"), xytext=(0, 10),
                    textcoords="offset points", fontsize=12,
                )  # fmt: skip
        axes.set_ylim(len(labels) - 0.3, -0.9 if narrow else -0.7)
        axes.set_yticks(range(len(labels)), ["" if narrow else _shorten(label, 40) for label in labels])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(c.metric)
        return _svg(figure, f"comparison {c.title} {width}")


def _configuration(axes: Axes, comparison: Comparison, label: str, place: int, colour: str) -> None:
    mean, half = comparison.test.loc[label, ["mean", "half_width"]]
    runs = comparison.table.loc[comparison.table["label"] == label, comparison.metric]
    if len(runs) > 1:
        axes.plot(
            runs,
            np.full(len(runs), place + 0.22),
            "o",
            color=colour,
            alpha=0.45,
            markersize=4,
            markeredgewidth=0,
        )
    if np.isfinite(half):
        axes.plot([mean - half, mean + half], [place, place], color=colour, linewidth=2.6, solid_capstyle="round")
    axes.plot([mean], [place], "o", color=colour, markersize=8, markeredgewidth=0)


def numeric_plot(key: str, metric: str, lines: Sequence[pd.DataFrame]) -> str:
    """A metric against a swept number: a line a configuration of the other keys, with its 95 % band.

    Args:
        lines: each with columns `mean` and `half_width`, index the key's values upwards.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(370, 270)
        _draw(axes, lines, markevery=1)
        values = np.unique(np.concatenate([line.index.to_numpy(dtype=float) for line in lines]))
        positive = values[values > 0]
        if len(positive) > 1 and values[0] >= 0 and positive[-1] / positive[0] >= 16:
            axes.set_xscale(
                "log" if values[0] > 0 else "symlog", **({} if values[0] > 0 else {"linthresh": positive[0]})
            )
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.set_xlabel(key)
        axes.set_title(metric, loc="left", fontsize=12, color=INK)
        return _svg(figure, f"numeric {key}")


def curve_plot(tag: str, lines: Sequence[pd.DataFrame]) -> str:
    """A logged scalar by epoch: a line a configuration, with its 95 % band over seeds.

    Args:
        lines: each with columns `mean` and `half_width`, index epoch.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(370, 270)
        _draw(axes, lines, markevery=[-1])
        # The first epochs fall from far above, and would flatten everything that is to be seen.
        means = np.concatenate([line["mean"].to_numpy() for line in lines if len(line)])
        low, high = np.nanmin(means), np.nanquantile(means, 0.95)
        margin = 0.06 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel("epoch")
        axes.set_title(tag, loc="left", fontsize=12, color=INK)
        return _svg(figure, f"curve {tag}")


def _draw(axes: Axes, lines: Sequence[pd.DataFrame], markevery: int | list[int]) -> None:
    for line, colour, marker in zip(lines, SERIES, MARKERS, strict=False):
        x = line.index.to_numpy(dtype=float)
        low, high = line["mean"] - line["half_width"], line["mean"] + line["half_width"]
        axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
        axes.plot(x, line["mean"], color=colour, marker=marker, markevery=markevery, markersize=6, linewidth=1.8)


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
