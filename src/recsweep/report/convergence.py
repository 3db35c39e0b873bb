"""Did the trainings converge? Configurations that were still improving when their epochs ended."""

import shlex

import pandas as pd

from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison

IMPROVING = "↗"
"""Marks a configuration that was still improving."""


def is_improving(table: pd.DataFrame) -> pd.Series:
    """Whether the best epoch of each run was the last that it was allowed, a bool a row of `Runs.table`."""
    return (table["ended_by"] == "max_epochs") & (table["chosen_epoch"] == table["epochs"])


def improving_labels(comparison: Comparison) -> list[str]:
    """Configurations of which at least half of the runs were still improving, best on validation first."""
    return [label for label in comparison.labels if is_improving(comparison.rows(label)).mean() >= 0.5]


def describe_improving(comparison: Comparison, runs: Runs) -> tuple[str, str]:
    """A sentence on the configurations that were still improving, and the command that trains the best of them longer.

    Both are empty if there are none. The command doubles the epochs: it trains anew, since a schedule of the learning
    rate depends on their number.
    """
    labels = improving_labels(comparison)
    if not labels:
        return "", ""
    rows = comparison.rows(labels[0])
    n_epochs = int(rows["epochs"].max())
    seeds = ",".join(dict.fromkeys(str(runs.runs[index].config.get("seed")) for index in rows.index))
    folder = shlex.quote(f"run={runs.runs[rows.index[0]].folder}")
    command = f"recsweep train {'-m ' if ',' in seeds else ''}{folder} trainer.max_epochs={2 * n_epochs} seed={seeds}"
    n = f"{len(labels)} of {len(comparison.labels)} configurations were"
    who = n if len(comparison.labels) > 1 else "This configuration was"
    return f"{IMPROVING} {who} still improving at the last epoch, and may do better with more.", command
