"""Building blocks that several families share.

Every random draw takes an explicit generator, so that a run repeats bit for bit. Rates are buffers, so that many
configurations could train in one batched step.
"""

import warnings
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

FEW = 8  # items in a row: with fewer, a sum is faster than a batched matrix product
DENSE = 40  # a dot product costs this many times less in one matrix product than with gathered vectors


class Dropout(nn.Module):
    """Inverted dropout: entries become 0 with probability `rate`, and the rest are multiplied by 1 / (1 - rate).

    One 64-bit number gives four 16-bit draws, at half the cost of a uniform float for each entry. The rate is therefore
    rounded to a multiple of 2^-16 below 1.

    >>> ones = torch.ones(2, 3)
    >>> bool((Dropout(0.0)(ones, torch.Generator()) == ones).all())
    True
    """

    threshold: Tensor
    scale: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        n_dropped = min(round(rate * 2**16), 2**16 - 1)  # of the 2^16 values of a draw
        self.register_buffer("threshold", torch.tensor(n_dropped - 2**15, dtype=torch.int16), persistent=False)
        self.register_buffer("scale", torch.tensor(1 / (1 - n_dropped / 2**16)), persistent=False)
        self.is_identity = n_dropped == 0

    def forward(self, x: Tensor, generator: Generator) -> Tensor:
        if self.is_identity or not self.training:
            return x
        numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        draws = numbers.random_(-(2**63), None, generator=generator).view(torch.int16)
        mask = draws[: x.numel()].view(x.shape) >= self.threshold
        return x * (mask * self.scale)


class GaussianNoise(nn.Module):
    """Adds N(0, std²) to every entry during training."""

    std: Tensor

    def __init__(self, std: float) -> None:
        super().__init__()
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.is_identity = std == 0

    def forward(self, x: Tensor, generator: Generator) -> Tensor:
        if self.is_identity or not self.training:
            return x
        return x + self.std * torch.randn(x.shape, generator=generator, device=x.device)


def embedding(n: int, dim: int, std: float, generator: Generator, sparse: bool = False) -> nn.Embedding:
    """A table [n, dim] with initial values from N(0, std²); all zero for std 0."""
    weight = torch.randn(n, dim, generator=generator) * std
    return nn.Embedding.from_pretrained(weight, freeze=False, sparse=sparse)


class PairTable(nn.Module):
    """Vectors and biases of users and items in one table [n_users + n_items, dim + 1], the bias last.

    With one table instead of four, a training step makes one look-up, one gradient and one optimizer update, which
    saves a sixth of its time. Biases start at zero.

    Args:
        dim, std, generator: size and initial values of the vectors.
        sparse: whether gradients are sparse.
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
    """Linear layers with ReLU between them and He initialisation: `sizes` [96, 64, 1] maps [B, 96] to [B, 1]."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def linear(n_in: int, n_out: int, generator: Generator) -> nn.Linear:
    """A linear layer with weights and biases initially uniform in ±1/√n_in, as in torch."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    bound = max(1, n_in) ** -0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


class NeighbourSum(nn.Module):
    """|N(a)|^-1/2 Σ_{b in N(a)} y_b for every source a, where N(a) are the neighbours b that share a row with a.

    One sparse product computes the sums of all sources. With usual catalogues and batches this is faster than gathering
    neighbourhoods of different lengths.

    Args:
        source, neighbour: [N] ids of the two sides of each row.
        n_sources, n_neighbours: number of entities on each side.
        dim, std, generator: size and initial values of the y_b.
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
            rated, own: [B] and [B, d]; where `rated` is 1, the sum leaves out the neighbour with the vector `own`.
        """
        total = cast(Any, SparseProduct).apply(self.vectors.weight, self.links, self.links_back)[source]
        count = self.count[source]
        if rated is not None and own is not None:
            total, count = total - own * rated[:, None], count - rated
        return total * count.clamp(min=1).rsqrt()[:, None]


class SparseProduct(torch.autograd.Function):
    """matrix @ dense, with a gradient that uses a precomputed transpose."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose @ gradient, None, None


def _csr(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")  # torch's word on its state
        return torch.sparse_coo_tensor(torch.stack([row, column]), value, shape).coalesce().to_sparse_csr()


class FeatureSum(nn.Module):
    """For every entity, the sum of the vectors of its feature values.

    Each of the c columns has the weight 1/√c; in a multi-hot column, each of an entity's k values has 1/√k of that.

    Args:
        features: of the users or items; None where the data has none.
        names: the columns to use, at least one.
        kind: "user" or "item", for messages.
        dim, std, generator: size and initial values of the vectors.

    Raises:
        UserError: a column is missing, or is not categorical.
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
                available = ", ".join(usable) or "none"
                raise UserError(f"model.{kind}_features={name}: no such categorical feature; the data has {available}")
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
    """A categorical [n] or multi-hot [n, d] column as rows [n, n_labels] of norm 1; empty rows stay zero."""
    flags = nn.functional.one_hot(column, n_labels) if column.dim() == 1 else column
    return nn.functional.normalize(flags.float(), dim=1)


def dot_products(user_vectors: Tensor, user_index: Tensor, item_vectors: Tensor, item_index: Tensor) -> Tensor:
    """Dot products [B, C] of a user with C items in each row, computed in the cheaper of two ways.

    Args:
        user_vectors: [U, d].
        user_index: [B], each row's user in `user_vectors`.
        item_vectors: [m, d].
        item_index: [B, C], each row's items in `item_vectors`.
    """
    if len(user_vectors) * len(item_vectors) < DENSE * item_index.numel():
        cell = user_index[:, None] * len(item_vectors) + item_index
        return (user_vectors @ item_vectors.T).flatten().gather(0, cell.flatten()).view_as(item_index)
    user, items = look_up(user_index, user_vectors), look_up(item_index, item_vectors)
    if item_index.shape[1] < FEW:
        return (user[:, None] * items).sum(-1)
    return (items @ user[:, :, None])[..., 0]
