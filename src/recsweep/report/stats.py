"""Is the difference real? Intervals over seeds, paired tests against a baseline, Holm's correction.

Everything here is a pure function of numbers and data frames. A statistic that needs more data than there is, is NaN:
a single seed has no interval.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats


class Summary(NamedTuple):
    """A sample in numbers: `mean ± half_width` is the 95 % t-interval; NaN `std`, `half_width` below two values."""

    n: int
    mean: float
    std: float
    half_width: float


class TTest(NamedTuple):
    """A paired comparison: mean difference, two-sided p of the t-test, Cohen's d of the differences.

    `p` and `d` are NaN below two pairs, and if all differences are equal: the t statistic is not defined.
    """

    n: int
    difference: float
    p: float
    d: float


def summary(values: ArrayLike, confidence: float = 0.95) -> Summary:
    """Mean, standard deviation (n - 1) and half width of Student's interval, `t · s / √n`.

    Args:
        values: [n] numbers; NaN are ignored.
        confidence: in (0, 1).

    >>> summary([1.0, 2.0, 3.0]).mean
    2.0
    >>> summary([5.0])
    Summary(n=1, mean=5.0, std=nan, half_width=nan)
    """
    sample = np.asarray(values, dtype=float)
    sample = sample[~np.isnan(sample)]
    n = len(sample)
    if n < 2:
        return Summary(n, float(sample[0]) if n else np.nan, np.nan, np.nan)
    std = float(sample.std(ddof=1))
    quantile = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    return Summary(n, float(sample.mean()), std, quantile * std / n**0.5)


def t_test(values: ArrayLike, baseline: ArrayLike) -> TTest:
    """Student's paired t-test, and Cohen's d_z = mean / standard deviation of the differences.

    Args:
        values, baseline: [n] numbers in pairs; a pair with a NaN is ignored.

    >>> t_test([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).difference
    2.0
    """
    difference = np.asarray(values, dtype=float) - np.asarray(baseline, dtype=float)
    difference = difference[~np.isnan(difference)]
    n = len(difference)
    if n == 0:
        return TTest(0, np.nan, np.nan, np.nan)
    mean = float(difference.mean())
    # Two deterministic models differ by the same number at every seed, up to rounding: this is no evidence.
    if n < 2 or np.ptp(difference) <= 1e-12 * np.abs(difference).max():
        return TTest(n, mean, np.nan, np.nan)
    return TTest(n, mean, float(stats.ttest_1samp(difference, 0.0).pvalue), mean / float(difference.std(ddof=1)))


def holm(p: ArrayLike) -> np.ndarray:
    """P-values adjusted for the number of tests, family-wise (Holm 1979).

    With p in ascending order, the i-th of m becomes `max over j ≤ i of min(1, (m - j + 1) · p_j)`. NaN stay NaN
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


def summaries(table: pd.DataFrame, metric: str) -> dict[str, Summary]:
    """`Summary` of a metric for every configuration, by label.

    Args:
        table: a row per run, with `label`, `seed` and `metric`.

    Runs with the same configuration and seed count once, as their mean: they are no independent observations.
    """
    return {label: summary(values) for label, values in _seed_means(table, metric).items()}


def t_tests(table: pd.DataFrame, metric: str, baseline: str) -> dict[str, TTest]:
    """`TTest` of every other configuration against `baseline`, paired by seed; p-values are adjusted by `holm`.

    Args:
        table: a row per run, with `label`, `seed` and `metric`.
        baseline: its label.
    """
    values_by_label = _seed_means(table, metric)
    baseline_values = values_by_label.pop(baseline)
    tests = {label: t_test(values, baseline_values) for label, values in values_by_label.items()}
    adjusted = holm([test.p for test in tests.values()])
    return {label: test._replace(p=float(p)) for (label, test), p in zip(tests.items(), adjusted, strict=True)}


def _seed_means(table: pd.DataFrame, metric: str) -> dict[str, np.ndarray]:
    """The metric of every configuration, by label; seeds in the same order for all, NaN if a seed is missing."""
    means = table.pivot_table(metric, "label", "seed", aggfunc="mean", dropna=False, observed=False)
    return dict(zip(means.index.astype(str), means.to_numpy(), strict=True))
