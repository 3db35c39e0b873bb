"""Rating metrics, by hand."""

import pytest
import torch

from recsweep.metrics.rating import mae, mse, rmse

# Predictions 3, 5, 1, 4 of ratings 4, 3, 1, 2 err by -1, 2, 0, 2:
# squares 1 + 4 + 0 + 4 = 9, absolute values 1 + 2 + 0 + 2 = 5.
SQUARED, ABSOLUTE, COUNT = torch.tensor(9.0), torch.tensor(5.0), torch.tensor(4.0)


def test_mse_is_the_mean_of_squares():
    assert mse(SQUARED, COUNT).item() == 9 / 4


def test_rmse_is_the_root_of_the_mean_of_squares():
    assert rmse(SQUARED, COUNT).item() == 3 / 2


def test_mae_is_the_mean_of_absolute_values():
    assert mae(ABSOLUTE, COUNT).item() == 5 / 4


def test_sums_of_parts_add_up():
    parts = torch.tensor([1.0 + 4.0, 0.0 + 4.0])
    assert mse(parts.sum(), COUNT).item() == pytest.approx(9 / 4)
