"""A comparison as tables, the same for the terminal and the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsweep.report.comparisons import Comparison, oracle_value
from recsweep.report.crossed import NOTHING, SIGNIFICANT
from recsweep.report.doubts import IMPROVING, improving_labels
from recsweep.report.numbers import (
    DASH,
    choose_digits,
    format_difference,
    format_estimate,
    format_integer,
    format_number,
    format_p,
    format_seconds,
)
from recsweep.report.off_policy import HEAVY, labels_in_doubt

ORACLE = "oracle (ceiling)"
TESTED = ("difference", "p")
"""Columns that say something of a difference; they are faint where it is not significant."""


@dataclass(frozen=True)
class Row:
    """A row of a table: the first cell is `label`, then come `cells`; `significant` is about the difference.

    `runs` are the folders of a configuration's runs, relative to the report's.
    """

    label: str
    cells: tuple[str, ...]
    role: Literal["best", "baseline", "oracle", "other"] = "other"
    significant: bool = False
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def effects_table(comparison: Comparison) -> Table | None:
    """The effect of every swept setting; None if nothing was swept in pairs."""
    effects = comparison.effects
    if not effects:
        return None
    digits = choose_digits(effect.difference for effect in effects)
    rows = [
        Row(
            effect.setting,
            (
                f"{effect.value} against {effect.other}",
                format_difference(effect.difference, digits),
                format_p(effect.difference.p),
                f"{effect.wins} of {effect.n_pairs}",
            ),
            significant=effect.difference.p < SIGNIFICANT,
        )
        for effect in effects
    ]
    return Table(("setting", "values", *TESTED, "better in"), tuple(rows))


def main_table(comparison: Comparison) -> Table:
    """Configurations, best on validation first; above them the oracle, if there is one.

    Marks say which were still improving at their last epoch, and of which the weights leave no interval that counts.
    """
    c = comparison
    columns = (f"{c.repeat}s", c.selection, c.metric, *TESTED, "parameters", "time")
    val_digits, test_digits, digits = (choose_digits(column.values()) for column in (c.val, c.test, c.tests))
    improving, heavy = improving_labels(c), labels_in_doubt(c)
    n_by_label = c.table.dropna(subset=[c.metric]).groupby("label")["seed"].nunique()
    rows = []
    if np.isfinite(c.oracle):
        rows.append(Row(ORACLE, (DASH, DASH, format_number(c.oracle, test_digits), *(DASH,) * 4), "oracle"))
    for label in c.labels:
        runs, test = c.rows(label), c.tests.get(label, NOTHING)
        cells = (
            _count(int(n_by_label.get(label, 0)), c.n_runs[label]),
            format_estimate(c.val[label], val_digits),
            format_estimate(c.test[label], test_digits),
            format_difference(test, digits),
            format_p(test.p),
            format_integer(runs["n_parameters"].mean()),
            format_seconds(runs["seconds/total"].mean()),
        )
        mark = f" {IMPROVING}" * (label in improving) + f" {HEAVY}" * (label in heavy)
        rows.append(Row(label + mark, cells, _role(c, label), test.p < SIGNIFICANT, tuple(runs["run"])))
    return Table(("configuration", *columns), tuple(rows))


def metrics_tables(comparison: Comparison) -> dict[str, Table]:
    """All test metrics of all configurations, in a table for each name before the metric's last slash.

    No tables if there is only one test metric, which the main table shows.
    """
    names = [name for name in comparison.metrics() if name.startswith("test/")]
    if len(names) < 2:
        return {}
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    return {group: _metrics_table(comparison, names) for group, names in groups.items()}


def _metrics_table(comparison: Comparison, names: Sequence[str]) -> Table:
    columns = [comparison.estimates(name) for name in names]
    digits = [choose_digits(column.values()) for column in columns]
    rows = [
        Row(
            label,
            tuple(format_estimate(column[label], d) for column, d in zip(columns, digits, strict=True)),
            _role(comparison, label),
        )
        for label in comparison.labels
    ]
    oracles = [oracle_value(comparison.table, name) for name in names]
    if np.isfinite(oracles).any():
        rows.insert(0, Row(ORACLE, tuple(map(format_number, oracles, digits)), "oracle"))
    return Table(("configuration", *(name.rpartition("/")[2] for name in names)), tuple(rows))


def _role(comparison: Comparison, label: str) -> Literal["best", "baseline", "other"]:
    if label == comparison.baseline:
        return "baseline"
    return "best" if label == comparison.labels[0] else "other"


def _count(n_completed: int, n_runs: int) -> str:
    return str(n_completed) if n_completed == n_runs else f"{n_completed} of {n_runs}"
