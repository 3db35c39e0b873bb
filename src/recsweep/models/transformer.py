"""A causal transformer over whole sequences: at every position a vector of the items up to it.

Sequences of different lengths lie one after another in one tensor of rows, so that no layer computes padding. Only
attention sees sequences apart: those of similar length together, padded to the longest of their group.
"""

from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import embedding as look_up
from torch.nn.functional import pad, scaled_dot_product_attention

from recsweep.models.layers import Dropout, linear

SEQUENCES_AT_ONCE = 16
"""Sequences in a group of attention: few, so that they are of similar length and their scores stay in the cache."""
GAPS = 32  # buckets of time gaps: powers of 2 in seconds, up to 68 years; longer ones are in the last


class Layout(NamedTuple):
    """Where the rows of sequences lie in groups of sequences of similar length, which attention sees padded.

    Args:
        rows: for each group [S, L] the row of each position; positions after the end of a sequence have any.
        cell: [N] where each row lies among the positions of all groups.
    """

    rows: list[Tensor]
    cell: Tensor


def lay_out(count: Tensor, n_rows: int, longest: int) -> Layout:
    """Groups sequences of `count` [B] rows, at least 1, by length; on a GPU, which would be waited for, all in one.

    Args:
        n_rows: N, the sum of `count`.
        longest: the most rows that a sequence may have.

    >>> lay_out(torch.tensor([1, 2]), 3, 2)
    Layout(rows=[tensor([[1, 2],
            [0, 0]])], cell=tensor([2, 0, 1]))
    """
    start = count.cumsum(0) - count
    if count.device.type == "cpu":
        groups = count.argsort(descending=True, stable=True).split(SEQUENCES_AT_ONCE)
        lengths = count[torch.stack([group[0] for group in groups])].tolist()
    else:
        groups, lengths = (torch.arange(len(count), device=count.device),), [longest]
    rows, cell_of_sequence, n_cells = [], torch.empty_like(count), 0
    for group, length in zip(groups, lengths, strict=True):
        position = torch.arange(length, device=count.device)
        rows.append(start[group, None] + torch.where(position < count[group, None], position, 0))
        cell_of_sequence[group] = n_cells + length * torch.arange(len(group), device=count.device)
        n_cells += length * len(group)
    offset = (cell_of_sequence - start).repeat_interleave(count, output_size=n_rows)
    return Layout(rows, offset + torch.arange(n_rows, device=count.device))


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each after LayerNorm and added to its input (Xiong et al., ICML 2020).

    Args:
        dim: d.
        heads: they divide d.
        n_distances: how many distances between positions have a bias of their own in each head; 0 for none.
        has_gaps: whether the time between two items has a bias, as in HSTU (Zhai et al., ICML 2024, section 3.2).
    """

    def __init__(
        self, dim: int, heads: int, n_distances: int, has_gaps: bool, dropout: float, generator: Generator
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.queries_keys_values = linear(dim, 3 * dim, generator)
        self.merge = linear(dim, dim, generator)
        self.distance_bias = nn.Parameter(torch.zeros(heads, n_distances)) if n_distances else None
        self.gap_bias = nn.Parameter(torch.zeros(heads, GAPS)) if has_gaps else None
        self.inner_norm = nn.LayerNorm(dim)
        self.inner, self.outer = linear(dim, 2 * dim, generator), linear(2 * dim, dim, generator)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout, gaps: list[Tensor], generator: Generator) -> Tensor:
        """[N, d] of rows [N, d].

        Args:
            gaps: for each group the buckets [S, L, L] of the time from each item to each; empty without a gap bias.
        """
        attended = self.merge(self._attend(self.queries_keys_values(self.norm(x)), layout, gaps))
        x = x + self.dropout(attended, generator)
        hidden = self.dropout(self.inner(self.inner_norm(x)).relu(), generator)
        return x + self.dropout(self.outer(hidden), generator)

    def _attend(self, mixed: Tensor, layout: Layout, gaps: list[Tensor]) -> Tensor:
        """Values [N, d] of each position's attention to itself and the positions before it.

        Args:
            mixed: [N, 3 d] queries, keys and values.
        """
        outputs = []
        for number, row in enumerate(layout.rows):
            n, length = row.shape
            query, key, value = look_up(row, mixed).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            bias = self._bias(length, gaps[number] if gaps else None)
            attended = scaled_dot_product_attention(query, key, value, bias, is_causal=bias is None)
            outputs.append(attended.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(outputs)[layout.cell]

    def _bias(self, length: int, gap: Tensor | None) -> Tensor | None:
        """Additions [S or 1, heads, L, L] to the scores, -inf for later positions; None where only these matter."""
        if self.distance_bias is None and self.gap_bias is None:
            return None
        bias = torch.zeros(())
        if self.distance_bias is not None:
            # Row i, column j: the bias of distance i - j. A window over the reversed biases, padded for j > i.
            reversed_biases = pad(self.distance_bias[:, :length].flip(1), (0, length - 1), value=-torch.inf)
            bias = reversed_biases.unfold(1, length, 1).flip(1)[None]
        if self.gap_bias is not None and gap is not None:
            later = torch.full((length, length), -torch.inf, device=gap.device).triu(1)
            bias = bias + self.gap_bias[:, gap].transpose(0, 1) + later
        return bias


class Transformer(nn.Module):
    """Blocks over sequences of item vectors, as in SASRec (Kang and McAuley, ICDM 2018), and a last LayerNorm.

    Args:
        dim: d.
        blocks: their number.
        heads: of attention; they divide d.
        length: longest sequence.
        positions: a vector for each position counted from the last one (learned), or a bias of attention for each
            distance (relative), as in T5 (Raffel et al., JMLR 2020).
        has_gaps: whether attention has a bias for the time between two items.
        dropout: of the inputs and of what each layer adds.
    """

    def __init__(
        self,
        dim: int,
        blocks: int,
        heads: int,
        length: int,
        positions: Literal["learned", "relative"],
        has_gaps: bool,
        dropout: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.length, self.has_gaps = length, has_gaps
        self.positions = nn.Parameter(torch.zeros(length, dim)) if positions == "learned" else None
        n_distances = length if positions == "relative" else 0
        arguments = (dim, heads, n_distances, has_gaps, dropout, generator)
        self.blocks = nn.ModuleList(Block(*arguments) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, count: Tensor, seconds: Tensor | None, generator: Generator) -> Tensor:
        """[N, d] of item vectors [N, d]: sequences of `count` [B] rows, oldest first, one after another.

        Args:
            seconds: [N] times of the items; needed for a gap bias only.
        """
        end = count.cumsum(0).repeat_interleave(count, output_size=len(x))
        x = x * x.shape[1] ** 0.5
        if self.positions is not None:
            x = x + self.positions[end - 1 - torch.arange(len(x), device=x.device)]
        x = self.dropout(x, generator)
        layout = lay_out(count, len(x), self.length)
        gaps = [bucket_gaps(seconds[row]) for row in layout.rows] if self.has_gaps and seconds is not None else []
        for block in self.blocks:
            x = block(x, layout, gaps, generator)
        return self.norm(x)


def bucket_gaps(seconds: Tensor) -> Tensor:
    """Buckets [S, L, L] of the seconds from the second item (column) to the first (row): 1 + their log2, rounded down.

    >>> bucket_gaps(torch.tensor([[0, 1, 5]]))
    tensor([[[0, 0, 0],
             [1, 0, 0],
             [3, 3, 0]]])
    """
    gap = (seconds[:, :, None] - seconds[:, None]).clamp(min=0)
    return (gap.double().log2().floor().clamp(min=-1, max=GAPS - 2) + 1).long()
