"""Errors of predicted ratings, from sums over batches and processes."""

from torch import Tensor


def mse(squared_error: Tensor, count: Tensor) -> Tensor:
    """Mean squared error, Σ (r̂ - r)² / n.

    Args:
        squared_error: Σ (r̂ - r)², any shape.
        count: n > 0, the number of ratings in the sum.

    >>> import torch
    >>> mse(torch.tensor(9.0), torch.tensor(4))
    tensor(2.2500)
    """
    return squared_error / count


def rmse(squared_error: Tensor, count: Tensor) -> Tensor:
    """Root mean squared error, √(Σ (r̂ - r)² / n), in the ratings' own unit. Arguments as in `mse`.

    >>> import torch
    >>> rmse(torch.tensor(9.0), torch.tensor(4))
    tensor(1.5000)
    """
    return mse(squared_error, count).sqrt()


def mae(absolute_error: Tensor, count: Tensor) -> Tensor:
    """Mean absolute error, Σ |r̂ - r| / n, in the ratings' own unit.

    Args:
        absolute_error: Σ |r̂ - r|, any shape.
        count: n > 0, the number of ratings in the sum.

    >>> import torch
    >>> mae(torch.tensor(3.0), torch.tensor(4))
    tensor(0.7500)
    """
    return absolute_error / count
