"""Values against what follows from them: by hand as fractions, and against finite differences."""

import pytest
import torch
from torch import Tensor

from recsweep.losses.temporal import DDPG, TD3, critic, td_target


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_a_target_by_hand() -> None:
    # 1 + 3/4 · 2, 0 + 3/4 · (-4), 1 + 3/4 · 0
    found = td_target(doubles(1, 0, 1), doubles(2, -4, 0), number(3 / 4), number(-10), number(10))
    assert found.tolist() == [5 / 2, -3, 1]


def test_a_discount_for_every_row() -> None:
    # γ = 1/2 where the session goes on, 0 where nothing follows
    found = td_target(doubles(1, 1, 0), doubles(3, 3, 3), doubles(1 / 2, 0, 0), number(-10), number(10))
    assert found.tolist() == [5 / 2, 1, 0]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-10, 10, [6, -4, 1]), (-2, 3, [3, -2, 1]), (-4, 6, [6, -4, 1]), (0, 0, [0, 0, 0])],
    ids=["inside", "outside", "on the bounds", "nothing between"],
)
def test_a_target_is_clamped_as_a_whole(low: float, high: float, expected: list[float]) -> None:
    """1 + 1/2 · 10 = 6, 0 + 1/2 · (-8) = -4 and 1 + 0 = 1: the sum is clamped, and not what follows alone."""
    found = td_target(doubles(1, 0, 1), doubles(10, -8, 0), number(1 / 2), number(low), number(high))
    assert found.tolist() == expected


def test_the_critics_loss_by_hand() -> None:
    # (1/2 · (1 - 3)² + 1 · (2 - 2)² + 1/4 · (5 - 2)² + 1 · (0 + 1)²) / 4 = (2 + 0 + 9/4 + 1) / 4
    found = critic(doubles(1, 2, 5, 0), doubles(3, 2, 2, -1), doubles(1 / 2, 1, 1 / 4, 1))
    assert found.shape == ()
    assert found.item() == 21 / 16


def test_the_critics_loss_pulls_at_the_value_as_its_weight_says() -> None:
    value, target, weight = doubles(1, 2, -3).requires_grad_(), doubles(3, 0, 1), doubles(1 / 2, 1, 0)
    critic(value, target, weight).backward()
    # 2 w (Q - y) / 3
    assert value.grad.tolist() == pytest.approx([-2 / 3, 4 / 3, 0], abs=1e-15)
    assert torch.autograd.gradcheck(critic, (value, target.requires_grad_(), weight.requires_grad_()))


def test_nothing_is_written_on_the_arguments() -> None:
    reward, after, low, high = doubles(1, 0), doubles(9, -9), number(-1), number(1)
    td_target(reward, after, number(1 / 2), low, high)
    critic(reward, after, doubles(1, 1))
    assert [reward.tolist(), after.tolist(), low.item(), high.item()] == [[1, 0], [9, -9], -1, 1]


def test_what_the_algorithms_are_made_of() -> None:
    """DDPG moves its policy with every update, for the value of one critic and without noise."""
    plain = DDPG(gamma=0.8, min_value=-10.0, max_value=10.0, soft_tau=0.001)
    assert (plain.n_critics, plain.policy_delay, plain.target_noise) == (1, 1, 0)
    assert TD3.n_critics == 2
