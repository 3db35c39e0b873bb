"""Histories: each user's items in order of time, windows of them, and layers that pool a window into a vector."""

from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn

from recsweep.data.schema import Interactions
from recsweep.models.layers import Dropout, linear


class Events(NamedTuple):
    """The items of all users, user after user, each user's in order of time (equal times: in row order).

    Args:
        item, seconds: [N].
        start: [n_users + 1]; user `u` has `item[start[u]:start[u + 1]]`.
    """

    item: Tensor
    seconds: Tensor
    start: Tensor


def events(data: Interactions) -> Events:
    """Each user's sequence of items in `data`."""
    by_time = data.seconds.argsort(stable=True)
    order = by_time[data.user[by_time].argsort(stable=True)]
    count = torch.bincount(data.user, minlength=data.n_users)
    return Events(data.item[order], data.seconds[order], torch.cat([count.new_zeros(1), count.cumsum(0)]))


class Windows(NamedTuple):
    """Windows of the events of users [W]: the events `first` to `end - 1` [W], each with the next one as its target."""

    user: Tensor
    first: Tensor
    end: Tensor


def cut_windows(start: Tensor, length: int) -> Windows:
    """Windows of at most `length` events, in which every event but a user's first is a target once.

    The latest windows of a user are full; the first one has the rest.

    Args:
        start: [n_users + 1], as of `Events`.

    >>> cut_windows(torch.tensor([0, 4, 5]), 2)  # events 0 to 3 and event 4
    Windows(user=tensor([0, 0]), first=tensor([0, 1]), end=tensor([1, 3]))
    """
    n_targets = (start.diff() - 1).clamp(min=0)
    n_windows = -(-n_targets // length)
    user = torch.arange(len(n_targets), device=start.device).repeat_interleave(n_windows)
    number_from_last = n_windows.cumsum(0)[user] - 1 - torch.arange(len(user), device=start.device)
    end = start[user + 1] - 1 - number_from_last * length
    return Windows(user, torch.maximum(end - length, start[user]), end)


def number_events(first: Tensor, count: Tensor) -> Tensor:
    """The numbers `first` to `first + count - 1` of each row [B], one row after another.

    >>> number_events(torch.tensor([7, 2]), torch.tensor([2, 1]))
    tensor([7, 8, 2])
    """
    n = int(count.sum())
    offset = first - (count.cumsum(0) - count)
    return offset.repeat_interleave(count, output_size=n) + torch.arange(n, device=first.device)


def windows(item: Tensor, first: Tensor, end: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The last `length` of `item[first:end]` for each row, oldest first.

    Args:
        item: [N].
        first, end: [B], first ≤ end.

    Returns:
        Items [B, L] and lengths [B]. Positions after a row's window hold any item. L is the longest window; on a GPU,
        where the host would have to wait for that, it is `length`.

    >>> windows(torch.tensor([7, 8, 9]), torch.tensor([0, 0]), torch.tensor([3, 1]), 2)
    (tensor([[8, 9],
            [7, 8]]), tensor([2, 1]))
    """
    count = (end - first).clamp(max=length)
    longest = max(1, int(count.max())) if item.device.type == "cpu" else length
    item_index = (end - count)[:, None] + torch.arange(longest, device=item.device)
    return item[item_index.clamp(max=len(item) - 1)], count


class Pooling(Protocol):
    """A layer that turns a history into one vector."""

    def __call__(self, x: Tensor, count: Tensor, generator: Generator) -> Tensor:
        """[B, d] of item vectors [B, L, d], oldest first; a row's first `count` [B] are valid. 0 where `count` is 0."""


class Mean(nn.Module):
    """The sum of the history's vectors divided by the square root of their number, as in SVD++ (Koren 2008)."""

    def forward(self, x: Tensor, count: Tensor, generator: Generator) -> Tensor:
        mask = torch.arange(x.shape[1], device=x.device) < count[:, None]
        return (mask.to(x.dtype)[:, None] @ x)[:, 0] * count.clamp(min=1).rsqrt()[:, None]


class Attention(nn.Module):
    """Attention of the last item to the whole history: the last position of one transformer layer.

    x_j is the vector of the j-th item from the end. Head h gives it the weight a_hj = softmax_j((A_h x_1)ᵀ x_j / √d +
    r_hj), where r depends on j alone. The output is y + W₂ relu(W₁ norm(y)) with y = x_1 + Σ_h V_h Σ_j a_hj x_j, as
    at the last position of SASRec (Kang and McAuley, ICDM 2018). Two things keep it fast, because they apply no matrix
    to the whole history: A_h is the product of the query and the key matrix, and positions enter by r alone, as in T5
    (Raffel et al., JMLR 2020). The maps A_h, V_h, W₁ and W₂ have biases, omitted here.

    Args:
        dim: d.
        heads: number of attention heads.
        length: longest history.
        dropout: on the weights and in the feed-forward part.
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
        age = count[:, None] - 1 - torch.arange(length, device=x.device)  # 0 for the last item; negative in the padding
        last = x[torch.arange(n_rows, device=x.device), (count - 1).clamp(min=0)]
        query = self.match(last).view(n_rows, -1, dim) * dim**-0.5
        scores = query @ x.mT + self.recency[age.clamp(min=0)].mT
        weight = scores.masked_fill((age < 0)[:, None], torch.finfo(x.dtype).min).softmax(-1)
        pooled = self.dropout(weight, generator) @ x
        y = last + self.dropout(self.value(pooled.flatten(1)), generator)
        hidden = self.dropout(self.inner(self.norm(y)).relu(), generator)
        return (y + self.dropout(self.outer(hidden), generator)) * (count > 0)[:, None]


class GRU(nn.Module):
    """The last state of a gated recurrent unit (Hidasi et al., ICLR 2016)."""

    def __init__(self, dim: int, generator: Generator) -> None:
        super().__init__()
        self.cell = nn.GRU(dim, dim, batch_first=True, device="meta").to_empty(device="cpu")  # without random draws
        for parameter in self.cell.parameters():
            nn.init.uniform_(parameter, -(dim**-0.5), dim**-0.5, generator=generator)

    def forward(self, x: Tensor, count: Tensor, generator: Generator) -> Tensor:
        states, _ = self.cell(x)
        last = states[torch.arange(len(x), device=x.device), (count - 1).clamp(min=0)]
        return last * (count > 0)[:, None]
