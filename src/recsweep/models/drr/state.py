"""State modules of DRR: they turn a user and the last items they liked into one vector (Liu et al., arXiv 1810.12027).

u is the user's vector; i_1 … i_N are the vectors of the items in their memory, oldest first; w_1 … w_N are learned
weights of the N positions; ⊙ multiplies entry by entry. `size` is the length of a state. The paper does not say how the
weights start; here they are uniform in [0, 1). Padding in a memory has the zero vector.
"""

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor, nn


class DRRAve(nn.Module):
    """[u, u ⊙ g, g], where g = Σ_a w_a i_a + b is the weighted sum of the items; b starts at 0.

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


class PairwiseState(nn.Module, ABC):
    """One vector for each item, then the products (w_a i_a) ⊙ (w_b i_b) of all pairs a < b."""

    def __init__(self, dim: int, memory_size: int, generator: Generator) -> None:
        super().__init__()
        self.size = dim * (memory_size + memory_size * (memory_size - 1) // 2)
        self.weight = nn.Parameter(torch.rand(memory_size, generator=generator))

    @abstractmethod
    def first_order(self, user_vector: Tensor, item_vectors: Tensor, weighted: Tensor) -> Tensor:
        """The vectors of the single items [B, N, dim], from `item_vectors` and the `weighted` w_a i_a of that shape."""

    def forward(self, user_vector: Tensor, item_vectors: Tensor) -> Tensor:
        """[B, size] of users [B, dim] with memories [B, N, dim]."""
        weighted = self.weight[:, None] * item_vectors
        first_order = self.first_order(user_vector, item_vectors, weighted)
        return torch.cat([first_order, pair_products(weighted)], 1).flatten(1)


class DRRP(PairwiseState):
    """[i_a for every a, (w_a i_a) ⊙ (w_b i_b) for every a < b]; ignores the user."""

    def first_order(self, user_vector: Tensor, item_vectors: Tensor, weighted: Tensor) -> Tensor:
        return item_vectors


class DRRU(PairwiseState):
    """[u ⊙ (w_a i_a) for every a, (w_a i_a) ⊙ (w_b i_b) for every a < b]."""

    def first_order(self, user_vector: Tensor, item_vectors: Tensor, weighted: Tensor) -> Tensor:
        return user_vector[:, None] * weighted


def pair_products(vectors: Tensor) -> Tensor:
    """Products v_a ⊙ v_b of all a < b, ordered by a, then b: [B, N, dim] to [B, N (N - 1) / 2, dim].

    >>> pair_products(torch.tensor([[[2.0], [3.0], [5.0]]])).flatten().tolist()
    [6.0, 10.0, 15.0]
    """
    n = vectors.shape[1]
    first, second = torch.triu_indices(n, n, offset=1, device=vectors.device)
    return vectors.index_select(1, first) * vectors.index_select(1, second)
