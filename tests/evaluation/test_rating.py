"""Errors of predicted ratings."""

from math import sqrt

import pytest
from evaluation_cases import ScoreTable, own_metrics, pair_target

from recsweep.evaluation import RatingEvaluation


def test_ratings_are_clipped_to_the_scale():
    # Predicted 9 → 5, -2 → 1, 3.5 for ratings 4, 1, 2: errors 1, 0, 3/2.
    target = pair_target([], [(0, 0), (0, 1), (1, 0)], n_users=2, n_items=2, ratings=[4.0, 1.0, 2.0])
    metrics = own_metrics(ScoreTable([[9.0, -2.0], [3.5, 0.0]]), RatingEvaluation("rmse", batch_size=2), target)
    mse = (1 + 0 + 9 / 4) / 3
    assert metrics == pytest.approx({"mse": mse, "rmse": sqrt(mse), "mae": (1 + 0 + 3 / 2) / 3}, abs=1e-12)
