"""Metrics by user and seed, from the evidence that runs left: what intervals over users are computed from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from recsweep.report.crossed import linearize_ratio, linearize_root
from recsweep.report.evidence import Evidence, read_evidence

ROOTS = ("rmse",)
"""Metrics that are the square root of a mean."""


class Layout(NamedTuple):
    """A metric of one configuration, or a difference between two.

    Args:
        users: [n_users] ids, distinct.
        seeds: [n_seeds] what the columns are, distinct.
        values: [n_users, n_seeds] float64 whose means over users are the metric of each seed.
    """

    users: np.ndarray
    seeds: tuple[str, ...]
    values: np.ndarray

    def has_no_seed(self) -> bool:
        """Whether the configuration gives the same with every seed, as far as its runs tell: there are several."""
        return len(self.seeds) > 1 and bool((self.values == self.values[:, :1]).all())


def read_layouts(runs: Sequence[tuple[str, Path]], part: Literal["val", "test"]) -> dict[str, Layout]:
    """Layouts of one configuration by metric, such as "test/ndcg@10"; none if a run left no evidence.

    Runs of the same seed count once, as their mean.

    Args:
        runs: seed and folder of each run.

    Raises:
        UserError: damaged evidence.
    """
    evidence: list[Evidence] = []
    for _, folder in runs:
        run_evidence = read_evidence(folder, part)
        if run_evidence is None:
            return {}
        evidence.append(run_evidence)
    if not evidence:
        return {}
    layouts = combine_runs(evidence, [seed for seed, _ in runs])
    return {f"{part}/{name}": layout for name, layout in layouts.items()}


def combine_runs(evidence: Sequence[Evidence], seeds: Sequence[str]) -> dict[str, Layout]:
    """Layouts by metric, from the evidence and the seed of each run; without metrics that some run does not have.

    Empty without users.
    """
    users, positions = _unite(evidence)
    if not len(users):
        return {}
    metrics = [name for name in evidence[0].metrics if all(name in other.metrics for other in evidence)]
    layouts = {name: _layout(users, positions, seeds, evidence, name) for name in metrics}
    return {name: layout for name, layout in layouts.items() if np.isfinite(layout.values).all()}


def read_user_metric(runs: Sequence[tuple[str, Path]], metric: str) -> Layout | None:
    """Each user's own metric, such as the mean of a user's squared errors; None if a run left no evidence of it.

    Of users whom all runs count; the mean over users is not the metric where users have several rows.

    Args:
        runs: seed and folder of each run, the seeds distinct.
        metric: such as "test/ndcg@10".

    Raises:
        UserError: damaged evidence.
    """
    part, _, name = metric.partition("/")
    evidence = [read_evidence(folder, "val" if part == "val" else "test") for _, folder in runs]
    known = [one for one in evidence if one is not None and name in one.metrics]
    if not known or len(known) < len(runs):
        return None
    columns = []
    for one in known:
        numerator, denominator = one.terms(name)
        is_counted = denominator > 0
        columns.append(pd.Series(numerator[is_counted] / denominator[is_counted], one.users[is_counted]))
    table = pd.concat(columns, axis="columns", join="inner")
    values = np.sqrt(table.to_numpy()) if name.rpartition("/")[2] in ROOTS else table.to_numpy()
    return Layout(table.index.to_numpy(), tuple(seed for seed, _ in runs), values)


def combine(layouts: Mapping[str, Layout], weights: Mapping[str, float]) -> Layout | None:
    """The layout of a weighted sum of metrics on the same users and seeds; None if one of them has none.

    Args:
        weights: by metric, such as {"val/mrr_all": 1, "val/mse": -1}.
    """
    if not weights or not all(name in layouts for name in weights):
        return None
    first = layouts[next(iter(weights))]
    values = [weight * layouts[name].values for name, weight in weights.items()]
    return first._replace(values=np.sum(values, 0))


def subtract(left: Layout, right: Layout) -> Layout | None:
    """Differences, paired by user and seed; None without a common seed."""
    pair = align(left, right)
    return pair and pair[0]._replace(values=pair[0].values - pair[1].values)


def align(left: Layout, right: Layout) -> tuple[Layout, Layout] | None:
    """Both with the same users and seeds; None without a common seed.

    A configuration that gives the same with every seed is compared with all seeds of the other one.
    """
    left, right = _repeat_columns(left, right.seeds), _repeat_columns(right, left.seeds)
    seeds = tuple(seed for seed in left.seeds if seed in right.seeds)
    if not seeds:
        return None
    if not np.array_equal(left.users, right.users):
        users = np.union1d(left.users, right.users)
        left, right = _add_users(left, users), _add_users(right, users)
    columns = [[layout.seeds.index(seed) for seed in seeds] for layout in (left, right)]
    return Layout(left.users, seeds, left.values[:, columns[0]]), Layout(left.users, seeds, right.values[:, columns[1]])


def average(layouts: Iterable[Layout]) -> Layout | None:
    """The mean of layouts, seed by seed over those that have the seed; None without any."""
    layouts = list(layouts)
    if not layouts:
        return None
    users = layouts[0].users
    if not all(np.array_equal(users, layout.users) for layout in layouts):
        users = np.unique(np.concatenate([layout.users for layout in layouts]))
        layouts = [_add_users(layout, users) for layout in layouts]
    seeds = tuple(dict.fromkeys(seed for layout in layouts for seed in layout.seeds))
    total, count = np.zeros((len(users), len(seeds))), np.zeros(len(seeds))
    for layout in layouts:
        columns = [seeds.index(seed) for seed in layout.seeds]
        total[:, columns] += layout.values
        count[columns] += 1
    return Layout(users, seeds, total / count)


def _unite(evidence: Sequence[Evidence]) -> tuple[np.ndarray, list[np.ndarray]]:
    """All users, and the positions among them of those of each run."""
    users = evidence[0].users
    if all(np.array_equal(users, other.users) for other in evidence):
        return users, [np.arange(len(users))] * len(evidence)
    users = np.unique(np.concatenate([other.users for other in evidence]))
    return users, [np.searchsorted(users, other.users) for other in evidence]


def _layout(
    users: np.ndarray, positions: Sequence[np.ndarray], seeds: Sequence[str], evidence: Sequence[Evidence], name: str
) -> Layout:
    """A user without rows in a fold counts there with 0 / 0."""
    numerator, denominator = np.zeros((2, len(users), len(evidence)))
    for run, (position, run_evidence) in enumerate(zip(positions, evidence, strict=True)):
        numerator[position, run], denominator[position, run] = run_evidence.terms(name)
    values = linearize_ratio(numerator, denominator)
    if name.rpartition("/")[2] in ROOTS:
        values = linearize_root(values)
    distinct = tuple(dict.fromkeys(seeds))
    if len(distinct) < len(seeds):
        columns = [[run for run, seed in enumerate(seeds) if seed == column] for column in distinct]
        values = np.stack([values[:, runs].mean(1) for runs in columns], 1)
    return Layout(users, distinct, values)


def _repeat_columns(layout: Layout, seeds: Sequence[str]) -> Layout:
    """The layout with these seeds, too, if it has none of its own."""
    if not layout.has_no_seed():
        return layout
    all_seeds = tuple(dict.fromkeys((*layout.seeds, *seeds)))
    return layout._replace(seeds=all_seeds, values=np.repeat(layout.values[:, :1], len(all_seeds), 1))


def _add_users(layout: Layout, users: np.ndarray) -> Layout:
    """The layout with more users, who have no rows in it: their influence on the means is 0."""
    means = layout.values.mean(0)
    values = np.tile(means, (len(users), 1))
    scale = len(users) / len(layout.users)  # a user's influence is relative to the mean of all denominators
    values[np.searchsorted(users, layout.users)] = means + scale * (layout.values - means)
    return Layout(users, layout.seeds, values)
