"""Calibration of ratings and probabilities."""

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsweep.metrics.calibration import bias, expected_calibration_error, slope


def test_ratings_by_hand():
    # Predicted 1, 3, 5 for 2, 2, 4: errors -1, 1, 1; centred -2, 0, 2 times 2, 2, 4 is 4, over 8.
    predicted, rating = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([2.0, 2.0, 4.0])
    assert bias(predicted, rating).item() == pytest.approx(1 / 3)
    assert slope(predicted, rating).item() == pytest.approx(1 / 2)


def test_the_slope_is_that_of_a_least_squares_line():
    draws = np.random.default_rng(0)
    predicted = draws.integers(1, 6, 500) + 1e6  # far from 0
    rating = 0.7 * predicted + draws.normal(size=500)
    expected = np.polynomial.Polynomial.fit(predicted, rating, 1).convert().coef[1]
    assert slope(torch.tensor(predicted), torch.tensor(rating)).item() == pytest.approx(expected, rel=1e-9)


def test_equal_predictions_have_no_slope():
    predicted = torch.full((1000,), 3.53, dtype=torch.float64)  # their mean is another number, by rounding
    assert slope(predicted, torch.arange(1000.0)).isnan()


PROBABILITIES = st.sampled_from([0.0, 0.01, 0.2, 0.22, 0.3, 0.5, 0.99, 1.0])


@settings(deadline=None)
@given(rows=st.lists(st.tuples(PROBABILITIES, st.integers(0, 1)), min_size=1, max_size=20))
def test_the_calibration_error_equals_the_twin(rows):
    error = 0.0
    for number in range(1, 16):
        inside = [(p, label) for p, label in rows if max(ceil(p * 15), 1) == number]
        error += abs(sum(p - label for p, label in inside)) / len(rows)
    probability, label = zip(*rows, strict=True)
    got = expected_calibration_error(torch.tensor(probability, dtype=torch.float64), torch.tensor(label))
    assert got.item() == pytest.approx(error, abs=1e-12)


def test_the_calibration_error_by_hand():
    # One bin: mean 1/4, one of four is 1. Another: 3/4 for two zeros. (4 · 0 + 2 · 3/4) / 6.
    probability, label = torch.tensor([0.25] * 4 + [0.75] * 2), torch.tensor([1, 0, 0, 0, 0, 0])
    assert expected_calibration_error(probability, label).item() == pytest.approx(1 / 4)
