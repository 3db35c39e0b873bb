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


class Grouped(NamedTuple):
    """A row of `comparison.csv`: one metric of one configuration, over its repetitions.

    `n` repetitions have a value; `low` and `high` are the ends of the 95 % t-interval. `difference` to the baseline is
    paired by repetition, `p_holm` is that of the paired t-test, corrected for the number of configurations (each metric
    by itself), `d_z` the mean difference over its standard deviation. NaN where unknown, and for the baseline itself.
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


def write(folder: Path, runs: Runs, found: Sequence[Comparison]) -> None:
    """Writes `runs.csv`, the same as `runs.parquet`, and `comparison.csv`, each in one step."""
    with write_atomically(folder / "runs.csv") as partial:
        runs.table.to_csv(partial, index=False)
    with write_atomically(folder / "runs.parquet") as partial:
        runs.table.apply(_one_type).to_parquet(partial, index=False)
    with write_atomically(folder / "comparison.csv") as partial:
        grouped(found).to_csv(partial, index=False)


def grouped(found: Sequence[Comparison]) -> pd.DataFrame:
    """`Grouped` rows: in each comparison the shown metric first, in each metric the best on validation first."""
    rows = [row for comparison in found for name in comparison.metrics() for row in _rows(comparison, name)]
    return pd.DataFrame(rows, columns=Grouped._fields)


def _rows(comparison: Comparison, metric: str) -> Iterator[Grouped]:
    c = comparison
    spreads, tests = stats.summarise(c.table, metric), stats.against(c.table, metric, c.baseline)
    for label in c.labels:
        n, mean, std, half_width = spreads[label]
        test = tests.get(label, stats.Paired(0, np.nan, np.nan, np.nan))
        low, high = mean - half_width, mean + half_width
        compared = (test.difference, test.p, test.d)
        yield Grouped(c.title, label, metric, n, mean, std, low, high, c.baseline, *compared)


def _one_type(column: pd.Series) -> pd.Series:
    """The column as it is, or as text where it mixes numbers and text, which Parquet does not take."""
    mixed = len({type(cell) for cell in column.dropna()}) > 1
    return column.map(str, na_action="ignore") if mixed else column
