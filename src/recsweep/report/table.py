"""A comparison as tables and sentences, the same for the terminal and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsweep.report import stats
from recsweep.report.comparisons import Comparison, oracle_value

DASH = "–"
ORACLE = "oracle (ceiling)"
SIGNIFICANT = 0.05
FOOTNOTE = "† selected on test: its number is optimistic, and not comparable with the others."


@dataclass(frozen=True)
class Row:
    """A row of a table: the first cell is `label`, then come `cells`; `significant` is about the difference."""

    label: str
    cells: tuple[str, ...]
    role: Literal["best", "baseline", "oracle", "other"]
    significant: bool = False


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def main_table(comparison: Comparison) -> Table:
    """Configurations, best on validation first; above them the oracle, if there is one."""
    c = comparison
    columns = (f"{c.repeat}s", c.selection, c.metric, "difference", "p", "d", "parameters", "time")
    val_digits, test_digits = _digits(c.val), _digits(c.test)
    rows = []
    if np.isfinite(c.oracle):
        rows.append(Row(ORACLE, (DASH, DASH, _number(c.oracle, test_digits), *(DASH,) * 5), "oracle"))
    for label in c.labels:
        runs = c.rows(label)
        cells = (
            _count(c.test[label].n, c.n_runs[label]),
            _mean_and_interval(c.val[label], val_digits),
            _mean_and_interval(c.test[label], test_digits),
            *_test_cells(c.tests.get(label), test_digits),
            _integer(runs["n_parameters"].mean()),
            _duration(runs["seconds/total"].mean()),
        )
        mark = " †" if c.selects_on_test(label) else ""
        rows.append(Row(label + mark, cells, _role(c, label), _is_significant(c, label)))
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
    columns = [stats.summaries(comparison.table, name) for name in names]
    digits = [_digits(column) for column in columns]
    rows = [
        Row(
            label,
            tuple(_mean_and_interval(column[label], d) for column, d in zip(columns, digits, strict=True)),
            _role(comparison, label),
        )
        for label in comparison.labels
    ]
    oracles = [oracle_value(comparison.table, name) for name in names]
    if np.isfinite(oracles).any():
        rows.insert(0, Row(ORACLE, tuple(map(_number, oracles, digits)), "oracle"))
    return Table(("configuration", *(name.rpartition("/")[2] for name in names)), tuple(rows))


def verdict(comparison: Comparison) -> str:
    """The finding about the best configuration, in one sentence."""
    c, best = comparison, comparison.labels[0]
    digits = _digits(c.test)
    mean = f"{c.metric} {_mean_and_interval(c.test[best], digits)}"
    if len(c.labels) == 1:
        return f"One configuration: {mean}."
    if best == c.baseline:
        return f"No configuration beats this baseline on validation. Its {mean}."
    test = c.tests[best]
    if not test.n:
        return f"Best on validation, with {mean}; it has no {c.repeat} in common with {c.baseline}."
    side = "below" if test.difference < 0 else "above"
    finding = f"Best on validation, with {mean}: {abs(test.difference):.{digits}f} {side} {c.baseline}"
    if np.isnan(test.p):
        return f"{finding}. Too few different pairs for a test."
    doubt = "" if test.p < SIGNIFICANT else ", which may be chance"
    return f"{finding}{doubt} (p {_p_value(test.p, equals='= ')}, {test.n} pairs)."


def notes(comparison: Comparison) -> str:
    """How to read the table, in a few sentences."""
    c = comparison
    better = "lower" if c.mode == "min" else "higher"
    test_use = f"; {c.metric} was computed once, at the end" if c.metric != c.selection else ""
    counts = [summary.n for summary in c.test.values()]
    repeats = " – ".join(map(str, sorted({min(counts), max(counts)}))) + f" {c.repeat}{'s' if max(counts) > 1 else ''}"
    sentences = [
        f"Ordered by {c.selection} ({better} is better){test_use}.",
        f"± is the 95 % t-interval over {repeats}. difference: mean of {c.metric} minus that of {c.baseline}, "
        f"{c.repeat} by {c.repeat}; p: two-sided paired t-test, Holm-corrected; "
        "d: Cohen's d_z, the mean difference over its standard deviation.",
    ]
    if c.repeat == "fold":
        sentences.append("Folds share training data, so the intervals are somewhat too narrow.")
    if "sampled" in c.evaluation:
        sentences.append("Ranked among sampled candidates: not comparable with full ranking.")
    if any(c.selects_on_test(label) for label in c.labels):
        sentences.append(FOOTNOTE)
    return " ".join(sentences)


def _role(comparison: Comparison, label: str) -> Literal["best", "baseline", "other"]:
    if label == comparison.baseline:
        return "baseline"
    return "best" if label == comparison.labels[0] else "other"


def _is_significant(comparison: Comparison, label: str) -> bool:
    test = comparison.tests.get(label)
    return test is not None and test.p < SIGNIFICANT


def _digits(column: Mapping[str, stats.Summary]) -> int:
    """Decimals that show two digits of the median interval; 4 if there are no intervals."""
    widths = [s.half_width for s in column.values() if s.half_width > 1e-9 * abs(s.mean)]
    return int(np.clip(1 - np.floor(np.log10(np.median(widths))), 0, 6)) if widths else 4


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if np.isfinite(value) else DASH


def _mean_and_interval(summary: stats.Summary, digits: int) -> str:
    if not np.isfinite(summary.mean):
        return DASH
    return f"{_number(summary.mean, digits)} ± {_number(summary.half_width, digits)}"


def _count(n_completed: int, n_runs: int) -> str:
    return str(n_completed) if n_completed == n_runs else f"{n_completed} of {n_runs}"


def _test_cells(test: stats.TTest | None, digits: int) -> tuple[str, str, str]:
    """Difference, p and d against the baseline."""
    if test is None or not test.n:
        return DASH, DASH, DASH
    d = _number_with_sign(test.d, 1) if np.isfinite(test.d) else DASH
    return _number_with_sign(test.difference, digits), _p_value(test.p), d


def _number_with_sign(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _p_value(p: float, equals: str = "") -> str:
    if np.isnan(p):
        return DASH
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


def _integer(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else DASH


def _duration(seconds: float) -> str:
    if not np.isfinite(seconds):
        return DASH
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
