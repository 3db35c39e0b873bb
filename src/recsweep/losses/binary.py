"""Losses of a binary label."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


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
