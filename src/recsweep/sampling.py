"""Random items: negatives and slates. Every draw takes an explicit `torch.Generator`; the global seed is untouched."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from recsweep.errors import UserError

ROWS_AT_ONCE = 4096
"""Rows drawn at once: so few that the tensors compared in every step stay in the CPU cache (2 x faster)."""


class UserItems(NamedTuple):
    """A set of items for each user.

    Args:
        item: [S] item ids, users one after another, ascending and distinct within a user.
        start: [n_users + 1], user `u` has `item[start[u]:start[u + 1]]`.
    """

    item: Tensor
    start: Tensor

    def pairs_of(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of users [B], in any order and repeated or not: (position in `user` [P], item [P]), in this order."""
        start = self.start[user]
        count = self.start[user + 1] - start
        user_index = torch.arange(len(user), device=user.device).repeat_interleave(count)
        offset = (start - (count.cumsum(0) - count)).repeat_interleave(count)
        return user_index, self.item[torch.arange(len(user_index), device=user.device) + offset]

    def pairs_between(self, first: int, end: int) -> tuple[Tensor, Tensor]:
        """Pairs of users `first` to `end - 1`: (user - first [P], item [P]), in this order."""
        start = self.start[first : end + 1]
        user_index = torch.repeat_interleave(torch.arange(end - first), start.diff())
        return user_index, self.item[start[0] : start[-1]]


def group_items(user: Tensor, item: Tensor, n_users: int, n_items: int) -> UserItems:
    """Each user's distinct items, from pairs (user [N], item [N]) in any order and with any duplicates.

    >>> group_items(torch.tensor([2, 0, 2, 2]), torch.tensor([4, 1, 3, 4]), n_users=3, n_items=5)
    UserItems(item=tensor([1, 3, 4]), start=tensor([0, 1, 1, 3]))
    """
    pair = torch.unique(user * n_items + item)
    return UserItems(pair % n_items, torch.searchsorted(pair, torch.arange(n_users + 1) * n_items))


class UnseenItems(NamedTuple):
    """The items that each user has not interacted with, in a form that `sample_negatives` can search.

    Args:
        key: [S] int64, ascending: user * n_items + e_i - i for the user's i-th excluded item e_i (i from 0), so
            e_i - i unseen items come before it.
        start: [n_users + 1], user `u` has `key[start[u]:start[u + 1]]`.
        n_items: size of the catalogue.
        fewest: unseen items of the user who has the fewest; known here, so that a draw on a GPU need not ask for it.
    """

    key: Tensor
    start: Tensor
    n_items: int
    fewest: int


def unseen_items(excluded: UserItems, n_items: int) -> UnseenItems:
    """The catalogue of `n_items` without each user's `excluded` items, such as those they have interacted with."""
    count = excluded.start.diff()
    index = torch.arange(len(excluded.item), device=excluded.item.device)
    user = torch.arange(len(count), device=excluded.item.device).repeat_interleave(count)
    unseen_before = excluded.item - (index - excluded.start[user])
    fewest = n_items - int(count.max()) if len(count) else n_items
    return UnseenItems(user * n_items + unseen_before, excluded.start, n_items, fewest)


def sample_negatives(user: Tensor, n: int, unseen: UnseenItems, generator: torch.Generator) -> Tensor:
    """For each row, `n` distinct items drawn uniformly from the user's unseen items.

    Draws n distinct ranks by Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987), for all rows at once, and finds
    the r-th unseen item by binary search, so no draw is rejected. Every set of n unseen items is equally likely; the
    order within a row is not random. Takes O(L · n²) time.

    Args:
        user: [L] int64; the rows of one user are drawn independently.
        n: negatives a row, at least 1.
        unseen: of all users, from `unseen_items`.
        generator: on the device of `user`.

    Returns:
        [L, n] int64 item ids.

    Raises:
        UserError: a user has fewer than `n` unseen items.
    """
    n_unseen = _count_unseen(user, n, unseen)
    chunks = zip(user.split(ROWS_AT_ONCE), n_unseen.split(ROWS_AT_ONCE), strict=True)
    return torch.cat([_items_of_rank(users, _draw_distinct(bound, n, generator), unseen) for users, bound in chunks])


def sample_others(user: Tensor, count: Tensor, unseen: UnseenItems, generator: torch.Generator) -> Tensor:
    """For each row, `count` items drawn uniformly from the user's unseen items.

    They are distinct if the user has so many unseen items; else each of these is drawn equally often, or once more.
    Draws all at once, and draws copies again until there are none: every set of items is equally likely, because no
    item is treated differently from any other.

    Args:
        user: [L] int64; the rows of one user are drawn independently.
        count: [L] int64, from 0; may differ between rows, unlike the n of `sample_negatives`.
        unseen: of all users, from `unseen_items`.
        generator: on the device of `user`.

    Returns:
        [Σ count] int64 item ids, row after row.

    Raises:
        UserError: a user has no unseen item.

    >>> unseen = unseen_items(UserItems(torch.tensor([1, 2]), torch.tensor([0, 2])), n_items=4)
    >>> sample_others(torch.tensor([0]), torch.tensor([2]), unseen, torch.Generator()).sort().values
    tensor([0, 3])
    """
    n_unseen = _count_unseen(user, 1, unseen)
    row = torch.arange(len(user), device=user.device).repeat_interleave(count)
    position = torch.arange(len(row), device=user.device) - (count.cumsum(0) - count)[row]
    bound, n_in_whole_rounds = n_unseen[row], (count - count % n_unseen)[row]
    rank = position % bound
    drawn = redrawn = (position >= n_in_whole_rounds).nonzero()[:, 0]
    while len(redrawn):
        draw = torch.randint(2**62, (len(redrawn),), generator=generator, device=user.device)
        rank[redrawn] = draw % bound[redrawn]
        key, order = (row * unseen.n_items + rank)[drawn].sort(stable=True)
        redrawn = drawn[order[1:][key.diff() == 0]]
    return _items_of_rank(user[row], rank[:, None], unseen)[:, 0]


def _count_unseen(user: Tensor, least: int, unseen: UnseenItems) -> Tensor:
    """The number of unseen items [L] of users [L]; `UserError` if one has fewer than `least`."""
    n_unseen = unseen.n_items - unseen.start.diff()[user]
    if unseen.fewest < least and len(user) and n_unseen.min() < least:
        raise UserError(
            f"cannot sample {least} distinct negatives: a user has only {int(n_unseen.min())} of the catalogue's "
            f"{unseen.n_items} items left without an interaction; sample fewer, or rank the whole catalogue"
        )
    return n_unseen


def _items_of_rank(user: Tensor, rank: Tensor, unseen: UnseenItems) -> Tensor:
    """[L, n] the unseen items of users [L] that have `rank` [L, n] unseen items before them.

    The item of rank r follows all excluded items with e_i - i ≤ r, and is r + their number.
    """
    end = torch.searchsorted(unseen.key, user[:, None] * unseen.n_items + rank, right=True)
    return rank + end - unseen.start[user][:, None]


def _draw_distinct(bound: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """[L, n] distinct integers a row, uniform in [0, bound), bound [L] ≥ n."""
    last = bound - n + torch.arange(n, device=bound.device)[:, None]
    draw = torch.randint(2**62, (n, len(bound)), generator=generator, device=bound.device) % (last + 1)
    chosen = torch.empty_like(draw)
    for i in range(n):
        is_taken = (chosen[:i] == draw[i]).any(0)
        chosen[i] = torch.where(is_taken, last[i], draw[i])
    return chosen.T.contiguous()


@torch.no_grad()
def sample_slates(probs: Tensor, n_slates: int, slate_size: int, generator: torch.Generator) -> Tensor:
    """Items drawn independently and with replacement from each row's distribution, sorted within each slate.

    Inverts the distribution function at sorted uniform numbers, in float32: probabilities are exact to about 1e-7,
    and items of probability 0 (or below 1e-9) are never drawn.

    Args:
        probs: [B, n_items] floating point, each row a distribution.
        n_slates: slates a row, at least 1.
        slate_size: items a slate, at least 1.
        generator: on the device of `probs`.

    Returns:
        [B, n_slates, slate_size] int32 item ids, ascending within a slate.

    Raises:
        UserError: a row is not a distribution, such as the softmax of NaN. Not on a GPU, for which the host would have
            to wait; there the loss of such a batch is NaN, which ends the training with its epoch.

    >>> sample_slates(torch.tensor([[0.0, 1.0, 0.0]]), 2, 3, torch.Generator())
    tensor([[[1, 1, 1],
             [1, 1, 1]]], dtype=torch.int32)
    """
    n_rows, n_items = probs.shape
    n_cells = 2 ** n_items.bit_length()
    # Summed as integers: a parallel cumulative sum of floats may descend.
    mass = probs.mul(2**30).int().cumsum(1, dtype=torch.int32).float()
    on_cpu = mass.device.type == "cpu"
    if on_cpu and mass[:, -1].amin() <= 0:
        raise UserError("cannot sample slates: the policy's probabilities are NaN or 0; did training diverge?")
    cdf = mass / (mass[:, -1:] / n_cells)  # n_cells is a power of 2, so the last value is n_cells exactly
    point = _draw_ascending(n_rows, slate_size, n_slates, n_cells, generator)
    if on_cpu:
        return _search_cdf(cdf, point, n_cells).mT
    index = torch.searchsorted(cdf, point.flatten(1), out_int32=True).clamp_(max=n_items - 1)
    return index.view_as(point).mT


def _draw_ascending(n_rows: int, size: int, n: int, end: int, generator: torch.Generator) -> Tensor:
    """[n_rows, size, n] uniform in (0, end], ascending along the second dimension; `end` is a power of 2.

    Needs no sort: the times of the first `size` events of a Poisson process, divided by the time of the next one, are
    sorted uniform numbers (Devroye, Non-Uniform Random Variate Generation, 1986, section V.3.1).
    """
    time = _draw_bits(n_rows, size + 1, n, generator).float().abs_().clamp_(0.5, 2**31 - 128)
    time = time.mul_(2**-31).log_().cumsum_(1)  # negative; the sign cancels
    return time[:, :-1] / (time[:, -1:] / end)


def _draw_bits(n_rows: int, size: int, n: int, generator: torch.Generator) -> Tensor:
    """[n_rows, size, n] int32 of random bits; two numbers from 64 bits take half the time of two draws."""
    pairs = torch.empty(n_rows, size, (n + 1) // 2, dtype=torch.int64, device=generator.device)
    return pairs.random_(-(2**63), None, generator=generator).view(torch.int32)[..., :n]


def _search_cdf(cdf: Tensor, point: Tensor, n_cells: int) -> Tensor:
    """The first item at which each row of `cdf` [B, n_items], which ascends to n_cells, reaches each of its points.

    A table holds how many values lie below each whole number; a binary search continues from there. Comparisons read
    the sign bit of a difference, which is 8 times as fast as `<`.

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
    value = pad(cdf, (0, padding), value=torch.inf).flatten()  # no step crosses into the next row
    below = in_cell.flatten().cumsum(0, dtype=torch.int32)
    cell = point.int().add_(_row_start(len(cdf), n_cells + 2, cdf.device)).flatten()
    target, index = point.flatten(), below.index_select(0, cell)
    for step in steps:
        gap = value[step - 1 :].index_select(0, index).sub_(target)
        index.sub_(gap.view(torch.int32) >> 31, alpha=step)
    return index.view_as(point).sub_(_row_start(len(cdf), cdf.shape[1] + padding, cdf.device))


def _row_start(n_rows: int, width: int, device: torch.device) -> Tensor:
    """[n_rows, 1, 1] int32 positions at which the rows of a flattened table of this width start."""
    return torch.arange(0, n_rows * width, width, dtype=torch.int32, device=device)[:, None, None]
