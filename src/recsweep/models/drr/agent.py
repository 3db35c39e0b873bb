"""DRR: an agent that recommends one item after another and learns from which ones are liked (Liu et al. 2018).

The paper is arXiv 1810.12027. A state encodes a user and the last items that they liked (`state.py`). The actor maps it
to a vector, the action; the item whose vector has the largest dot product with it is recommended. The critic estimates
the value of an action in a state (`actor_critic.py`). Sessions of many users run side by side (`env.py`), their steps
are stored (`replay.py`, `experience.py`), and the agent learns from samples of them (here).

TensorBoard shows the reward of sessions (`train/session_reward`) and its share of the best possible reward
(`train/reward`), the losses of critic and policy, the age of the sampled transitions, and histograms of value, target
value (of the target networks), expected value (the target of the value), TD error and policy loss.
"""

import logging
from typing import Annotated, Any, ClassVar, NamedTuple, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loggers import TensorBoardLogger
from pydantic import Field
from torch import Tensor, nn

from recsweep.data.batches import Columns
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import RankingEvaluation, SessionEvaluation
from recsweep.losses import temporal
from recsweep.models.base import Training
from recsweep.models.drr.actor_critic import ActionName, ActorCritic, StateName
from recsweep.models.drr.env import Sessions
from recsweep.models.drr.experience import Experience, Noise, NoiseName, eligible_users
from recsweep.models.drr.replay import Replay, anneal
from recsweep.models.layers import Dimension, Std
from recsweep.sampling import UserItems, group_items
from recsweep.seeding import generator
from recsweep.vectors.export import load_initial_vectors

log = logging.getLogger(__name__)

START_BETA, BETA_STEPS = 0.4, 100_000
AGE_INTERVAL = 100
"""Updates from one measurement of the replay's age to the next."""
CONSTANTS = ("gamma", "min_value", "max_value", "soft_tau", "target_noise", "noise_clip")
VALUE, POLICY = 0, 1
"""Positions of the two optimizers."""

NotNegative = Annotated[float, Field(ge=0)]


class Steps(NamedTuple):
    """One row for each step of each session, with its user: what one pass over all users adds up to."""

    user: Tensor


class DRR(ActorCritic):
    """The learning agent: it alternates sessions and updates.

    Args:
        embedding_dim: d of users, items and actions.
        hidden_dim: width of the hidden layer of actor and critic.
        memory_size: N, how many liked items a state remembers.
        state: which state module.
        action: which action the critic values: "proto", the actor's vector itself, as in the paper; or "item", the
            vector of the recommended item (Dulac-Arnold et al. 2015, arXiv 1512.07679, without the search among
            neighbours). With "item", the actor's vectors are normalised to length 1, so that they are comparable.
        init_std: standard deviation of the initial user and item vectors.
        pretrained: folder of `embeddings/` that another run exported, trained on the same rows; its vectors become the
            initial ones, with users and items each scaled to a mean length of 1 over the training rows. None starts
            from noise.
        frozen: whether user and item vectors stay at their initial values.
        n_envs: users served side by side.
        updates_per_step: updates for every step of a user (update-to-data ratio), once the replay holds a batch.
        min_positives: users with fewer have no sessions.
        exploration: noise on the actions in sessions: none, gaussian, or ou, which slowly returns to 0.
        exploration_std: its standard deviation.
        buffer_size: transitions that the replay keeps.
        alpha: exponent of the priorities.
        value_decay, policy_decay, state_repr_decay: weight decay of critic, actor, and state module with vectors.
    """

    losses: ClassVar = temporal.TemporalLoss
    evaluations: ClassVar = (RankingEvaluation, SessionEvaluation)
    sparse = False
    ignores = ("regularization", "trainer.shuffle")

    gamma: Tensor
    min_value: Tensor
    max_value: Tensor
    soft_tau: Tensor
    target_noise: Tensor
    noise_clip: Tensor

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        hidden_dim: Dimension,
        memory_size: Annotated[int, Field(ge=1, le=1000)],
        state: StateName,
        action: ActionName,
        init_std: Std,
        pretrained: str | None,
        frozen: bool,
        n_envs: Annotated[int, Field(ge=1, le=100_000)],
        updates_per_step: Annotated[float, Field(gt=0, le=100)],
        min_positives: Annotated[int, Field(ge=1)],
        exploration: NoiseName,
        exploration_std: NotNegative,
        buffer_size: Annotated[int, Field(ge=1, le=10**8)],
        alpha: Annotated[float, Field(ge=0, le=1)],
        value_decay: NotNegative,
        policy_decay: NotNegative,
        state_repr_decay: NotNegative,
    ) -> None:
        algorithm = cast(temporal.DDPG | temporal.TD3, training.loss)
        super().__init__(
            data,
            training,
            n_critics=algorithm.n_critics,
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            memory_size=memory_size,
            state=state,
            action=action,
            init_std=init_std,
            frozen=frozen,
        )
        if training.schedule_by_step or training.accumulate > 1:
            raise UserError(
                "model=drr has no batches to go through: take trainer.accumulate=1, and not scheduler=one_cycle"
            )
        self.algorithm, self.pretrained = algorithm, pretrained
        self.n_envs, self.updates_per_step = n_envs, updates_per_step
        self.exploration, self.exploration_std = exploration, exploration_std
        self.buffer_size, self.alpha = buffer_size, alpha
        self.decays = {"value": value_decay, "policy": policy_decay, "state": state_repr_decay}
        self.positives = group_items(data.user, data.item, data.n_users, data.n_items)
        self.min_positives = min_positives
        self.eligible = eligible_users(self.positives.start.diff(), min_positives, memory_size, data)
        for name in CONSTANTS:
            self.register_buffer(name, torch.tensor(getattr(algorithm, name)), persistent=False)
        self.step_count = self.update_count = 0
        self.updates_due = 0.0

    def columns(self, data: Interactions) -> Columns:
        is_eligible = torch.isin(data.user, self.eligible)
        return Steps(data.user[is_eligible])

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.pretrained:
            dim = self.item_table.embedding_dim
            self.start_from(*load_initial_vectors(self.data.train, self.pretrained, dim))
        n_users, memory_size = self.memory.shape
        n_without = n_users - len(self.eligible)
        if n_without:
            least = self.min_positives
            log.warning("%d of %d users have fewer than %d positives, and no sessions", n_without, n_users, least)
        dim, device = self.item_table.embedding_dim, cast(Any, self.trainer).strategy.root_device
        self.memory = self.memory.to(device)  # before Lightning moves it, because the sessions write to it
        self.eligible = self.eligible.to(device)
        positives = UserItems(*(column.to(device) for column in self.positives))
        draws = generator("sessions", self.training_setup.seed, device=device)
        self.experience = Experience(
            Sessions(positives, self.n_items, self.n_envs, memory_size, draws),
            Replay(memory_size, dim, capacity=self.buffer_size, alpha=self.alpha).to(device),
            Noise(self.exploration, torch.tensor(self.exploration_std, device=device), self.n_envs, dim),
            self.eligible,
        )
        self.experience.env.memory = self.memory
        self.target_parameters: list[Tensor] = [*self.target_actor.parameters(), *self.target_critics.parameters()]
        self.online_parameters: list[Tensor] = [*self.actor.parameters(), *self.critics.parameters()]

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
        """Alternates sessions and updates until it has made as many steps as the groups up to `index` have rows."""
        if index == 0:
            self._start_epoch()
            self.epoch_steps = 0
        batches = self.data.batches
        end = min((index + 1) * batches.steps * batches.batch_size, batches.n_rows)
        self.global_step_is_due = True
        while self.epoch_steps < end:
            n_steps = self._step_sessions()
            n_with_batch = min(n_steps, max(0, self.experience.replay.n_added - batches.batch_size + 1))
            self.updates_due += n_with_batch * self.updates_per_step
            while self.updates_due >= 1 and len(self.experience.replay) >= batches.batch_size:
                self._update(batches.batch_size)
                self.updates_due -= 1

    def _step_sessions(self) -> int:
        """Makes one step of all sessions; returns how many users were recommended an item."""
        step = self.experience.step(self, self.generator)
        if len(step.session_reward):
            self.note("train/session_reward", step.session_reward.mean())
            self.note("train/reward", (step.session_reward / step.session_length).mean())
        self.epoch_steps += step.n_steps
        self.step_count += step.n_steps
        return step.n_steps

    def _update(self, n: int) -> None:
        """Learns from `n` transitions: critics, state module and vectors, then the policy, then the target networks."""
        algorithm, replay = self.algorithm, self.experience.replay
        sample = replay.sample(n, anneal(self.step_count, START_BETA, BETA_STEPS), self.generator)
        user, item, memory, action, reward, next_memory = sample.transitions
        with torch.no_grad():
            next_state = self.encode_states(user, next_memory)
            next_action = self.choose_actions(self.target_actor, next_state) + self._draw_target_noise(n)
            next_value = self.values(self.target_critics, next_state, next_action).amin(0)
            target = temporal.td_target(reward, next_value, self.gamma, self.min_value, self.max_value)

        state = self.encode_states(user, memory)
        if self.unit_actions:
            action = self.item_table(item)
        values = self.values(self.critics, state, action)
        value_loss = torch.stack([temporal.critic(value, target, sample.weight) for value in values]).sum()
        self._descend(VALUE, value_loss)
        td_error = target - values[0].detach()
        replay.update(sample.replay_index, td_error)
        self.update_count += 1
        if self.update_count % algorithm.policy_delay == 0:
            self._update_policy(state.detach())
        self.note("train/loss", value_loss.detach())
        if self.update_count % AGE_INTERVAL == 0:
            self.note("train/replay_age", replay.age(sample.replay_index).float().mean())
        self.last_update = {
            "value": values[0].detach(),
            "target_value": next_value,
            "expected_value": target,
            "td_error": td_error,
        }

    def _update_policy(self, state: Tensor) -> None:
        policy_loss = -self.values(self.critics[:1], state, self.choose_actions(self.actor, state)).mean()
        self._descend(POLICY, policy_loss)
        with torch.no_grad():
            weights = [self.soft_tau] * len(self.target_parameters)
            torch._foreach_lerp_(self.target_parameters, self.online_parameters, weights)
        self.note("train/policy_loss", policy_loss.detach())

    def _draw_target_noise(self, n: int) -> Tensor:
        if not self.algorithm.target_noise:
            return self.memory.new_zeros((), dtype=torch.float32)
        shape = (n, self.item_table.embedding_dim)
        draws = torch.randn(shape, generator=self.generator, device=self.memory.device)
        return (self.target_noise * draws).clamp(-self.noise_clip, self.noise_clip)

    def _descend(self, optimizer_index: int, loss: Tensor) -> None:
        """A step of one optimizer, with the gradients of the loss in that optimizer's own parameters alone."""
        wrapped = cast(list[LightningOptimizer], self.optimizers())[optimizer_index]
        parameters = [p for group in wrapped.param_groups for p in group["params"] if p.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self._clip_gradients(parameters)
        (wrapped if self.global_step_is_due else wrapped.optimizer).step()
        self.global_step_is_due = False

    def on_train_epoch_end(self) -> None:
        if "train/loss" not in self.notes:
            raise UserError(
                f"no update in an epoch of {self.data.batches.n_rows} steps: lower trainer.batch_size="
                f"{self.data.batches.batch_size}, or raise model.updates_per_step or model.buffer_size"
            )
        super().on_train_epoch_end()
        if isinstance(self.logger, TensorBoardLogger):
            losses = self.notes.get("train/policy_loss")  # None where no update of the epoch moved the policy
            policy = {"policy_loss": torch.stack(losses)} if losses else {}
            for tag, values in {**self.last_update, **policy}.items():
                self.logger.experiment.add_histogram(tag, values, self.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if "optimizer_states" in checkpoint:
            counts = [self.step_count, self.update_count, self.updates_due]
            checkpoint["recsweep"]["world"] = {**self.experience.state_dict(), "counts": counts}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint["recsweep"]["world"]
        self.experience.load_state_dict(saved)
        self.experience.env.memory = self.memory
        self.step_count, self.update_count, self.updates_due = saved["counts"]
