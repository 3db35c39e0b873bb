"""The report's numbers as tidy tables, for spreadsheets, notebooks and papers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recsweep.atomic import write_atomically
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.crossed import NOTHING, Estimate
from recsweep.report.measure import mean_by_seed


class MetricRow(NamedTuple):
    """A row of `comparison.csv`: one metric of one configuration.

    `n` repetitions have a value, `std` is the deviation between them; `low` and `high` are the ends of the 95 %
    interval, which speaks of what `covers` says. `difference` to the configuration `reference` is paired by user and
    repetition, with its own interval; `p_holm` is corrected for the number of configurations (separately for each
    metric). NaN if unknown, and for the reference itself.
    """

    protocol: str
    configuration: str
    metric: str
    n: int
    n_users: int
    mean: float
    std: float
    low: float
    high: float
    covers: str
    reference: str
    difference: float
    difference_low: float
    difference_high: float
    p_holm: float


class EffectRow(NamedTuple):
    """A row of `effects.csv`: the effect of one value of a setting against another on the main metric.

    `difference` is value minus other over `pairs` of runs that agree in all else; `value` is better in `wins` of them.
    `p_holm` is corrected for the number of effects of the sweep.
    """

    protocol: str
    metric: str
    setting: str
    value: str
    other: str
    difference: float
    difference_low: float
    difference_high: float
    p_holm: float
    wins: int
    pairs: int
    covers: str


def write(folder: Path, runs: Runs, comparisons: Sequence[Comparison], suffix: str = "") -> None:
    """Write `runs.csv`, the same as `runs.parquet`, `comparison.csv` and `effects.csv`, each atomically.

    Args:
        suffix: of the one file that depends on the baseline, as in `comparison_means.csv`.
    """
    with write_atomically(folder / "runs.csv") as partial:
        runs.table.to_csv(partial, index=False)
    with write_atomically(folder / "runs.parquet") as partial:
        runs.table.apply(_unify_type).to_parquet(partial, index=False)
    with write_atomically(folder / f"comparison{suffix}.csv") as partial:
        comparison_table(comparisons).to_csv(partial, index=False)
    with write_atomically(folder / "effects.csv") as partial:
        effects_table(comparisons).to_csv(partial, index=False)


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A `MetricRow` per metric and configuration: the main metric first, and best on validation first within each."""
    rows = [row for comparison in comparisons for name in comparison.metrics() for row in _rows(comparison, name)]
    return pd.DataFrame(rows, columns=MetricRow._fields)


def effects_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """An `EffectRow` per effect of every comparison."""
    rows = [
        EffectRow(
            comparison.title,
            comparison.metric,
            *effect[:3],
            effect.difference.mean,
            *_ends(effect.difference),
            effect.difference.p,
            effect.wins,
            effect.n_pairs,
            effect.difference.covers,
        )
        for comparison in comparisons
        for effect in comparison.effects
    ]
    return pd.DataFrame(rows, columns=EffectRow._fields)


def _rows(comparison: Comparison, metric: str) -> Iterator[MetricRow]:
    c = comparison
    by_seed = mean_by_seed(c.table, metric)
    for label in c.labels:
        values = list(by_seed[label].values())
        std = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
        estimate, difference = c.estimates(metric)[label], c.measured.differences[metric].get(label, NOTHING)
        yield MetricRow(
            c.title,
            label,
            metric,
            len(values),
            estimate.n_users,
            estimate.mean,
            std,
            *_ends(estimate),
            estimate.covers,
            c.reference,
            difference.mean,
            *_ends(difference),
            difference.p,
        )


def _ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.mean - estimate.half_width, estimate.mean + estimate.half_width


def _unify_type(column: pd.Series) -> pd.Series:
    """The column; as text if it mixes numbers and text, which Parquet cannot store."""
    is_mixed = len({type(cell) for cell in column.dropna()}) > 1
    return column.map(str, na_action="ignore") if is_mixed else column
