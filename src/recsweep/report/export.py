"""The report's numbers as tidy tables, for spreadsheets, notebooks and papers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recsweep.atomic import write_atomically
from recsweep.report import stats
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison


class MetricRow(NamedTuple):
    """A row of `comparison.csv`: one metric of one configuration, over its repetitions.

    `n` repetitions have a value; `low` and `high` are the ends of the 95 % t-interval. `difference` to the baseline is
    paired by repetition, `p_holm` is the p-value of the paired t-test, corrected for the number of configurations
    (separately for each metric), `d_z` the mean difference over its standard deviation. NaN if unknown, and for the
    baseline itself.
    """

    protocol: str
    configuration: str
    metric: str
    n: int
    mean: float
    std: float
    low: float
    high: float
    baseline: str
    difference: float
    p_holm: float
    d_z: float


def write(folder: Path, runs: Runs, comparisons: Sequence[Comparison]) -> None:
    """Write `runs.csv`, the same as `runs.parquet`, and `comparison.csv`, each atomically."""
    with write_atomically(folder / "runs.csv") as partial:
        runs.table.to_csv(partial, index=False)
    with write_atomically(folder / "runs.parquet") as partial:
        runs.table.apply(_unify_type).to_parquet(partial, index=False)
    with write_atomically(folder / "comparison.csv") as partial:
        comparison_table(comparisons).to_csv(partial, index=False)


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A `MetricRow` per metric and configuration: the main metric first, and best on validation first within each."""
    rows = [row for comparison in comparisons for name in comparison.metrics() for row in _rows(comparison, name)]
    return pd.DataFrame(rows, columns=MetricRow._fields)


def _rows(comparison: Comparison, metric: str) -> Iterator[MetricRow]:
    c = comparison
    summaries, tests = stats.summaries(c.table, metric), stats.t_tests(c.table, metric, c.baseline)
    for label in c.labels:
        n, mean, std, half_width = summaries[label]
        _, difference, p, d = tests.get(label, stats.TTest(0, np.nan, np.nan, np.nan))
        low, high = mean - half_width, mean + half_width
        yield MetricRow(c.title, label, metric, n, mean, std, low, high, c.baseline, difference, p, d)


def _unify_type(column: pd.Series) -> pd.Series:
    """The column; as text if it mixes numbers and text, which Parquet cannot store."""
    is_mixed = len({type(cell) for cell in column.dropna()}) > 1
    return column.map(str, na_action="ignore") if is_mixed else column
