"""The report's plots of a comparison: its configurations, a swept value, learning curves."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recsweep.report.comparisons import Comparison
from recsweep.report.crossed import SIGNIFICANT, Estimate
from recsweep.report.hover import describe_configurations
from recsweep.report.numbers import choose_digits, format_difference, format_number, format_p
from recsweep.report.scale import LETTER_WIDTH, LETTERS_PER_ROW, Scale, is_numeric, scale
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
    add_title,
    annotate,
    canvas,
    mark_level,
    shorten,
    to_svg,
    wrap,
)
from recsweep.terminal import format_number as format_scalar

MAX_CONFIGURATIONS = 24
"""Configurations in the comparison plot, if their labels have one line each, and effects in theirs."""

LABEL_LENGTH = 58
"""Letters in a line of a label on a wide page; on a narrow one, 48."""

MAX_TITLES = 50
"""Points with a title in a scatter plot: a page with those of a thousand trials would be large."""

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
    labels = choose_labels(c)
    is_narrow = width < 500
    texts = [wrap(_add_number(label, c), 48 if is_narrow else LABEL_LENGTH) for label in labels]
    n_more_lines = max(text.count("\n") for text in texts)
    titles = describe_configurations(c, c.metric, c.selection)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, ((42 if is_narrow else 28) + 15 * n_more_lines) * len(labels) + 70)
        for rank, label in enumerate(labels):
            colour = ACCENT if rank == 0 else MUTED if label == c.baseline else SERIES[0]
            _draw_runs(axes, c, label, rank, colour)
            _draw_estimate(axes, c.test[label], rank, colour, titles[label])
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


def choose_labels(comparison: Comparison) -> list[str]:
    """The configurations in the comparison plot, best on validation first: the best ones and the reference.

    With labels of two lines they are half as many.
    """
    labels = comparison.best_with_reference(MAX_CONFIGURATIONS)
    n_lines = max(wrap(_add_number(label, comparison), LABEL_LENGTH).count("\n") + 1 for label in labels)
    return comparison.best_with_reference(max(MAX_CONFIGURATIONS // n_lines, 2))


def _add_number(label: str, comparison: Comparison) -> str:
    """The label after the number of its first job, where the folder that the report is on is that of one sweep."""
    first = str(comparison.rows(label)["run"].iloc[0])
    return f"{first} · {label}" if first.isdigit() else label


def _draw_runs(axes: Axes, comparison: Comparison, label: str, y: int, colour: str) -> None:
    """The single runs below the row at height `y`, where there are several."""
    rows = comparison.rows(label).dropna(subset=[comparison.metric])
    if len(rows) < 2:
        return
    digits = choose_digits(comparison.test.values())
    for run, seed, value in rows[["run", "seed", comparison.metric]].itertuples(index=False):
        point = axes.plot([value], [y + 0.22], "o", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
        text = f"{comparison.metric} {format_number(value, digits)}"
        add_title(point, f"{label}\n{text}\n{comparison.repeat} {seed}, folder {run}")


def _draw_estimate(axes: Axes, estimate: Estimate, y: int, colour: str, title: str) -> None:
    if np.isfinite(estimate.half_width):
        ends = [estimate.mean - estimate.half_width, estimate.mean + estimate.half_width]
        add_title(axes.plot(ends, [y, y], color=colour, linewidth=2.6, solid_capstyle="round"), title)
    add_title(axes.plot([estimate.mean], [y], "o", color=colour, markersize=8, markeredgewidth=0), title)


def effects_plot(comparison: Comparison, width: int) -> str:
    """A row per effect of the swept settings: its difference with its 95 % interval; those that are significant in
    colour.

    Args:
        width: px; on a narrow page the labels are above the rows.
    """
    c, is_narrow = comparison, width < 500
    effects = c.effects[:MAX_CONFIGURATIONS]
    digits = choose_digits(effect.difference for effect in effects)
    texts = [wrap(f"{e.setting}: {e.value} against {e.other}", 48 if is_narrow else LABEL_LENGTH) for e in effects]
    n_more_lines = max(text.count("\n") for text in texts)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, ((42 if is_narrow else 28) + 15 * n_more_lines) * len(texts) + 60)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        for rank, (effect, text) in enumerate(zip(effects, texts, strict=True)):
            colour = ACCENT if effect.difference.p < SIGNIFICANT else MUTED
            difference = format_difference(effect.difference, digits)
            found = f"p {format_p(effect.difference.p, '= ')}, better in {effect.wins} of {effect.n_pairs} pairs"
            title = f"{effect.setting}: {effect.value} against {effect.other}\n{c.metric} {difference}\n{found}"
            _draw_estimate(axes, effect.difference, rank, colour, title)
            if is_narrow:
                annotate(axes, text, (0, rank), ("axes fraction", "data"), 8, va="bottom", bbox=TEXT_BOX)
        axes.set_ylim(len(texts) - 0.4, -0.9 if is_narrow else -0.6)
        axes.set_yticks(range(len(texts)), [""] * len(texts) if is_narrow else texts)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"difference in {c.metric}")
        return to_svg(figure, f"effects {c.title} {width}")


def value_plot(key: str, metric: str, lines: Sequence[pd.DataFrame], titles: Mapping[str, str]) -> str:
    """A metric against a swept value: a line per configuration of the other keys, with its 95 % intervals.

    Args:
        lines: each with columns `label`, `value`, `mean` and `half_width`.
        titles: of the points, by label.
    """
    values = [value for line in lines for value in line["value"]]
    positions = np.split(scale(values).positions, np.cumsum([len(line) for line in lines])[:-1])
    with mpl.rc_context(STYLE):
        figure, axes = _value_axes(key, metric, scale(values))
        is_continuous = is_numeric(values) and len(lines) <= MAX_BANDS
        for number, (line, x) in enumerate(zip(lines, positions, strict=True)):
            shift = 0 if is_continuous else 0.02 * (number - (len(lines) - 1) / 2)  # so that marks are side by side
            line_by_x = line.set_index(pd.Index(x + shift)).sort_index()
            if is_continuous:
                _draw_band(axes, line_by_x, number)
                add_title(axes.plot(line_by_x["mean"], color=SERIES[number], linewidth=1.8), "", number)
            else:
                _draw_intervals(axes, line_by_x, number)
            for position, label, mean in line_by_x[["label", "mean"]].itertuples():
                point = axes.plot(
                    [position], [mean], MARKERS[number], color=SERIES[number], markersize=7, markeredgewidth=0
                )
                add_title(point, titles[label], number)
        return to_svg(figure, f"value {key} {metric}")


def scatter_plot(key: str, metric: str, points: pd.DataFrame, titles: Mapping[str, str], is_log: bool | None) -> str:
    """The validation metric against a value that was searched along with others: a point per configuration.

    Args:
        metric: the validation metric's name.
        points: columns `label`, `value` and `selection`, the best configuration first; it is drawn on top.
        titles: by label, of the `MAX_TITLES` best points.
        is_log: whether the values were searched in logarithms; None if unknown.
    """
    with mpl.rc_context(STYLE):
        axis = scale(list(points["value"]), is_log=is_log)
        figure, axes = _value_axes(key, metric, axis)
        x, y, n = axis.positions, points["selection"].to_numpy(), MAX_TITLES
        small: dict[str, Any] = {"color": SERIES[0], "alpha": 0.5, "markersize": 6, "markeredgewidth": 0}
        axes.plot(x[n:], y[n:], "o", **small)
        for rank in range(min(n, len(points)) - 1, -1, -1):
            style = small if rank else {"color": ACCENT, "markersize": 9, "markeredgewidth": 0}
            add_title(axes.plot([x[rank]], [y[rank]], "o", **style), titles[points["label"].iloc[rank]])
        return to_svg(figure, f"scatter {key} {metric}")


def curve_plot(
    tag: str,
    names: Sequence[str],
    curves: Mapping[str, pd.DataFrame],
    levels: Mapping[str, float],
    folders: Mapping[str, str],
) -> str:
    """A logged scalar by epoch: a line per configuration, up to `MAX_BANDS` with 95 % bands over seeds.

    Args:
        names: configurations; a name's position determines its colour.
        curves: by name, columns `mean` and `half_width`, index epoch.
        levels: by name, the value of a configuration without a curve, drawn as a dashed line.
        folders: by name, those of its runs, in words.
    """
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 270)
        for number, name in enumerate(names):
            if name in curves:
                last = curves[name]["mean"].iloc[-1]
                title = f"{name}\n{tag} {format_scalar(last)} at epoch {curves[name].index[-1]}\n{folders[name]}"
                _draw_curve(axes, curves[name], number, title, has_band=len(curves) <= MAX_BANDS)
            elif name in levels:
                line = axes.axhline(levels[name], color=SERIES[number], linewidth=1.4, linestyle=DASHED)
                add_title([line], f"{name}\n{tag} {format_scalar(levels[name])}\n{folders[name]}", number)
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
    margin = max(0.08, *(LETTER_WIDTH * len(shorten(name, 18)) / 2 for name in ticks.values()))
    axes.set_xlim(-margin, 1 + margin)
    axes.set_xlabel(key)
    axes.set_title(metric, loc="left", fontsize=12, color=INK)
    return figure, axes


def _draw_curve(axes: Axes, curve: pd.DataFrame, number: int, title: str, has_band: bool) -> None:
    """A curve in the colour of its number, with its marker at the last epoch."""
    if has_band:
        _draw_band(axes, curve, number)
    x = curve.index.to_numpy(dtype=float)
    line = axes.plot(x, curve["mean"], color=SERIES[number], linewidth=1.8, marker=MARKERS[number], markersize=6)
    line[0].set_markevery([-1])
    add_title(line, title, number)


def _draw_band(axes: Axes, line: pd.DataFrame, number: int) -> None:
    """The 95 % band of a line."""
    x, colour = line.index.to_numpy(dtype=float), SERIES[number]
    low, high = line["mean"] - line["half_width"], line["mean"] + line["half_width"]
    add_title([axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)], "", number)


def _draw_intervals(axes: Axes, line: pd.DataFrame, number: int) -> None:
    """A faint line with an interval for each value."""
    x, colour = line.index.to_numpy(dtype=float), SERIES[number]
    low, high = line["mean"] - line["half_width"], line["mean"] + line["half_width"]
    intervals = axes.vlines(x, low, high, color=colour, linewidth=1.6)
    add_title([intervals, *axes.plot(x, line["mean"], color=colour, alpha=0.35, linewidth=1)], "", number)
