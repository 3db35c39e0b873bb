"""The networks of two-stage recommendation (Ma et al., WWW 2020, doi 10.1145/3366423.3380130).

Users and items are described by their id and all features that the data has; times are in seconds.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import relu

from recsweep.data.logged import BanditLog
from recsweep.data.schema import Features, Interactions
from recsweep.models.layers import Dropout, embedding, linear

EMBEDDING_STD = 1.0  # of initial values, as in the paper's code


class Description(nn.Module):
    """A vector for every user or item, which joins an id embedding, category embeddings and maps of numeric blocks.

    Each category column adds the embedding of its category. A linear layer maps each multi-hot column, scaled to sum to
    one, and another maps all plain numbers together, standardised. All of these have `feature_dim` entries.

    Args:
        n: number of users or items.
        features: their features, or None.
        embedding_dim: of the id embedding; 0 for entities that occur only once.
        dropout: on the whole vector.
    """

    codes: Tensor
    numbers: Tensor

    def __init__(
        self,
        n: int,
        features: Features | None,
        embedding_dim: int,
        feature_dim: int,
        dropout: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        columns = features.columns if features else {}
        categories = {name: column for name, column in columns.items() if not column.is_floating_point()}
        sizes = [len(cast(Features, features).labels[name]) for name in categories]
        start = torch.tensor([0, *sizes]).cumsum(0)
        codes = [column + first for column, first in zip(categories.values(), start[:-1], strict=True)]
        blocks = _numeric_blocks(columns)
        self.own = embedding(n, embedding_dim, EMBEDDING_STD, generator)
        self.categories = embedding(int(start[-1]), feature_dim, EMBEDDING_STD, generator)
        self.maps = nn.ModuleList(linear(block.shape[1], feature_dim, generator) for block in blocks)
        self.widths = [block.shape[1] for block in blocks]
        empty = torch.empty(n, 0)
        self.register_buffer("codes", torch.stack(codes, 1) if codes else empty.long(), persistent=False)
        self.register_buffer("numbers", torch.cat([empty, *blocks], 1), persistent=False)
        self.dropout = Dropout(dropout)
        self.dim = embedding_dim + feature_dim * (len(codes) + len(blocks))

    def forward(self, entity: Tensor, generator: Generator | None = None) -> Tensor:
        """Vectors [B, dim] of entities [B]; a generator turns dropout on while training."""
        return self._join(self.own(entity), self.codes[entity], self.numbers[entity], generator)

    def all_vectors(self, generator: Generator | None = None) -> Tensor:
        """Vectors [n, dim] of all entities."""
        return self._join(self.own.weight, self.codes, self.numbers, generator)

    def _join(self, own: Tensor, codes: Tensor, numbers: Tensor, generator: Generator | None) -> Tensor:
        blocks = numbers.split(self.widths, 1)
        images = [layer(block) for layer, block in zip(self.maps, blocks, strict=True)]
        vectors = torch.cat([own, self.categories(codes).flatten(1), *images], 1)
        return vectors if generator is None else self.dropout(vectors, generator)


def _numeric_blocks(columns: Mapping[str, Tensor]) -> list[Tensor]:
    """Inputs [n, d] of the linear maps: multi-hot columns, scaled to sum to one, and all numbers, standardised."""
    blocks = [column / column.sum(1, keepdim=True).clamp(min=1e-9) for column in columns.values() if column.dim() == 2]
    numbers = [column for column in columns.values() if column.is_floating_point() and column.dim() == 1]
    if numbers:
        block = torch.stack(numbers, 1)
        blocks.append((block - block.mean(0)) / block.std(0, correction=0).clamp(min=1e-6))
    return blocks


class Clock(nn.Module):
    """Scales seconds: 0 for the first training row, 1 for the last; 0 if the data has no times."""

    first: Tensor
    span: Tensor

    def __init__(self, data: Interactions) -> None:
        super().__init__()
        seconds = torch.stack(data.seconds.aminmax())
        self.register_buffer("first", seconds[0])
        self.register_buffer("span", (seconds[1] - seconds[0]).clamp(min=1))

    def forward(self, seconds: Tensor) -> Tensor:
        """Scaled times, float32, in the shape of `seconds`."""
        return ((seconds - self.first).double() / self.span).float()


class TwoSided(nn.Module):
    """Base of all nets: the descriptions of users and of items."""

    def __init__(
        self, data: Interactions, embedding_dim: int, feature_dim: int, dropout: float, generator: Generator
    ) -> None:
        super().__init__()
        recurring = not isinstance(data, BanditLog) or data.recurring
        user_dim = embedding_dim if recurring else 0
        self.users = Description(data.n_users, data.user_features, user_dim, feature_dim, dropout, generator)
        self.items = Description(data.n_items, data.item_features, embedding_dim, feature_dim, dropout, generator)


class SimulatorNet(TwoSided):
    """Logits of a positive rating at a time: a perceptron on user ⊕ item ⊕ scaled time."""

    def __init__(
        self,
        data: Interactions,
        embedding_dim: int,
        feature_dim: int,
        hidden: list[int],
        dropout: float,
        generator: Generator,
    ) -> None:
        super().__init__(data, embedding_dim, feature_dim, dropout, generator)
        self.clock = Clock(data)
        sizes = [self.users.dim + self.items.dim + 1, *hidden, 1]
        layers = [linear(n_in, n_out, generator) for n_in, n_out in pairwise(sizes)]
        self.layers = nn.ModuleList(layers)

    def forward(self, user: Tensor, item: Tensor, seconds: Tensor, generator: Generator | None = None) -> Tensor:
        """Logits [B] of pairs (user [B], item [B]) at times [B]."""
        time = self.clock(seconds)[:, None]
        vectors = torch.cat([self.users(user, generator), self.items(item, generator), time], 1)
        return self._head(self.layers[0](vectors))

    def item_logits(self, user: Tensor, seconds: Tensor) -> Tensor:
        """Logits [B, n_items] of users [B] for all items, at times [B, n_items] or [B, 1].

        The first layer is linear, so it is applied to users and items separately; only the sums are formed per pair.
        """
        layer = cast(nn.Linear, self.layers[0])
        of_user, of_item, of_time = layer.weight.split((self.users.dim, self.items.dim, 1), 1)
        users = self.users(user) @ of_user.T + layer.bias
        items = self.items.all_vectors() @ of_item.T
        return self._head(users[:, None] + items + self.clock(seconds)[..., None] * of_time[:, 0])

    def _head(self, hidden: Tensor) -> Tensor:
        for layer in list(self.layers)[1:]:
            hidden = layer(relu(hidden))
        return hidden.squeeze(-1)


class NominatorNet(TwoSided):
    """Logits ⟨W relu(user) + b, item⟩ of all items: a softmax policy over the catalogue."""

    def __init__(
        self, data: Interactions, embedding_dim: int, feature_dim: int, dropout: float, generator: Generator
    ) -> None:
        super().__init__(data, embedding_dim, feature_dim, dropout, generator)
        self.linear = linear(self.users.dim, self.items.dim, generator)

    def forward(self, user: Tensor, item: Tensor, generator: Generator | None = None) -> Tensor:
        """Logits [B] of pairs."""
        return (self.query(user, generator) * self.items(item, generator)).sum(-1)

    def item_logits(self, user: Tensor, generator: Generator | None = None) -> Tensor:
        """Logits [B, n_items] of users [B]."""
        return self.query(user, generator) @ self.items.all_vectors(generator).T

    def query(self, user: Tensor, generator: Generator | None = None) -> Tensor:
        """Vectors [B, d] of users [B]; their dot products with item vectors are logits."""
        return self.linear(relu(self.users(user, generator)))


class RankerNet(TwoSided):
    """Logits ⟨W (user ⊕ scaled time) + b, item⟩ of a reward."""

    def __init__(
        self, data: Interactions, embedding_dim: int, feature_dim: int, dropout: float, generator: Generator
    ) -> None:
        super().__init__(data, embedding_dim, feature_dim, dropout, generator)
        self.clock = Clock(data)
        self.linear = linear(self.users.dim + 1, self.items.dim, generator)

    def forward(self, user: Tensor, item: Tensor, seconds: Tensor, generator: Generator | None = None) -> Tensor:
        """Logits [B] of pairs at times [B]."""
        return (self.query(user, seconds, generator) * self.items(item, generator)).sum(-1)

    def query(self, user: Tensor, seconds: Tensor, generator: Generator | None = None) -> Tensor:
        """Vectors [B, d] of users [B] at times [B]; their dot products with item vectors are logits."""
        return self.linear(torch.cat([self.users(user, generator), self.clock(seconds)[:, None]], 1))
