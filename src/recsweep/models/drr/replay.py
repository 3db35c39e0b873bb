"""Prioritised experience replay, the proportional variant (Schaul et al., ICLR 2016, arXiv 1511.05952), on tensors.

Transition i, of priority p_i = |δ_i| + ε, is drawn with probability P(i) = p_i^α / Σ_k p_k^α, and its gradient weighed
by (N · P(i))^-β, divided by the batch's largest such weight. Unlike the paper's, the sums that are searched lie in two
levels instead of a binary tree, and p^α is a whole number of small units: sums of those are exact on every device and
in any order, so nothing drifts and nothing of no priority is ever drawn.
"""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from recsweep.errors import UserError

EPSILON = 1e-4
"""What a priority has beyond |δ|, so that no transition is lost; cpprb's value, the paper names none."""

UNIT = 2.0**-30
"""What p^α is a multiple of; the least, ε, is 10^5 of them."""

MAX_TOTAL = 2**62
"""Units that all transitions may have together; those of one end at its share, more than 4,000 of 10^6 transitions."""

BLOCK = 64
"""Transitions with a common sum. For 10^6 of them 32 or 64 is fastest: less means more sums, more means longer rows."""


class Transitions(NamedTuple):
    """What users did in a step each; the user of the next state is the same.

    Args:
        user: [B] int64.
        item: [B] int64, what he was recommended.
        memory: [B, N] int64, the user's last positive items before the step, oldest first.
        action: [B, d] float32, the actor's vector.
        reward: [B] float32.
        next_memory: [B, N] int64, the memory after the step.
        done: [B] float32, 1 where the session ended.
    """

    user: Tensor
    item: Tensor
    memory: Tensor
    action: Tensor
    reward: Tensor
    next_memory: Tensor
    done: Tensor


class Sample(NamedTuple):
    """Transitions drawn from a `Replay`.

    Args:
        place: [B] int64, where they lie; `update` takes it.
        weight: [B] float32 in (0, 1], importance weights.
    """

    place: Tensor
    transitions: Transitions
    weight: Tensor


class Replay(nn.Module):
    """The last `capacity` transitions; once full, a new one takes the place of the oldest.

    All of it is in the state dict, so that a resumed run draws what an undisturbed one does. A million transitions with
    N = 5 and d = 8 take 96 MB.

    Args:
        memory_size: N, items in a memory.
        action_dim: d.
        capacity: transitions kept.
        alpha: α, how much priorities matter; 0 draws uniformly.
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
        self.number_widths = (action_dim, 1, 1)
        n_blocks = -(-capacity // BLOCK)
        buffers = {
            "ids": torch.zeros(capacity, sum(self.id_widths), dtype=torch.int32),  # user, item, memory, next memory
            "numbers": torch.zeros(capacity, sum(self.number_widths)),  # action, reward, done
            "mass": torch.zeros(n_blocks * BLOCK, dtype=torch.int64),  # p^α in units, 0 where nothing lies
            "block_mass": torch.zeros(n_blocks, dtype=torch.int64),
            "highest": torch.tensor(round(1 / UNIT)),  # so far; 1 at first
            "added": torch.tensor(0),  # transitions ever
        }
        for name, values in buffers.items():
            self.register_buffer(name, values)

    def __len__(self) -> int:
        """Transitions that can be drawn."""
        return min(int(self.added), self.capacity)

    @torch.no_grad()
    def add(self, transitions: Transitions) -> None:
        """Writes transitions, in their order, with the highest priority that any has had so far.

        Raises:
            UserError: more of them than `capacity`.
        """
        n = len(transitions.user)
        if n > self.capacity:
            raise UserError(f"a replay of capacity={self.capacity} cannot hold the {n} transitions of a step; raise it")
        place = (self.added + torch.arange(n, device=self.added.device)) % self.capacity
        user, item, memory, action, reward, next_memory, done = transitions
        self.ids[place] = torch.cat([user[:, None], item[:, None], memory, next_memory], 1).int()
        self.numbers[place] = torch.cat([action, reward[:, None], done[:, None]], 1)
        self._set_mass(place, self.highest.expand(n))
        self.added += n

    def sample(self, n: int, beta: float, generator: Generator) -> Sample:
        """`n` transitions by their priorities, one from each of `n` equal parts of their sum; some may repeat.

        Args:
            beta: β in [0, 1], how much of the bias the weights take back.
            generator: on the device of the memory.

        Raises:
            ValueError: nothing was added yet.
        """
        if not len(self):
            raise ValueError("no transitions to sample from")
        place = draw_proportional(self.mass, self.block_mass, n, generator)
        ids, numbers = self.ids.index_select(0, place).long(), self.numbers.index_select(0, place)
        user, item, memory, next_memory = ids.split(self.id_widths, 1)
        action, reward, done = numbers.split(self.number_widths, 1)
        transitions = Transitions(user[:, 0], item[:, 0], memory, action, reward[:, 0], next_memory, done[:, 0])
        mass = self.mass.index_select(0, place).double()
        # N and the sum stand in every weight, and so cancel.
        return Sample(place, transitions, (mass.min() / mass).pow(beta).float())

    def update(self, place: Tensor, td_error: Tensor) -> None:
        """Sets the priorities at `place` [B], of a sample, to |td_error| [B] + ε; the largest of a place's several.

        Raises:
            UserError: a TD error that is not finite.
        """
        if not td_error.isfinite().all():
            raise UserError("training diverged: a TD error is not finite; lower optimizer.lr")
        mass = (td_error.double().abs() + EPSILON).pow(self.alpha) / UNIT
        mass = mass.round().clamp(max=MAX_TOTAL // self.capacity).long()
        self._set_mass(place, mass)
        self.highest = torch.maximum(self.highest, mass.max())

    def age(self, place: Tensor) -> Tensor:
        """How many transitions were added after those at `place` [B], which hold some: [B] int64, 0 for the last."""
        return (self.added - 1 - place) % self.capacity

    def _set_mass(self, place: Tensor, mass: Tensor) -> None:
        self.mass.scatter_reduce_(0, place, mass, "amax", include_self=False)
        block = place // BLOCK
        self.block_mass[block] = self.mass.view(-1, BLOCK).index_select(0, block).sum(1)


def draw_proportional(mass: Tensor, block_mass: Tensor, n: int, generator: Generator) -> Tensor:
    """`n` places, each drawn with a probability proportional to its mass.

    Stratified, as in the paper's appendix B.2.1: the i-th is uniform in the i-th of n equal parts of the sum, so that a
    place of share P comes n · P times, give or take less than two.

    Args:
        mass: [n_blocks * BLOCK] int64, not negative, with a positive sum of at most `MAX_TOTAL`.
        block_mass: [n_blocks] int64, the sum of each block of `BLOCK` places.
        generator: on the device of `mass`.

    Returns:
        [n] int64, ascending, only of places with a positive mass.

    >>> mass = torch.zeros(2 * BLOCK, dtype=torch.int64)
    >>> mass[5], mass[70] = 1000, 3000
    >>> draw_proportional(mass, mass.view(2, BLOCK).sum(1), 4, torch.Generator())
    tensor([ 5, 70, 70, 70])
    """
    reached = block_mass.cumsum(0)
    total = reached[-1]
    part = torch.arange(n, device=mass.device)
    within = torch.rand(n, generator=generator, dtype=torch.float64, device=mass.device)
    point = ((part + within) * (total.double() / n)).long().clamp(max=total - 1)  # against rounding
    block = torch.searchsorted(reached, point, right=True)
    inside = mass.view(-1, BLOCK).index_select(0, block).cumsum(1)
    point = point - reached[block] + inside[:, -1]
    return block * BLOCK + torch.searchsorted(inside, point[:, None], right=True)[:, 0]


def annealed(step: int, start: float, steps: int) -> float:
    """β at a step, from 0 on: linearly from `start` to 1, which it reaches after `steps`, at least 1, and keeps.

    >>> annealed(0, 0.4, 100), annealed(50, 0.4, 100), annealed(200, 0.4, 100)
    (0.4, 0.7, 1.0)
    """
    return start + (1 - start) * min(1.0, step / steps)
