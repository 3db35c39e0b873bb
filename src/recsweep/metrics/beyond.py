"""What recommendations are besides right: new, from the long tail, diverse, spread over the catalogue.

Arguments of all functions:
    count: [n_items] interactions with each item that the model may know; its popularity.
    item: [L, k] int64, the items of each list.
    is_listed: [L, k] bool; False fills up lists of fewer than k items. Every list has at least one.
Results are float64. None of them says whether the items are relevant.

Sources: Castells, Hurley and Vargas, Novelty and Diversity in Recommender Systems, in Recommender Systems Handbook, 2nd
edition, 2015, section 26.3 (self-information, intra-list distance, Gini index); Zhou et al., PNAS 107(10), 2010
(self-information of recommended items); Abdollahpouri, Burke and Mobasher, FLAIRS 2019, Managing Popularity Bias in
Recommender Systems with Personalized Re-Ranking (average popularity ARP, share of the long tail APLT); Ziegler et al.,
WWW 2005 (intra-list similarity); Fleder and Hosanagar, Management Science 55(5), 2009 (Gini of recommendations).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

HEAD = 5
"""One in so many items, the most popular ones, is in the head; the others are the long tail (the Pareto principle)."""


def self_information(count: Tensor) -> Tensor:
    """-log2(count / Σ count) of each item in bits, [n_items]: how surprising it is that somebody has it.

    An item without interactions counts as if it had one. The mean over a list is its novelty.

    >>> self_information(torch.tensor([2, 1, 1, 0]))
    tensor([1., 2., 2., 2.], dtype=torch.float64)
    """
    return count.sum().clamp(min=1).double().log2() - count.clamp(min=1).double().log2()


def in_long_tail(count: Tensor) -> Tensor:
    """Whether each item is outside the head, the ⌈n_items / 5⌉ most popular items; [n_items] bool.

    Of equally popular items those with lower ids are in the head first. The mean over a list is its share of the tail.

    >>> in_long_tail(torch.tensor([1, 7, 7, 0, 2]))
    tensor([ True, False,  True,  True,  True])
    """
    head = count.argsort(descending=True, stable=True)[: -(-len(count) // HEAD)]
    return torch.ones_like(count, dtype=torch.bool).index_fill(0, head, False)


def group_by_popularity(count: Tensor) -> Tensor:
    """0 for the head, the ⌈n_items / 5⌉ most popular items, 2 for the tail, the less popular half, else 1; [n_items].

    Of equally popular items those with lower ids are the more popular ones.

    >>> group_by_popularity(torch.tensor([1, 7, 7, 0, 2, 0]))
    tensor([2, 0, 0, 2, 1, 2])
    """
    n_items = len(count)
    by_popularity = count.argsort(descending=True, stable=True)
    place = torch.empty_like(by_popularity).index_put((by_popularity,), torch.arange(n_items, device=count.device))
    return (place >= -(-n_items // HEAD)).long() + (place >= n_items - n_items // 2).long()


def list_mean(value: Tensor, item: Tensor, is_listed: Tensor) -> Tensor:
    """Mean of value [n_items] over the items of each list, [L].

    >>> list_mean(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([[0, 2]]), torch.tensor([[True, True]]))
    tensor([2.5000], dtype=torch.float64)
    """
    return torch.where(is_listed, value.double()[item], 0).sum(1) / is_listed.sum(1)


def diversity(features: Sequence[Tensor], item: Tensor, is_listed: Tensor) -> Tensor:
    """1 - the mean similarity of two different places in each list, [L]; NaN for lists with fewer than two items.

    The similarity of two items is the mean over the features: the cosine of vectors, where a zero vector resembles
    nothing, and 1 or 0 for equal or different codes. In [0, 1], up to 2 if vectors have negative entries.

    Args:
        features: at least one; vectors [n_items, d] float, or category codes [n_items] int64.

    >>> genres = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> diversity([genres], torch.tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool))
    tensor([0.6667], dtype=torch.float64)
    """
    n = is_listed.sum(1).double()
    similarity = torch.stack(
        [(_equal_pairs if feature.dim() == 1 else _cosines_of_pairs)(feature, item, is_listed) for feature in features]
    ).mean(0)
    return 1 - similarity / (n * (n - 1) / 2)


def _equal_pairs(code: Tensor, item: Tensor, is_listed: Tensor) -> Tensor:
    """Number of pairs with the same code in each list, [L] float64: each place counts the equal ones before it."""
    codes, order = code[item].sort(dim=1)
    is_listed = is_listed.gather(1, order)
    before = (is_listed.cumsum(1) - is_listed.long()).double()
    run_start = torch.searchsorted(codes, codes)
    return torch.where(is_listed, before - before.gather(1, run_start), 0).sum(1)


def _cosines_of_pairs(vector: Tensor, item: Tensor, is_listed: Tensor) -> Tensor:
    """Sum of the cosines of all pairs in each list, [L] float64: (|Σ v|² - Σ |v|²) / 2 of unit vectors v."""
    unit = torch.nn.functional.normalize(vector.double())
    weight = is_listed.double()
    total = torch.nn.functional.embedding_bag(item, unit, mode="sum", per_sample_weights=weight)
    lengths = (unit.square().sum(1)[item] * weight).sum(1)
    return (total.square().sum(1) - lengths) / 2


def gini(exposure: Tensor) -> Tensor:
    """Gini index of the items' exposure, Σ_i (2 i - n - 1) p_i / (n - 1), where p_1 ≤ … ≤ p_n sum to 1; 0-dim.

    0 if all n items are recommended equally often, 1 if only one ever is. Items that nobody gets count too. NaN if
    nothing is recommended, or if there is only one item.

    Args:
        exposure: [n_items] number of lists that have the item.

    >>> gini(torch.tensor([0, 3, 1]))
    tensor(0.7500, dtype=torch.float64)
    """
    n = len(exposure)
    share = exposure.sort().values.double() / exposure.sum()
    place = torch.arange(1, n + 1, device=exposure.device, dtype=torch.float64)
    return ((2 * place - n - 1) * share).sum() / (n - 1)
