"""Ranking metrics as functions of ranks. Each row of the tensors is one list: a user, or a held-out row.

A rank is the 1-based place of a relevant item in its list. The tie rule is pessimistic: an irrelevant candidate with
the same score comes before the relevant one, so a constant model gains nothing from ties. Relevant items with equal
scores take successive ranks.

Arguments of all functions:
    rank: [L, R] float64, ascending along R; inf if a list has fewer than R relevant items. A metric at k only needs
        ranks up to k, so R may be k.
    n_relevant: [L] number of relevant items of each list, at least 1; may exceed R.
    k: cut-off, at least 1.
Results are [L] float64 in [0, 1], higher is better; the metric of a model is their mean over lists.

Sources: Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), chapter 8 (precision,
recall, average precision); Järvelin and Kekäläinen, TOIS 20(4), 2002 (NDCG, here with binary gain and
log2(1 + rank) as in Burges et al., ICML 2005); Voorhees, TREC-8 QA track, 1999 (MRR); Herlocker et al.,
TOIS 22(1), 2004, section 4.2 (coverage).
"""

import torch
from torch import Tensor


def ranks(relevant: Tensor, irrelevant: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks in the list that two sorted lists of scores merge into, under the pessimistic tie rule.

    Args:
        relevant: [L, R] scores of relevant items, descending; -inf stands for no item.
        irrelevant: [L, C] scores of irrelevant candidates, descending, same dtype; -inf stands for no item.

    Returns:
        [L, R] ranks of the relevant items and [L, C] ranks of the irrelevant ones, float64, inf for no item.
        Given the k best of either side, ranks up to k are exact and all others are at least k + 1.

    >>> ranks(torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 1.0, 0.0]]))
    (tensor([[1., 4.]], dtype=torch.float64), tensor([[2., 3., 5.]], dtype=torch.float64))
    """
    n_relevant, n_irrelevant = relevant.shape[1], irrelevant.shape[1]
    irrelevant_below = torch.searchsorted(irrelevant.flip(1), relevant)
    relevant_not_above = torch.searchsorted(relevant.flip(1), irrelevant, right=True)
    own = torch.arange(1, max(n_relevant, n_irrelevant) + 1, device=relevant.device, dtype=torch.float64)
    rank = own[:n_relevant] + (n_irrelevant - irrelevant_below)
    irrelevant_rank = own[:n_irrelevant] + (n_relevant - relevant_not_above)
    return (
        torch.where(relevant == -torch.inf, torch.inf, rank),
        torch.where(irrelevant == -torch.inf, torch.inf, irrelevant_rank),
    )


def hit_rate(rank: Tensor, k: int) -> Tensor:
    """1 if a relevant item is among the first k, else 0.

    >>> hit_rate(torch.tensor([[2.0, 9.0], [4.0, torch.inf]]), 3)
    tensor([1., 0.], dtype=torch.float64)
    """
    return (rank[:, 0] <= k).double()


def precision(rank: Tensor, k: int) -> Tensor:
    """Relevant items among the first k / k, also if a list has fewer than k candidates.

    >>> precision(torch.tensor([[2.0, 9.0]]), 4)
    tensor([0.2500], dtype=torch.float64)
    """
    return (rank[:, :k] <= k).sum(1).double() / k


def recall(rank: Tensor, n_relevant: Tensor, k: int) -> Tensor:
    """Relevant items among the first k / all relevant items (not capped at k).

    >>> recall(torch.tensor([[2.0, 9.0]]), torch.tensor([2]), 4)
    tensor([0.5000], dtype=torch.float64)
    """
    return (rank[:, :k] <= k).sum(1).double() / n_relevant


def ndcg(rank: Tensor, n_relevant: Tensor, k: int) -> Tensor:
    """DCG@k / the DCG@k of the best possible list, DCG@k = Σ_{rank ≤ k} 1 / log2(1 + rank).

    >>> ndcg(torch.tensor([[3.0]]), torch.tensor([1]), 4)
    tensor([0.5000], dtype=torch.float64)
    """
    gain = torch.where(rank[:, :k] <= k, 1 / torch.log2(1 + rank[:, :k]), 0.0).sum(1)
    ideal_rank = torch.arange(1, k + 1, device=rank.device, dtype=torch.float64)
    ideal = (1 / torch.log2(1 + ideal_rank)).cumsum(0)
    return gain / ideal[n_relevant.clamp(max=k) - 1]


def average_precision(rank: Tensor, n_relevant: Tensor, k: int) -> Tensor:
    """Σ_{rank_j ≤ k} (j / rank_j) / min(n_relevant, k), where rank_j is the j-th smallest rank.

    Its mean over lists is map@k. Libraries use different divisors; here a list gets 1 if its first k are all relevant.

    >>> average_precision(torch.tensor([[2.0, 4.0, 9.0]]), torch.tensor([3]), 5)
    tensor([0.3333], dtype=torch.float64)
    """
    head = rank[:, :k]
    n_hits = torch.arange(1, head.shape[1] + 1, device=rank.device, dtype=torch.float64)
    return torch.where(head <= k, n_hits / head, 0.0).sum(1) / n_relevant.clamp(max=k)


def reciprocal_rank(rank: Tensor) -> Tensor:
    """1 / rank of the first relevant item, over the whole list. Its mean over lists is mrr.

    >>> reciprocal_rank(torch.tensor([[4.0, 9.0]], dtype=torch.float64))
    tensor([0.2500], dtype=torch.float64)
    """
    return 1 / rank[:, 0]


def mean_reciprocal_rank(rank: Tensor, n_relevant: Tensor) -> Tensor:
    """Σ 1 / rank_j / n_relevant over all relevant items; `rank` must hold all of them.

    Its mean over lists is mrr_all, which Spotlight (Kula 2017) calls MRR. It is less than mrr if a list has several
    relevant items, and equal if each list has one.

    >>> mean_reciprocal_rank(torch.tensor([[2.0, 4.0, torch.inf]], dtype=torch.float64), torch.tensor([2]))
    tensor([0.3750], dtype=torch.float64)
    """
    return (1 / rank).sum(1) / n_relevant


def coverage(best_rank: Tensor, k: int) -> Tensor:
    """Share of the catalogue that is among the first k of at least one list, float64 scalar.

    Args:
        best_rank: [n_items] lowest rank of each item in any list, inf if it is in none.
        k: cut-off, at least 1.

    >>> coverage(torch.tensor([1.0, 7.0, torch.inf, 2.0]), 5)
    tensor(0.5000, dtype=torch.float64)
    """
    return (best_rank <= k).double().mean()


def per_list(rank: Tensor, n_relevant: Tensor, ks: tuple[int, ...]) -> dict[str, Tensor]:
    """Every metric that is a mean over lists, by its name in reports ("ndcg@10", "mrr"), [L] each."""
    values = {}
    for k in ks:
        values[f"hit_rate@{k}"] = hit_rate(rank, k)
        values[f"ndcg@{k}"] = ndcg(rank, n_relevant, k)
        values[f"recall@{k}"] = recall(rank, n_relevant, k)
        values[f"precision@{k}"] = precision(rank, k)
        values[f"map@{k}"] = average_precision(rank, n_relevant, k)
    values["mrr"] = reciprocal_rank(rank)
    return values
