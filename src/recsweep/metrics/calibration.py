"""Calibration: whether predicted ratings and probabilities mean what they say.

Sources: Mincer and Zarnowitz, The Evaluation of Economic Forecasts, in Economic Forecasts and Expectations, 1969 (mean
error, slope of the observed on the predicted); Guo et al., On Calibration of Modern Neural Networks, ICML 2017, and
Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015 (expected calibration error).
"""

import torch
from torch import Tensor

N_BINS = 15
"""Bins of equal width, as in Guo et al."""


def bias(predicted: Tensor, rating: Tensor) -> Tensor:
    """Mean of r̂ - r, 0-dim float64: above 0 if ratings are predicted too high, 0 if calibrated.

    Args:
        predicted, rating: [N], N ≥ 1.

    >>> bias(torch.tensor([3.0, 4.0]), torch.tensor([2.0, 4.0]))
    tensor(0.5000, dtype=torch.float64)
    """
    return (predicted.double() - rating.double()).mean()


def slope(predicted: Tensor, rating: Tensor) -> Tensor:
    """Slope of the least-squares line of r on r̂, cov(r̂, r) / var(r̂), 0-dim float64.

    1 if calibrated; below 1 if predictions differ by more than the ratings they stand for, as after overfitting; above
    1 if they are too close together. NaN if all predictions are equal.

    Args:
        predicted, rating: [N], N ≥ 1.

    >>> slope(torch.tensor([2.0, 4.0]), torch.tensor([3.0, 4.0]))
    tensor(0.5000, dtype=torch.float64)
    """
    predicted = predicted.double()
    centred = predicted - predicted.mean()
    value = (centred * (rating.double() - rating.double().mean())).sum() / centred.square().sum()
    return torch.where(predicted.amin() < predicted.amax(), value, torch.nan)


def expected_calibration_error(probability: Tensor, label: Tensor) -> Tensor:
    """Σ_b |B_b| / N · |mean probability - share of ones in B_b|, 0-dim float64, 0 if calibrated.

    Bin b of 15 holds probabilities in ((b - 1) / 15, b / 15], the first one 0 too.

    Args:
        probability: [N] in [0, 1], N ≥ 1.
        label: [N] 0 or 1.

    >>> expected_calibration_error(torch.tensor([0.75, 0.75, 0.25]), torch.tensor([1, 0, 0]))
    tensor(0.2500, dtype=torch.float64)
    """
    excess = probability.double() - label.double()
    number = (probability.double() * N_BINS).ceil().long().clamp(min=1) - 1
    return torch.bincount(number, excess, N_BINS).abs().sum() / len(probability)
