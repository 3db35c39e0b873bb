"""What each user turned to, in order: windows on it, and layers that make a vector of a window."""

from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn

from recsweep.data.schema import Interactions
from recsweep.models.layers import Dropout, linear


class Events(NamedTuple):
    """The rows of a data set, users one after another, each user's in order of time (of equal times, in row order).

    Args:
        item: [N].
        start: [n_users + 1] those of user `u` are `item[start[u]:start[u + 1]]`.
    """

    item: Tensor
    start: Tensor


def events(data: Interactions) -> Events:
    """The rows of `data` as each user's sequence."""
    by_time = data.seconds.argsort(stable=True)
    order = by_time[data.user[by_time].argsort(stable=True)]
    count = torch.bincount(data.user, minlength=data.n_users)
    return Events(data.item[order], torch.cat([count.new_zeros(1), count.cumsum(0)]))


def windows(item: Tensor, first: Tensor, end: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The last `length` of `item[first:end]` for each row, oldest first.

    Args:
        item: [N].
        first, end: [B], first ≤ end.

    Returns:
        ([B, L] items, [B] how many of them are there), L the longest of the windows; what lies behind a row's own is
        filled with any item.

    >>> windows(torch.tensor([7, 8, 9]), torch.tensor([0, 0]), torch.tensor([3, 1]), 2)
    (tensor([[8, 9],
            [7, 8]]), tensor([2, 1]))
    """
    count = (end - first).clamp(max=length)
    place = (end - count)[:, None] + torch.arange(max(1, int(count.max())), device=item.device)
    return item[place.clamp(max=len(item) - 1)], count


class Pooling(Protocol):
    """What makes one vector of a history."""

    def __call__(self, x: Tensor, count: Tensor, generator: Generator) -> Tensor:
        """[B, d] of item vectors [B, L, d], oldest first, of which the first `count` [B] are there; 0 without any."""


class Mean(nn.Module):
    """The sum of the history's vectors over the square root of their number, as in SVD++ (Koren 2008)."""

    def forward(self, x: Tensor, count: Tensor, generator: Generator) -> Tensor:
        there = torch.arange(x.shape[1], device=x.device) < count[:, None]
        return (there.to(x.dtype)[:, None] @ x)[:, 0] * count.clamp(min=1).rsqrt()[:, None]


class Attention(nn.Module):
    """What the last item calls to mind of the history: one place of one transformer layer.

    With x_j the vector of the j-th item from the end, head h gives it the weight a_hj = softmax_j((A_h x_1)ᵀ x_j / √d +
    r_hj), where r depends on j alone. The layer gives y + W₂ relu(W₁ norm(y)) with y = x_1 + Σ_h V_h Σ_j a_hj x_j, as
    at the last place of SASRec (Kang and McAuley, ICDM 2018). A_h stands for the product of a query's and a key's
    matrix, so that no matrix is applied to the whole history; places enter by r alone, as in T5 (Raffel et al., JMLR
    2020), for the same reason. The maps A_h, V_h, W₁ and W₂ have biases, left out here.

    Args:
        dim: d.
        heads: number of weightings.
        length: longest history.
        dropout: on the weights and in the perceptron.
    """

    def __init__(self, dim: int, heads: int, length: int, dropout: float, generator: Generator) -> None:
        super().__init__()
        self.recency = nn.Parameter(torch.zeros(length, heads))
        self.match = linear(dim, heads * dim, generator)
        self.value = linear(heads * dim, dim, generator)
        self.norm = nn.LayerNorm(dim)
        self.inner, self.outer = linear(dim, dim, generator), linear(dim, dim, generator)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, count: Tensor, generator: Generator) -> Tensor:
        n_rows, length, dim = x.shape
        place = count[:, None] - 1 - torch.arange(length, device=x.device)  # 0 for the last; negative behind it
        last = x[torch.arange(n_rows, device=x.device), (count - 1).clamp(min=0)]
        asked = self.match(last).view(n_rows, -1, dim) * dim**-0.5
        scores = asked @ x.mT + self.recency[place.clamp(min=0)].mT
        weight = scores.masked_fill((place < 0)[:, None], torch.finfo(x.dtype).min).softmax(-1)
        pooled = self.dropout(weight, generator) @ x
        y = last + self.dropout(self.value(pooled.flatten(1)), generator)
        hidden = self.dropout(self.inner(self.norm(y)).relu(), generator)
        return (y + self.dropout(self.outer(hidden), generator)) * (count > 0)[:, None]


class GRU(nn.Module):
    """The last state of a gated recurrent unit (Hidasi et al., ICLR 2016)."""

    def __init__(self, dim: int, generator: Generator) -> None:
        super().__init__()
        self.cell = nn.GRU(dim, dim, batch_first=True, device="meta").to_empty(device="cpu")  # draws nothing
        for parameter in self.cell.parameters():
            nn.init.uniform_(parameter, -(dim**-0.5), dim**-0.5, generator=generator)

    def forward(self, x: Tensor, count: Tensor, generator: Generator) -> Tensor:
        states, _ = self.cell(x)
        last = states[torch.arange(len(x), device=x.device), (count - 1).clamp(min=0)]
        return last * (count > 0)[:, None]
