"""Two-tower retrieval: a user tower and an item tower, whose score is the cosine of what they give.

A tower is an embedding and blocks of Linear, LayerNorm, ReLU and Dropout. The user tower knows the user's id, or what
the user turned to before, or both; the item tower the item's id and optionally its features. Regularisers: dropout, in
the towers and on histories, and weight decay.
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.models.base import Training
from recsweep.models.histories import GRU, Attention, Mean, Pooling, windows
from recsweep.models.layers import Dimension, Dropout, FeatureSum, Std, embedding, linear
from recsweep.models.retrieval import Retrieval
from recsweep.seeding import generator

Width = Annotated[int, Field(ge=2, le=4096)]
"""Of a block: of one number, LayerNorm would leave zero."""

HEADS = 2


class Tower(nn.Module):
    """Blocks of Linear, LayerNorm, ReLU and Dropout: `sizes` [64, 256, 256] makes two that map [B, 64] to [B, 256]."""

    def __init__(self, sizes: list[int], dropout: float, generator: Generator) -> None:
        super().__init__()
        self.linear = nn.ModuleList(linear(n_in, n_out, generator) for n_in, n_out in pairwise(sizes))
        self.norm = nn.ModuleList(nn.LayerNorm(n_out) for n_out in sizes[1:])
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, generator: Generator) -> Tensor:
        for layer, norm in zip(self.linear, self.norm, strict=True):
            x = self.dropout(norm(layer(x)).relu(), generator)
        return x


class TwoTower(Retrieval):
    """s_ui = scale · cos(user tower, item tower).

    Args:
        embedding_dim: of users and items.
        hidden: widths of the blocks of either tower; [] compares the embeddings themselves.
        user_ids: whether a user has an embedding of his own.
        history: what is added for what the user turned to before: nothing (none), or the embeddings of those items,
            pooled by mean (their sum over √n), attention or gru; see `histories`.
        max_history: latest items of a history that are looked at.
        item_features: names of categorical columns of the data, whose vectors are added to the items'; an item without
            a training row is then known by its features alone. [] for none.
        scale: of the cosine; 1 / temperature.
        learn_scale: whether the scale is learned, as the exponential of a parameter; weight decay pulls it towards 1.
        init_std: standard deviation of the embeddings' first values.
    """

    sparse = False

    log_scale: Tensor
    known: Tensor

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        hidden: list[Width],
        user_ids: bool,
        history: Literal["none", "mean", "attention", "gru"],
        max_history: Annotated[int, Field(ge=1, le=10_000)],
        item_features: list[str],
        scale: Annotated[float, Field(gt=0, le=1000)],
        learn_scale: bool,
        init_std: Std,
    ) -> None:
        if not user_ids and history == "none":
            raise UserError("model.user_ids=false and model.history=none leave nothing that describes a user")
        if history in ("attention", "gru") and data.timestamp is None:
            raise UserError(
                f"model.history={history} needs an order, and {data.name} has no timestamps: take mean or none"
            )
        super().__init__(data, training)
        draws, dropout = generator(training.seed), training.regularization.dropout
        size = (embedding_dim, init_std, draws)
        self.users = embedding(data.n_users, *size) if user_ids else None
        self.items = embedding(data.n_items, *size)
        self.features = FeatureSum(data.item_features, item_features, "item", *size) if item_features else None
        self.register_buffer("known", (self.frequency > 0).float(), persistent=False)
        self.user_tower = Tower([embedding_dim, *hidden], dropout, draws)
        self.item_tower = Tower([embedding_dim, *hidden], dropout, draws)
        self.max_history = max_history
        self.knows_histories = history != "none"
        self.pooling = self._pooling(history, embedding_dim, dropout, draws)
        log_scale = torch.tensor(scale).log()
        if learn_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)

    def _pooling(self, history: str, dim: int, dropout: float, draws: Generator) -> Pooling | None:
        match history:
            case "mean":
                return Mean()
            case "attention":
                return Attention(dim, HEADS, self.max_history, dropout, draws)
            case "gru":
                return GRU(dim, draws)
        return None

    def encode_users(self, user: Tensor, first: Tensor, end: Tensor) -> Tensor:
        described = []
        if self.users is not None:
            described.append(self.users(user))
        if self.pooling is not None:
            item, count = windows(self.events, first, end, self.max_history)
            described.append(self.pooling(self._described(item), count, self.generator))
        unit = normalize(self.user_tower(torch.stack(described).sum(0), self.generator), dim=-1)
        return unit * self.log_scale.exp()

    def encode_items(self, item: Tensor) -> Tensor:
        return normalize(self.item_tower(self._described(item), self.generator), dim=-1)

    def _described(self, item: Tensor) -> Tensor:
        """What is known of items [...] before the tower: [..., d]."""
        if self.features is None:
            return self.items(item)
        return self.items(item) * self.known[item, None] + self.features()[item]
