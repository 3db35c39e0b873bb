"""What speaks against an answer: trainings that had not converged, validation and test that disagree, heavy weights."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from recsweep.report import off_policy
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.crossed import SIGNIFICANT, Estimate
from recsweep.report.labels import SEEDS, value
from recsweep.report.measure import correct, estimate_difference
from recsweep.report.numbers import choose_digits, format_number, format_p

IMPROVING = "↗"
"""Marks a configuration that was still improving at its last epoch."""

MAX_DISAGREEMENTS = 3
"""Configurations in one sentence."""


class Doubt(NamedTuple):
    """A sentence, and the command that would settle it; an empty one where there is none."""

    sentence: str
    command: str = ""


def find_doubts(comparison: Comparison, runs: Runs, edges: Sequence[str] = ()) -> list[Doubt]:
    """All doubts about a comparison.

    Args:
        edges: of the search that made these runs, as `sweeps.space.Space.edges` words them.
    """
    disagreement = describe_disagreements(find_disagreements(comparison), comparison)
    weights = off_policy.describe_doubts(off_policy.estimates(comparison))
    doubts = [describe_improving(comparison, runs), Doubt(disagreement)]
    doubts += [Doubt(f"The best {edge}: better values may lie beyond.") for edge in edges]
    return [doubt for doubt in (*doubts, Doubt(weights)) if doubt.sentence]


def is_improving(table: pd.DataFrame) -> pd.Series:
    """Whether the best epoch of each run was the last that it was allowed, a bool a row of `Runs.table`."""
    return (table["ended_by"] == "max_epochs") & (table["chosen_epoch"] == table["epochs"])


def improving_labels(comparison: Comparison) -> list[str]:
    """Configurations of which at least half of the runs were still improving, best on validation first."""
    return [label for label in comparison.labels if is_improving(comparison.rows(label)).mean() >= 0.5]


def describe_improving(comparison: Comparison, runs: Runs) -> Doubt:
    """The configurations that were still improving, and the command that trains the best of them longer.

    The command doubles the epochs: it trains anew, since a schedule of the learning rate depends on their number.
    """
    labels = improving_labels(comparison)
    if not labels:
        return Doubt("")
    rows = comparison.rows(labels[0])
    n_epochs = int(rows["epochs"].max())
    seeds = {key: dict.fromkeys(str(value(runs.runs[index], key)) for index in rows.index) for key in SEEDS}
    repeats = [f"{key}={','.join(values)}" for key, values in seeds.items() if key == "seed" or len(values) > 1]
    flags = ["-m"] if any(len(values) > 1 for values in seeds.values()) else []
    folder = f"run={runs.runs[rows.index[0]].folder}"
    command = shlex.join(["recsweep", "train", *flags, folder, f"trainer.max_epochs={2 * n_epochs}", *repeats])
    n = f"{len(labels)} of {len(comparison.labels)} configurations {'was' if len(labels) == 1 else 'were'}"
    who = n if len(comparison.labels) > 1 else "This configuration was"
    return Doubt(f"{IMPROVING} {who} still improving at the last epoch, and may do better with more.", command)


def find_disagreements(comparison: Comparison) -> dict[str, Estimate]:
    """Configurations that are better on test than the best on validation, significantly: the differences by label."""
    c, best = comparison, comparison.labels[0]
    if c.metric == c.selection:
        return {}
    layouts, means = c.measured.layouts, c.measured.seed_means
    tests = correct(
        {
            label: estimate_difference((layouts.get(label), layouts.get(best)), (means[label], means[best]), c.repeat)
            for label in c.labels[1:]
        }
    )
    sign = 1 if c.mode == "max" else -1
    return {label: test for label, test in tests.items() if test.p < SIGNIFICANT and sign * test.mean > 0}


def describe_disagreements(differences: dict[str, Estimate], comparison: Comparison) -> str:
    """One sentence on `find_disagreements`; empty without any."""
    if not differences:
        return ""
    digits = choose_digits(differences.values())
    better = [
        f"{label} by {format_number(abs(test.mean), digits)} (p {format_p(test.p, '= ')})"
        for label, test in list(differences.items())[:MAX_DISAGREEMENTS]
    ]
    more = len(differences) - len(better)
    return (
        f"Validation and test disagree: on test {', '.join(better)}{f' and {more} more' if more else ''} "
        f"beat{'s' if len(differences) == 1 else ''} {comparison.labels[0]}, which validation chose."
    )
