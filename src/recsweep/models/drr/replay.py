"""Prioritised experience replay, the proportional variant (Schaul et al., ICLR 2016, arXiv 1511.05952), on tensors.

Transition i has the priority p_i = |δ_i| + ε and is drawn with probability P(i) = p_i^α / Σ_k p_k^α. Its importance
weight is (N · P(i))^-β, divided by the largest such weight of the batch. Two departures from the paper: sums are kept
in two levels, not in a binary tree; and p^α is rounded to a whole number of small units. Integer sums are exact on
every device and in any order, so they never drift, and a transition without priority is never drawn.
"""

from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from recsweep.errors import UserError

EPSILON = 1e-4
"""Added to |δ|, so that every transition can be drawn again. The paper names no value; this is cpprb's."""

UNIT = 2.0**-30
"""p^α is a multiple of this; the smallest p, ε, is 10^5 units for α = 1."""

MAX_TOTAL = 2**62
"""Largest sum of units. A transition's p^α is clamped to its equal share, which is above 4,000 for 10^6 transitions."""

BLOCK = 64
"""Transitions that share a sum. 32 or 64 is fastest for 10^6: smaller means more sums, larger means longer rows."""


class Transitions(NamedTuple):
    """One step of a user in each row. The next state has the same user.

    The end of a session is not marked, as nothing ends there: the user's memory goes on in their next session.

    Args:
        user: [B] int64.
        item: [B] int64, the recommended item.
        memory: [B, N] int64, the last positives of the user before the step, oldest first.
        action: [B, d] float32, the actor's vector.
        reward: [B] float32.
        next_memory: [B, N] int64, the memory after the step.
    """

    user: Tensor
    item: Tensor
    memory: Tensor
    action: Tensor
    reward: Tensor
    next_memory: Tensor


class Sample(NamedTuple):
    """Transitions drawn from a `Replay`.

    Args:
        replay_index: [B] int64, their positions in the replay, for `update`.
        weight: [B] float32 in (0, 1], importance weights.
    """

    replay_index: Tensor
    transitions: Transitions
    weight: Tensor


class Replay(nn.Module):
    """A ring buffer of the last `capacity` transitions: once it is full, each new one overwrites the oldest.

    The state dict holds all of it, so that a resumed run draws the same samples as an uninterrupted one. A million
    transitions with N = 5 and d = 8 take 92 MB.

    Args:
        memory_size: N, items in a memory.
        action_dim: d.
        capacity: transitions kept.
        alpha: α, exponent of the priorities; 0 draws uniformly.
    """

    ids: Tensor
    numbers: Tensor
    mass: Tensor
    block_mass: Tensor
    highest: Tensor
    added: Tensor

    def __init__(
        self,
        memory_size: int,
        action_dim: int,
        *,
        capacity: Annotated[int, Field(ge=1, le=10**8)],
        alpha: Annotated[float, Field(ge=0, le=1)],
    ) -> None:
        super().__init__()
        self.capacity = capacity
        self.alpha = alpha
        self.id_widths = (1, 1, memory_size, memory_size)
        self.number_widths = (action_dim, 1)
        n_blocks = -(-capacity // BLOCK)
        buffers = {
            "ids": torch.zeros(capacity, sum(self.id_widths), dtype=torch.int32),  # user, item, memory, next memory
            "numbers": torch.zeros(capacity, sum(self.number_widths)),  # action, reward
            "mass": torch.zeros(n_blocks * BLOCK, dtype=torch.int64),  # p^α in units, 0 where empty
            "block_mass": torch.zeros(n_blocks, dtype=torch.int64),
            "highest": torch.tensor(round(1 / UNIT)),  # largest mass so far; 1 before any update
            "added": torch.tensor(0),  # transitions ever
        }
        for name, values in buffers.items():
            self.register_buffer(name, values)
        self.n_added = 0
        """`added`, for the host, which would have to wait for a GPU."""

    def __len__(self) -> int:
        """Number of transitions that can be drawn."""
        return min(self.n_added, self.capacity)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        result = super().load_state_dict(*args, **kwargs)
        self.n_added = int(self.added)
        return result

    @torch.no_grad()
    def add(self, transitions: Transitions) -> None:
        """Stores transitions in their order, each with the highest priority that any has had so far.

        Raises:
            UserError: more of them than `capacity`.
        """
        n = len(transitions.user)
        if n > self.capacity:
            raise UserError(f"a replay of capacity={self.capacity} cannot hold the {n} transitions of a step; raise it")
        index = (self.added + torch.arange(n, device=self.added.device)) % self.capacity
        user, item, memory, action, reward, next_memory = transitions
        self.ids[index] = torch.cat([user[:, None], item[:, None], memory, next_memory], 1).int()
        self.numbers[index] = torch.cat([action, reward[:, None]], 1)
        self._set_mass(index, self.highest.expand(n))
        self.added += n
        self.n_added += n

    def sample(self, n: int, beta: float, generator: Generator) -> Sample:
        """Draws `n` transitions by priority, one from each of `n` equal parts of the sum; some may repeat.

        Args:
            beta: β in [0, 1], how much of the sampling bias the weights correct.
            generator: on the device of the replay.

        Raises:
            ValueError: the replay is empty.
        """
        if not len(self):
            raise ValueError("no transitions to sample from")
        index = draw_proportional(self.mass, self.block_mass, n, generator)
        ids, numbers = self.ids.index_select(0, index).long(), self.numbers.index_select(0, index)
        user, item, memory, next_memory = ids.split(self.id_widths, 1)
        action, reward = numbers.split(self.number_widths, 1)
        transitions = Transitions(user[:, 0], item[:, 0], memory, action, reward[:, 0], next_memory)
        mass = self.mass.index_select(0, index).double()
        # N and the sum are factors of every weight, so they cancel.
        return Sample(index, transitions, (mass.min() / mass).pow(beta).float())

    def update(self, index: Tensor, td_error: Tensor) -> None:
        """Sets the priorities at positions `index` [B] to |td_error| [B] + ε; the largest where a position repeats.

        Raises:
            UserError: a TD error that is not finite.
        """
        if not td_error.isfinite().all():
            raise UserError("training diverged: a TD error is not finite; lower optimizer.lr")
        mass = (td_error.double().abs() + EPSILON).pow(self.alpha) / UNIT
        mass = mass.round().clamp(max=MAX_TOTAL // self.capacity).long()
        self._set_mass(index, mass)
        self.highest = torch.maximum(self.highest, mass.max())

    def age(self, index: Tensor) -> Tensor:
        """How many transitions were added after those at positions `index` [B]: [B] int64, 0 for the newest."""
        return (self.added - 1 - index) % self.capacity

    def _set_mass(self, index: Tensor, mass: Tensor) -> None:
        self.mass.scatter_reduce_(0, index, mass, "amax", include_self=False)
        block = index // BLOCK
        self.block_mass[block] = self.mass.view(-1, BLOCK).index_select(0, block).sum(1)


def draw_proportional(mass: Tensor, block_mass: Tensor, n: int, generator: Generator) -> Tensor:
    """Draws `n` positions, each with a probability proportional to its mass.

    Draws are stratified as in the paper's appendix B.2.1: the i-th is uniform in the i-th of n equal parts of the sum,
    so a position with the share P is drawn n · P times, plus or minus less than two.

    Args:
        mass: [n_blocks * BLOCK] int64, not negative, with a positive sum of at most `MAX_TOTAL`.
        block_mass: [n_blocks] int64, the sum of each block of `BLOCK` positions.
        generator: on the device of `mass`.

    Returns:
        [n] int64, ascending; the mass there is positive.

    >>> mass = torch.zeros(2 * BLOCK, dtype=torch.int64)
    >>> mass[5], mass[70] = 1000, 3000
    >>> draw_proportional(mass, mass.view(2, BLOCK).sum(1), 4, torch.Generator())
    tensor([ 5, 70, 70, 70])
    """
    block_end = block_mass.cumsum(0)
    total = block_end[-1]
    stratum = torch.arange(n, device=mass.device)
    offset = torch.rand(n, generator=generator, dtype=torch.float64, device=mass.device)
    point = ((stratum + offset) * (total.double() / n)).long().clamp(max=total - 1)  # rounding could reach the total
    block = torch.searchsorted(block_end, point, right=True)
    position_end = mass.view(-1, BLOCK).index_select(0, block).cumsum(1)
    point = point - block_end[block] + position_end[:, -1]
    return block * BLOCK + torch.searchsorted(position_end, point[:, None], right=True)[:, 0]


def anneal(step: int, start: float, steps: int) -> float:
    """β at a step, counted from 0: rises linearly from `start` to 1 within `steps`, at least 1, and stays there.

    >>> anneal(0, 0.4, 100), anneal(50, 0.4, 100), anneal(200, 0.4, 100)
    (0.4, 0.7, 1.0)
    """
    return start + (1 - start) * min(1.0, step / steps)
