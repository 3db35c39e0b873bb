"""Holm's correction, by hand."""

import math

import pytest

from recsweep.report.stats import holm


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.03, 0.04: 3 · 0.01 = 0.03, 2 · 0.03 = 0.06, and 1 · 0.04 may not be below the one before."""
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]


def test_holm_does_not_count_missing_p_values() -> None:
    adjusted = holm([0.02, math.nan, 0.03])
    assert adjusted[[0, 2]].tolist() == pytest.approx([0.04, 0.04])
    assert math.isnan(adjusted[1])
