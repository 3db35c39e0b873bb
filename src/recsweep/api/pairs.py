"""Scores of pairs of users and items."""

import torch
from torch import Tensor

from recsweep.evaluation.protocol import MAX_SCORES, PairScorer, check_scores

PAIRS_AT_ONCE = 2**16
USERS_AT_ONCE = 1024  # of pairs: some models score all items of each user


@torch.inference_mode()
def score_pairs(model: PairScorer, user: Tensor, item: Tensor, n_items: int, device: torch.device) -> Tensor:
    """Scores [n] float32 of pairs (user [n], item [n]), on the CPU; `UserError` if one is NaN."""
    values = torch.empty(len(user))
    for row in _split_pairs(user, n_items):
        scores = model.score(user[row].to(device), item[row].to(device))
        values[row] = check_scores(scores, len(row), 1).float().cpu()
    return values


def _split_pairs(user: Tensor, n_items: int) -> list[Tensor]:
    """The positions of pairs with these users [n], in parts that have few users each."""
    order = user.argsort(stable=True)
    _, user_number = user[order].unique_consecutive(return_inverse=True)
    n_users = max(1, min(USERS_AT_ONCE, MAX_SCORES // n_items))
    _, sizes = (user_number // n_users).unique_consecutive(return_counts=True)
    return [row for part in order.split(sizes.tolist()) for row in part.split(PAIRS_AT_ONCE) if len(row)]
