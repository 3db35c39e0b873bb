"""What the line plots show: a metric along a swept value, and learning curves from TensorBoard's event files."""

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


def along(comparison: Comparison, runs: Runs, key: str) -> pd.DataFrame:
    """The metric along the values of `key`, a row a configuration that has the key, best on validation first.

    Returns:
        columns `name` (the configuration of the other keys), `value`, `mean`, `half_width`; `selected`, the mean of
        what selects.
    """
    c = comparison
    one_each = [runs.runs[c.of(label).index[0]] for label in c.labels]
    names = labels(one_each, [other for other in runs.swept if other != key])
    rows = [
        (name, value(run, key), c.test[label].mean, c.test[label].half_width, c.val[label].mean)
        for name, run, label in zip(names, one_each, c.labels, strict=True)
        if value(run, key) is not None
    ]
    return pd.DataFrame(rows, columns=["name", "value", "mean", "half_width", "selected"])


def grid_lines(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The points of `along` that differ in nothing but the key's value, the best configurations first.

    A line that is level says of a model that it does not know the key, and is left out.

    Returns:
        name -> its rows; empty where most points are alone, as in a random search.
    """
    groups = {str(name): line for name, line in points.groupby("name", sort=False) if len(line) > 1}
    if 2 * sum(map(len, groups.values())) < len(points):
        return {}
    bent = {name: line for name, line in groups.items() if line["mean"].nunique() > 1}
    return dict(list(bent.items())[:LINES])


def curve_lines(comparison: Comparison, runs: Runs) -> tuple[list[str], dict[str, dict[str, pd.DataFrame]]]:
    """Learning curves of the best configurations and the baseline.

    Returns:
        the chosen configurations, of each model at most one that has no curve, since it was computed at once; and
        tag -> configuration -> `mean_curve`. Tags: the validation metric and the training loss.
    """
    c = comparison
    chosen: list[str] = []
    at_once: set[str] = set()
    lines: dict[str, dict[str, pd.DataFrame]] = {c.selection: {}, "train/loss": {}}
    for label in c.labels:
        if label != c.baseline and len(chosen) >= (LINES if c.baseline in chosen else LINES - 1):
            continue
        curves = _curves(comparison, runs, label, lines)
        model = str(c.of(label)["model"].iloc[0])
        if not curves and model in at_once and label != c.baseline:
            continue
        if not curves:
            at_once.add(model)
        for tag, curve in curves.items():
            lines[tag][label] = curve
        chosen.append(label)
    return chosen, {tag: curves for tag, curves in lines.items() if curves}


def _curves(comparison: Comparison, runs: Runs, label: str, tags: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Those tags that a configuration's runs logged over epochs, as `mean_curve`."""
    logged = [read_scalars(runs.runs[at].folder / "tb", tags) for at in comparison.of(label).index[:RUNS]]
    means = {tag: mean_curve(scalars[tag] for scalars in logged if tag in scalars) for tag in tags}
    return {tag: curve for tag, curve in means.items() if len(curve) > 1}


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
