"""Plots of what differs between users and items: a metric in groups, differences in groups, gains of single users."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from recsweep.report.crossed import SIGNIFICANT, Estimate
from recsweep.report.svg import ACCENT, INK, MARKERS, MUTED, SERIES, STYLE, TEXT_BOX, annotate, canvas, to_svg, wrap

N_BINS = 40
"""Bars of a histogram; an even number, so that 0 is between two."""

WHOLE = 0.99
"""Share of the users whose gains the axis of a histogram holds; the others are in its outermost bars."""


def group_plot(name: str, metric: str, lines: Sequence[Mapping[str, Estimate]]) -> str:
    """A metric in each group: a mark with its interval per configuration, side by side.

    Args:
        name: what the groups are, for the axis.
        lines: estimates by group, of each configuration.
    """
    groups = list(dict.fromkeys(group for line in lines for group in line))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 270)
        for number, line in enumerate(lines):
            shift = 0.1 * (number - (len(lines) - 1) / 2)
            x = np.array([groups.index(group) + shift for group in line])
            means, widths = np.array([(one.mean, one.half_width) for one in line.values()]).reshape(-1, 2).T
            axes.plot(x, means, color=SERIES[number], alpha=0.35, linewidth=1)
            axes.vlines(x, means - widths, means + widths, color=SERIES[number], linewidth=1.6)
            axes.plot(x, means, MARKERS[number], color=SERIES[number], markersize=6, markeredgewidth=0)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(name)
        axes.set_title(metric, loc="left", fontsize=12, color=INK)
        return to_svg(figure, f"groups {name} {metric}")


def difference_plot(name: str, metric: str, differences: Mapping[str, Estimate], width: int) -> str:
    """A row per group: the difference with its 95 % interval, in colour where it is significant.

    Args:
        name: salts the plot's ids.
        width: px; on a narrow page the groups are above the rows.
    """
    is_narrow = width < 500
    texts = [wrap(text, 48 if is_narrow else 30) for text in differences]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, (42 if is_narrow else 28) * len(texts) + 60)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        for y, (text, one) in enumerate(zip(texts, differences.values(), strict=True)):
            colour = ACCENT if one.p < SIGNIFICANT else MUTED
            ends = [one.mean - one.half_width, one.mean + one.half_width]
            axes.plot(ends, [y, y], color=colour, linewidth=2.6, solid_capstyle="round")
            axes.plot([one.mean], [y], "o", color=colour, markersize=8, markeredgewidth=0)
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
    colours = [ACCENT if middle > 0 else SERIES[0] for middle in middles]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(width, 220)
        axes.bar(middles, counts, 0.9 * (edges[1] - edges[0]), color=colours)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"gain of a user in {metric}")
        axes.set_ylabel("users")
        return to_svg(figure, f"gains {metric} {width}")
