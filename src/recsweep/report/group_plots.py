"""Plots of what differs between users and items: a metric in groups, differences in groups, gains of single users."""

from collections.abc import Mapping
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from recsweep.metrics import lower_is_better
from recsweep.report.crossed import SIGNIFICANT, Estimate
from recsweep.report.numbers import choose_digits, format_difference, format_estimate, format_number, format_p
from recsweep.report.svg import (
    ACCENT,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    STYLE,
    TEXT_BOX,
    add_title,
    annotate,
    canvas,
    to_svg,
    wrap,
)

N_BINS = 40
"""Bars of a histogram; an even number, so that 0 is between two."""

WHOLE = 0.99
"""Share of the users whose gains the axis of a histogram holds; the others are in its outermost bars."""


def group_plot(name: str, metric: str, lines: Mapping[str, Mapping[str, Estimate]]) -> str:
    """A metric in each group: a mark with its interval per configuration, side by side.

    Args:
        name: what the groups are, for the axis.
        lines: estimates by label of the configuration and group.
    """
    groups = list(dict.fromkeys(group for line in lines.values() for group in line))
    digits = choose_digits(one for line in lines.values() for one in line.values())
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 270)
        for number, (label, line) in enumerate(lines.items()):
            colour, shift = SERIES[number], 0.1 * (number - (len(lines) - 1) / 2)
            x = [groups.index(group) + shift for group in line]
            means = [one.mean for one in line.values()]
            add_title(axes.plot(x, means, color=colour, alpha=0.35, linewidth=1), "", number)
            for place, (group, one) in zip(x, line.items(), strict=True):
                low, high = one.mean - one.half_width, one.mean + one.half_width
                interval = axes.vlines(place, low, high, color=colour, linewidth=1.6)
                point = axes.plot(place, one.mean, MARKERS[number], color=colour, markersize=6, markeredgewidth=0)
                text = f"{label}\n{name}: {group}\n{metric} {format_estimate(one, digits)}"
                add_title([interval, *point], text, number)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(name)
        axes.set_title(metric, loc="left", fontsize=12, color=INK)
        return to_svg(figure, f"groups {name} {metric}")


def difference_plot(name: str, metric: str, differences: Mapping[str, Estimate], width: int) -> str:
    """A row per group: the difference with its 95 % interval; where it is significant, in the colour of the better one.

    Args:
        name: salts the plot's ids.
        width: px; on a narrow page the groups are above the rows.
    """
    is_narrow = width < 500
    texts = [wrap(text, 48 if is_narrow else 30) for text in differences]
    digits = choose_digits(differences.values())
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, (42 if is_narrow else 28) * len(texts) + 60)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        for y, (text, (group, one)) in enumerate(zip(texts, differences.items(), strict=True)):
            better = ACCENT if (one.mean > 0) != lower_is_better(metric) else SERIES[0]
            colour = better if one.p < SIGNIFICANT else MUTED
            ends = [one.mean - one.half_width, one.mean + one.half_width]
            interval = axes.plot(ends, [y, y], color=colour, linewidth=2.6, solid_capstyle="round")
            point = axes.plot([one.mean], [y], "o", color=colour, markersize=8, markeredgewidth=0)
            title = f"{group}\ndifference in {metric} {format_difference(one, digits)}\np {format_p(one.p, '= ')}"
            add_title([*interval, *point], title)
            if is_narrow:
                annotate(axes, text, (0, y), ("axes fraction", "data"), 8, va="bottom", bbox=TEXT_BOX)
        axes.set_ylim(len(texts) - 0.4, -0.9 if is_narrow else -0.6)
        axes.set_yticks(range(len(texts)), [""] * len(texts) if is_narrow else texts)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4 if is_narrow else 8))
        axes.set_xlabel(f"difference in {metric}")
        return to_svg(figure, f"difference {name} {width}")


def gains_plot(metric: str, gains: np.ndarray, width: int) -> str:
    """A histogram of the gains of users: those who gain, in one colour, and those who lose, in another.

    Args:
        gains: [n_users], none of them 0.
    """
    end = float(np.quantile(np.abs(gains), WHOLE))
    counts, edges = np.histogram(np.clip(gains, -end, end), N_BINS, (-end, end))
    middles = (edges[1:] + edges[:-1]) / 2
    digits = max(0, -int(np.floor(np.log10(edges[1] - edges[0]))))
    ranges = [f"{format_number(low, digits)} to {format_number(high, digits)}" for low, high in pairwise(edges)]
    ranges[0] = f"{format_number(edges[1], digits)} or less"
    ranges[-1] = f"{format_number(edges[-2], digits)} or more"
    colours = [ACCENT if middle > 0 else SERIES[0] for middle in middles]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, 220)
        bars = axes.bar(middles, counts, 0.9 * (edges[1] - edges[0]), color=colours)
        for bar, count, gain in zip(bars, counts, ranges, strict=True):
            add_title([bar], f"{count:,} {'user' if count == 1 else 'users'}\ngain in {metric} {gain}" if count else "")
        axes.axvline(0, color=MUTED, linewidth=1.2)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"gain of a user in {metric}")
        axes.set_ylabel("users")
        return to_svg(figure, f"gains {metric} {width}")
