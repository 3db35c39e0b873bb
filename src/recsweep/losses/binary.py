"""Losses of a binary label."""

from typing import Protocol

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


class BinaryLoss(Protocol):
    """A scalar loss of logits against labels. Its settings are keyword-only."""

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        """Both [B], labels in [0, 1]."""


def bce(logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross entropy, a scalar: the mean of -label log σ(logit) - (1 - label) log(1 - σ(logit)).

    Args:
        logits: [B].
        label: [B] floating point, in [0, 1].

    >>> import torch
    >>> bce(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]))  # both log 2
    tensor(0.6931)
    """
    return binary_cross_entropy_with_logits(logits, label)
