"""Building blocks that several families share.

Every random draw takes its generator, and every rate lives in a buffer, so that a run repeats bit for bit and many
configurations can later train in one batched step.
"""

from itertools import pairwise
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import embedding as look_up

from recsweep.data.schema import Features
from recsweep.errors import UserError

Dimension = Annotated[int, Field(ge=1, le=4096)]
Std = Annotated[float, Field(gt=0, le=1)]

FEW = 8  # items a row: a batched matrix product is slower than a sum for fewer
DENSE = 40  # a dot product in a matrix product costs so many times less than one of gathered vectors


class Dropout(nn.Module):
    """Inverted dropout: entries vanish with probability `rate`, the rest grow by 1 / (1 - rate).

    Four 16-bit draws come from one 64-bit number, half the cost of a uniform float an entry; the rate is therefore
    rounded to a multiple of 2^-16, below 1.

    >>> ones = torch.ones(2, 3)
    >>> bool((Dropout(0.0)(ones, torch.Generator()) == ones).all())
    True
    """

    first_kept: Tensor
    growth: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        dropped = min(round(rate * 2**16), 2**16 - 1)
        self.register_buffer("first_kept", torch.tensor(dropped - 2**15, dtype=torch.int16), persistent=False)
        self.register_buffer("growth", torch.tensor(1 / (1 - dropped / 2**16)), persistent=False)
        self.absent = dropped == 0

    def forward(self, x: Tensor, generator: Generator) -> Tensor:
        if self.absent or not self.training:
            return x
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        draws = words.random_(-(2**63), None, generator=generator).view(torch.int16)
        kept = draws[: x.numel()].view(x.shape) >= self.first_kept
        return x * (kept * self.growth)


class GaussianNoise(nn.Module):
    """Adds N(0, std²) to every entry during training."""

    std: Tensor

    def __init__(self, std: float) -> None:
        super().__init__()
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.absent = std == 0

    def forward(self, x: Tensor, generator: Generator) -> Tensor:
        if self.absent or not self.training:
            return x
        return x + self.std * torch.randn(x.shape, generator=generator, device=x.device)


def embedding(n: int, dim: int, std: float, generator: Generator, sparse: bool = False) -> nn.Embedding:
    """A table [n, dim] drawn from N(0, std²); std 0 starts at zero."""
    weight = torch.randn(n, dim, generator=generator) * std
    return nn.Embedding.from_pretrained(weight, freeze=False, sparse=sparse)


class PairTable(nn.Module):
    """Vectors and biases of users and items in one table [n_users + n_items, dim + 1], the bias last.

    A training step then makes one look-up, one gradient and one optimizer update instead of four of each, which saves a
    sixth of its time. Biases start at zero.

    Args:
        dim, std, generator: size and first values of the vectors.
        sparse: give sparse gradients.
    """

    def __init__(self, n_users: int, n_items: int, dim: int, std: float, generator: Generator, sparse: bool) -> None:
        super().__init__()
        self.n_users, self.dim = n_users, dim
        self.rows = embedding(n_users + n_items, dim + 1, std, generator, sparse)
        nn.init.zeros_(self.rows.weight.data[:, dim])

    def forward(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [2, B, dim] and biases [2, B] of pairs, the users' first."""
        rows = self.rows(torch.stack([user, item + self.n_users]))
        vectors, biases = rows.split((self.dim, 1), -1)
        return vectors, biases[..., 0]

    def users(self) -> tuple[Tensor, Tensor]:
        """Vectors [n_users, dim] and biases [n_users] of all users."""
        return self.rows.weight[: self.n_users, : self.dim], self.rows.weight[: self.n_users, self.dim]

    def items(self) -> tuple[Tensor, Tensor]:
        """Vectors [n_items, dim] and biases [n_items] of all items."""
        return self.rows.weight[self.n_users :, : self.dim], self.rows.weight[self.n_users :, self.dim]


def mlp(sizes: list[int], generator: Generator) -> nn.Sequential:
    """Linear layers with ReLU between them: `sizes` [96, 64, 1] maps [B, 96] to [B, 1]. He initialisation."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def linear(n_in: int, n_out: int, generator: Generator) -> nn.Linear:
    """A linear layer whose weights and biases start uniform in ±1/√n_in, as torch draws them."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    bound = max(1, n_in) ** -0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


class NeighbourSum(nn.Module):
    """|N(a)|^-1/2 Σ_{b in N(a)} y_b for every entity a, where N(a) are the b that it has a row with.

    All sums come from one sparse product, which for the catalogues and batches here is faster than gathering ragged
    neighbourhoods.

    Args:
        source, neighbour: [N] ids of the rows' two sides.
        n_sources, n_neighbours: how many there are of each.
        dim, std, generator: size and first values of the y_b.
    """

    links: Tensor
    links_back: Tensor
    count: Tensor

    def __init__(
        self,
        source: Tensor,
        neighbour: Tensor,
        n_sources: int,
        n_neighbours: int,
        dim: int,
        std: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.vectors = embedding(n_neighbours, dim, std, generator)
        ones = torch.ones(len(source))
        links, back = (
            _csr(source, neighbour, ones, (n_sources, n_neighbours)),
            _csr(neighbour, source, ones, (n_neighbours, n_sources)),
        )
        self.register_buffer("links", links, persistent=False)
        self.register_buffer("links_back", back, persistent=False)
        self.register_buffer("count", torch.bincount(source, minlength=n_sources).float(), persistent=False)

    def forward(self, source: Tensor, rated: Tensor | None = None, own: Tensor | None = None) -> Tensor:
        """The sums [B, d] of `source` [B].

        Args:
            rated, own: [B] and [B, d]: where `rated` is 1, the neighbour with vector `own` is left out of the sum.
        """
        total = cast(Any, SparseProduct).apply(self.vectors.weight, self.links, self.links_back)[source]
        count = self.count[source]
        if rated is not None and own is not None:
            total, count = total - own * rated[:, None], count - rated
        return total * count.clamp(min=1).rsqrt()[:, None]


class SparseProduct(torch.autograd.Function):
    """matrix @ dense, whose gradient uses a transpose that was made once instead of at every step."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed @ gradient, None, None


def _csr(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_coo_tensor(torch.stack([row, column]), value, shape).coalesce().to_sparse_csr()


class FeatureSum(nn.Module):
    """A vector for every entity: the sum of the vectors of its feature values.

    Each of the c columns weighs 1/√c; a multi-hot column of k values gives each of them 1/√k of that.

    Args:
        features: of the users or items; None where the data has none.
        names: the columns to use, at least one.
        kind: "user" or "item", for messages.
        dim, std, generator: size and first values of the vectors.

    Raises:
        UserError: a column that the data does not have, or one that holds plain numbers.
    """

    values: Tensor
    values_back: Tensor

    def __init__(
        self, features: Features | None, names: list[str], kind: str, dim: int, std: float, generator: Generator
    ) -> None:
        super().__init__()
        usable = dict(features.labels) if features else {}
        for name in names:
            if name not in usable:
                there = ", ".join(usable) or "none"
                raise UserError(f"model.{kind}_features={name}: no such categorical feature; the data has {there}")
        assert features is not None
        columns = [_unit_rows(features.columns[name], len(usable[name])) for name in names]
        matrix = torch.cat(columns, 1) / len(names) ** 0.5
        (row, column), shape = matrix.nonzero().T, (matrix.shape[0], matrix.shape[1])
        value = matrix[row, column]
        self.vectors = embedding(shape[1], dim, std, generator)
        self.register_buffer("values", _csr(row, column, value, shape), persistent=False)
        self.register_buffer("values_back", _csr(column, row, value, shape[::-1]), persistent=False)

    def forward(self) -> Tensor:
        """[n, d]."""
        return cast(Any, SparseProduct).apply(self.vectors.weight, self.values, self.values_back)


def _unit_rows(column: Tensor, n_labels: int) -> Tensor:
    """A categorical [n] or multi-hot [n, d] column as rows of length one [n, n_labels]; empty rows stay zero."""
    flags = nn.functional.one_hot(column, n_labels) if column.dim() == 1 else column
    return nn.functional.normalize(flags.float(), dim=1)


def dot_products(user: Tensor, row: Tensor, item: Tensor, place: Tensor) -> Tensor:
    """[B, C] dot products of `user` [U, d] at `row` [B] with `item` [m, d] at `place` [B, C], by the cheaper way."""
    if len(user) * len(item) < DENSE * place.numel():
        cell = row[:, None] * len(item) + place
        return (user @ item.T).flatten().gather(0, cell.flatten()).view_as(place)
    own, others = look_up(row, user), look_up(place, item)
    if place.shape[1] < FEW:
        return (own[:, None] * others).sum(-1)
    return (others @ own[:, :, None])[..., 0]
