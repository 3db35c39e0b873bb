"""Building blocks that several families share.

Every random draw takes its generator, and every rate lives in a buffer, so that a run repeats bit for bit and many
configurations can later train in one batched step.
"""

from itertools import pairwise

import torch
from torch import Generator, Tensor, nn


class Dropout(nn.Module):
    """Inverted dropout: entries vanish with probability `rate`, the rest grow by 1 / (1 - rate).

    >>> ones = torch.ones(2, 3)
    >>> bool((Dropout(0.0)(ones, torch.Generator()) == ones).all())
    True
    """

    rate: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.register_buffer("rate", torch.tensor(rate), persistent=False)
        self.absent = rate == 0

    def forward(self, x: Tensor, generator: Generator) -> Tensor:
        if self.absent or not self.training:
            return x
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


class GaussianNoise(nn.Module):
    """Adds N(0, std²) to every entry during training."""

    std: Tensor

    def __init__(self, std: float) -> None:
        super().__init__()
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.absent = std == 0

    def forward(self, x: Tensor, generator: Generator) -> Tensor:
        if self.absent or not self.training:
            return x
        return x + self.std * torch.randn(x.shape, generator=generator, device=x.device)


def embedding(n: int, dim: int, std: float, generator: Generator, sparse: bool = False) -> nn.Embedding:
    """A table [n, dim] drawn from N(0, std²); std 0 starts at zero."""
    weight = torch.randn(n, dim, generator=generator) * std
    return nn.Embedding.from_pretrained(weight, freeze=False, sparse=sparse)


def mlp(sizes: list[int], generator: Generator) -> nn.Sequential:
    """Linear layers with ReLU between them: `sizes` [96, 64, 1] maps [B, 96] to [B, 1]. He initialisation."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
