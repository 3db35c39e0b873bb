"""For how many users one configuration is better than another."""

from typing import NamedTuple

import numpy as np

from recsweep.errors import UserError
from recsweep.report.by_user import Layout, align, read_user_metric
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison

TIE = 1e-9
"""A smaller difference comes from rounding."""


class Wins(NamedTuple):
    """Users for whom `label` is better than `other`, as good, or worse: by their own metric, a mean over seeds."""

    label: str
    other: str
    better: int
    same: int
    worse: int
    n_seeds: int

    @property
    def n_users(self) -> int:
        return self.better + self.same + self.worse


def count_wins(comparison: Comparison, runs: Runs) -> Wins | None:
    """The best configuration against the reference, or against the second best if it is the reference itself.

    None where the runs left no evidence of the metric by user, or have no seed in common.
    """
    c, label = comparison, comparison.labels[0]
    other = next((name for name in (c.reference, *c.labels) if name != label), None)
    if other is None:
        return None
    try:
        pair = pair_users(c, runs, label, other)
    except UserError:  # damaged evidence: the notes name it
        return None
    if pair is None:
        return None
    gains = (pair[0].values - pair[1].values).mean(1) * (1 if c.mode == "max" else -1)
    better, worse = int((gains > TIE).sum()), int((gains < -TIE).sum())
    return Wins(label, other, better, len(gains) - better - worse, worse, len(pair[0].seeds))


def pair_users(comparison: Comparison, runs: Runs, label: str, other: str) -> tuple[Layout, Layout] | None:
    """Each user's own metric by two configurations, of the users and seeds that both have.

    None where the runs left no evidence of the metric by user, or have no user or seed in common.

    Raises:
        UserError: damaged evidence.
    """
    left, right = (_read(comparison, runs, name) for name in (label, other))
    if left is None or right is None:
        return None
    users, left_rows, right_rows = np.intersect1d(left.users, right.users, return_indices=True)
    if not len(users):
        return None
    left = left._replace(users=users, values=left.values[left_rows])
    return align(left, right._replace(users=users, values=right.values[right_rows]))


def _read(comparison: Comparison, runs: Runs, label: str) -> Layout | None:
    rows = comparison.rows(label).drop_duplicates("seed")
    folders = [(str(seed), runs.runs[index].folder) for index, seed in zip(rows.index, rows["seed"], strict=True)]
    return read_user_metric(folders, comparison.metric)
