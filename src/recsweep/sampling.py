"""Drawing items: every function takes an explicit `torch.Generator`; none touches the global seed."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

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

    def of(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of any users [B], repeated ones too: ([P] place in `user`, [P] item), ordered by place, then item."""
        count = self.start.diff()[user]
        row = torch.arange(len(user), device=user.device).repeat_interleave(count)
        offset = (self.start[user] - (count.cumsum(0) - count)).repeat_interleave(count)
        return row, self.item[torch.arange(len(row), device=user.device) + offset]

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


class Unseen(NamedTuple):
    """What each user does not have, in a form to draw from: made once, `sample_negatives` searches it.

    Args:
        key: [S] int64, ascending: user * n_items + e_i - i for the i-th excluded item e_i of a user, which has e_i - i
            allowed items before it.
        start: [n_users + 1] those of user `u` are `key[start[u]:start[u + 1]]`.
        n_items: size of the catalogue.
    """

    key: Tensor
    start: Tensor
    n_items: int


def unseen(excluded: UserItems, n_items: int) -> Unseen:
    """The catalogue of `n_items` without what each user must not be given, such as all items known to be positive."""
    count = excluded.start.diff()
    place = torch.arange(len(excluded.item), device=excluded.item.device)
    user = torch.arange(len(count), device=excluded.item.device).repeat_interleave(count)
    allowed_before = excluded.item - (place - excluded.start[user])
    return Unseen(user * n_items + allowed_before, excluded.start, n_items)


def sample_negatives(user: Tensor, n: int, allowed: Unseen, generator: torch.Generator) -> Tensor:
    """For each row, `n` distinct items drawn uniformly from those that its user does not have.

    The r-th allowed item of a user is found by binary search, so nothing is drawn in vain; that the n
    places r differ is Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987), for all rows at once. Every
    set of n allowed items is equally likely; the order within a row is not random. Takes O(L · n²) time.

    Args:
        user: [L] int64, a user may stand in several rows; each row draws anew.
        n: negatives a row, at least 1.
        allowed: what each user may be given, from `unseen`.
        generator: on the device of `user`.

    Returns:
        [L, n] int64 item ids.

    Raises:
        UserError: where a user has fewer than `n` allowed items.
    """
    left = allowed.n_items - allowed.start.diff()[user]
    if len(user) and left.min() < n:
        raise UserError(
            f"cannot sample {n} distinct negatives: a user has only {int(left.min())} of the catalogue's "
            f"{allowed.n_items} items left without an interaction; sample fewer, or rank the whole catalogue"
        )
    chunks = zip(user.split(CACHED_ROWS), left.split(CACHED_ROWS), strict=True)
    return torch.cat([_items_at(some, _distinct_below(bound, n, generator), allowed) for some, bound in chunks])


def _items_at(user: Tensor, place: Tensor, allowed: Unseen) -> Tensor:
    """The item at each `place` [L, n] among those that the row's user [L] may be given.

    The item at place r comes after all excluded items with e_i - i ≤ r, and is r + their number.
    """
    before = torch.searchsorted(allowed.key, user[:, None] * allowed.n_items + place, right=True)
    return place + before - allowed.start[user][:, None]


def _distinct_below(bound: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """[L, n] distinct integers of each row, uniform in [0, bound), bound [L] ≥ n."""
    last = bound - n + torch.arange(n, device=bound.device)[:, None]
    draw = torch.randint(2**62, (n, len(bound)), generator=generator, device=bound.device) % (last + 1)
    chosen = torch.empty_like(draw)
    for i in range(n):
        taken = (chosen[:i] == draw[i]).any(0)
        chosen[i] = torch.where(taken, last[i], draw[i])
    return chosen.T.contiguous()


@torch.no_grad()
def sample_slates(probs: Tensor, n_slates: int, slate_size: int, generator: torch.Generator) -> Tensor:
    """Items drawn independently and with replacement from each row's distribution, sorted within each slate.

    Inverts the distribution function at sorted uniform numbers. Both have the resolution of float32: a
    probability is right to about 1e-7, and one that is 0 (or below 1e-9) is never drawn.

    Args:
        probs: [B, n_items] floating point, each row a distribution.
        n_slates: slates a row, at least 1.
        slate_size: items a slate, at least 1.
        generator: on the device of `probs`.

    Returns:
        [B, n_slates, slate_size] int32 item ids, ascending within a slate, so that equal ones are neighbours.

    Raises:
        UserError: where a row is not a distribution, such as the softmax of NaN.

    >>> sample_slates(torch.tensor([[0.0, 1.0, 0.0]]), 2, 3, torch.Generator())
    tensor([[[1, 1, 1],
             [1, 1, 1]]], dtype=torch.int32)
    """
    n_rows, n_items = probs.shape
    n_cells = 2 ** n_items.bit_length()
    # Summed as integers, because a parallel sum of floats need not ascend.
    mass = probs.mul(2**30).int().cumsum(1, dtype=torch.int32).float()
    if mass[:, -1].amin() <= 0:
        raise UserError("cannot sample slates: the policy's probabilities are NaN or 0; did training diverge?")
    cdf = mass / (mass[:, -1:] / n_cells)  # a power of 2, so the last value is n_cells exactly
    point = _ascending_points(n_rows, slate_size, n_slates, n_cells, generator)
    return _first_reaching(cdf, point, n_cells).mT


def _ascending_points(n_rows: int, size: int, n: int, end: int, generator: torch.Generator) -> Tensor:
    """[n_rows, size, n] uniform in (0, end], ascending along the second dimension; `end` is a power of 2.

    The times of the first `size` events of a Poisson process, divided by that of the next, are sorted uniform
    numbers (Devroye, Non-Uniform Random Variate Generation, 1986, section V.3.1), and nothing needs sorting.
    """
    time = _bits(n_rows, size + 1, n, generator).float().abs_().clamp_(0.5, 2**31 - 128)
    time = time.mul_(2**-31).log_().cumsum_(1)  # negative, which cancels
    return time[:, :-1] / (time[:, -1:] / end)


def _bits(n_rows: int, size: int, n: int, generator: torch.Generator) -> Tensor:
    """[n_rows, size, n] int32 of random bits, two from each 64 bits: twice as fast as one by one."""
    pairs = torch.empty(n_rows, size, (n + 1) // 2, dtype=torch.int64, device=generator.device)
    return pairs.random_(-(2**63), None, generator=generator).view(torch.int32)[..., :n]


def _first_reaching(cdf: Tensor, point: Tensor, n_cells: int) -> Tensor:
    """The first item at which each row of `cdf` [B, n_items], which ascends to n_cells, reaches its points.

    A table tells how many values lie below each whole number, a binary search goes on from there. The sign is
    shifted out of a difference's bits, since a comparison takes 8 times as long.

    Args:
        point: [B, ...] in (0, n_cells].

    Returns:
        int32, in the shape of `point`.
    """
    in_cell = torch.zeros(len(cdf), n_cells + 2, dtype=torch.int32, device=cdf.device)
    in_cell[:, 1:].scatter_add_(1, cdf.long(), torch.ones_like(cdf, dtype=torch.int32))
    steps = [2**i for i in range(int(in_cell[:, :-1].amax()).bit_length())][::-1]
    padding = sum(steps)
    in_cell[:, -1] += padding
    value = pad(cdf, (0, padding), value=torch.inf).flatten()  # so that no step leads into the next row
    below = in_cell.flatten().cumsum(0, dtype=torch.int32)
    cell = point.int().add_(_starts(len(cdf), n_cells + 2, cdf.device)).flatten()
    target, place = point.flatten(), below.index_select(0, cell)
    for step in steps:
        gap = value[step - 1 :].index_select(0, place).sub_(target)
        place.sub_(gap.view(torch.int32) >> 31, alpha=step)
    return place.view_as(point).sub_(_starts(len(cdf), cdf.shape[1] + padding, cdf.device))


def _starts(n_rows: int, width: int, device: torch.device) -> Tensor:
    """[n_rows, 1, 1] int32, where each row starts in a flattened table of this width."""
    return torch.arange(0, n_rows * width, width, dtype=torch.int32, device=device)[:, None, None]
