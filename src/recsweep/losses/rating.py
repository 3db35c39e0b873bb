"""Losses of a predicted rating."""

from typing import Protocol

from torch import Tensor
from torch.nn.functional import mse_loss


class RatingLoss(Protocol):
    """A scalar loss of predicted ratings. Its settings are keyword-only."""

    def __call__(self, prediction: Tensor, rating: Tensor) -> Tensor:
        """Both [B]."""


def mse(prediction: Tensor, rating: Tensor) -> Tensor:
    """Mean squared error, a scalar.

    Args:
        prediction: [B] predicted ratings.
        rating: [B] observed ratings.

    >>> import torch
    >>> mse(torch.tensor([3.0, 5.0]), torch.tensor([4.0, 3.0]))  # (1 + 4) / 2
    tensor(2.5000)
    """
    return mse_loss(prediction, rating)


def l2(*embeddings: Tensor) -> Tensor:
    """Squared norm of the embeddings that a batch uses: mean over the batch, summed over the tables.

    An entity is penalised once per row of the batch, as in Koren et al. (2009), equation 5.

    Args:
        embeddings: each [B, d], or [B] for biases.

    >>> import torch
    >>> l2(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([1.0, 1.0]))  # 25 / 2 + 1
    tensor(13.5000)
    """
    n_rows = len(embeddings[0])
    return sum((table.square().sum() for table in embeddings[1:]), embeddings[0].square().sum()) / n_rows
