"""A sweep's settings and the metric they lead to, as parallel coordinates: a line per configuration."""

from collections.abc import Mapping
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
import pandas as pd

from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.labels import value
from recsweep.report.scale import LETTERS_PER_ROW, scale
from recsweep.report.svg import (
    ACCENT,
    GRID,
    INK,
    MUTED,
    SERIES,
    STYLE,
    TEXT_BOX,
    add_title,
    annotate,
    canvas,
    shorten,
    to_svg,
)

MAX_LINES = 200
"""With more configurations, so many are drawn, evenly spaced from the best to the worst."""


def settings_table(comparison: Comparison, runs: Runs) -> pd.DataFrame:
    """The swept settings, and the validation metric that they lead to.

    Returns:
        a row per configuration with a validation metric, best first; columns are the model and the swept keys that
        differ, and last the metric.
    """
    c = comparison
    first_runs = {label: runs.runs[c.rows(label).index[0]] for label in c.labels if np.isfinite(c.val[label].mean)}
    table = pd.DataFrame(
        {key: [value(run, key) for run in first_runs.values()] for key in ("model", *runs.sweep_keys)},
        index=list(first_runs),
        dtype=object,
    )
    table = table.loc[:, table.nunique() > 1]
    return table.assign(**{c.selection: [c.val[label].mean for label in first_runs]})


def parallel_plot(
    title: str, table: pd.DataFrame, titles: Mapping[str, str], is_log: Mapping[str, bool] = MappingProxyType({})
) -> str:
    """Horizontal axes below one another, so that any number of them fits a narrow page: settings, then the metric.

    Args:
        title: of the comparison.
        table: from `settings_table`.
        titles: of the lines, by label.
        is_log: whether a setting was searched in logarithms, of those that were searched in an interval.
    """
    table = table.iloc[np.unique(np.linspace(0, len(table) - 1, MAX_LINES).astype(int))]
    *keys, metric = map(str, table)
    scales = {key: scale(list(table[key]), is_log=is_log.get(key)) for key in keys}
    scales[metric] = scale(list(table[metric]), max_own_ticks=0)
    positions = np.stack([axis.positions for axis in scales.values()])
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 72 * len(scales))
        axes.hlines(range(len(scales)), 0, 1, color=GRID, linewidth=1)
        for rank in range(len(table) - 1, 0, -1):
            alpha = 0.75 * (1 - rank / len(table)) ** 2 + 0.1
            line = axes.plot(positions[:, rank], range(len(scales)), color=SERIES[0], alpha=alpha, linewidth=1.3)
            add_title(line, titles[str(table.index[rank])])
        best = axes.plot(positions[:, 0], range(len(scales)), color=ACCENT, linewidth=2.4)
        add_title(best, titles[str(table.index[0])])
        for level, (key, axis) in enumerate(scales.items()):
            annotate(axes, shorten(key, 50), (0, level), ("data", "data"), 6, color=INK, bbox=TEXT_BOX)
            is_long = sum(map(len, axis.ticks.values())) > LETTERS_PER_ROW
            for number, (position, name) in enumerate(axis.ticks.items()):
                style = {"ha": {0.0: "left", 1.0: "right"}.get(position, "center"), "color": MUTED, "fontsize": 11}
                below = 26 if is_long and number % 2 else 14  # labels that are too long for one row use two
                annotate(axes, shorten(name, 18), (position, level), ("data", "data"), -below, bbox=TEXT_BOX, **style)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(len(scales) - 0.7, -0.35)
        axes.axis("off")
        return to_svg(figure, f"parallel {title}")
