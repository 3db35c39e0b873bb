"""The networks of two-stage recommendation (Ma et al., WWW 2020, doi 10.1145/3366423.3380130).

Users and items are described by an id and by whatever features the data has; times are seconds.
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

EMBEDDING_STD = 1.0  # of first values, as in the paper's code


class Description(nn.Module):
    """A vector for every user or item: its own, one a category, and a linear map of each block of numbers.

    A category's vector has `feature_dim` entries. So has the image of each multi-hot column, whose values are made
    shares that sum to one, and that of all plain numbers together, which are standardised.

    Args:
        n: users or items.
        features: theirs; None where the data has none.
        embedding_dim: of the own vector; 0 for entities that do not come back.
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
        first = torch.tensor([0, *sizes]).cumsum(0)
        codes = [column + start for column, start in zip(categories.values(), first[:-1], strict=True)]
        blocks = _blocks(columns)
        self.own = embedding(n, embedding_dim, EMBEDDING_STD, generator)
        self.categories = embedding(int(first[-1]), feature_dim, EMBEDDING_STD, generator)
        self.maps = nn.ModuleList(linear(block.shape[1], feature_dim, generator) for block in blocks)
        self.widths = [block.shape[1] for block in blocks]
        nothing = torch.empty(n, 0)
        self.register_buffer("codes", torch.stack(codes, 1) if codes else nothing.long(), persistent=False)
        self.register_buffer("numbers", torch.cat([nothing, *blocks], 1), persistent=False)
        self.dropout = Dropout(dropout)
        self.dim = embedding_dim + feature_dim * (len(codes) + len(blocks))

    def forward(self, entity: Tensor, generator: Generator | None = None) -> Tensor:
        """[B, dim] of entities [B]; the generator is for dropout while training."""
        return self._joined(self.own(entity), self.codes[entity], self.numbers[entity], generator)

    def all(self, generator: Generator | None = None) -> Tensor:
        """[n, dim] of every entity."""
        return self._joined(self.own.weight, self.codes, self.numbers, generator)

    def _joined(self, own: Tensor, codes: Tensor, numbers: Tensor, generator: Generator | None) -> Tensor:
        blocks = numbers.split(self.widths, 1)
        mapped = [layer(block) for layer, block in zip(self.maps, blocks, strict=True)]
        joined = torch.cat([own, self.categories(codes).flatten(1), *mapped], 1)
        return joined if generator is None else self.dropout(joined, generator)


def _blocks(columns: Mapping[str, Tensor]) -> list[Tensor]:
    """What is mapped linearly: the shares [n, d] of each multi-hot column, and all plain numbers, standardised."""
    blocks = [column / column.sum(1, keepdim=True).clamp(min=1e-9) for column in columns.values() if column.dim() == 2]
    numbers = [column for column in columns.values() if column.is_floating_point() and column.dim() == 1]
    if numbers:
        block = torch.stack(numbers, 1)
        blocks.append((block - block.mean(0)) / block.std(0, correction=0).clamp(min=1e-6))
    return blocks


class Clock(nn.Module):
    """Seconds as a number: 0 for the first row of the training data, 1 for the last; 0 where there are no times."""

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
    """What all nets share: the descriptions of users and of items."""

    def __init__(
        self, data: Interactions, embedding_dim: int, feature_dim: int, dropout: float, generator: Generator
    ) -> None:
        super().__init__()
        recurring = not isinstance(data, BanditLog) or data.recurring
        own = embedding_dim if recurring else 0
        self.users = Description(data.n_users, data.user_features, own, feature_dim, dropout, generator)
        self.items = Description(data.n_items, data.item_features, embedding_dim, feature_dim, dropout, generator)


class SimulatorNet(TwoSided):
    """Would the user like the item then? Logits of a perceptron on user ⊕ item ⊕ scaled time."""

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
        joined = torch.cat([self.users(user, generator), self.items(item, generator), time], 1)
        return self._head(self.layers[0](joined))

    def of_every_item(self, user: Tensor, seconds: Tensor) -> Tensor:
        """Logits [B, n_items] of users [B] with every item, at times [B, n_items] or [B, 1].

        The first layer is linear: it meets users and items one by one, and only its sum meets their pairs.
        """
        first = cast(nn.Linear, self.layers[0])
        of_user, of_item, of_time = first.weight.split((self.users.dim, self.items.dim, 1), 1)
        users = self.users(user) @ of_user.T + first.bias
        items = self.items.all() @ of_item.T
        return self._head(users[:, None] + items + self.clock(seconds)[..., None] * of_time[:, 0])

    def _head(self, hidden: Tensor) -> Tensor:
        for layer in list(self.layers)[1:]:
            hidden = layer(relu(hidden))
        return hidden.squeeze(-1)


class NominatorNet(TwoSided):
    """Logits ⟨W relu(user) + b, item⟩ of every item: a softmax policy over the catalogue."""

    def __init__(
        self, data: Interactions, embedding_dim: int, feature_dim: int, dropout: float, generator: Generator
    ) -> None:
        super().__init__(data, embedding_dim, feature_dim, dropout, generator)
        self.linear = linear(self.users.dim, self.items.dim, generator)

    def forward(self, user: Tensor, item: Tensor, generator: Generator | None = None) -> Tensor:
        """Logits [B] of pairs."""
        return (self._query(user, generator) * self.items(item, generator)).sum(-1)

    def of_every_item(self, user: Tensor, generator: Generator | None = None) -> Tensor:
        """Logits [B, n_items] of users [B]."""
        return self._query(user, generator) @ self.items.all(generator).T

    def _query(self, user: Tensor, generator: Generator | None) -> Tensor:
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
        """Vectors [B, d] of users [B] at times [B], to be multiplied with the items'."""
        return self.linear(torch.cat([self.users(user, generator), self.clock(seconds)[:, None]], 1))
