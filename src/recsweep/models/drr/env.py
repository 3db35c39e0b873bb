"""Recommendation sessions as a `gymnasium` vector environment: many users step together, in tensors.

A user with P positives has a session of P steps. Its action set holds their positives and P others, distinct items that
are not positives of theirs (with copies if there are fewer than P). Each step recommends one of them that was not
recommended before in this session. The reward is 1 for a positive, which then enters the user's memory, and 0
otherwise. A policy that knows all positives earns P.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Generator, Tensor

from recsweep.errors import UserError
from recsweep.sampling import UnseenItems, UserItems, sample_others, unseen_items


class SessionStates(NamedTuple):
    """The sessions in the E sub-environments. A step makes new tensors, so earlier observations keep their values.

    Args:
        user: [E] int64.
        candidates: [E, C] int64: the action set, others in even and positives in odd columns, padded with n_items.
        left: [E, C] bool: which candidates can still be recommended; none where no session is active.
        remaining: [E] int64 steps; 0 or less where no session is active.
        total: [E] float32 reward since the session began.
    """

    user: Tensor
    candidates: Tensor
    left: Tensor
    remaining: Tensor
    total: Tensor


class Sessions(VectorEnv[dict[str, Tensor], Tensor, Tensor]):
    """Serves users in turn: where a session ends, the next user's begins in the same step, until no user is left.

    An observation is a dict of tensors: "user" [E]; "memory" [E, N], the last N items that gave a reward, oldest first,
    padded in front with n_items; "candidates" [E, C], the item ids of the action set, padded with n_items; "left"
    [E, C] bool, which of them can still be recommended; "active" [E] bool. A sub-environment is inactive when there are
    no more users to serve: its actions do nothing, its reward is 0, and of its observation only "left", all False,
    means something. C is twice the longest session. Others stand before positives, so a policy that takes the first of
    equal scores recommends the other item.

    An action is one item id for each sub-environment. An item that is not left earns 0; it only uses up a
    step.

    Args:
        positives: of every user; users without any are not served.
        n_items: size of the catalogue.
        n_envs: E, sessions side by side.
        memory_size: N.
        generator: for the action sets, on the device of `positives`.

    Raises:
        UserError: where no user has a positive, or some user has no other item.

    >>> from recsweep.sampling import group_items
    >>> positives = group_items(torch.tensor([0, 0]), torch.tensor([3, 4]), n_users=1, n_items=9)
    >>> env = Sessions(positives, n_items=9, n_envs=1, memory_size=2, generator=torch.Generator())
    >>> observation, _ = env.reset(options={"users": torch.tensor([0])})
    >>> observation, reward, ended, _, infos = env.step(torch.tensor([4]))
    >>> observation["memory"].tolist(), reward.tolist(), ended.tolist()
    ([[9, 4]], [1.0], [False])
    """

    def __init__(self, positives: UserItems, n_items: int, n_envs: int, memory_size: int, generator: Generator) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.positives, self.n_items, self.num_envs, self.generator = positives, n_items, n_envs, generator
        self.unseen = unseen_items(positives, n_items)
        self.session_length = positives.start.diff()
        longest = int(self.session_length.max())
        if longest in (0, n_items):
            problem = "no user has a positive item" if longest == 0 else f"a user has all {n_items} items as positives"
            raise UserError(f"drr: {problem}; a session needs positives and other items to choose from")
        n_users, device = len(self.session_length), positives.item.device
        user = torch.arange(n_users, device=device).repeat_interleave(self.session_length)
        self.pair_key = user * n_items + positives.item
        """[S] ascending, one for each positive pair."""
        self.memory = torch.full((n_users, memory_size), n_items, device=device)
        """[n_users, N] of every user, kept from session to session and through `reset`; changed in place."""
        self.queue, self.n_served = torch.empty(0, dtype=torch.int64, device=device), 0
        self.sessions = _no_sessions(n_envs, 2 * longest, n_items, device)
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
        """Ends all sessions and serves users from the start; memories stay.

        Args:
            seed: for the generator; None leaves it as it is.
            options: {"users": distinct users [U] int64 in the order to serve them}; without it, all users by id.

        Raises:
            ValueError: a user occurs twice, and could then have two sessions at once; reset again for another pass.
        """
        if seed is not None:
            self.generator.manual_seed(seed)
        users = (options or {}).get("users", torch.arange(len(self.session_length), device=self.queue.device))
        if len(users.unique()) < len(users):
            raise ValueError("users: each may occur only once in the order of a pass")
        self.queue, self.n_served = users[self.session_length[users] > 0], 0
        self.sessions = _no_sessions(self.num_envs, self.sessions.left.shape[1], self.n_items, self.queue.device)
        self._start_sessions(torch.arange(self.num_envs, device=self.queue.device))
        return self.observe(), {}

    def step(self, actions: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Any]]:
        """Recommends the items [E].

        Returns:
            The next observation, already of the next user where a session ended; rewards [E] float32; terminations [E]
            bool, where a session ended; truncations [E], always False; and infos: "next_memory" [E, N] of the users who
            were recommended the items, and "session_reward" [E] and "session_length" [E] of their sessions so far.
        """
        sessions = self.sessions
        is_hit = self._is_available_positive(actions)
        memory = self.memory[sessions.user]
        next_memory = torch.where(is_hit[:, None], torch.cat([memory[:, 1:], actions[:, None]], 1), memory)
        hit = is_hit.nonzero()[:, 0]
        self.memory[sessions.user[hit]] = next_memory[hit]

        reward, ended = is_hit.float(), sessions.remaining == 1
        remaining, total = sessions.remaining - 1, sessions.total + reward
        infos = {
            "next_memory": next_memory,
            "session_reward": total,
            "session_length": self.session_length[sessions.user] - remaining,
        }
        left = sessions.left & (sessions.candidates != actions[:, None])
        self.sessions = sessions._replace(left=left, remaining=remaining, total=total)
        free = ended.nonzero()[:, 0]
        if len(free):
            self._start_sessions(free)
        return self.observe(), reward, ended, torch.zeros_like(ended), infos

    def _is_available_positive(self, actions: Tensor) -> Tensor:
        """[E] bool: which actions are positives that are left. The r-th positive of a user has the column 2 r + 1."""
        sessions = self.sessions
        key = sessions.user * self.n_items + actions
        rank = torch.searchsorted(self.pair_key, key) - self.positives.start[sessions.user]
        column = (2 * rank + 1).clamp(max=sessions.left.shape[1] - 1)[:, None]
        is_positive = sessions.candidates.gather(1, column) == actions[:, None]
        return (is_positive & sessions.left.gather(1, column))[:, 0]

    def _start_sessions(self, free: Tensor) -> None:
        """Gives the next users to the `free` sub-environments, in order, as long as there are users."""
        user = self.queue[self.n_served : self.n_served + len(free)]
        self.n_served += len(user)
        env_index, sessions = free[: len(user)], self.sessions
        candidates = action_sets(user, self.positives, self.unseen, sessions.left.shape[1], self.generator)
        is_item = candidates < self.n_items
        self.sessions = SessionStates(
            user=sessions.user.index_copy(0, env_index, user),
            candidates=sessions.candidates.index_copy(0, env_index, candidates),
            left=sessions.left.index_fill(0, free, False).index_copy(0, env_index, is_item),
            remaining=sessions.remaining.index_copy(0, env_index, self.session_length[user]),
            total=sessions.total.index_fill(0, env_index, 0.0),
        )

    def observe(self) -> dict[str, Tensor]:
        """The current observation, which `reset` and `step` return as well."""
        sessions = self.sessions
        return {
            "user": sessions.user,
            "memory": self.memory[sessions.user],
            "candidates": sessions.candidates,
            "left": sessions.left,
            "active": sessions.remaining > 0,
        }

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, in types that `torch.load(weights_only=True)` accepts."""
        state = {"memory": self.memory.clone(), "queue": self.queue, "served": self.n_served}
        return state | {"generator": self.generator.get_state(), "lanes": self.sessions._asdict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from the state of another environment that has the same arguments."""
        if len(state["generator"]) != len(self.generator.get_state()):
            raise UserError(
                "sessions go on with the random numbers of the kind of device that they began on, CPU or GPU: set "
                "trainer.accelerator to that"
            )
        self.memory.copy_(state["memory"])
        device = self.memory.device
        self.queue, self.n_served = state["queue"].to(device), state["served"]
        self.generator.set_state(state["generator"])
        self.sessions = SessionStates(**{name: column.to(device) for name, column in state["lanes"].items()})


def action_sets(user: Tensor, positives: UserItems, unseen: UnseenItems, width: int, generator: Generator) -> Tensor:
    """Each user's positives and as many other items, drawn for every row.

    Args:
        user: [B] int64, repeated ones too.
        unseen: the other items, from `unseen_items(positives, n_items)`.
        width: columns, at least twice the positives of any of the users.

    Returns:
        [B, width] int64: an other, a positive, an other, a positive …, padded with n_items.
    """
    user_index, positive = positives.pairs_of(user)
    count = positives.start.diff()[user]
    other = sample_others(user, count, unseen, generator)
    rank = torch.arange(len(user_index), device=user.device) - (count.cumsum(0) - count)[user_index]
    pairs = user.new_full((len(user), width // 2, 2), unseen.n_items)
    pairs[user_index, rank] = torch.stack([other, positive], 1)
    return pairs.flatten(1)


def _no_sessions(n_envs: int, width: int, n_items: int, device: torch.device) -> SessionStates:
    return SessionStates(
        user=torch.zeros(n_envs, dtype=torch.int64, device=device),
        candidates=torch.full((n_envs, width), n_items, device=device),
        left=torch.zeros(n_envs, width, dtype=torch.bool, device=device),
        remaining=torch.zeros(n_envs, dtype=torch.int64, device=device),
        total=torch.zeros(n_envs, device=device),
    )
