"""The data of the line plots: a metric against a swept value, and learning curves from TensorBoard's event files."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.crossed import estimate_over_seeds
from recsweep.report.labels import labels, value

MAX_LINES = 6
"""Lines in a plot: more cannot be told apart."""

MAX_RUNS = 8
"""Runs averaged into a learning curve: reading all runs of a large sweep would take minutes."""

MAX_POINTS = 1000
"""Points of a run's curve; longer ones are thinned out."""


def value_points(comparison: Comparison, runs: Runs, key: str) -> pd.DataFrame:
    """The metric by the value of `key`: a row per configuration that has the key, best on validation first.

    Returns:
        columns `label`, `name` (the configuration without `key`), `value`, `mean`, `half_width`, and `selection` (mean
        of the validation metric that orders the configurations).
    """
    c = comparison
    first_runs = [runs.runs[c.rows(label).index[0]] for label in c.labels]
    names = labels(first_runs, [sweep_key for sweep_key in runs.sweep_keys if sweep_key != key])
    rows = [
        (label, name, value(run, key), c.test[label].mean, c.test[label].half_width, c.val[label].mean)
        for name, run, label in zip(names, first_runs, c.labels, strict=True)
        if value(run, key) is not None
    ]
    return pd.DataFrame(rows, columns=["label", "name", "value", "mean", "half_width", "selection"])


def grid_lines(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Lines through the `value_points` that differ only in the key's value, the best configurations first.

    A model that ignores the key gives a level line, which is left out.

    Returns:
        name -> its rows; empty if most points are alone, as in a random search.
    """
    groups = {str(name): line for name, line in points.groupby("name", sort=False) if len(line) > 1}
    if 2 * sum(map(len, groups.values())) < len(points):
        return {}
    return {name: line for name, line in groups.items() if line["mean"].nunique() > 1}


def curve_lines(comparison: Comparison, runs: Runs) -> tuple[list[str], dict[str, dict[str, pd.DataFrame]]]:
    """Learning curves of the best configurations and the reference.

    Returns:
        the configurations to draw, at most one of each model without curves (one fitted in closed form); and
        tag -> configuration -> `mean_curve`. Tags: the validation metric and the training loss.
    """
    c = comparison
    names: list[str] = []
    models_without_curves: set[str] = set()
    lines: dict[str, dict[str, pd.DataFrame]] = {c.selection: {}, "train/loss": {}}
    for label in c.labels:
        if label != c.reference and len(names) >= (MAX_LINES if c.reference in names else MAX_LINES - 1):
            continue
        curves = _curves(comparison, runs, label, lines)
        model = str(c.rows(label)["model"].iloc[0])
        if not curves and model in models_without_curves and label != c.reference:
            continue
        if not curves:
            models_without_curves.add(model)
        for tag, curve in curves.items():
            lines[tag][label] = curve
        names.append(label)
    return names, {tag: curves for tag, curves in lines.items() if curves}


def _curves(comparison: Comparison, runs: Runs, label: str, tags: Iterable[str]) -> dict[str, pd.DataFrame]:
    """`mean_curve` by tag, of the tags that a configuration's runs logged for more than one epoch."""
    runs_scalars = [
        read_scalars(runs.runs[index].folder / "tb", tags) for index in comparison.rows(label).index[:MAX_RUNS]
    ]
    means = {tag: mean_curve(scalars[tag] for scalars in runs_scalars if tag in scalars) for tag in tags}
    return {tag: curve for tag, curve in means.items() if len(curve) > 1}


def read_scalars(folder: Path, tags: Iterable[str]) -> dict[str, pd.Series]:
    """Scalars by epoch, of those tags that the run logged in `folder` or a folder below; none if there is none.

    A job of a sweep has its files in a subfolder that says what differs from the other jobs.
    """
    values: dict[str, dict[int, float]] = {}
    for parent in sorted({path.parent for path in folder.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(parent), size_guidance={SCALARS: MAX_POINTS}).Reload()
        for tag in set(tags) & set(events.Tags()[SCALARS]):
            values.setdefault(tag, {}).update({point.step: point.value for point in events.Scalars(tag)})
    return {tag: pd.Series(values[tag]).sort_index() for tag in tags if tag in values}


def mean_curve(curves: Iterable[pd.Series]) -> pd.DataFrame:
    """Mean and 95 % interval over the curves, at the epochs that all have.

    Returns:
        columns `mean` and `half_width` (NaN for a single curve), index epoch; empty without curves.
    """
    columns = list(curves)
    if not columns:
        return pd.DataFrame(columns=["mean", "half_width"])
    table = pd.concat(columns, axis="columns", join="inner").sort_index()
    rows = [estimate_over_seeds(row) for row in table.to_numpy(dtype=float)]
    return pd.DataFrame([(row.mean, row.half_width) for row in rows], table.index, ["mean", "half_width"])
