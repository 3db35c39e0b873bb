"""Two-tower retrieval: the score is the cosine, or the dot product, of the outputs of a user tower and an item tower.

A tower is an embedding and blocks of Linear, LayerNorm, ReLU and Dropout. The user tower's input is the user's id, the
user's history, or both; the item tower's is the item's id and optionally its features. Regularisers: dropout, in the
towers and on histories, and weight decay.

A training row is an event of a user with the events before it as the history. With a transformer it is a window of
events, and each of them but the first is a positive: `trainer.batch_size` counts windows then.
"""

from collections.abc import Mapping
from copy import deepcopy
from itertools import chain, pairwise
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from recsweep.data.batches import Columns
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation import Scorer
from recsweep.losses.ranking import RankingLoss
from recsweep.models.base import Training
from recsweep.models.histories import (
    GRU,
    Attention,
    Mean,
    Pooling,
    Windows,
    cut_windows,
    number_events,
    windows,
)
from recsweep.models.layers import Dimension, Dropout, FeatureSum, Std, embedding, linear
from recsweep.models.new_users import NewUsers, refuse_new_users
from recsweep.models.retrieval import PositiveLogits, Retrieval
from recsweep.models.transformer import Transformer
from recsweep.seeding import generator

Width = Annotated[int, Field(ge=2, le=4096)]
"""Width of a block, at least 2: LayerNorm of a single number is always zero."""

HISTORIES_AT_ONCE = 128
"""Users whose whole histories the transformer encodes at once for their last vector."""


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
    """s_ui = scale · cos(user tower, item tower), or their dot product.

    Args:
        embedding_dim: of users and items.
        hidden: widths of the blocks of either tower; [] compares the embeddings themselves.
        user_ids: whether each user has an embedding.
        history: how a user's earlier items enter the user tower: not at all (none), or as their embeddings pooled by
            mean (their sum over √n), attention or gru, see `models/histories.py`, or by a transformer, see
            `models/transformer.py`.
        max_history: how many of the latest items of a history count.
        item_features: names of categorical columns of the data; the vectors of their values are added to the item's
            embedding, and replace it for an item without a training row. [] for none.
        scale: of the cosine; 1 / temperature.
        learn_scale: whether the scale is learned, as the exponential of a parameter; weight decay pulls it towards 1.
        init_std: standard deviation of the initial embeddings.
        similarity: cosine, or the dot product itself, on which `scale` has no effect.
        blocks, heads: of the transformer; `heads` also of attention, where they need not divide `embedding_dim`.
        positions: how the transformer knows the order of items, see `Transformer`.
        time_gaps: whether the transformer's attention has a bias for the time between two items.
        windows: what the transformer trains on: all events of a user, cut in windows of `max_history`, or the last
            window only.
    """

    sparse = False

    log_scale: Tensor
    has_rows: Tensor
    seconds: Tensor

    @classmethod
    def find_ignored(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        history = settings["history"]
        names = [] if history == "transformer" else ["blocks", "positions", "windows"]
        names += [] if history in ("attention", "transformer") else ["heads"]
        names += ["max_history"] if history == "none" else []
        names += ["scale"] if settings["similarity"] == "dot" else []
        return (*cls.ignores, *(f"model.{name}" for name in names))

    def __init__(
        self,
        data: Interactions,
        training: Training,
        *,
        embedding_dim: Dimension,
        hidden: list[Width],
        user_ids: bool,
        history: Literal["none", "mean", "attention", "gru", "transformer"],
        max_history: Annotated[int, Field(ge=1, le=10_000)],
        item_features: list[str],
        scale: Annotated[float, Field(gt=0, le=1000)],
        learn_scale: bool,
        init_std: Std,
        similarity: Literal["cosine", "dot"] = "cosine",
        blocks: Annotated[int, Field(ge=1, le=100)] = 2,
        heads: Annotated[int, Field(ge=1, le=100)] = 2,
        positions: Literal["learned", "relative"] = "learned",
        time_gaps: bool = False,
        windows: Literal["all", "last"] = "all",
    ) -> None:
        _check_history(data, history, user_ids, embedding_dim, heads, time_gaps)
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
        self.windows = windows
        self.knows_histories = history != "none"
        self.pooling: Pooling | None = None
        self.transformer: Transformer | None = None
        match history:
            case "mean":
                self.pooling = Mean()
            case "attention":
                self.pooling = Attention(embedding_dim, heads, max_history, dropout, draws)
            case "gru":
                self.pooling = GRU(embedding_dim, draws)
            case "transformer":
                arguments = (embedding_dim, blocks, heads, max_history, positions, time_gaps, dropout, draws)
                self.transformer = Transformer(*arguments)
        self.is_cosine = similarity == "cosine"
        log_scale = torch.tensor(scale if self.is_cosine else 1.0).log()
        if learn_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)

    @property
    def longest_history(self) -> int:
        """The most items that count in any history that the model remembers."""
        return min(self.max_history, max(1, self.most_events))

    def columns(self, data: Interactions) -> Columns:
        """The training rows in the order of the events; with a transformer, windows of them."""
        if self.transformer is None:
            return super().columns(data)
        rows = cut_windows(self.start, self.max_history)
        if not len(rows.user):
            raise UserError(
                f"model.history=transformer learns from pairs of a user's rows: {data.name} has none in train"
            )
        is_last = rows.end == self.start[rows.user + 1] - 1
        return rows if self.windows == "all" else Windows(*(column[is_last] for column in rows))

    def training_loss(self, batch: Any) -> Tensor:
        if self.transformer is None:
            return super().training_loss(batch)
        user, first, end = cast(Windows, batch)
        count = end - first
        event = number_events(first, count)
        vectors = self._encode_positions(user, event, count)
        user = user.repeat_interleave(count, output_size=len(event))
        loss = cast(RankingLoss, self.training_setup.loss)
        return loss(PositiveLogits(self, user, self.events[event + 1], vectors, None))

    def encode_users(self, user: Tensor, first: Tensor, end: Tensor) -> Tensor:
        if self.transformer is not None:
            return self._encode_last_positions(user, first, end)
        inputs = []
        if self.users is not None:
            inputs.append(self.users(user))
        if self.pooling is not None:
            item, count = windows(self.events, first, end, self.longest_history)
            inputs.append(self.pooling(self.item_inputs(item), count, self.generator))
        return self._scale(self.user_tower(torch.stack(inputs).sum(0), self.generator))

    def _encode_last_positions(self, user: Tensor, first: Tensor, end: Tensor) -> Tensor:
        """Vectors [B, d] after the last event; without an event, of a history of zeros."""
        vectors = []
        for users, starts, ends in zip(*(x.split(HISTORIES_AT_ONCE) for x in (user, first, end)), strict=True):
            count = (ends - starts).clamp(min=1, max=self.max_history)
            event = number_events(ends - count, count)
            encoded = self._encode_positions(users, event.clamp(min=0), count, ends > starts)
            vectors.append(encoded[count.cumsum(0) - 1])
        return torch.cat(vectors)

    def _encode_positions(
        self, user: Tensor, event: Tensor, count: Tensor, has_history: Tensor | None = None
    ) -> Tensor:
        """Vectors [N, d] at each of the events [N] of users [B] with `count` [B] of them.

        Args:
            has_history: [B] whether the user's events count; None where all do.
        """
        assert self.transformer is not None
        row = torch.arange(len(count), device=count.device).repeat_interleave(count, output_size=len(event))
        vectors = self.transformer(self.item_inputs(self.events[event]), count, self.seconds[event], self.generator)
        if has_history is not None:
            vectors = vectors * has_history[row, None]
        if self.users is not None:
            vectors = vectors + self.users(user)[row]
        return self._scale(self.user_tower(vectors, self.generator))

    def encode_items(self, item: Tensor) -> Tensor:
        vectors = self.item_tower(self.item_inputs(item), self.generator)
        return normalize(vectors, dim=-1) if self.is_cosine else vectors

    @torch.no_grad()
    def fold_in(self, history: Interactions, train: Interactions) -> Scorer:
        """By the vectors of the new users' histories."""
        if self.users is not None:
            raise refuse_new_users(self, "model.user_ids=true gives each user a vector of their own")
        if self.transformer is not None and self.transformer.has_gaps and history.timestamp is None:
            raise UserError("histories: no column timestamp, and model.time_gaps=true weighs by the time between items")
        shared = chain(self.parameters(), self.buffers())
        model = deepcopy(self, {id(tensor): tensor for tensor in shared})
        model.remember(history)
        user = torch.arange(history.n_users, device=self.start.device)
        vectors = torch.cat([model.user_vectors(users) for users in user.split(HISTORIES_AT_ONCE)])
        return NewUsers(lambda user: vectors[user] @ self.item_vectors().T)

    def _scale(self, vectors: Tensor) -> Tensor:
        """The vectors [N, d], of length `scale` for a cosine."""
        return (normalize(vectors, dim=-1) if self.is_cosine else vectors) * self.log_scale.exp()

    def item_inputs(self, item: Tensor) -> Tensor:
        """The vectors [..., d] of items [...] before the tower."""
        if self.features is None:
            return self.items(item)
        return self.items(item) * self.has_rows[item, None] + self.features()[item]


def _check_history(
    data: Interactions, history: str, user_ids: bool, embedding_dim: int, heads: int, time_gaps: bool
) -> None:
    if not user_ids and history == "none":
        raise UserError("model.user_ids=false and model.history=none leave the user tower without an input")
    if history in ("attention", "gru", "transformer") and data.timestamp is None:
        raise UserError(f"model.history={history} needs an order, and {data.name} has no timestamps: take mean or none")
    if history == "transformer" and embedding_dim % heads:
        raise UserError(f"model.embedding_dim={embedding_dim} must be a multiple of model.heads={heads}")
    if time_gaps and history != "transformer":
        raise UserError("model.time_gaps=true needs model.history=transformer")
    if time_gaps and not data.has_seconds:
        raise UserError(
            f"model.time_gaps=true needs times, and {data.name} only orders each user's rows: set it to false"
        )
