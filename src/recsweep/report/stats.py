"""Is the difference real? Intervals over seeds, paired tests against a baseline, Holm's correction.

Everything here is a pure function of numbers and data frames. Where there is too little data for a statement,
the statement is NaN; nothing is made up for a single seed.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats


class Spread(NamedTuple):
    """A sample's summary: `mean ± half_width` is the 95 % t-interval; NaN `std`, `half_width` below two values."""

    n: int
    mean: float
    std: float
    half_width: float


class Paired(NamedTuple):
    """A paired comparison: mean difference, two-sided p of the t-test, Cohen's d of the differences.

    `p` and `d` are NaN below two pairs, and where every difference is the same: the t statistic is not defined.
    """

    n: int
    difference: float
    p: float
    d: float


def spread(values: ArrayLike, confidence: float = 0.95) -> Spread:
    """Mean, standard deviation (n - 1) and half width of Student's interval, `t · s / √n`.

    Args:
        values: [n] numbers; NaN are left out.
        confidence: in (0, 1).

    >>> spread([1.0, 2.0, 3.0]).mean
    2.0
    >>> spread([5.0])
    Spread(n=1, mean=5.0, std=nan, half_width=nan)
    """
    sample = np.asarray(values, dtype=float)
    sample = sample[~np.isnan(sample)]
    n = len(sample)
    if n < 2:
        return Spread(n, float(sample[0]) if n else np.nan, np.nan, np.nan)
    std = float(sample.std(ddof=1))
    quantile = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    return Spread(n, float(sample.mean()), std, quantile * std / n**0.5)


def paired(values: ArrayLike, baseline: ArrayLike) -> Paired:
    """Student's paired t-test, and Cohen's d_z = mean / standard deviation of the differences.

    Args:
        values, baseline: [n] matched numbers; a pair with a NaN is left out.

    >>> paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).difference
    2.0
    """
    difference = np.asarray(values, dtype=float) - np.asarray(baseline, dtype=float)
    difference = difference[~np.isnan(difference)]
    n = len(difference)
    if n == 0:
        return Paired(0, np.nan, np.nan, np.nan)
    mean = float(difference.mean())
    # Two deterministic models differ by the same number at every seed, up to rounding: that is no evidence of anything.
    if n < 2 or np.ptp(difference) <= 1e-12 * np.abs(difference).max():
        return Paired(n, mean, np.nan, np.nan)
    return Paired(n, mean, float(stats.ttest_1samp(difference, 0.0).pvalue), mean / float(difference.std(ddof=1)))


def holm(p: ArrayLike) -> np.ndarray:
    """P-values adjusted for their number, family-wise (Holm 1979).

    With p sorted upwards, the i-th of m becomes `max over j ≤ i of min(1, (m - j + 1) · p_j)`. NaN stay NaN
    and do not count.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p, dtype=float)
    adjusted = np.full_like(raw, np.nan)
    order = np.argsort(raw)[: np.count_nonzero(~np.isnan(raw))]
    factor = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factor * raw[order]))
    return adjusted


def summarise(table: pd.DataFrame, metric: str) -> dict[str, Spread]:
    """`Spread` of a metric for every configuration, by label.

    Args:
        table: a row a run, with `label`, `seed` and `metric`.

    Two runs of one configuration with one seed are one observation, their mean: repeating a seed proves nothing.
    """
    return {label: spread(values) for label, values in _by_seed(table, metric).items()}


def against(table: pd.DataFrame, metric: str, baseline: str) -> dict[str, Paired]:
    """`Paired` of every other configuration with the one labelled `baseline`, seed by seed; p is `holm`'s.

    Args:
        table: a row a run, with `label`, `seed` and `metric`.
    """
    by_seed = _by_seed(table, metric)
    expected = by_seed.pop(baseline)
    tests = {label: paired(values, expected) for label, values in by_seed.items()}
    adjusted = holm([test.p for test in tests.values()])
    return {label: test._replace(p=float(p)) for (label, test), p in zip(tests.items(), adjusted, strict=True)}


def _by_seed(table: pd.DataFrame, metric: str) -> dict[str, np.ndarray]:
    """The metric of every configuration, in one order of seeds, NaN where it has no such seed."""
    means = table.pivot_table(metric, "label", "seed", aggfunc="mean", dropna=False, observed=False)
    return dict(zip(means.index.astype(str), means.to_numpy(), strict=True))
