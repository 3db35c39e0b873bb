"""SLIM against the conditions of its optimum."""

import pytest
import torch
from rows import interactions

from recsweep.models import slim
from recsweep.models.slim import SLIM


@pytest.mark.parametrize(("l1", "l2"), [(1.0, 5.0), (0.0, 2.0), (3.0, 0.5)])
def test_slim_is_optimal(l1: float, l2: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient is 0 where a weight is above 0, and not negative where it is 0 (Karush-Kuhn-Tucker)."""
    monkeypatch.setattr(slim, "TOLERANCE", 1e-6)
    flags = (torch.rand(30, 7, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    data = interactions([(int(user), int(item), 1.0) for user, item in flags.nonzero()], 30, 7)
    model = SLIM(data, l1=l1, l2=l2, max_iterations=2000)
    model.fit(data)
    weights = model.weights.double()
    gradient = flags.T @ (flags @ weights - flags) + l2 * weights + l1
    is_positive, is_other = weights > 0, ~torch.eye(7, dtype=torch.bool)
    assert 0 < is_positive.sum() < is_other.sum() and weights.min() == 0 and weights.diagonal().abs().max() == 0
    torch.testing.assert_close(gradient[is_positive], torch.zeros_like(gradient[is_positive]), rtol=0, atol=1e-3)
    assert gradient[is_other].min() > -1e-3


def test_slim_stops_when_weights_no_longer_change() -> None:
    """Two users of both items: (1 - w)² + l2/2 w² + l1 w has its minimum at w = (2 - l1) / (2 + l2)."""
    data = interactions([(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 1.0)], 2, 2)
    weights = []
    for n in (500, 10**9):
        model = SLIM(data, l1=1.0, l2=2.0, max_iterations=n)
        model.fit(data)
        weights.append(model.weights)
    assert torch.equal(*weights)
    torch.testing.assert_close(weights[0], torch.tensor([[0, 1 / 4], [1 / 4, 0]]), rtol=0, atol=1e-4)
