"""Temporal-difference targets and the critic's loss against hand-worked fractions and finite differences."""

import pytest
import torch
from torch import Tensor

from recsweep.losses.temporal import DDPG, TD3, critic, td_target


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_a_target_by_hand() -> None:
    # 1 + 3/4 · 2, 0 + 3/4 · (-4), 1 + 3/4 · 0
    target = td_target(doubles(1, 0, 1), doubles(2, -4, 0), scalar(3 / 4), scalar(-10), scalar(10))
    assert target.tolist() == [5 / 2, -3, 1]


def test_each_row_has_its_discount() -> None:
    # γ = 1/2 within a session, 0 at its end
    target = td_target(doubles(1, 1, 0), doubles(3, 3, 3), doubles(1 / 2, 0, 0), scalar(-10), scalar(10))
    assert target.tolist() == [5 / 2, 1, 0]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-10, 10, [6, -4, 1]), (-2, 3, [3, -2, 1]), (-4, 6, [6, -4, 1]), (0, 0, [0, 0, 0])],
    ids=["inside", "outside", "on the bounds", "equal bounds"],
)
def test_a_target_is_clamped_as_a_whole(low: float, high: float, expected: list[float]) -> None:
    """1 + 1/2 · 10 = 6, 0 + 1/2 · (-8) = -4 and 1 + 0 = 1: the sum is clamped, not only the next value."""
    target = td_target(doubles(1, 0, 1), doubles(10, -8, 0), scalar(1 / 2), scalar(low), scalar(high))
    assert target.tolist() == expected


def test_the_critics_loss_by_hand() -> None:
    # (1/2 · (1 - 3)² + 1 · (2 - 2)² + 1/4 · (5 - 2)² + 1 · (0 + 1)²) / 4 = (2 + 0 + 9/4 + 1) / 4
    loss = critic(doubles(1, 2, 5, 0), doubles(3, 2, 2, -1), doubles(1 / 2, 1, 1 / 4, 1))
    assert loss.shape == ()
    assert loss.item() == 21 / 16


def test_the_gradient_of_the_critics_loss_by_hand() -> None:
    value, target, weight = doubles(1, 2, -3).requires_grad_(), doubles(3, 0, 1), doubles(1 / 2, 1, 0)
    critic(value, target, weight).backward()
    # 2 w (Q - y) / 3
    assert value.grad.tolist() == pytest.approx([-2 / 3, 4 / 3, 0], abs=1e-15)
    assert torch.autograd.gradcheck(critic, (value, target.requires_grad_(), weight.requires_grad_()))


def test_arguments_are_not_changed() -> None:
    reward, next_value, low, high = doubles(1, 0), doubles(9, -9), scalar(-1), scalar(1)
    td_target(reward, next_value, scalar(1 / 2), low, high)
    critic(reward, next_value, doubles(1, 1))
    assert [reward.tolist(), next_value.tolist(), low.item(), high.item()] == [[1, 0], [9, -9], -1, 1]


def test_ddpg_has_one_critic_and_td3_two() -> None:
    """DDPG updates its policy with every update of its critic, without noise."""
    ddpg = DDPG(gamma=0.8, min_value=-10.0, max_value=10.0, soft_tau=0.001)
    assert (ddpg.n_critics, ddpg.policy_delay, ddpg.target_noise) == (1, 1, 0)
    assert TD3.n_critics == 2
