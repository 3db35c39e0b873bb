"""Where a DRR agent gets its experience: sessions of many users, exploration noise, and the replay of what happened."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.models.drr.actor_critic import ActorCritic
from recsweep.models.drr.env import Sessions
from recsweep.models.drr.replay import Replay, Transitions
from recsweep.models.layers import dot_products

NoiseName = Literal["none", "gaussian", "ou"]

OU_THETA = 0.15
"""How strongly the Ornstein-Uhlenbeck process is pulled back to 0 at every step."""


class Noise:
    """Exploration noise on the actions of the sessions.

    Args:
        kind: "none"; "gaussian", drawn anew at every step; or "ou", an Ornstein-Uhlenbeck process.
        std: scalar, the standard deviation of a step's draws.
        n_envs, dim: its shape.
    """

    def __init__(self, kind: NoiseName, std: Tensor, n_envs: int, dim: int) -> None:
        self.kind, self.std = kind, std
        self.current = torch.zeros(n_envs, dim, device=std.device)

    def step(self, generator: Generator) -> Tensor:
        """The noise [n_envs, dim] of the next step."""
        if self.kind == "none":
            return self.current
        draws = self.std * torch.randn(self.current.shape, generator=generator, device=self.current.device)
        if self.kind == "gaussian":
            return draws
        self.current += draws - OU_THETA * self.current
        return self.current


class StepSummary(NamedTuple):
    """What one step of the sessions amounts to.

    Args:
        n_steps: users who were recommended an item.
        session_reward, session_length: [K], of the K sessions that ended.
    """

    n_steps: int
    session_reward: Tensor
    session_length: Tensor


class Experience:
    """Sessions, exploration noise, and the replay that they fill.

    Not a module: it is saved with the training state, and is no part of the model's weights.

    Args:
        users: [U] ids of those who are served, in a new random order in every pass.
    """

    def __init__(self, env: Sessions, replay: Replay, noise: Noise, users: Tensor) -> None:
        self.env, self.replay, self.noise, self.users = env, replay, noise, users

    @torch.no_grad()
    def step(self, networks: ActorCritic, generator: Generator) -> StepSummary:
        """Recommends an item in every session, and adds what happened to the replay.

        The item is the one with the largest dot product with the action, noise included, among those still available.
        """
        observation, active = self._observe(generator)
        user, memory = observation["user"], observation["memory"]
        action = networks.choose_actions(networks.actor, networks.encode_states(user, memory))
        action = action + self.noise.step(generator)
        item = _best_items(action, observation, networks.item_vectors())
        _, reward, ended, _, infos = self.env.step(item)
        transitions = Transitions(user, item, memory, action, reward, infos["next_memory"])
        self.replay.add(Transitions(*(column[active] for column in transitions)))
        ended_index = ended.nonzero()[:, 0]
        rewards, lengths = infos["session_reward"][ended_index], infos["session_length"][ended_index]
        return StepSummary(len(active), rewards, lengths)

    def _observe(self, generator: Generator) -> tuple[dict[str, Tensor], Tensor]:
        """The current observation, and the positions [A] of its active sessions.

        Where no session is active, the observation is the first one of a new pass over the users.
        """
        observation = self.env.observe()
        active = observation["active"].nonzero()[:, 0]
        if not len(active):
            order = torch.randperm(len(self.users), generator=generator, device=self.users.device)
            observation = self.env.reset(options={"users": self.users[order]})[0]
            active = observation["active"].nonzero()[:, 0]
        return observation, active

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on, in types that `torch.load(weights_only=True)` accepts."""
        return {"env": self.env.state_dict(), "replay": self.replay.state_dict(), "noise": self.noise.current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from the state of an experience with the same arguments."""
        self.env.load_state_dict(state["env"])
        self.replay.load_state_dict(state["replay"])
        self.noise.current.copy_(state["noise"])


def _best_items(action: Tensor, observation: dict[str, Tensor], item_vectors: Tensor) -> Tensor:
    """The available item [E] of each session with the largest dot product with its action [E, d]."""
    candidates, n_items = observation["candidates"], len(item_vectors)
    env_index = torch.arange(len(action), device=action.device)
    scores = dot_products(action, env_index, item_vectors, candidates.clamp(max=n_items - 1))
    column = scores.masked_fill(~observation["left"], -torch.inf).argmax(1, keepdim=True)
    return candidates.gather(1, column)[:, 0]


def eligible_users(count: Tensor, least: int, memory_size: int, data: Interactions) -> Tensor:
    """The users [U] with at least `least` positives, from their counts [n_users]."""
    if int(count.max()) < memory_size:
        raise UserError(
            f"model.memory_size={memory_size}: no user of {data.name} has that many positives; the most is "
            f"{int(count.max())}"
        )
    eligible = (count >= least).nonzero()[:, 0]
    if not len(eligible):
        raise UserError(f"model.min_positives={least}: no user of {data.name} has that many; lower it")
    return eligible
