"""Exact search: every item is scored, and the best unseen ones are taken."""

from collections.abc import Callable

import torch
from torch import Tensor

from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES
from recsweep.sampling import UserItems


@torch.inference_mode()
def top_k(
    score_all: Callable[[Tensor], Tensor], user: Tensor, seen: UserItems, n_items: int, k: int
) -> tuple[Tensor, Tensor]:
    """Items [B, k] that users [B] have not seen, best first, and their scores [B, k].

    Args:
        score_all: users [b] -> scores [b, n_items], on the device of `user`.
        seen: of every user, the items that are left out; on the CPU.

    Raises:
        UserError: a user has fewer than k unseen items.
    """
    fewest = n_items - int(seen.start.diff()[user.cpu()].max())
    if k > fewest:
        raise UserError(f"k={k}: a user has only {fewest} unseen items of {n_items}")
    items, scores = [], []
    for chunk in user.split(max(1, MAX_SCORES // n_items)):
        score = score_all(chunk).float()
        row, item = seen.of(chunk.cpu())
        left_out = row.to(score.device), item.to(score.device)
        best = score.index_put(left_out, score.new_tensor(-torch.inf)).topk(k)
        items.append(best.indices)
        scores.append(best.values)
    return torch.cat(items), torch.cat(scores)
