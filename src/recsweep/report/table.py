"""A comparison in words and digits, the same for the console and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsweep.report import stats
from recsweep.report.comparisons import Comparison, oracle

DASH = "–"
ORACLE = "oracle (ceiling)"
SIGNIFICANT = 0.05
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
    columns = (f"{c.repeat}s", c.selection, c.metric, "difference", "p", "d", "parameters", "time")
    val, test = _digits(c.val), _digits(c.test)
    rows = []
    if np.isfinite(c.ceiling):
        rows.append(Row(ORACLE, (DASH, DASH, _number(c.ceiling, test), *(DASH,) * 5), "oracle"))
    for label in c.labels:
        runs = c.of(label)
        cells = (
            _count(c.test[label].n, c.started[label]),
            _spread(c.val[label], val),
            _spread(c.test[label], test),
            *_tested(c.tests.get(label), test),
            _whole(runs["n_parameters"].mean()),
            _duration(runs["seconds/total"].mean()),
        )
        # A configuration whose epoch was chosen by the test has no honest place in the order: marked.
        mark = " †" if c.selected_on_test(label) else ""
        rows.append(Row(label + mark, cells, _role(c, label), _significant(c, label)))
    return Table(("configuration", *columns), tuple(rows))


def metrics_tables(comparison: Comparison) -> dict[str, Table]:
    """Every test metric of every configuration, in tables of metrics that share the name before the last slash.

    None where the main table shows the only one.
    """
    names = [name for name in comparison.metrics() if name.startswith("test/")]
    if len(names) < 2:
        return {}
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    return {group: _metrics_table(comparison, members) for group, members in groups.items()}


def _metrics_table(comparison: Comparison, names: Sequence[str]) -> Table:
    columns = [stats.summarise(comparison.table, name) for name in names]
    digits = [_digits(column) for column in columns]
    rows = [
        Row(
            label,
            tuple(_spread(column[label], d) for column, d in zip(columns, digits, strict=True)),
            _role(comparison, label),
        )
        for label in comparison.labels
    ]
    ceilings = [oracle(comparison.table, name) for name in names]
    if np.isfinite(ceilings).any():
        rows.insert(0, Row(ORACLE, tuple(map(_number, ceilings, digits)), "oracle"))
    return Table(("configuration", *(name.rpartition("/")[2] for name in names)), tuple(rows))


def verdict(comparison: Comparison) -> str:
    """The finding on the best configuration in a sentence."""
    c, best = comparison, comparison.labels[0]
    digits = _digits(c.test)
    mean = f"{c.metric} {_spread(c.test[best], digits)}"
    if len(c.labels) == 1:
        return f"One configuration: {mean}."
    if best == c.baseline:
        return f"No configuration beats this baseline on validation. Its {mean}."
    test = c.tests[best]
    if not test.n:
        return f"Best on validation, with {mean}; it has no {c.repeat} in common with {c.baseline}."
    side = "below" if test.difference < 0 else "above"
    gap = f"Best on validation, with {mean}: {abs(test.difference):.{digits}f} {side} {c.baseline}"
    if np.isnan(test.p):
        return f"{gap}. Too few different pairs for a test."
    chance = "" if test.p < SIGNIFICANT else ", which chance alone explains well enough"
    return f"{gap}{chance} (p {_p(test.p, equals='= ')}, {test.n} pairs)."


def how_to_read(comparison: Comparison) -> str:
    """The notes that belong under the table."""
    c = comparison
    better = "lower" if c.mode == "min" else "higher"
    read = f"; {c.metric} was read once, at the end" if c.metric != c.selection else ""
    counts = [spread.n for spread in c.test.values()]
    repeats = " – ".join(map(str, sorted({min(counts), max(counts)}))) + f" {c.repeat}{'s' if max(counts) > 1 else ''}"
    notes = [
        f"Ordered by {c.selection} ({better} is better){read}.",
        f"± is the 95 % t-interval over {repeats}. difference: mean of {c.metric} minus that of {c.baseline}, "
        f"{c.repeat} by {c.repeat}; p: two-sided paired t-test, Holm-corrected; "
        "d: Cohen's d_z, the mean difference over its standard deviation.",
    ]
    if c.repeat == "fold":
        notes.append("Folds share training data, so their interval is somewhat too narrow.")
    if "sampled" in c.evaluation:
        notes.append("Ranked among sampled candidates: not comparable with full ranking.")
    if any(c.selected_on_test(label) for label in c.labels):
        notes.append(FOOTNOTE)
    return " ".join(notes)


def _role(comparison: Comparison, label: str) -> Literal["best", "baseline", "other"]:
    if label == comparison.baseline:
        return "baseline"
    return "best" if label == comparison.labels[0] else "other"


def _significant(comparison: Comparison, label: str) -> bool:
    test = comparison.tests.get(label)
    return test is not None and test.p < SIGNIFICANT


def _digits(column: Mapping[str, stats.Spread]) -> int:
    """Decimals that show two digits of the typical interval; 4 where there is none."""
    widths = [s.half_width for s in column.values() if s.half_width > 1e-9 * abs(s.mean)]
    return int(np.clip(1 - np.floor(np.log10(np.median(widths))), 0, 6)) if widths else 4


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if np.isfinite(value) else DASH


def _spread(spread: stats.Spread, digits: int) -> str:
    if not np.isfinite(spread.mean):
        return DASH
    return f"{_number(spread.mean, digits)} ± {_number(spread.half_width, digits)}"


def _count(completed: int, started: int) -> str:
    return str(completed) if completed == started else f"{completed} of {started}"


def _tested(test: stats.Paired | None, digits: int) -> tuple[str, str, str]:
    """Difference, p and d against the baseline."""
    if test is None or not test.n:
        return DASH, DASH, DASH
    return _signed(test.difference, digits), _p(test.p), _signed(test.d, 1) if np.isfinite(test.d) else DASH


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


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
