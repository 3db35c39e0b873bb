"""The lists of a ranking: their users, what is relevant and seen, and the negatives of sampled ones."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from recsweep.errors import UserError
from recsweep.evaluation.protocol import Target
from recsweep.sampling import ROWS_AT_ONCE, group_items, sample_negatives, unseen_items


def catalogue_batches(target: Target, batch_size: int) -> Iterator[tuple[Any, ...]]:
    """One list a user: user [L], the pairs (list, item) that are relevant ([P], [P]) and seen ([S], [S]), and R.

    R, the most relevant items of a list, is counted here, where the pairs are on the CPU: a GPU would be waited for.
    """
    data = target.data
    users, user_index = torch.unique(data.user[target.held_out], return_inverse=True)
    relevant = group_items(user_index, data.item[target.held_out], len(users), data.n_items)
    seen = group_items(*_seen_pairs(target, users), len(users), data.n_items)
    for first in range(0, len(users), batch_size):
        end = min(first + batch_size, len(users))
        most = int(relevant.start[first : end + 1].diff().max())
        yield users[first:end], *relevant.pairs_between(first, end), *seen.pairs_between(first, end), most


def candidate_batches(target: Target, batch_size: int, n_negatives: int, seed: int) -> Iterator[tuple[Tensor, ...]]:
    """One list a held-out row: user [L], and candidates [L, 1 + n] with the held-out item first."""
    data = target.data
    user, item = data.user[target.held_out], data.item[target.held_out]
    if target.candidates is None:
        negatives_of = _negative_sampler(target, n_negatives, seed)
    elif target.candidates.shape[1] == n_negatives:
        negatives_of = target.candidates.__getitem__
    else:
        raise UserError(
            f"evaluation.n_negatives={n_negatives}, but {data.name} publishes {target.candidates.shape[1]} "
            "negatives a row: set it to that"
        )
    for index in torch.arange(len(user)).split(ROWS_AT_ONCE):  # all at once would take gigabytes for a million users
        candidates = torch.cat([item[index, None], negatives_of(index)], 1)
        yield from zip(user[index].split(batch_size), candidates.split(batch_size), strict=True)


def _negative_sampler(target: Target, n_negatives: int, seed: int) -> Callable[[Tensor], Tensor]:
    """A function from positions [L] in `target.held_out` to negatives [L, n]; each call continues the random stream."""
    data = target.data
    users, user_index = torch.unique(data.user[target.held_out], return_inverse=True)
    seen_index, seen_item = _seen_pairs(target, users)
    excluded_index = torch.cat([seen_index, user_index])
    excluded_item = torch.cat([seen_item, data.item[target.held_out]])
    unseen = unseen_items(group_items(excluded_index, excluded_item, len(users), data.n_items), data.n_items)
    generator = torch.Generator().manual_seed(seed)
    return lambda index: sample_negatives(user_index[index], n_negatives, unseen, generator)


def _seen_pairs(target: Target, users: Tensor) -> tuple[Tensor, Tensor]:
    """(position in `users`, item) of each seen row of one of the ascending `users`."""
    index_of_user = torch.full((target.data.n_users,), -1)
    index_of_user[users] = torch.arange(len(users))
    user_index = index_of_user[target.data.user[target.seen]]
    is_kept = user_index >= 0
    return user_index[is_kept], target.data.item[target.seen][is_kept]
