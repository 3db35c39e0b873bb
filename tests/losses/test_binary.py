"""Binary cross entropy by hand, and its gradient against finite differences."""

from math import log

import pytest
import torch

from recsweep.losses.binary import bce


def test_bce_by_hand() -> None:
    # σ(log 3) = 3/4: -log 3/4, and -log 1/4 for the label 0.
    loss = bce(torch.full((2,), log(3), dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert loss.item() == pytest.approx((-log(3 / 4) - log(1 / 4)) / 2, rel=1e-12)


def test_gradient_equals_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bce, (logits, torch.tensor([0.0, 1.0, 1.0, 0.0, 0.3], dtype=torch.float64)))
