"""A comparison in words and digits, the same for the console and the page."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from recsweep.report import stats
from recsweep.report.comparisons import Comparison

DASH = "–"
FOOTNOTE = "† selected on test: its number is optimistic, and not comparable with the others."


@dataclass(frozen=True)
class Row:
    """A line of a table. `cells` stand beside `label`; `role` says what the line is."""

    label: str
    cells: tuple[str, ...]
    role: Literal["best", "baseline", "oracle", "other"]
    significant: bool = False


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def main_table(comparison: Comparison) -> Table:
    """Configurations, best on validation first, below the oracle where there is one."""
    c = comparison
    columns = (
        "configuration",
        f"{c.repeat}s",
        c.selection,
        c.metric,
        "difference",
        "p",
        "d",
        "parameters",
        "time",
    )
    val, test = _digits(c.val), _digits(c.test)
    rows = []
    if np.isfinite(c.oracle):
        rows.append(Row("oracle (ceiling)", (DASH, DASH, _number(c.oracle, test), *(DASH,) * 5), "oracle"))
    cost = c.table.groupby("label")[["n_parameters", "seconds"]].mean()
    for label in c.labels:
        # A configuration whose test was chosen by the test has no honest place in the order: marked.
        mark = " †" if c.selected_on_test(label) else ""
        cells = (
            _count(int(c.test["n"][label]), int(c.started[label])),
            _spread(c.val.loc[label], val),
            _spread(c.test.loc[label], test),
            *_tested(c.tests, label, test),
            _whole(cost["n_parameters"][label]),
            _duration(cost["seconds"][label]),
        )
        rows.append(Row(label + mark, cells, _role(c, label), _significant(c, label)))
    return Table(columns, tuple(rows))


def metrics_table(comparison: Comparison) -> Table:
    """Every test metric of every configuration; no rows where the main table shows the only one."""
    table = comparison.table
    names = [name for name in table if str(name).startswith("test/") and table[name].notna().any()]
    if len(names) < 2:
        return Table((), ())
    columns = [stats.summarise(table, name) for name in names]
    digits = [_digits(column) for column in columns]
    rows = [
        Row(
            label,
            tuple(_spread(column.loc[label], d) for column, d in zip(columns, digits, strict=True)),
            _role(comparison, label),
        )
        for label in comparison.labels
    ]
    return Table(("configuration", *names), tuple(rows))


def verdict(comparison: Comparison) -> str:
    """The finding in two sentences."""
    c, best = comparison, comparison.labels[0]
    mean = f"{c.metric} {_spread(c.test.loc[best], _digits(c.test))}"
    if len(c.labels) == 1:
        return f"One configuration: {mean}."
    if best == c.baseline:
        return f"No configuration beats the baseline {best} on validation. Its {mean}."
    test = c.tests.loc[best]
    gap = f"{abs(test['difference']):.{_digits(c.test)}f} {'below' if test['difference'] < 0 else 'above'} {c.baseline}"
    if np.isnan(test["p_holm"]):
        return f"Best on validation, with {mean}: {gap}. Too few different pairs for a test."
    pairs = f"p {_p(test['p_holm'], equals='= ')}, {int(test['n'])} pairs"
    if test["p_holm"] >= 0.05:
        return f"Best on validation, with {mean}: {gap}, which chance alone explains well enough ({pairs})."
    return f"Best on validation, with {mean}: {gap} ({pairs})."


def how_to_read(comparison: Comparison) -> str:
    """The notes that belong under the table."""
    c = comparison
    better = "lower" if c.mode == "min" else "higher"
    notes = [
        f"Ordered by {c.selection} ({better} is better); {c.metric} was read once, at the end.",
        f"± is the 95 % t-interval over {c.repeat}s. difference: mean of {c.metric} minus {c.baseline}'s, {c.repeat} by {c.repeat}; "
        "p: two-sided paired t-test, Holm-corrected; d: Cohen's d of the paired differences.",
    ]
    if c.repeat == "fold":
        notes.append("Folds share training data, so their interval is somewhat too narrow.")
    if "sampled" in c.protocol["evaluation"]:
        notes.append("Ranked among sampled candidates: not comparable with full ranking.")
    if any(c.selected_on_test(label) for label in c.labels):
        notes.append(FOOTNOTE)
    return " ".join(notes)


def _role(comparison: Comparison, label: str) -> Literal["best", "baseline", "other"]:
    if label == comparison.baseline:
        return "baseline"
    return "best" if label == comparison.labels[0] else "other"


def _significant(comparison: Comparison, label: str) -> bool:
    return label in comparison.tests.index and bool(comparison.tests["p_holm"][label] < 0.05)


def _digits(summary: pd.DataFrame) -> int:
    """Decimals that show two digits of the typical interval; 4 where there is none."""
    widths = summary["half_width"][summary["half_width"] > 0]
    if widths.empty:
        return 4
    return int(np.clip(1 - np.floor(np.log10(widths.median())), 0, 6))


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else DASH


def _spread(summary: pd.Series, digits: int) -> str:
    if not np.isfinite(summary["mean"]):
        return DASH
    return f"{_number(summary['mean'], digits)} ± {_number(summary['half_width'], digits)}"


def _count(completed: int, started: int) -> str:
    return str(completed) if completed == started else f"{completed} of {started}"


def _tested(tests: pd.DataFrame, label: str, digits: int) -> tuple[str, str, str]:
    """Difference, p and d against the baseline."""
    if label not in tests.index or not tests["n"][label]:
        return DASH, DASH, DASH
    test = tests.loc[label]
    difference = f"{test['difference']:+.{digits}f}".replace("-", "−")
    effect = f"{test['d']:+.1f}".replace("-", "−") if np.isfinite(test["d"]) else DASH
    return difference, _p(test["p_holm"]), effect


def _p(p: float, equals: str = "") -> str:
    if np.isnan(p):
        return DASH
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else DASH


def _duration(seconds: float) -> str:
    if not np.isfinite(seconds):
        return DASH
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
