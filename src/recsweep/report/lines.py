"""What the line plots show: a metric along a swept number, and learning curves from TensorBoard's event files."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from recsweep.report import stats
from recsweep.report.collect import Run, configuration
from recsweep.report.comparisons import Comparison

LINES = 6
"""Lines in a plot: more cannot be told apart."""

RUNS = 8
"""Runs read for one averaged learning curve, so that a large sweep does not cost minutes."""

POINTS = 1000
"""Points kept of a run's curve; a longer one is thinned."""


def numeric_lines(comparison: Comparison, runs: tuple[Run, ...], key: str) -> dict[str, pd.DataFrame]:
    """The metric along the values of `key`, by configuration of the other keys, the best ones first.

    Returns:
        name -> columns `mean`, `half_width`, index value upwards; empty where `key` is no swept number.
    """
    c = comparison
    first = c.table.drop_duplicates("label").set_index("label", drop=False).loc[c.labels]
    values = first[key].dropna()
    if values.nunique() < 2 or not values.map(lambda value: isinstance(value, float)).all():
        return {}
    others = tuple(other for other in c.swept if other != key)
    position = c.table.drop_duplicates("label").reset_index().set_index("label")["index"]
    names = pd.Series({label: configuration(runs[position[label]], others) for label in values.index})
    lines = {}
    for name, labels in names.groupby(names, sort=False).groups.items():
        if values[labels].nunique() > 1:
            lines[str(name)] = c.test.loc[labels, ["mean", "half_width"]].set_axis(values[labels]).sort_index()
    return dict(list(lines.items())[:LINES])


def curve_lines(comparison: Comparison, runs: tuple[Run, ...]) -> dict[str, dict[str, pd.DataFrame]]:
    """Learning curves of the best configurations and the baseline, those without event files left out.

    Returns:
        tag -> configuration -> `mean_curve`. Tags: the validation metric and the training loss.
    """
    c = comparison
    labels = dict.fromkeys([*c.labels[: LINES - 1], c.baseline, *c.labels[:LINES]])
    lines: dict[str, dict[str, pd.DataFrame]] = {c.selection: {}, "train/loss": {}}
    for label in [label for label in c.labels if label in list(labels)[:LINES]]:
        positions = c.table.index[c.table["label"] == label][:RUNS]
        logged = [read_scalars(runs[position].folder / "tb", lines) for position in positions]
        for tag, curves in lines.items():
            found = [scalars[tag] for scalars in logged if tag in scalars]
            if found:
                curves[label] = mean_curve(found)
    return {tag: curves for tag, curves in lines.items() if any(len(curve) > 1 for curve in curves.values())}


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
        columns `mean` and `half_width` (NaN for a single curve), index epoch.
    """
    together = pd.concat(list(curves), axis="columns", join="inner").sort_index()
    rows = {epoch: stats.spread(row) for epoch, row in together.iterrows()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=stats.Spread._fields)[["mean", "half_width"]]
