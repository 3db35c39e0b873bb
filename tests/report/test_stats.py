"""Intervals, paired tests and Holm's correction, by hand and against SciPy."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from recsweep.report.stats import holm, summaries, summary, t_test, t_tests

NUMBERS = st.lists(st.integers(-1000, 1000).map(float), min_size=3, max_size=12)


def test_the_interval_of_one_two_three_by_hand() -> None:
    """Mean 2, s = 1; printed tables give t = 4.303 for 97.5 % and 2 degrees of freedom."""
    sample = summary([1.0, 2.0, 3.0])
    assert (sample.n, sample.mean, sample.std) == (3, 2.0, 1.0)
    assert sample.half_width == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)


@pytest.mark.parametrize("values", [[5.0], [5.0, math.nan]])
def test_one_value_has_no_interval(values: list[float]) -> None:
    sample = summary(values)
    assert (sample.n, sample.mean) == (1, 5.0)
    assert math.isnan(sample.std) and math.isnan(sample.half_width)


def test_no_value_has_no_mean() -> None:
    assert math.isnan(summary([math.nan]).mean)


@settings(max_examples=30)
@given(NUMBERS)
def test_the_interval_equals_scipys(values: list[float]) -> None:
    sample = summary(values)
    if sample.std > 0:
        low, high = scipy_stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy_stats.sem(values))
        assert (sample.mean - sample.half_width, sample.mean + sample.half_width) == pytest.approx((low, high))


def test_a_paired_test_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, s = 1, t = 2 / (1 / √3) = 3.464; two-sided p = 1 - t / √(t² + 2) = 1 - √(12/14)."""
    test = t_test([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (test.n, test.difference, test.d) == (3, 2.0, 2.0)
    assert test.p == pytest.approx(1 - math.sqrt(12 / 14))


def test_a_pair_with_a_missing_value_is_ignored() -> None:
    assert t_test([2.0, 4.0, 6.0, 9.0], [1.0, 2.0, 3.0, math.nan]) == t_test([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(("values", "baseline"), [([3.0], [1.0]), ([3.0, 4.0], [1.0, 2.0])])
def test_one_pair_and_constant_differences_prove_nothing(values: list[float], baseline: list[float]) -> None:
    test = t_test(values, baseline)
    assert test.difference == 2.0
    assert math.isnan(test.p) and math.isnan(test.d)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=12))
def test_the_paired_test_equals_scipys(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    if np.ptp(left - right) > 0:
        assert t_test(left, right).p == pytest.approx(scipy_stats.ttest_rel(left, right).pvalue)


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.03, 0.04: 3 · 0.01 = 0.03, 2 · 0.03 = 0.06, and 1 · 0.04 may not be below the one before."""
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]


def test_holm_does_not_count_missing_p_values() -> None:
    adjusted = holm([0.02, math.nan, 0.03])
    assert adjusted[[0, 2]].tolist() == pytest.approx([0.04, 0.04])
    assert math.isnan(adjusted[1])


RUNS = pd.DataFrame(
    [
        ("means", "0", 4.0),
        ("means", "1", 6.0),
        ("means", "2", 8.0),
        ("mf", "0", 3.0),
        ("mf", "1", 4.0),
        ("mf", "2", 4.0),
        ("mf", "2", 6.0),  # seed 2 once more: one observation, 5
        ("mf", "3", 9.0),  # a seed that the baseline lacks
    ],
    columns=["label", "seed", "test/mse"],
)


def test_runs_are_summarised_over_seeds() -> None:
    by_label = summaries(RUNS, "test/mse")
    assert (by_label["means"].n, by_label["means"].mean) == (3, 6.0)
    assert (by_label["mf"].n, by_label["mf"].mean) == (4, (3 + 4 + 5 + 9) / 4)


def test_tests_pair_seeds() -> None:
    """Differences at seeds 0, 1, 2: -1, -2, -3; mean -2, s 1."""
    tests = t_tests(RUNS, "test/mse", "means")
    assert set(tests) == {"mf"}
    assert (tests["mf"].n, tests["mf"].difference, tests["mf"].d) == (3, -2.0, -2.0)
    assert tests["mf"].p == pytest.approx(1 - math.sqrt(12 / 14))
