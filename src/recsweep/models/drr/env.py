"""Recommendation sessions as a `gymnasium` vector environment: many users step together, in tensors.

In a session of a user with P positives, the action set is his positives and P other items, drawn with replacement from
all that are not his positives. At each of P steps he is recommended one item that he has not been recommended in this
session; the reward is 1 for a positive, which then enters his memory, and 0 otherwise. A policy that knows all
positives earns P.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Generator, Tensor

from recsweep.errors import UserError
from recsweep.sampling import Unseen, UserItems, sample_negatives, unseen


class Lanes(NamedTuple):
    """The sessions of E users, side by side; a step makes new tensors, so that what was observed stays.

    Args:
        user: [E] int64.
        candidates: [E, C] int64: the action set, others at even and positives at odd places, padded with n_items.
        left: [E, C] bool: which of them can be recommended; none in a lane without a session.
        remaining: [E] int64 steps; 0 or less in a lane without a session.
        total: [E] float32 reward since the session began.
    """

    user: Tensor
    candidates: Tensor
    left: Tensor
    remaining: Tensor
    total: Tensor


class Sessions(VectorEnv[dict[str, Tensor], Tensor, Tensor]):
    """Serves users in turn: a lane whose session ends takes the next user in the same step, until none is left.

    An observation is a dict of tensors: "user" [E] and "memory" [E, N], his last N positively received items, oldest
    first, padded in front with n_items; "candidates" [E, C] and "left" [E, C] bool, the item ids of the action set,
    padded with n_items, and which of them can still be recommended; "active" [E] bool. A lane that is not active has
    nobody left to serve: its actions do nothing, its reward is 0, and of its observation only "left", all False, means
    something. C is twice the longest session; others stand before positives, so where scores are equal a policy that
    takes the first recommends the other.

    An action is an item id for each lane. One that is not left earns 0 and changes nothing but the steps that remain.

    Args:
        positives: of every user; those without any are not served.
        n_items: size of the catalogue.
        n_envs: sessions side by side, E.
        memory_size: N.
        generator: for the action sets, on the device of `positives`.

    Raises:
        UserError: where nobody has a positive, or somebody has no other item.

    >>> from recsweep.sampling import group_items
    >>> positives = group_items(torch.tensor([0, 0]), torch.tensor([3, 4]), n_users=1, n_items=9)
    >>> env = Sessions(positives, n_items=9, n_envs=1, memory_size=2, generator=torch.Generator())
    >>> seen, _ = env.reset(options={"users": torch.tensor([0])})
    >>> seen, reward, ended, _, infos = env.step(torch.tensor([4]))
    >>> seen["memory"].tolist(), reward.tolist(), ended.tolist()
    ([[9, 4]], [1.0], [False])
    """

    def __init__(self, positives: UserItems, n_items: int, n_envs: int, memory_size: int, generator: Generator) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.positives, self.n_items, self.num_envs, self.generator = positives, n_items, n_envs, generator
        self.allowed = unseen(positives, n_items)
        self.n_steps = positives.start.diff()
        longest = int(self.n_steps.max())
        if longest in (0, n_items):
            found = "no user has a positive item" if longest == 0 else f"a user has all {n_items} items as positives"
            raise UserError(f"drr: {found}; a session needs positives and other items to choose from")
        n_users, device = len(self.n_steps), positives.item.device
        self.key = torch.arange(n_users, device=device).repeat_interleave(self.n_steps) * n_items + positives.item
        self.memory = torch.full((n_users, memory_size), n_items, device=device)
        """[n_users, N] of every user, kept from session to session and through `reset`; changed in place."""
        self.queue, self.served = torch.empty(0, dtype=torch.int64, device=device), 0
        self.lanes = _empty_lanes(n_envs, 2 * longest, n_items, device)
        self.single_action_space = spaces.Discrete(n_items)
        self.single_observation_space = spaces.Dict(
            user=spaces.Discrete(n_users),
            memory=spaces.Box(0, n_items, (memory_size,), dtype=np.int64),
            candidates=spaces.Box(0, n_items, (2 * longest,), dtype=np.int64),
            left=spaces.MultiBinary(2 * longest),
            active=spaces.Discrete(2),
        )
        self.action_space = batch_space(self.single_action_space, n_envs)
        self.observation_space = batch_space(self.single_observation_space, n_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Ends all sessions and serves from the first user on; memories stay.

        Args:
            seed: starts the generator anew.
            options: {"users": distinct users [U] int64 in the order to serve them}; without, all by id.

        Raises:
            ValueError: where a user would be served twice, at once perhaps; reset again for another pass.
        """
        if seed is not None:
            self.generator.manual_seed(seed)
        users = (options or {}).get("users", torch.arange(len(self.n_steps), device=self.queue.device))
        if len(users.unique()) < len(users):
            raise ValueError("users: each may stand only once in the order of a pass")
        self.queue, self.served = users[self.n_steps[users] > 0], 0
        self.lanes = _empty_lanes(self.num_envs, self.lanes.left.shape[1], self.n_items, self.queue.device)
        self._serve(torch.arange(self.num_envs, device=self.queue.device))
        return self.observe(), {}

    def step(self, actions: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Any]]:
        """Recommends the items [E].

        Returns:
            The next observation, of the next user where a session ended; rewards [E] float32; terminations [E] bool,
            where a session ended; truncations [E], never; and infos: "next_memory" [E, N] of the users who were
            recommended the items, and "session_reward" [E] and "session_length" [E] of their sessions so far.
        """
        lanes = self.lanes
        liked = self._liked(actions)
        memory = self.memory[lanes.user]
        next_memory = torch.where(liked[:, None], torch.cat([memory[:, 1:], actions[:, None]], 1), memory)
        self.memory[lanes.user[liked]] = next_memory[liked]

        reward, ended = liked.float(), lanes.remaining == 1
        remaining, total = lanes.remaining - 1, lanes.total + reward
        infos = {
            "next_memory": next_memory,
            "session_reward": total,
            "session_length": self.n_steps[lanes.user] - remaining,
        }
        left = lanes.left & (lanes.candidates != actions[:, None])
        self.lanes = lanes._replace(left=left, remaining=remaining, total=total)
        if ended.any():
            self._serve(ended.nonzero()[:, 0])
        return self.observe(), reward, ended, torch.zeros_like(ended), infos

    def _liked(self, actions: Tensor) -> Tensor:
        """[E] bool: which of the actions are positives that are left. The r-th positive has the column 2 r + 1."""
        lanes = self.lanes
        rank = torch.searchsorted(self.key, lanes.user * self.n_items + actions) - self.positives.start[lanes.user]
        column = (2 * rank + 1).clamp(max=lanes.left.shape[1] - 1)[:, None]
        return ((lanes.candidates.gather(1, column) == actions[:, None]) & lanes.left.gather(1, column))[:, 0]

    def _serve(self, free: Tensor) -> None:
        """Gives the next users to the `free` lanes, the first lanes first, as far as there are users."""
        user = self.queue[self.served : self.served + len(free)]
        self.served += len(user)
        lane, lanes = free[: len(user)], self.lanes
        candidates = action_sets(user, self.positives, self.allowed, lanes.left.shape[1], self.generator)
        self.lanes = Lanes(
            user=lanes.user.index_copy(0, lane, user),
            candidates=lanes.candidates.index_copy(0, lane, candidates),
            left=lanes.left.index_fill(0, free, False).index_copy(0, lane, candidates < self.n_items),
            remaining=lanes.remaining.index_copy(0, lane, self.n_steps[user]),
            total=lanes.total.index_fill(0, lane, 0.0),
        )

    def observe(self) -> dict[str, Tensor]:
        """Where the sessions stand, as `reset` and `step` return it."""
        lanes = self.lanes
        return {
            "user": lanes.user,
            "memory": self.memory[lanes.user],
            "candidates": lanes.candidates,
            "left": lanes.left,
            "active": lanes.remaining > 0,
        }

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, in types that `torch.load(weights_only=True)` accepts."""
        state = {"memory": self.memory.clone(), "queue": self.queue, "served": self.served}
        return state | {"generator": self.generator.get_state(), "lanes": self.lanes._asdict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where another environment with the same arguments stood."""
        self.memory.copy_(state["memory"])
        device = self.memory.device
        self.queue, self.served = state["queue"].to(device), state["served"]
        self.generator.set_state(state["generator"])
        self.lanes = Lanes(**{name: column.to(device) for name, column in state["lanes"].items()})


def action_sets(user: Tensor, positives: UserItems, allowed: Unseen, width: int, generator: Generator) -> Tensor:
    """Each user's positives and as many other items, drawn anew with replacement.

    Args:
        user: [B] int64, repeated ones too.
        allowed: the others, from `unseen(positives, n_items)`.
        width: columns, at least twice the positives of any of the users.

    Returns:
        [B, width] int64: an other, a positive, an other, a positive …, padded with n_items.
    """
    row, positive = positives.of(user)
    other = sample_negatives(user[row], 1, allowed, generator)[:, 0]
    count = positives.start.diff()[user]
    place = torch.arange(len(row), device=user.device) - (count.cumsum(0) - count)[row]
    pairs = user.new_full((len(user), width // 2, 2), allowed.n_items)
    pairs[row, place] = torch.stack([other, positive], 1)
    return pairs.flatten(1)


def _empty_lanes(n_envs: int, width: int, n_items: int, device: torch.device) -> Lanes:
    return Lanes(
        user=torch.zeros(n_envs, dtype=torch.int64, device=device),
        candidates=torch.full((n_envs, width), n_items, device=device),
        left=torch.zeros(n_envs, width, dtype=torch.bool, device=device),
        remaining=torch.zeros(n_envs, dtype=torch.int64, device=device),
        total=torch.zeros(n_envs, device=device),
    )
