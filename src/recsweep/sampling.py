"""Drawing items: every function takes an explicit `torch.Generator`; none touches the global seed."""

from typing import NamedTuple

import torch
from torch import Tensor

from recsweep.errors import UserError

CACHED_ROWS = 4096
"""Rows drawn at once: so few that what is compared again and again stays in the cache (2 x faster)."""


class UserItems(NamedTuple):
    """A set of items for each user.

    Args:
        item: [S] item ids, users one after another, ascending and distinct within a user.
        start: [n_users + 1] those of user `u` are `item[start[u]:start[u + 1]]`.
    """

    item: Tensor
    start: Tensor

    def between(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Pairs of users `first` to `last - 1`: ([P] user - first, [P] item), ordered by user, then item."""
        start = self.start[first : last + 1]
        user = torch.repeat_interleave(torch.arange(last - first), start.diff())
        return user, self.item[start[0] : start[-1]]


def group_items(user: Tensor, item: Tensor, n_users: int, n_items: int) -> UserItems:
    """Each user's distinct items, from pairs (user [N], item [N]) in any order, duplicates allowed.

    >>> group_items(torch.tensor([2, 0, 2, 2]), torch.tensor([4, 1, 3, 4]), n_users=3, n_items=5)
    UserItems(item=tensor([1, 3, 4]), start=tensor([0, 1, 1, 3]))
    """
    pair = torch.unique(user * n_items + item)
    return UserItems(pair % n_items, torch.searchsorted(pair, torch.arange(n_users + 1) * n_items))


def sample_negatives(user: Tensor, n: int, excluded: UserItems, n_items: int, generator: torch.Generator) -> Tensor:
    """For each row, `n` distinct items drawn uniformly from those that its user does not exclude.

    The r-th allowed item of a user is found by binary search, so nothing is drawn in vain; that the n
    places r differ is Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987), for all rows at once. Every
    set of n allowed items is equally likely; the order within a row is not random. Takes O(L · n²) time.

    Args:
        user: [L] int64, a user may stand in several rows; each row draws anew.
        n: negatives a row, at least 1.
        excluded: what each user must not be given, such as all items known to be positive.
        n_items: size of the catalogue.
        generator: on the CPU.

    Returns:
        [L, n] int64 item ids.

    Raises:
        UserError: where a user has fewer than `n` allowed items.
    """
    allowed = n_items - excluded.start.diff()[user]
    if len(user) and allowed.min() < n:
        raise UserError(
            f"cannot sample {n} distinct negatives: a user has only {int(allowed.min())} of the catalogue's "
            f"{n_items} items left without an interaction; sample fewer, or rank the whole catalogue"
        )
    chunks = torch.split(allowed, CACHED_ROWS)
    place = torch.cat([_distinct_below(bound, n, generator) for bound in chunks])
    return _allowed_item(user, place, excluded, n_items)


def _distinct_below(bound: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """[L, n] distinct integers of each row, uniform in [0, bound), bound [L] ≥ n."""
    last = bound - n + torch.arange(n)[:, None]
    draw = torch.randint(2**62, (n, len(bound)), generator=generator) % (last + 1)
    chosen = torch.empty_like(draw)
    for i in range(n):
        taken = (chosen[:i] == draw[i]).any(0)
        chosen[i] = torch.where(taken, last[i], draw[i])
    return chosen.T


def _allowed_item(user: Tensor, place: Tensor, excluded: UserItems, n_items: int) -> Tensor:
    """The item at each `place` [L, n] among the ascending items that the row's user does not exclude.

    The i-th excluded item e_i has e_i - i allowed items before it, so the item at place r comes after all
    excluded items with e_i - i ≤ r, and is r + their number.
    """
    owner = torch.repeat_interleave(torch.arange(len(excluded.start) - 1), excluded.start.diff())
    allowed_before = excluded.item - (torch.arange(len(excluded.item)) - excluded.start[owner])
    keys = owner * n_items + allowed_before
    before = torch.searchsorted(keys, user[:, None] * n_items + place, right=True)
    return place + before - excluded.start[user][:, None]
