"""What the line plots show: a metric along a swept number, and learning curves from TensorBoard's event files."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from recsweep.report import stats
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.labels import labels, value

LINES = 6
"""Lines in a plot: more cannot be told apart."""

RUNS = 8
"""Runs read for one averaged learning curve, so that a large sweep does not cost minutes."""

POINTS = 1000
"""Points kept of a run's curve; a longer one is thinned."""


def numeric_lines(comparison: Comparison, runs: Runs, key: str) -> dict[str, pd.DataFrame]:
    """The metric along the values of `key`, by configuration of the other keys, the best ones first.

    Returns:
        name -> columns `mean`, `half_width`, index value upwards; empty where `key` is no swept number.
    """
    c = comparison
    one_each = [runs.runs[c.of(label).index[0]] for label in c.labels]
    values = [value(run, key) for run in one_each]
    names = labels(one_each, [other for other in runs.swept if other != key])
    points = pd.DataFrame(
        [
            (name, number, c.test[label].mean, c.test[label].half_width)
            for name, number, label in zip(names, values, c.labels, strict=True)
            if number is not None
        ],
        columns=["name", "value", "mean", "half_width"],
    )
    if not all(isinstance(number, int | float) for number in points["value"]):
        return {}
    lines = {
        str(name): line.set_index("value")[["mean", "half_width"]].sort_index()
        for name, line in points.groupby("name", sort=False)
        if len(line) > 1
    }
    return dict(list(lines.items())[:LINES])


def curve_lines(comparison: Comparison, runs: Runs) -> dict[str, dict[str, pd.DataFrame]]:
    """Learning curves of the best configurations and the baseline; a model without epochs has none.

    Returns:
        tag -> configuration -> `mean_curve`. Tags: the validation metric and the training loss.
    """
    lines: dict[str, dict[str, pd.DataFrame]] = {comparison.selection: {}, "train/loss": {}}
    for label in comparison.top(LINES):
        logged = [
            read_scalars(runs.runs[position].folder / "tb", lines) for position in comparison.of(label).index[:RUNS]
        ]
        for tag, curves in lines.items():
            curve = mean_curve(scalars[tag] for scalars in logged if tag in scalars)
            if len(curve) > 1:
                curves[label] = curve
    return {tag: curves for tag, curves in lines.items() if curves}


def read_scalars(folder: Path, tags: Iterable[str]) -> dict[str, pd.Series]:
    """Scalars by epoch of the run logged in `folder`; tags that it lacks are absent. No folder, no scalars."""
    if not folder.is_dir():
        return {}
    events = EventAccumulator(str(folder), size_guidance={SCALARS: POINTS}).Reload()
    logged = set(events.Tags()[SCALARS])
    return {tag: pd.Series({point.step: point.value for point in events.Scalars(tag)}) for tag in tags if tag in logged}


def mean_curve(curves: Iterable[pd.Series]) -> pd.DataFrame:
    """Mean and 95 % interval by epoch, as far as every curve runs.

    Returns:
        columns `mean` and `half_width` (NaN for a single curve), index epoch; empty without curves.
    """
    found = list(curves)
    if not found:
        return pd.DataFrame(columns=["mean", "half_width"])
    together = pd.concat(found, axis="columns", join="inner").sort_index()
    spreads = [stats.spread(row) for row in together.to_numpy()]
    return pd.DataFrame(spreads, index=together.index, columns=stats.Spread._fields)[["mean", "half_width"]]
