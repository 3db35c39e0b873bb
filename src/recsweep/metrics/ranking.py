"""Ranking metrics as functions of ranks, one list (a user, or a held-out row) a row of the tensors.

A rank is the 1-based place of a relevant item in its list. The tie rule is pessimistic: an irrelevant
candidate with the same score stands above the relevant one, so a constant model earns nothing from ties.
Relevant items with equal scores take successive ranks.

Arguments, everywhere the same:
    rank: [L, R] float64, ascending along R; inf where a list has fewer than R relevant items. Only ranks
        up to k matter to a metric at k, so R may stop at k.
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


def ranks(relevant: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Places in the one list that two sorted score lists merge into, under the pessimistic tie rule.

    Args:
        relevant: [L, R] scores of relevant items, descending; -inf stands for no item.
        others: [L, C] scores of irrelevant candidates, descending, same dtype; -inf stands for no item.

    Returns:
        [L, R] places of the relevant items and [L, C] places of the others, float64, inf for no item.
        Given the k best of either side, every place up to k is exact and no other falls below k + 1.

    >>> ranks(torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 1.0, 0.0]]))
    (tensor([[1., 4.]], dtype=torch.float64), tensor([[2., 3., 5.]], dtype=torch.float64))
    """
    n_relevant, n_others = relevant.shape[1], others.shape[1]
    others_below = torch.searchsorted(others.flip(1), relevant)
    relevant_not_above = torch.searchsorted(relevant.flip(1), others, right=True)
    own = torch.arange(1, max(n_relevant, n_others) + 1, device=relevant.device, dtype=torch.float64)
    rank = own[:n_relevant] + (n_others - others_below)
    place = own[:n_others] + (n_relevant - relevant_not_above)
    return (
        torch.where(relevant == -torch.inf, torch.inf, rank),
        torch.where(others == -torch.inf, torch.inf, place),
    )


def hit_rate(rank: Tensor, k: int) -> Tensor:
    """1 where a relevant item stands among the first k, else 0.

    >>> hit_rate(torch.tensor([[2.0, 9.0], [4.0, torch.inf]]), 3)
    tensor([1., 0.], dtype=torch.float64)
    """
    return (rank[:, 0] <= k).double()


def precision(rank: Tensor, k: int) -> Tensor:
    """Relevant items among the first k / k, also where a list has fewer than k candidates.

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
    places = torch.arange(1, k + 1, device=rank.device, dtype=torch.float64)
    ideal = (1 / torch.log2(1 + places)).cumsum(0)
    return gain / ideal[n_relevant.clamp(max=k) - 1]


def average_precision(rank: Tensor, n_relevant: Tensor, k: int) -> Tensor:
    """Σ_{rank_j ≤ k} (j / rank_j) / min(n_relevant, k), where rank_j is the j-th smallest rank.

    Its mean over lists is map@k. Divisors differ between libraries: here a list whose first k are all
    relevant gets 1, whatever lies beyond.

    >>> average_precision(torch.tensor([[2.0, 4.0, 9.0]]), torch.tensor([3]), 5)
    tensor([0.3333], dtype=torch.float64)
    """
    head = rank[:, :k]
    found = torch.arange(1, head.shape[1] + 1, device=rank.device, dtype=torch.float64)
    return torch.where(head <= k, found / head, 0.0).sum(1) / n_relevant.clamp(max=k)


def reciprocal_rank(rank: Tensor) -> Tensor:
    """1 / rank of the first relevant item, over the whole list. Its mean over lists is mrr.

    >>> reciprocal_rank(torch.tensor([[4.0, 9.0]], dtype=torch.float64))
    tensor([0.2500], dtype=torch.float64)
    """
    return 1 / rank[:, 0]


def mean_reciprocal_rank(rank: Tensor, n_relevant: Tensor) -> Tensor:
    """Σ 1 / rank_j / n_relevant over all relevant items, which `rank` must hold wherever they stand.

    Its mean over lists is mrr_all: what Spotlight (Kula 2017) and exercises built on it call MRR. Below mrr wherever a
    list has several relevant items, equal to it where each has one.

    >>> mean_reciprocal_rank(torch.tensor([[2.0, 4.0, torch.inf]], dtype=torch.float64), torch.tensor([2]))
    tensor([0.3750], dtype=torch.float64)
    """
    return (1 / rank).sum(1) / n_relevant


def coverage(best_place: Tensor, k: int) -> Tensor:
    """Share of the catalogue that stands among the first k of at least one list, float64 scalar.

    Args:
        best_place: [n_items] smallest place that each item takes in any list, inf where it is in none.
        k: cut-off, at least 1.

    >>> coverage(torch.tensor([1.0, 7.0, torch.inf, 2.0]), 5)
    tensor(0.5000, dtype=torch.float64)
    """
    return (best_place <= k).double().mean()


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
