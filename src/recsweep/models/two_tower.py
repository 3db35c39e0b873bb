"""Two-tower retrieval: the score is the cosine of the outputs of a user tower and an item tower.

A tower is an embedding and blocks of Linear, LayerNorm, ReLU and Dropout. The user tower's input is the user's id, the
user's history, or both; the item tower's is the item's id and optionally its features. Regularisers: dropout, in the
towers and on histories, and weight decay.
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
"""Width of a block, at least 2: LayerNorm of a single number is always zero."""

HEADS = 2


class Tower(nn.Module):
    """Blocks of Linear, LayerNorm, ReLU and Dropout: `sizes` [64, 256, 256] are two, from [B, 64] to [B, 256]."""

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
        user_ids: whether each user has an embedding.
        history: how a user's earlier items enter the user tower: not at all (none), or as their embeddings pooled by
            mean (their sum over √n), attention or gru; see `models/histories.py`.
        max_history: how many of the latest items of a history count.
        item_features: names of categorical columns of the data; the vectors of their values are added to the item's
            embedding, and replace it for an item without a training row. [] for none.
        scale: of the cosine; 1 / temperature.
        learn_scale: whether the scale is learned, as the exponential of a parameter; weight decay pulls it towards 1.
        init_std: standard deviation of the initial embeddings.
    """

    sparse = False

    log_scale: Tensor
    has_rows: Tensor

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
            raise UserError("model.user_ids=false and model.history=none leave the user tower without an input")
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
        self.register_buffer("has_rows", (self.frequency > 0).float(), persistent=False)
        self.user_tower = Tower([embedding_dim, *hidden], dropout, draws)
        self.item_tower = Tower([embedding_dim, *hidden], dropout, draws)
        self.max_history = max_history
        self.longest_history = min(max_history, max(1, int(self.start.diff().max())))
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
        inputs = []
        if self.users is not None:
            inputs.append(self.users(user))
        if self.pooling is not None:
            item, count = windows(self.events, first, end, self.longest_history)
            inputs.append(self.pooling(self._item_inputs(item), count, self.generator))
        unit = normalize(self.user_tower(torch.stack(inputs).sum(0), self.generator), dim=-1)
        return unit * self.log_scale.exp()

    def encode_items(self, item: Tensor) -> Tensor:
        return normalize(self.item_tower(self._item_inputs(item), self.generator), dim=-1)

    def _item_inputs(self, item: Tensor) -> Tensor:
        """The vectors [..., d] of items [...] before the tower."""
        if self.features is None:
            return self.items(item)
        return self.items(item) * self.has_rows[item, None] + self.features()[item]
