"""Tiny DRR agents that are about to train, and the settings of small DRR runs."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import DictConfig
from rows import interactions
from torch import Tensor

from recsweep.config import compose_config
from recsweep.data.schema import Interactions
from recsweep.models.drr.agent import DRR
from recsweep.runs import build

N_ITEMS = 9
LIKED = [(0, 1), (0, 4), (0, 7), (1, 0), (1, 2), (2, 3), (2, 5), (2, 6), (2, 8), (4, 1)]
"""User 3 likes nothing, user 4 a single item."""

SMALL = [
    "model=drr",
    "data.base.n_users=60",
    "data.base.n_items=100",
    "data.base.n_interactions=1200",
    "evaluation=full_ranking",
    "split.cold_users=keep",
    "trainer.max_epochs=2",
    "trainer.batch_size=64",
    "model.min_positives=2",
    "model.n_envs=8",
    "model.buffer_size=300",
    "logger=none",
    "callbacks.progress=false",
]
FEW_UPDATES = "model.updates_per_step=0.1"


def liked_rows() -> Interactions:
    return interactions([(user, item, 5.0) for user, item in LIKED], n_users=5, n_items=N_ITEMS)


@cache
def _settings(loss: str) -> DictConfig:
    sizes = ["model.embedding_dim=3", "model.hidden_dim=4", "model.memory_size=2", "model.init_std=1.0"]
    sgd = ["optimizer=sgd", "optimizer.lr=0.1", "loss.soft_tau=0.25", "loss.max_value=0.75", "loss.min_value=-0.5"]
    smoothing = ["loss.target_noise=0.5", "loss.noise_clip=0.4"] if loss == "td3" else []
    return compose_config([*SMALL, *sizes, "model.n_envs=3", *sgd, f"loss={loss}", *smoothing])


def new_agent(loss: str = "ddpg", **changes: Any) -> DRR:
    """An agent for the rows above; `changes` are settings of the model."""
    cfg = _settings(loss)
    settings = {name: value for name, value in cfg.model.items() if not str(name).startswith("_")}
    return DRR(liked_rows(), build.training(cfg), **{**settings, **changes})


def agent_in_training(loss: str = "ddpg", **changes: Any) -> DRR:
    """A new agent that is set up for training, without a Lightning trainer."""
    agent = new_agent(loss, **changes)
    rows = liked_rows()
    fingerprints = SimpleNamespace(data="0", split="0")
    data = SimpleNamespace(data=rows, train=rows, fingerprints=fingerprints)
    agent.trainer = SimpleNamespace(datamodule=data, strategy=SimpleNamespace(root_device=torch.device("cpu")))
    agent.setup("fit")
    optimizers = [
        SimpleNamespace(optimizer=optimizer, param_groups=optimizer.param_groups, step=optimizer.step)
        for optimizer in agent.configure_optimizers()[0]
    ]
    agent.optimizers = lambda: optimizers
    agent.global_step_is_due = False
    agent.epoch_steps = 0
    return agent


def take_steps(agent: DRR, n: int) -> None:
    """Steps of the sessions without updates, until there are at least `n`."""
    while agent.step_count < n:
        agent._step_sessions()


def expected_state(agent: DRR, user: int, memory: list[int]) -> Tensor:
    """[u, u ⊙ g, g] with g = Σ w_a i_a + b, where padding has no vector."""
    average = torch.zeros(3) + agent.state.bias
    for weight, item in zip(agent.state.weight, memory, strict=True):
        if item != N_ITEMS:
            average = average + weight * agent.item_table.weight[item]
    user_vector = agent.user_table.weight[user]
    return torch.cat([user_vector, user_vector * average, average])
