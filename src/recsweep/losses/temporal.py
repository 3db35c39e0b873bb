"""Losses of reinforcement learning: temporal-difference targets, and the critic's error against them.

`td_target` and `critic` are pure functions; a `TemporalLoss` is an algorithm and its constants.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from recsweep.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
ALGORITHM = ("n_critics", "policy_delay", "target_noise", "noise_clip")


def td_target(reward: Tensor, next_value: Tensor, discount: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Temporal-difference target: r + γ Q'(s', a'), clamped to [low, high] (Lillicrap et al., ICLR 2016, equation 5).

    Args:
        reward: [B].
        next_value: [B] Q'(s', a'), from the target networks; also at the end of a session, which continues in the next.
        discount: γ, a scalar.
        low, high: scalars.

    >>> half, bound = torch.tensor(0.5), torch.tensor(2.0)
    >>> td_target(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 9.0]), half, -bound, bound)
    tensor([1.5000, 2.0000])
    """
    return torch.minimum(torch.maximum(reward + discount * next_value, low), high)


def critic(value: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean of w (Q(s, a) - y)², with w the importance weights of a prioritised replay (Schaul et al., ICLR 2016).

    Args:
        value, target, weight: [B].

    >>> critic(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]), torch.tensor([0.5, 1.0]))  # (1/2 · 4 + 0) / 2
    tensor(1.)
    """
    return (weight * (value - target).square()).mean()


@dataclass(frozen=True)
class TemporalLoss:
    """An actor-critic algorithm with target networks.

    A subclass also has `n_critics`, `policy_delay`, `target_noise` and `noise_clip` (see `TD3`), as settings or class
    variables.

    Args:
        gamma: discount of later rewards.
        min_value, max_value: bounds of a target value.
        soft_tau: step of the target networks towards the trained ones after each update (Polyak averaging).
    """

    gamma: Share
    min_value: float
    max_value: float
    soft_tau: Annotated[float, Field(gt=0, le=1)]

    n_critics: ClassVar[int]

    def __post_init__(self) -> None:
        if missing := [name for name in ALGORITHM if not hasattr(self, name)]:
            raise UserError(f"loss {type(self).__name__} has no {', '.join(missing)}")
        if self.min_value >= self.max_value:
            raise UserError(
                f"loss.min_value={self.min_value}: allowed are values below loss.max_value={self.max_value}"
            )


@dataclass(frozen=True)
class DDPG(TemporalLoss):
    """Deep deterministic policy gradient (Lillicrap et al., ICLR 2016)."""

    n_critics: ClassVar[int] = 1
    policy_delay: ClassVar[int] = 1
    target_noise: ClassVar[float] = 0.0
    noise_clip: ClassVar[float] = 0.0


@dataclass(frozen=True)
class TD3(TemporalLoss):
    """Twin delayed DDPG: the lower of two values, a smoothed target action, delayed policy updates
    (Fujimoto, van Hoof and Meger, ICML 2018).

    Args:
        policy_delay: updates of the critics per update of the policy and the target networks.
        target_noise: standard deviation of the noise on the target action.
        noise_clip: bound of that noise, in absolute value.
    """

    policy_delay: Annotated[int, Field(ge=1, le=1000)]
    target_noise: NotNegative
    noise_clip: NotNegative

    n_critics: ClassVar[int] = 2
