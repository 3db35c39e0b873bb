"""The networks of DRR, and how they score items: a user's vector is the action that the actor chooses for them."""

from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsweep.data.schema import Interactions
from recsweep.models.base import RecModule, Training
from recsweep.models.drr.state import DRRP, DRRU, DRRAve
from recsweep.models.layers import embedding, mlp
from recsweep.seeding import generator

StateName = Literal["drr_ave", "drr_p", "drr_u"]
ActionName = Literal["proto", "item"]

STATES: dict[StateName, type[DRRAve | DRRP | DRRU]] = {"drr_ave": DRRAve, "drr_p": DRRP, "drr_u": DRRU}


class ActorCritic(RecModule):
    """User and item vectors, state module, actor, critics, and the target networks of actor and critics.

    Args:
        n_critics: critics that value the same states and actions.
        embedding_dim, hidden_dim, memory_size, state, action, init_std, frozen: as in `DRR`.
    """

    memory: Tensor

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        n_critics: int,
        embedding_dim: int,
        hidden_dim: int,
        memory_size: int,
        state: StateName,
        action: ActionName,
        init_std: float,
        frozen: bool,
    ) -> None:
        super().__init__(data, training)
        self.n_items = data.n_items
        self.unit_actions = action == "item"
        draws = generator(training.seed)
        self.user_table = embedding(data.n_users, embedding_dim, init_std, draws)
        self.item_table = embedding(data.n_items, embedding_dim, init_std, draws)
        for table in (self.user_table, self.item_table):
            table.requires_grad_(not frozen)
        self.state = STATES[state](embedding_dim, memory_size, draws)
        state_size = int(self.state.size)
        self.actor = mlp([state_size, hidden_dim, embedding_dim], draws)
        critic_sizes = [state_size + embedding_dim, hidden_dim, 1]
        self.critics = nn.ModuleList([mlp(critic_sizes, draws) for _ in range(n_critics)])
        self.target_actor = deepcopy(self.actor).requires_grad_(False)
        self.target_critics = deepcopy(self.critics).requires_grad_(False)
        self.register_buffer("memory", torch.full((data.n_users, memory_size), data.n_items))

    def user_vectors(self, user: Tensor) -> Tensor:
        """The actions [B, d] for users [B], whose memories are as training left them."""
        return self.choose_actions(self.actor, self.encode_states(user, self.memory[user]))

    def item_vectors(self) -> Tensor:
        """[n_items, d]."""
        return self.item_table.weight

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        distinct, user_index = user.unique(return_inverse=True)
        return (self.user_vectors(distinct)[user_index] * self.item_table(item)).sum(-1)

    def score_all(self, user: Tensor) -> Tensor:
        return self.user_vectors(user) @ self.item_table.weight.T

    def encode_states(self, user: Tensor, memory: Tensor) -> Tensor:
        """States [B, size] of users [B] with memories [B, N], padded with n_items."""
        is_item = (memory < self.n_items)[..., None]
        vectors = self.item_table(memory.clamp(max=self.n_items - 1)) * is_item
        return self.state(self.user_table(user), vectors)

    def choose_actions(self, actor: nn.Module, state: Tensor) -> Tensor:
        """Actions [B, d] of the actor, online or target, in states [B, size]."""
        return normalize(actor(state), dim=1) if self.unit_actions else actor(state)

    @staticmethod
    def values(critics: nn.ModuleList, state: Tensor, action: Tensor) -> Tensor:
        """Values [n_critics, B] of actions [B, d] in states [B, size]."""
        pairs = torch.cat([state, action], 1)
        return torch.stack([critic(pairs)[:, 0] for critic in critics])

    @torch.no_grad()
    def start_from(self, user: Tensor, item: Tensor) -> None:
        """Takes vectors of users [n_users, d] and items [n_items, d] for its own."""
        self.user_table.weight.copy_(user)
        self.item_table.weight.copy_(item)
