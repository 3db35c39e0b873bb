"""DRR: an agent that recommends item after item and learns from what is liked (Liu et al. 2018, arXiv 1810.12027).

A state is made of the user and the items that he last liked (`state.py`). The actor turns it into a vector, the action;
the item whose vector has the largest dot product with it is recommended. The critic values states and actions. What
happened in sessions of many users side by side (`env.py`) is remembered (`replay.py`) and learned from again and again.

TensorBoard shows the reward of sessions (`train/session_reward`) and what share of the best possible it is
(`train/reward`), the losses of critic and policy, the age of what is replayed, and histograms of value, target value
(of the target networks), expected value (the target of the value), TD error and policy loss.
"""

import logging
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loggers import TensorBoardLogger
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsweep.data.batches import Columns
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import RankingEvaluation, SessionEvaluation
from recsweep.losses import temporal
from recsweep.models.base import RecModule, Training
from recsweep.models.drr.env import Sessions
from recsweep.models.drr.replay import Replay, Transitions, annealed
from recsweep.models.drr.state import DRRP, DRRU, DRRAve
from recsweep.models.layers import Dimension, Std, dot_products, embedding, mlp
from recsweep.sampling import UserItems, group_items
from recsweep.seeding import generator
from recsweep.vectors.export import Embeddings, load_vectors_trained_on

log = logging.getLogger(__name__)

STATES: dict[str, type[DRRAve | DRRP | DRRU]] = {"drr_ave": DRRAve, "drr_p": DRRP, "drr_u": DRRU}
NotNegative = Annotated[float, Field(ge=0)]


class Steps(NamedTuple):
    """A row for every step of every session, by its user; what a pass over all users adds up to."""

    user: Tensor


class DRR(RecModule):
    """Actor, critic and state module.

    Args:
        embedding_dim: d of users, items and actions.
        hidden_dim: width of the hidden layer of actor and critic.
        memory_size: N, the liked items that a state looks back on.
        state: which state module.
        action: what the critic takes for an action: "proto", the actor's vector itself, as in the paper; or "item", the
            vector of the item that it led to (Dulac-Arnold et al. 2015, arXiv 1512.07679, without the search among
            neighbours), beside which the actor's vector has length 1, since the critic knows no longer ones.
        init_std: standard deviation of the first values of user and item vectors.
        pretrained: folder of `embeddings/` that another run left, trained on the same rows; its vectors replace the
            first values, each kind scaled to a mean length of 1 over the training rows. None starts from noise.
        frozen: whether vectors of users and items stay as they start.
        n_envs: users side by side.
        updates_per_step: updates of the networks for every step of a user (update-to-data ratio).
        min_positives: users with fewer have no sessions.
        exploration: noise on the actions in sessions: none, gaussian, or ou, which returns slowly to 0.
        exploration_std: its standard deviation.
        buffer_size: transitions that the replay keeps.
        alpha: how much their priorities matter.
        value_decay, policy_decay, state_repr_decay: weight decay of critic, actor, and state module with vectors.
    """

    losses: ClassVar = temporal
    evaluations: ClassVar = (RankingEvaluation, SessionEvaluation)
    sparse = False

    memory: Tensor
    gamma: Tensor
    min_value: Tensor
    max_value: Tensor
    soft_tau: Tensor
    target_noise: Tensor
    noise_clip: Tensor
    exploration_std: Tensor

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        hidden_dim: Dimension,
        memory_size: Annotated[int, Field(ge=1, le=1000)],
        state: Literal["drr_ave", "drr_p", "drr_u"],
        action: Literal["proto", "item"],
        init_std: Std,
        pretrained: str | None,
        frozen: bool,
        n_envs: Annotated[int, Field(ge=1, le=100_000)],
        updates_per_step: Annotated[float, Field(gt=0, le=100)],
        min_positives: Annotated[int, Field(ge=1)],
        exploration: Literal["none", "gaussian", "ou"],
        exploration_std: NotNegative,
        buffer_size: Annotated[int, Field(ge=1, le=10**8)],
        alpha: Annotated[float, Field(ge=0, le=1)],
        value_decay: NotNegative,
        policy_decay: NotNegative,
        state_repr_decay: NotNegative,
    ) -> None:
        super().__init__(data, training)
        if training.schedule_by_step or training.accumulate > 1:
            raise UserError(
                "model=drr has no batches to go through: take trainer.accumulate=1, and not scheduler=one_cycle"
            )
        self.algorithm = cast(temporal.DDPG | temporal.TD3, training.loss)
        self.n_envs, self.updates_per_step = n_envs, updates_per_step
        self.exploration, self.unit_actions, self.pretrained = exploration, action == "item", pretrained
        self.decays = {"value": value_decay, "policy": policy_decay, "state": state_repr_decay}
        self.positives = group_items(data.user, data.item, data.n_users, data.n_items)
        self.n_items = data.n_items
        self.min_positives = min_positives
        self.eligible = _served(self.positives.start.diff(), min_positives, memory_size, data)

        draws = generator(training.seed)
        self.user_table = embedding(data.n_users, embedding_dim, init_std, draws)
        self.item_table = embedding(data.n_items, embedding_dim, init_std, draws)
        for table in (self.user_table, self.item_table):
            table.requires_grad_(not frozen)
        self.state = STATES[state](embedding_dim, memory_size, draws)
        size = int(self.state.size)
        self.actor = mlp([size, hidden_dim, embedding_dim], draws)
        sizes = [size + embedding_dim, hidden_dim, 1]
        self.critics = nn.ModuleList([mlp(sizes, draws) for _ in range(self.algorithm.n_critics)])
        self.target_actor = deepcopy(self.actor).requires_grad_(False)
        self.target_critics = deepcopy(self.critics).requires_grad_(False)
        constants = {name: getattr(self.algorithm, name) for name in CONSTANTS} | {"exploration_std": exploration_std}
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)
        self.register_buffer("memory", torch.full((data.n_users, memory_size), data.n_items))
        self._world = (memory_size, embedding_dim, buffer_size, alpha)
        self.step_count = self.update_count = 0
        self.due = 0.0

    # What the agent is to the evaluation: a vector for every user, given what he last liked.

    def user_vectors(self, user: Tensor) -> Tensor:
        """The actions [B, d] for users [B] with the memories that training left them."""
        return self._act(self.actor, self._state(user, self.memory[user]))

    def item_vectors(self) -> Tensor:
        """[n_items, d]."""
        return self.item_table.weight

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        distinct, place = user.unique(return_inverse=True)
        return (self.user_vectors(distinct)[place] * self.item_table(item)).sum(-1)

    def score_all(self, user: Tensor) -> Tensor:
        return self.user_vectors(user) @ self.item_table.weight.T

    def _act(self, actor: nn.Module, state: Tensor) -> Tensor:
        """Actions [B, d] in states [B, size]."""
        return normalize(actor(state), dim=1) if self.unit_actions else actor(state)

    def _state(self, user: Tensor, memory: Tensor) -> Tensor:
        vectors = self.item_table(memory.clamp(max=self.n_items - 1)) * (memory < self.n_items)[..., None]
        return self.state(self.user_table(user), vectors)

    # Sessions: what happens is remembered.

    def columns(self, data: Interactions) -> Columns:
        rows = torch.isin(data.user, self.eligible)
        return Steps(data.user[rows])

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.pretrained:
            self._start_from(load_vectors_trained_on(self.data.train, Path(self.pretrained)))
        n_users = len(self.memory)
        if len(self.eligible) < n_users:
            left_out, least = n_users - len(self.eligible), self.min_positives
            log.warning("%d of %d users have fewer than %d positives, and no sessions", left_out, n_users, least)
        memory_size, dim, capacity, alpha = self._world
        device, seed = cast(Any, self.trainer).strategy.root_device, self.training_setup.seed
        self.memory = self.memory.to(device)  # before the engine moves it, for the sessions write to it
        positives = UserItems(*(column.to(device) for column in self.positives))
        sessions = generator("sessions", seed, device=device)
        self.world = World(
            Sessions(positives, self.n_items, self.n_envs, memory_size, sessions),
            Replay(memory_size, dim, capacity=capacity, alpha=alpha).to(device),
            torch.zeros(self.n_envs, dim, device=device),
        )
        self.world.env.memory = self.memory
        self.followers: list[Tensor] = [*self.target_actor.parameters(), *self.target_critics.parameters()]
        self.followed: list[Tensor] = [*self.actor.parameters(), *self.critics.parameters()]
        self.eligible = self.eligible.to(device)

    @torch.no_grad()
    def _start_from(self, found: Embeddings) -> None:
        if found.item.shape[1] != self.item_table.embedding_dim:
            raise UserError(
                f"model.pretrained={self.pretrained}: vectors of {found.item.shape[1]} numbers; set "
                f"model.embedding_dim to that, not to {self.item_table.embedding_dim}"
            )
        rows = self.data.train
        for table, vectors, occurs in [
            (self.user_table, found.user, rows.user),
            (self.item_table, found.item, rows.item),
        ]:
            table.weight.copy_(vectors / vectors.norm(dim=1)[occurs].mean())

    def configure_optimizers(self) -> Any:
        setup = self.training_setup
        states = nn.ModuleList([self.user_table, self.item_table, self.state])
        parts = {"value": self.critics, "state": states, "policy": self.actor}
        groups = {
            name: {
                "params": [parameter for parameter in part.parameters() if parameter.requires_grad],
                "weight_decay": self.decays[name],
            }
            for name, part in parts.items()
        }
        optimizers = [setup.optimizer([groups["value"], groups["state"]]), setup.optimizer([groups["policy"]])]
        return optimizers, [setup.scheduler(optimizer) for optimizer in optimizers]

    def training_step(self, _: int, index: int) -> None:
        """Sessions and updates by turns, until as many steps are done as the groups up to `index` have rows."""
        if index == 0:
            self._start_epoch()
            self.stepped = 0
        batches = self.data.batches
        until = min((index + 1) * batches.steps * batches.batch_size, batches.n_rows)
        self.engine_counts = True
        while self.stepped < until:
            self._step_sessions()
            while self.due >= 1 and len(self.world.replay) >= batches.batch_size:
                self._update(batches.batch_size)
                self.due -= 1

    @torch.no_grad()
    def _step_sessions(self) -> None:
        """One recommendation to every user who is being served."""
        env, replay, _ = self.world
        seen = env.observe()
        if not seen["active"].any():
            order = torch.randperm(len(self.eligible), generator=self.generator, device=self.eligible.device)
            seen, _ = env.reset(options={"users": self.eligible[order]})
        action = self._act(self.actor, self._state(seen["user"], seen["memory"])) + self._noise()
        lane, candidate = (
            torch.arange(self.n_envs, device=action.device),
            seen["candidates"].clamp(max=self.n_items - 1),
        )
        scores = dot_products(action, lane, self.item_table.weight, candidate).masked_fill(~seen["left"], -torch.inf)
        item = seen["candidates"].gather(1, scores.argmax(1, keepdim=True))[:, 0]
        _, reward, ended, _, infos = env.step(item)
        happened = Transitions(seen["user"], item, seen["memory"], action, reward, infos["next_memory"], ended.float())
        active = seen["active"]
        replay.add(Transitions(*(column[active] for column in happened)))
        if ended.any():
            earned = infos["session_reward"][ended]
            self.note("train/session_reward", earned.mean())
            self.note("train/reward", (earned / infos["session_length"][ended]).mean())
        n_steps = int(active.sum())
        self.stepped += n_steps
        self.step_count += n_steps
        self.due += n_steps * self.updates_per_step

    def _noise(self) -> Tensor:
        """[n_envs, d] on the actions; of Ornstein and Uhlenbeck's process, θ = 0.15 pulls it back to 0."""
        noise = self.world.noise
        if self.exploration == "none":
            return noise
        drawn = self.exploration_std * torch.randn(noise.shape, generator=self.generator, device=noise.device)
        if self.exploration == "gaussian":
            return drawn
        noise += drawn - 0.15 * noise
        return noise

    # Updates: critic and state module, then the policy, then the targets.

    def _update(self, n: int) -> None:
        algorithm, replay = self.algorithm, self.world.replay
        sample = replay.sample(n, annealed(self.step_count, START_BETA, BETA_STEPS), self.generator)
        user, item, memory, action, reward, next_memory, _ = sample.transitions
        with torch.no_grad():
            next_state = self._state(user, next_memory)
            next_action = self._act(self.target_actor, next_state) + self._target_noise(n)
            after = torch.cat([next_state, next_action], 1)
            next_value = torch.stack([critic(after)[:, 0] for critic in self.target_critics]).amin(0)
            target = temporal.td_target(reward, next_value, self.gamma, self.min_value, self.max_value)

        state = self._state(user, memory)
        if self.unit_actions:
            action = self.item_table(item)
        values = [critic(torch.cat([state, action], 1))[:, 0] for critic in self.critics]
        value_loss = torch.stack([temporal.critic(value, target, sample.weight) for value in values]).sum()
        self._descend(0, value_loss)
        td_error = target - values[0].detach()
        replay.update(sample.place, td_error)

        self.update_count += 1
        if self.update_count % algorithm.policy_delay == 0:
            state = state.detach()
            policy_loss = -self.critics[0](torch.cat([state, self._act(self.actor, state)], 1)).mean()
            self._descend(1, policy_loss)
            with torch.no_grad():
                torch._foreach_lerp_(self.followers, self.followed, [self.soft_tau] * len(self.followers))
            self.note("train/policy_loss", policy_loss.detach())
        self.note("train/loss", value_loss.detach())
        if self.update_count % SHOWN_EVERY == 0:
            self.note("train/replay_age", replay.age(sample.place).float().mean())
        self.shown = {
            "value": values[0].detach(),
            "target_value": next_value,
            "expected_value": target,
            "td_error": td_error,
        }

    def _target_noise(self, n: int) -> Tensor:
        if not self.algorithm.target_noise:
            return self.memory.new_zeros((), dtype=torch.float32)
        shape = (n, self.item_table.embedding_dim)
        drawn = torch.randn(shape, generator=self.generator, device=self.memory.device)
        return (self.target_noise * drawn).clamp(-self.noise_clip, self.noise_clip)

    def _descend(self, which: int, loss: Tensor) -> None:
        """A step of one optimizer along the loss's slopes in its own parameters alone."""
        wrapped = cast(list[LightningOptimizer], self.optimizers())[which]
        parameters = [p for group in wrapped.param_groups for p in group["params"] if p.requires_grad]
        for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            parameter.grad = slope
        (wrapped if self.engine_counts else wrapped.optimizer).step()
        self.engine_counts = False

    def on_train_epoch_end(self) -> None:
        if "train/loss" not in self.noted:
            raise UserError(
                f"no update in an epoch of {self.data.batches.n_rows} steps: lower trainer.batch_size="
                f"{self.data.batches.batch_size}, or raise model.updates_per_step or model.buffer_size"
            )
        super().on_train_epoch_end()
        if isinstance(self.logger, TensorBoardLogger):
            losses = self.noted.get("train/policy_loss")  # none where all of the epoch's updates left the policy
            policy = {"policy_loss": torch.stack(losses)} if losses else {}
            for tag, values in {**self.shown, **policy}.items():
                self.logger.experiment.add_histogram(tag, values, self.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if "optimizer_states" in checkpoint:
            world = self.world
            checkpoint["recsweep"]["world"] = {
                "env": world.env.state_dict(),
                "replay": world.replay.state_dict(),
                "noise": world.noise,
                "counts": [self.step_count, self.update_count, self.due],
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint["recsweep"]["world"]
        self.world.env.load_state_dict(saved["env"])
        self.world.env.memory = self.memory
        self.world.replay.load_state_dict(saved["replay"])
        self.world.noise.copy_(saved["noise"])
        self.step_count, self.update_count, self.due = saved["counts"]


def _served(count: Tensor, least: int, memory_size: int, data: Interactions) -> Tensor:
    """The users [U] with at least so many positives, of `count` [n_users]."""
    if int(count.max()) < memory_size:
        raise UserError(
            f"model.memory_size={memory_size}: no user of {data.name} has so many positives, at most {int(count.max())}"
        )
    served = (count >= least).nonzero()[:, 0]
    if not len(served):
        raise UserError(f"model.min_positives={least}: no user of {data.name} has so many; lower it")
    return served


START_BETA, BETA_STEPS = 0.4, 100_000
SHOWN_EVERY = 100  # updates
CONSTANTS = ("gamma", "min_value", "max_value", "soft_tau", "target_noise", "noise_clip")


class World(NamedTuple):
    """Where an agent acts and what it remembers; kept out of the model's weights."""

    env: Sessions
    replay: Replay
    noise: Tensor
