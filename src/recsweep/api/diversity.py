"""Lists whose items differ: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998)."""

from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsweep.api.similar import explain_refusal
from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES
from recsweep.models.item_item import ItemItem
from recsweep.vectors.export import Embedded

CANDIDATES = 1000

Choose = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""Candidates [B, C], best first, their scores [B, C], and k -> lists [B, k] and their scores [B, k]."""

CompareItems = Callable[[Tensor], Tensor]
"""Items [B, C] -> the similarity of every two items of a row [B, C, C]."""


def count_candidates(k: int, n_items: int) -> int:
    """How many of the best items of a user a list of k is chosen from: 10 k, but at most 1,000 unless k is larger."""
    return min(max(k, min(10 * k, CANDIDATES)), n_items)


@torch.inference_mode()
def learn_similarity(model: nn.Module) -> CompareItems:
    """The similarity of items to a model: the cosine of its vectors of items.

    For a model with weights between items, the cosine of their sets of users: n_ij / √(n_i n_j), where n_ij users have
    both items.

    Raises:
        UserError: the model has neither.
    """
    if isinstance(model, ItemItem):
        count = ItemItem.count_pairs(model)  # a model of orders has another count of its own
        norm = count.diagonal().clamp(min=1).sqrt()
        cosine = (count / norm / norm[:, None]).float()
        return lambda items: cosine[items[:, :, None], items[:, None]]
    if not isinstance(model, Embedded):
        raise UserError(f"diversity: {explain_refusal(model)}")
    vectors = normalize(model.item_vectors().float())

    def compare(items: Tensor) -> Tensor:
        own = vectors[items]
        return own @ own.mT

    return compare


def make_chooser(model: nn.Module, diversity: float) -> Choose | None:
    """Lists by `rerank`; None where diversity is 0. `UserError` as in `learn_similarity`, or if it is not in [0, 1]."""
    if not (isinstance(diversity, Real) and 0 <= diversity <= 1):
        raise UserError(f"diversity={diversity}: a number from 0, the best scores, to 1")
    if diversity == 0:
        return None
    compare = learn_similarity(model)

    @torch.inference_mode()
    def choose(items: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
        n_users = max(1, MAX_SCORES // items.shape[1] ** 2)
        parts = zip(items.split(n_users), scores.split(n_users), strict=True)
        column = torch.cat([rerank(part, compare(candidates), k, diversity) for candidates, part in parts])
        return items.gather(1, column), scores.gather(1, column)

    return choose


def rerank(scores: Tensor, similarity: Tensor, k: int, diversity: float) -> Tensor:
    """The columns [B, k] of the candidates that maximal marginal relevance chooses, in its order.

    One after another it takes the candidate i with the largest (1 - diversity) r_i - diversity max_j s_ij, where j are
    those that it took before, and r_i is the score on a scale from 0, of the worst candidate, to 1, of the best. The
    best one is the first. Of equal candidates the first is taken.

    Args:
        scores: [B, C], best first; -inf marks a candidate that is taken only where no other is left.
        similarity: [B, C, C].
        k: C at most.
        diversity: in [0, 1]; with 0, the order of the scores.

    >>> similarity = torch.tensor([[[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    >>> rerank(torch.tensor([[5.0, 4.0, 3.0]]), similarity, k=2, diversity=0.5)
    tensor([[0, 2]])
    """
    row, lowest = torch.arange(len(scores), device=scores.device), torch.finfo(scores.dtype).min
    worst = scores.where(scores > lowest, torch.inf).amin(1, keepdim=True)
    relevance = ((scores - worst) / (scores[:, :1] - worst)).nan_to_num(0).clamp(min=0)
    is_missing = scores == -torch.inf
    is_taken = torch.zeros_like(is_missing)
    column = torch.zeros_like(row)
    columns, nearest = [column], similarity[:, 0]
    for _ in range(k - 1):
        is_taken[row, column] = True
        value = (1 - diversity) * relevance - diversity * nearest
        column = value.masked_fill(is_missing, lowest).masked_fill(is_taken, -torch.inf).argmax(1)
        columns.append(column)
        nearest = torch.maximum(nearest, similarity[row, column])
    return torch.stack(columns, 1)
