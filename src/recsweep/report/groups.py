"""A metric in groups: of users by their activity, and of held-out items by their popularity."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from recsweep.errors import UserError
from recsweep.report.by_user import Layout, combine_runs
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.evidence import Evidence, Terms, read_evidence

N_GROUPS = 4
"""Groups of users: quarters."""

ACTIVITY = "their number of rows that the models may know"
POPULARITY = "the head is the most popular fifth of the items, the tail their less popular half"

NOT_WRITTEN = "the evidence does not count rows of users and items (it is of a log, or of an earlier version)"

Repeats = dict[str, list[tuple[str, Evidence]]]
"""Label -> seed and evidence of each of its runs."""


@dataclass(frozen=True)
class Groups:
    """One metric of several configurations in groups.

    Args:
        metric: such as "test/ndcg@10".
        sizes: group, in words -> users or held-out rows in it, in the order of a plot.
        layouts: by label and group; a group without rows is left out.
    """

    metric: str
    sizes: dict[str, int]
    layouts: dict[str, dict[str, Layout]]


def read_repeats(comparison: Comparison, runs: Runs, labels: Sequence[str]) -> Repeats:
    """The evidence of the runs of these configurations, on the part of the main metric.

    Raises:
        UserError: damaged evidence, or none.
    """
    part: Literal["val", "test"] = "val" if comparison.metric.startswith("val/") else "test"
    repeats: Repeats = {label: [] for label in labels}
    for label in labels:
        rows = comparison.rows(label)
        for index, run, seed in zip(rows.index, rows["run"], rows["seed"], strict=True):
            evidence = read_evidence(runs.runs[index].folder, part)
            if evidence is None:
                raise UserError(
                    f"{label} (run {run}) left no evidence (callbacks.evidence=false, or an earlier version)"
                )
            repeats[label].append((str(seed), evidence))
    return repeats


def group_users(comparison: Comparison, repeats: Repeats) -> Groups:
    """The main metric of users in quarters by the number of their rows that the models may know.

    Users with equally many rows, of folds in the rounded mean, are in the same group.

    Raises:
        UserError: the evidence does not tell.
    """
    part, _, name = comparison.metric.partition("/")
    every = [evidence for of_label in repeats.values() for _, evidence in of_label]
    if not all(name in evidence.metrics for evidence in every):
        raise UserError(f"{comparison.metric} is not known by user")
    first = next(iter(repeats.values()))
    n_seen = [pd.Series(one.n_seen, one.users) for _, one in first if one.n_seen is not None]
    if len(n_seen) < len(first):
        raise UserError(NOT_WRITTEN)
    counts = n_seen[0] if len(n_seen) == 1 else pd.concat(n_seen).groupby(level=0).mean().round()
    edges = np.unique(np.quantile(counts, np.arange(1, N_GROUPS) / N_GROUPS))
    group_of_user = pd.Series(np.searchsorted(edges, counts), counts.index)
    layouts: dict[str, dict[str, Layout]] = {label: {} for label in repeats}
    sizes: dict[str, int] = {}
    for _, group in group_of_user.groupby(group_of_user):
        rows = counts[group.index]
        words = f"{rows.min():,.0f}–{rows.max():,.0f}" if rows.min() < rows.max() else f"{rows.min():,.0f}"
        for label, of_label in repeats.items():
            kept = [_keep_users(one, name, pd.Index(one.users).isin(group.index)) for _, one in of_label]
            found = combine_runs(kept, [seed for seed, _ in of_label])
            if name in found:
                layouts[label][words] = found[name]
                sizes[words] = len(group)
    return Groups(f"{part}/{name}", sizes, layouts)


def group_items(comparison: Comparison, repeats: Repeats) -> Groups:
    """The share of held-out rows whose items were found, or their error, in the head, middle and tail of popularity.

    Users without such rows do not count: intervals of a group with a few users are those of a few.

    Raises:
        UserError: the evidence does not tell.
    """
    part, _, main = comparison.metric.partition("/")
    every = [evidence for of_label in repeats.values() for _, evidence in of_label]
    if not all(evidence.by_popularity for evidence in every):
        raise UserError(
            NOT_WRITTEN
            if any(one.n_seen is None for one in every)
            else "the evaluation has no value for each held-out item"
        )
    groups = [group for group in every[0].by_popularity if all(group in one.by_popularity for one in every)]
    of_groups = [one.by_popularity[group] for one in every for group in groups]
    metrics = [name for name in of_groups[0].metrics if all(name in one.metrics for one in of_groups)] if groups else []
    if not metrics:
        raise UserError("the runs have no value for each held-out item in common")
    name = main if main in metrics else metrics[0]
    layouts: dict[str, dict[str, Layout]] = {label: {} for label in repeats}
    sizes: dict[str, int] = {}
    for group in groups:
        for label, of_label in repeats.items():
            of_group = [one.by_popularity[group] for _, one in of_label]
            kept = [_keep_users(one, name, one.terms(name)[1] > 0) for one in of_group]
            found = combine_runs(kept, [seed for seed, _ in of_label])
            if name in found:
                layouts[label][group] = found[name]
                sizes[group] = int(every[0].by_popularity[group].terms(name)[1].sum())
    return Groups(f"{part}/{name}", sizes, layouts)


def _keep_users(evidence: Evidence, metric: str, is_kept: np.ndarray) -> Evidence:
    """The metric of some users alone; `is_kept` is [U] bool."""

    def terms() -> Terms:
        numerator, denominator = evidence.terms(metric)
        return numerator[is_kept], denominator[is_kept]

    return Evidence(evidence.users[is_kept], {metric: terms})
