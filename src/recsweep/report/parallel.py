"""A sweep's settings and what they led to, as parallel coordinates: one line a configuration."""

import matplotlib as mpl
import numpy as np
import pandas as pd

from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.labels import value
from recsweep.report.scale import LETTERS, scale
from recsweep.report.svg import ACCENT, CLEAR, GRID, INK, MUTED, SERIES, STYLE, as_svg, canvas, note, shorten

LINES = 200
"""Lines drawn: of more configurations, so many from the best to the worst."""


def settings(comparison: Comparison, runs: Runs) -> pd.DataFrame:
    """What was swept, and what it led to on validation.

    Returns:
        a row a configuration, the best first; a column each for the model and the swept keys that differ, the last one
        for the metric that selects. Configurations without a value of it are left out.
    """
    c = comparison
    one_each = {label: runs.runs[c.of(label).index[0]] for label in c.labels if np.isfinite(c.val[label].mean)}
    table = pd.DataFrame(
        {key: [value(run, key) for run in one_each.values()] for key in ("model", *runs.swept)},
        index=list(one_each),
        dtype=object,
    )
    table = table.loc[:, table.nunique() > 1]
    return table.assign(**{c.selection: [c.val[label].mean for label in one_each]})


def parallel_plot(title: str, table: pd.DataFrame) -> str:
    """Axes below one another, so that any number of them fits a narrow page: the settings, at last the outcome.

    Args:
        title: of the comparison.
        table: as from `settings`.
    """
    table = table.iloc[np.unique(np.linspace(0, len(table) - 1, LINES).astype(int))]
    *keys, outcome = map(str, table)
    scales = {key: scale(list(table[key])) for key in keys} | {outcome: scale(list(table[outcome]), all_named=0)}
    places = np.stack([axis.places for axis in scales.values()])
    with mpl.rc_context(STYLE):
        figure, axes = canvas(370, 72 * len(scales))
        axes.hlines(range(len(scales)), 0, 1, color=GRID, linewidth=1)
        for rank in range(len(table) - 1, 0, -1):
            alpha = 0.75 * (1 - rank / len(table)) ** 2 + 0.1
            axes.plot(places[:, rank], range(len(scales)), color=SERIES[0], alpha=alpha, linewidth=1.3)
        axes.plot(places[:, 0], range(len(scales)), color=ACCENT, linewidth=2.4)
        for level, (key, axis) in enumerate(scales.items()):
            note(axes, shorten(key, 50), (0, level), ("data", "data"), 6, color=INK, bbox=CLEAR)
            long = sum(map(len, axis.ticks.values())) > LETTERS
            for number, (at, name) in enumerate(axis.ticks.items()):
                text = {"ha": {0.0: "left", 1.0: "right"}.get(at, "center"), "color": MUTED, "fontsize": 11}
                below = 26 if long and number % 2 else 14  # in two rows what is too long for one
                note(axes, shorten(name, 18), (at, level), ("data", "data"), -below, bbox=CLEAR, **text)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(len(scales) - 0.7, -0.35)
        axes.axis("off")
        return as_svg(figure, f"parallel {title}")
