"""State modules of DRR: a user and the items that he last liked become one vector (Liu et al., arXiv 1810.12027).

u is the user's vector, i_1 … i_N are those of his memory, oldest first, w_1 … w_N are learnt weights of the places and
⊙ multiplies entry by entry. Each module has `size`, the length of its states. The paper leaves the weights' first
values open; here they are uniform in [0, 1). What pads a memory has the vector zero.
"""

import torch
from torch import Generator, Tensor, nn


class DRRAve(nn.Module):
    """[u, u ⊙ g, g], where g = Σ_a w_a i_a + b weighs the items; b starts at 0.

    >>> state = DRRAve(dim=8, memory_size=5, generator=torch.Generator())
    >>> state(torch.ones(2, 8), torch.ones(2, 5, 8)).shape == (2, state.size)
    True
    """

    def __init__(self, dim: int, memory_size: int, generator: Generator) -> None:
        super().__init__()
        self.size = 3 * dim
        self.weight = nn.Parameter(torch.rand(memory_size, generator=generator))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, user_vector: Tensor, item_vectors: Tensor) -> Tensor:
        """[B, size] of users [B, dim] with memories [B, N, dim]."""
        average = self.weight @ item_vectors + self.bias
        return torch.cat([user_vector, user_vector * average, average], 1)


class DRRP(nn.Module):
    """[i_a for every a, (w_a i_a) ⊙ (w_b i_b) for every a < b]: what items say together; the user is left out."""

    def __init__(self, dim: int, memory_size: int, generator: Generator) -> None:
        super().__init__()
        self.size = dim * (memory_size + memory_size * (memory_size - 1) // 2)
        self.weight = nn.Parameter(torch.rand(memory_size, generator=generator))

    def forward(self, user_vector: Tensor, item_vectors: Tensor) -> Tensor:
        """[B, size] of users [B, dim], who do not matter, with memories [B, N, dim]."""
        weighted = self.weight[:, None] * item_vectors
        return torch.cat([item_vectors, pair_products(weighted)], 1).flatten(1)


class DRRU(nn.Module):
    """[u ⊙ (w_a i_a) for every a, (w_a i_a) ⊙ (w_b i_b) for every a < b]."""

    def __init__(self, dim: int, memory_size: int, generator: Generator) -> None:
        super().__init__()
        self.size = dim * (memory_size + memory_size * (memory_size - 1) // 2)
        self.weight = nn.Parameter(torch.rand(memory_size, generator=generator))

    def forward(self, user_vector: Tensor, item_vectors: Tensor) -> Tensor:
        """[B, size] of users [B, dim] with memories [B, N, dim]."""
        weighted = self.weight[:, None] * item_vectors
        return torch.cat([user_vector[:, None] * weighted, pair_products(weighted)], 1).flatten(1)


def pair_products(vectors: Tensor) -> Tensor:
    """Products v_a ⊙ v_b of all a < b, ordered by a, then b: [B, N, dim] to [B, N (N - 1) / 2, dim].

    >>> pair_products(torch.tensor([[[2.0], [3.0], [5.0]]])).flatten().tolist()
    [6.0, 10.0, 15.0]
    """
    n = vectors.shape[1]
    first, second = torch.triu_indices(n, n, offset=1, device=vectors.device)
    return vectors.index_select(1, first) * vectors.index_select(1, second)
