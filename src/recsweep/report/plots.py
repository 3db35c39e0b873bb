"""The report's plots of a comparison: its configurations, a swept value, learning curves."""

from collections.abc import Collection, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recsweep.report.comparisons import Comparison
from recsweep.report.crossed import SIGNIFICANT, Estimate
from recsweep.report.scale import LETTERS_PER_ROW, Scale, is_numeric, scale
from recsweep.report.svg import (
    ACCENT,
    DASHED,
    INK,
    MARKERS,
    MUTED,
    ORACLE,
    SERIES,
    STYLE,
    TEXT_BOX,
    annotate,
    canvas,
    mark_level,
    shorten,
    to_svg,
    wrap,
)

MAX_CONFIGURATIONS = 24
"""Configurations in the comparison plot, the best ones and the reference; and effects in theirs."""

MAX_BANDS = 3
"""Curves with bands in a plot: those of more would hide one another."""

MIN_EPOCHS = 10
"""Shorter curves are shown whole."""


def comparison_plot(comparison: Comparison, width: int) -> str:
    """A row per configuration: its runs as points, their mean and 95 % interval, best on validation on top.

    Args:
        width: px; on a narrow page the labels are above the rows.
    """
    c = comparison
    labels = c.best_with_reference(MAX_CONFIGURATIONS)
    is_narrow = width < 500
    texts = [wrap(_add_number(label, c), 48 if is_narrow else 44) for label in labels]
    n_more_lines = max(text.count("\n") for text in texts)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, ((42 if is_narrow else 28) + 15 * n_more_lines) * len(labels) + 70)
        for rank, label in enumerate(labels):
            colour = ACCENT if rank == 0 else MUTED if label == c.baseline else SERIES[0]
            _draw_configuration(axes, c.test[label], c.rows(label)[c.metric].to_numpy(), rank, colour)
            if is_narrow:
                annotate(axes, texts[rank], (0, rank), ("axes fraction", "data"), 8, va="bottom", bbox=TEXT_BOX)
        mark_level(axes, "oracle", c.oracle, ORACLE)
        if c.baseline is not None:
            mark_level(axes, "baseline", c.test[c.baseline].mean, MUTED)
        axes.set_ylim(len(labels) - 0.3, -0.9 if is_narrow else -0.7)
        axes.set_yticks(range(len(labels)), [""] * len(labels) if is_narrow else texts)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(c.metric)
        return to_svg(figure, f"comparison {c.title} {width}")


def _add_number(label: str, comparison: Comparison) -> str:
    """The label after the number of its first job, where the folder that the report is on is that of one sweep."""
    first = str(comparison.rows(label)["run"].iloc[0])
    return f"{first} · {label}" if first.isdigit() else label


def _draw_configuration(axes: Axes, estimate: Estimate, runs: np.ndarray, y: int, colour: str) -> None:
    if len(runs) > 1:
        below = np.full(len(runs), y + 0.22)
        axes.plot(runs, below, "o", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
    if np.isfinite(estimate.half_width):
        ends = [estimate.mean - estimate.half_width, estimate.mean + estimate.half_width]
        axes.plot(ends, [y, y], color=colour, linewidth=2.6, solid_capstyle="round")
    axes.plot([estimate.mean], [y], "o", color=colour, markersize=8, markeredgewidth=0)


def effects_plot(comparison: Comparison, width: int) -> str:
    """A row per effect of the swept settings: its difference with its 95 % interval; those that are significant in
    colour.

    Args:
        width: px; on a narrow page the labels are above the rows.
    """
    c, is_narrow = comparison, width < 500
    effects = c.effects[:MAX_CONFIGURATIONS]
    texts = [wrap(f"{e.setting}: {e.value} against {e.other}", 48 if is_narrow else 44) for e in effects]
    n_more_lines = max(text.count("\n") for text in texts)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, ((42 if is_narrow else 28) + 15 * n_more_lines) * len(texts) + 60)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        for rank, (effect, text) in enumerate(zip(effects, texts, strict=True)):
            colour = ACCENT if effect.difference.p < SIGNIFICANT else MUTED
            _draw_configuration(axes, effect.difference, np.empty(0), rank, colour)
            if is_narrow:
                annotate(axes, text, (0, rank), ("axes fraction", "data"), 8, va="bottom", bbox=TEXT_BOX)
        axes.set_ylim(len(texts) - 0.4, -0.9 if is_narrow else -0.6)
        axes.set_yticks(range(len(texts)), [""] * len(texts) if is_narrow else texts)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"difference in {c.metric}")
        return to_svg(figure, f"effects {c.title} {width}")


def value_plot(key: str, metric: str, lines: Sequence[pd.DataFrame]) -> str:
    """A metric against a swept value: a line per configuration of the other keys, with its 95 % intervals.

    Args:
        lines: each with columns `value`, `mean` and `half_width`.
    """
    values = [value for line in lines for value in line["value"]]
    positions = np.split(scale(values).positions, np.cumsum([len(line) for line in lines])[:-1])
    with mpl.rc_context(STYLE):
        figure, axes = _value_axes(key, metric, scale(values))
        for number, (line, x) in enumerate(zip(lines, positions, strict=True)):
            line_by_x = line.set_index(pd.Index(x)).sort_index()
            if is_numeric(values) and len(lines) <= MAX_BANDS:
                _draw_line(axes, line_by_x, number, markevery=1)
            else:
                _draw_marks(axes, line_by_x, number, shift=0.02 * (number - (len(lines) - 1) / 2))
        return to_svg(figure, f"value {key} {metric}")


def scatter_plot(key: str, metric: str, points: pd.DataFrame, is_log: bool | None) -> str:
    """The validation metric against a value that was searched along with others: a point per configuration.

    Args:
        metric: the validation metric's name.
        points: columns `value` and `selection`, the best configuration first; it is drawn on top.
        is_log: whether the values were searched in logarithms; None if unknown.
    """
    with mpl.rc_context(STYLE):
        axis = scale(list(points["value"]), is_log=is_log)
        figure, axes = _value_axes(key, metric, axis)
        x, y = axis.positions, points["selection"].to_numpy()
        axes.plot(x[1:], y[1:], "o", color=SERIES[0], alpha=0.5, markersize=6, markeredgewidth=0)
        axes.plot(x[:1], y[:1], "o", color=ACCENT, markersize=9, markeredgewidth=0)
        return to_svg(figure, f"scatter {key} {metric}")


def curve_plot(tag: str, names: Sequence[str], curves: Mapping[str, pd.DataFrame], levels: Mapping[str, float]) -> str:
    """A logged scalar by epoch: a line per configuration, up to `MAX_BANDS` with 95 % bands over seeds.

    Args:
        names: configurations; a name's position determines its colour.
        curves: by name, columns `mean` and `half_width`, index epoch.
        levels: by name, the value of a configuration without a curve, drawn as a dashed line.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 270)
        for number, name in enumerate(names):
            if name in curves:
                _draw_line(axes, curves[name], number, markevery=[-1], has_band=len(curves) <= MAX_BANDS)
            elif name in levels:
                axes.axhline(levels[name], color=SERIES[number], linewidth=1.4, linestyle=DASHED)
        axes.set_ylim(limits_without_start(curves.values(), levels.values()))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_title(tag, loc="left", fontsize=12, color=INK)
        return to_svg(figure, f"curve {tag}")


def limits_without_start(curves: Collection[pd.DataFrame], levels: Collection[float]) -> tuple[float, float]:
    """Ends of an axis that holds levels and curves, with their last intervals where bands are drawn.

    Without the first steep epochs of long curves, which would flatten the rest.
    """
    means = np.concatenate([curve["mean"].to_numpy() for curve in curves])
    is_falling = sum(curve["mean"].iloc[0] - curve["mean"].iloc[-1] for curve in curves) > 0
    quantiles = [0, 0.95] if is_falling else [0.05, 1]
    low, high = np.nanquantile(means, quantiles if max(map(len, curves)) >= MIN_EPOCHS else [0, 1])
    if len(curves) <= MAX_BANDS:
        last = [curve.iloc[-1].fillna(0) for curve in curves]
        levels = [*levels, *(row["mean"] + sign * row["half_width"] for row in last for sign in (-1, 1))]
    low, high = min(low, *levels, high), max(high, *levels, low)
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def _value_axes(key: str, metric: str, axis: Scale) -> tuple[Figure, Axes]:
    """Empty axes with this x axis."""
    figure, axes = canvas(370, 270)
    ticks = axis.ticks
    is_long = sum(map(len, ticks.values())) > LETTERS_PER_ROW
    axes.set_xticks(list(ticks), [shorten(name, 18) for name in ticks.values()])
    axes.tick_params(axis="x", labelrotation=20 if is_long else 0)
    axes.set_xlim(-0.08, 1.08)
    axes.set_xlabel(key)
    axes.set_title(metric, loc="left", fontsize=12, color=INK)
    return figure, axes


def _draw_line(axes: Axes, line: pd.DataFrame, number: int, markevery: int | list[int], has_band: bool = True) -> None:
    """A line in the colour and with the marker of its number."""
    x, colour = line.index.to_numpy(dtype=float), SERIES[number]
    low, high = line["mean"] - line["half_width"], line["mean"] + line["half_width"]
    if has_band:
        axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(x, line["mean"], color=colour, marker=MARKERS[number], markevery=markevery, markersize=6, linewidth=1.8)


def _draw_marks(axes: Axes, line: pd.DataFrame, number: int, shift: float) -> None:
    """A mark with its interval for each value, shifted so that marks of several lines are side by side."""
    x, colour = line.index.to_numpy(dtype=float) + shift, SERIES[number]
    axes.plot(x, line["mean"], color=colour, alpha=0.35, linewidth=1)
    axes.vlines(x, line["mean"] - line["half_width"], line["mean"] + line["half_width"], color=colour, linewidth=1.6)
    axes.plot(x, line["mean"], MARKERS[number], color=colour, markersize=7, markeredgewidth=0)
