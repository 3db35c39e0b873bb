"""Exact search: scores all items and takes the best unseen ones."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES, check_scores
from recsweep.sampling import UserItems
from recsweep.vectors.export import Embedded

CPU_SCORES = 2**22  # scores that a model gives at once on a CPU, whose allocator keeps freed blocks below 32 MiB
BLOCK = 64

WriteScores = Callable[[Tensor, Tensor], object]
"""Takes users [b], and a tensor [b, n_items] float32 into which it writes their scores."""


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
    return best_items(copy_scores(score_all), user, seen, n_items, k)


def check_unseen(user: Tensor, seen: UserItems, n_items: int, k: int) -> None:
    """Raises `UserError` where one of the users [B] has fewer than k unseen items."""
    fewest = n_items - int(seen.start.diff()[user.cpu()].max())
    if k > fewest:
        raise UserError(f"k={k}: a user has only {fewest} unseen items of {n_items}")


@torch.inference_mode()
def best_items(write_scores: WriteScores, user: Tensor, seen: UserItems, n_items: int, k: int) -> tuple[Tensor, Tensor]:
    """`top_k` for k up to `n_items`; where a user has fewer items left, any others follow, with a score of -inf.

    All scores are written into the same memory: to get new memory takes longer than products of vectors.

    Raises:
        UserError: a score is NaN.
    """
    at_once = max(1, MAX_SCORES // n_items)
    memory = torch.empty(min(at_once, len(user)), n_items, device=user.device)
    items, values = [], []
    for chunk in user.split(at_once):
        scores = memory[: len(chunk)]
        write_scores(chunk, scores)
        user_index, item = seen.pairs_of(chunk.cpu())
        scores[user_index.to(scores.device), item.to(scores.device)] = -torch.inf
        best = take_best(scores, k)
        values.append(check_scores(best[0], len(chunk), 2))  # NaN is above all numbers
        items.append(best[1])
    return torch.cat(items), torch.cat(values)


def copy_scores(score_all: Callable[[Tensor], Tensor]) -> WriteScores:
    """Writes what a model returns, with -inf raised to the lowest finite number, since -inf marks what is left out."""

    def write(user: Tensor, scores: Tensor) -> None:
        n_users = max(1, CPU_SCORES // scores.shape[1]) if scores.device.type == "cpu" else len(user)
        for users, part in zip(user.split(n_users), scores.split(n_users), strict=True):
            torch.clamp(check_scores(score_all(users), len(users), 2), min=torch.finfo(part.dtype).min, out=part)

    return write


def multiply_vectors(model: Embedded) -> WriteScores:
    """Writes the dot products of vectors."""

    def write(user: Tensor, scores: Tensor) -> None:
        torch.mm(model.user_vectors(user).float(), model.item_vectors().float().T, out=scores)

    return write


def take_best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest scores of each row [B, k], best first, and their columns [B, k], from scores [B, n].

    Of blocks of columns, the k with the largest maxima hold k largest scores: no other block has a larger one. So most
    columns are read once, for the maxima.
    """
    n_blocks = scores.shape[1] // BLOCK
    if n_blocks <= 4 * k:
        return torch.topk(scores, k)
    whole, rest = scores[:, : n_blocks * BLOCK].unflatten(1, (n_blocks, BLOCK)), scores[:, n_blocks * BLOCK :]
    block = whole.amax(2).topk(k, sorted=False).indices
    candidates = whole[torch.arange(len(scores), device=scores.device)[:, None], block].flatten(1)
    best = torch.cat([candidates, rest], 1).topk(k)
    block = pad(block, (0, 1), value=n_blocks)
    return best.values, block.gather(1, best.indices // BLOCK) * BLOCK + best.indices % BLOCK
