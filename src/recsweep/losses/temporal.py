"""Losses of reinforcement learning: a value against what follows from it, and a policy against its value.

`td_target` and `critic` are pure functions; the classes below are the choices of an algorithm with its constants.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from recsweep.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


def td_target(reward: Tensor, next_value: Tensor, discount: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """What a value should be: r + γ Q'(s', a'), clamped to [low, high] (Lillicrap et al., ICLR 2016, equation 5).

    Args:
        reward: [B].
        next_value: [B], of the target networks.
        discount: γ, a scalar, or [B] with 0 where nothing follows.
        low, high: scalars.

    >>> half, bound = torch.tensor(0.5), torch.tensor(2.0)
    >>> td_target(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 9.0]), half, -bound, bound)
    tensor([1.5000, 2.0000])
    """
    return torch.minimum(torch.maximum(reward + discount * next_value, low), high)


def critic(value: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean of w (Q(s, a) - y)², w the importance weights of a prioritised replay (Schaul et al., ICLR 2016).

    Args:
        value, target, weight: [B].

    >>> critic(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]), torch.tensor([0.5, 1.0]))  # (1/2 · 4 + 0) / 2
    tensor(1.)
    """
    return (weight * (value - target).square()).mean()


@dataclass(frozen=True)
class DDPG:
    """Deep deterministic policy gradient (Lillicrap et al., ICLR 2016).

    Args:
        gamma: discount of what follows.
        min_value, max_value: bounds of a target value.
        soft_tau: share of the networks that enters their targets after every update.
    """

    gamma: Share
    min_value: float
    max_value: float
    soft_tau: Annotated[float, Field(gt=0, le=1)]

    def __post_init__(self) -> None:
        _check_bounds(self.min_value, self.max_value)

    n_critics = 1
    policy_delay = 1
    target_noise = 0.0
    noise_clip = 0.0


@dataclass(frozen=True)
class TD3:
    """Twin delayed DDPG: the lower of two values, a smoothed target action, a policy that moves less often
    (Fujimoto, van Hoof and Meger, ICML 2018).

    Args:
        gamma, min_value, max_value, soft_tau: as in `DDPG`.
        policy_delay: updates of the critics for one of the policy and the targets.
        target_noise: standard deviation of the noise on the target action.
        noise_clip: bound of that noise.
    """

    gamma: Share
    min_value: float
    max_value: float
    soft_tau: Annotated[float, Field(gt=0, le=1)]
    policy_delay: Annotated[int, Field(ge=1, le=1000)]
    target_noise: NotNegative
    noise_clip: NotNegative

    def __post_init__(self) -> None:
        _check_bounds(self.min_value, self.max_value)

    n_critics = 2


def _check_bounds(low: float, high: float) -> None:
    if low >= high:
        raise UserError(f"loss.min_value={low}: allowed are values below loss.max_value={high}")
