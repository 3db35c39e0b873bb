"""The intervals and tests of a comparison: over users and seeds where runs left evidence, else over seeds alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from recsweep.errors import UserError
from recsweep.report.by_user import Layout, combine, read_layouts, subtract
from recsweep.report.crossed import NOTHING, Estimate, estimate, estimate_over_seeds
from recsweep.report.read import Run
from recsweep.report.stats import holm

JOINT = "joint"
"""The metric that is the weighted sum `evaluation.joint`."""


@dataclass
class Measurements:
    """What is known of every configuration.

    Args:
        estimates: of the metrics, by metric and label.
        differences: to the reference, of all other configurations, by metric and label; p is Holm's over the labels.
        layouts: of the main metric, by label, for configurations whose runs left evidence.
        seed_means: of the main metric, by label and seed.
        faults: a line for each configuration whose evidence is damaged.
    """

    estimates: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    differences: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    seed_means: dict[str, dict[str, float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def measure(
    table: pd.DataFrame, runs: Sequence[Run], metrics: Sequence[str], main: str, reference: str, seed: str
) -> Measurements:
    """Estimates of all metrics, and their differences to the reference.

    Args:
        table: a row per run of the comparison, indexed by position in `runs`, with `label`, `seed` and the metrics.
        main: the metric whose layouts are kept; those of the others would take too much memory in a large sweep.
        reference: a label.
        seed: what a repetition is, such as "seed" or "fold".
    """
    measurements = Measurements(estimates={name: {} for name in metrics}, differences={name: {} for name in metrics})
    means = {name: mean_by_seed(table, name) for name in metrics}
    measurements.seed_means = means[main]
    weights = _joint_weights(runs[table.index[0]])
    reference_layouts: dict[str, Layout] = {}
    for label in (reference, *(label for label in means[main] if label != reference)):
        rows = table[table["label"] == label]
        folders = [
            (str(row_seed), runs[index].folder) for index, row_seed in zip(rows.index, rows["seed"], strict=True)
        ]
        try:
            layouts = _read(folders, weights)
        except UserError as error:
            measurements.faults.append(f"No intervals over users for {label}: {error}")
            layouts = {}
        if label == reference:
            reference_layouts = layouts
        if main in layouts:
            measurements.layouts[label] = layouts[main]
        for name in metrics:
            by_seed = means[name][label]
            measurements.estimates[name][label] = _estimate(layouts.get(name), by_seed, seed)
            if label != reference:
                pair = (layouts.get(name), reference_layouts.get(name))
                difference = estimate_difference(pair, (by_seed, means[name][reference]), seed)
                measurements.differences[name][label] = difference
    measurements.differences = {name: correct(tests) for name, tests in measurements.differences.items()}
    return measurements


def estimate_difference(
    layouts: tuple[Layout | None, Layout | None], means: tuple[Mapping[str, float], Mapping[str, float]], seed: str
) -> Estimate:
    """The difference left minus right, paired by user and seed.

    Args:
        layouts: None for a side without evidence; then the pairs are those of seeds alone.
        means: the metric by seed of both sides.
    """
    left, right = layouts
    if left is not None and right is not None:
        layout = subtract(left, right)
        return NOTHING if layout is None else estimate(layout.values, seed)
    return estimate_over_seeds(np.array([means[0][key] - means[1][key] for key in means[0] if key in means[1]]), seed)


def correct(tests: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The tests with Holm's p, as one family."""
    adjusted = holm([test.p for test in tests.values()])
    return {name: test._replace(p=float(p)) for (name, test), p in zip(tests.items(), adjusted, strict=True)}


def mean_by_seed(table: pd.DataFrame, metric: str) -> dict[str, dict[str, float]]:
    """The metric by label and seed, runs of the same seed as their mean; seeds without a value are left out."""
    by_label: dict[str, dict[str, float]] = {str(label): {} for label in table["label"].unique()}
    means = table.groupby(["label", "seed"], sort=False, as_index=False)[metric].mean().dropna()
    for label, seed, mean in means.itertuples(index=False):
        by_label[str(label)][str(seed)] = float(mean)
    return by_label


def _read(folders: Sequence[tuple[str, Path]], weights: Mapping[str, float]) -> dict[str, Layout]:
    layouts = {**read_layouts(folders, "val"), **read_layouts(folders, "test")}
    for part in ("val", "test"):
        joint = combine(layouts, {f"{part}/{name}": weight for name, weight in weights.items()})
        if joint is not None:
            layouts[f"{part}/{JOINT}"] = joint
    return layouts


def _joint_weights(run: Run) -> dict[str, float]:
    evaluation = run.config.get("evaluation")
    weights = evaluation.get(JOINT) if isinstance(evaluation, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(weight, int | float) for weight in weights.values()):
        return {}
    return weights


def _estimate(layout: Layout | None, means: Mapping[str, float], seed: str) -> Estimate:
    """Of one configuration; the mean is that of the runs' own metrics, the evidence of which is rounded to float32."""
    over_seeds = estimate_over_seeds(np.array(list(means.values())), seed)
    return over_seeds if layout is None else estimate(layout.values, seed)._replace(mean=over_seeds.mean)
