"""Exact search: scores all items and takes the best unseen ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES
from recsweep.sampling import UserItems

CPU_SCORES = 2**22  # scores at once on a CPU, whose allocator keeps freed blocks below 32 MiB for the next ones


@torch.inference_mode()
def top_k(
    score_all: Callable[[Tensor], Tensor], user: Tensor, seen: UserItems, n_items: int, k: int
) -> tuple[Tensor, Tensor]:
    """The k best items [B, k] that users [B] have not seen, best first, and their scores [B, k].

    Args:
        score_all: users [b] -> scores [b, n_items], on the device of `user`.
        seen: the items of each user to leave out; on the CPU.

    Raises:
        UserError: a user has fewer than k unseen items.
    """
    check_unseen(user, seen, n_items, k)
    return best_items(score_all, user, seen, n_items, k)


def check_unseen(user: Tensor, seen: UserItems, n_items: int, k: int) -> None:
    """Raises `UserError` where one of the users [B] has fewer than k unseen items."""
    fewest = n_items - int(seen.start.diff()[user.cpu()].max())
    if k > fewest:
        raise UserError(f"k={k}: a user has only {fewest} unseen items of {n_items}")


@torch.inference_mode()
def best_items(
    score_all: Callable[[Tensor], Tensor], user: Tensor, seen: UserItems, n_items: int, k: int
) -> tuple[Tensor, Tensor]:
    """`top_k` for k up to `n_items`; where a user has fewer items left, any others follow, with a score of -inf."""
    items, scores = [], []
    at_once = min(MAX_SCORES, CPU_SCORES) if user.device.type == "cpu" else MAX_SCORES
    for chunk in user.split(max(1, at_once // n_items)):
        score = score_all(chunk).float()
        user_index, item = seen.pairs_of(chunk.cpu())
        masked = user_index.to(score.device), item.to(score.device)
        best = score.index_put(masked, score.new_full((), -torch.inf)).topk(k)
        items.append(best.indices)
        scores.append(best.values)
    return torch.cat(items), torch.cat(scores)
