"""Facts about a data set that `recsweep data prepare` shows: ratings, times and their ties, what a split leaves out."""

from datetime import UTC, datetime

import torch
from torch import Tensor

from recsweep.data.schema import Interactions, Split

MAX_BARS = 10
BAR_WIDTH = 20
FIRST_DATE = 10**8  # seconds: in 1973


def count_users_with_one_row(data: Interactions) -> int:
    """Number of users with exactly one row."""
    return int((torch.bincount(data.user, minlength=data.n_users) == 1).sum())


def count_repeats(data: Interactions) -> int:
    """Number of rows that repeat a user and an item: all but one row of each pair."""
    return len(data) - len(torch.unique(data.user * data.n_items + data.item))


def count_items_only_in_test(data: Interactions, split: Split) -> int:
    """Number of items that have test rows, but no train or validation rows."""
    earlier = torch.cat([split.train, split.val])
    in_test, known = (torch.bincount(data.item[rows], minlength=data.n_items) > 0 for rows in (split.test, earlier))
    return int((in_test & ~known).sum())


def count_users_unseen_in_train(data: Interactions, split: Split) -> int:
    """Number of users that have validation or test rows, but no train rows."""
    held_out = torch.cat([split.val, split.test])
    in_held_out, known = (
        torch.bincount(data.user[rows], minlength=data.n_users) > 0 for rows in (held_out, split.train)
    )
    return int((in_held_out & ~known).sum())


def share_of_the_future(data: Interactions, split: Split) -> float:
    """Share of the train rows that are later than the first test row."""
    return (data.seconds[split.train] > data.seconds[split.test].min()).double().mean().item()


def rating_histogram(rating: Tensor) -> list[tuple[str, int]]:
    """Label and number of rows of each distinct rating; of ten intervals of equal width if there are more ratings."""
    values, counts = rating.double().unique(return_counts=True)
    if len(values) <= MAX_BARS:
        return [(f"{value:g}", int(count)) for value, count in zip(values.tolist(), counts.tolist(), strict=True)]
    edges = torch.linspace(float(values[0]), float(values[-1]), MAX_BARS + 1, dtype=torch.float64)
    bins = torch.bucketize(values, edges[1:-1], right=True)
    sums = torch.zeros(MAX_BARS, dtype=torch.int64).index_add_(0, bins, counts)
    return [(f"{edges[k]:.3g} to {edges[k + 1]:.3g}", int(sums[k])) for k in range(MAX_BARS)]


def draw_histogram(bars: list[tuple[str, int]]) -> str:
    """A line for each bar: label, bar, number of rows.

    >>> print(draw_histogram([("1", 2), ("10", 1)]))
     1 ████████████████████ 2
    10 ██████████ 1
    """
    width, most = max(len(label) for label, _ in bars), max(count for _, count in bars)
    lines = (f"{label:>{width}} {'█' * round(BAR_WIDTH * count / most)} {count:,}" for label, count in bars)
    return "\n".join(lines)


def share_of_ties(data: Interactions) -> float:
    """Share of the rows that have the time of the row before or after them among the rows of their user in time."""
    by_time = data.seconds.argsort(stable=True)
    order = by_time[data.user[by_time].argsort(stable=True)]
    user, seconds = data.user[order], data.seconds[order]
    equal = (user[1:] == user[:-1]) & (seconds[1:] == seconds[:-1])
    no = torch.zeros(1, dtype=torch.bool)
    return (torch.cat([equal, no]) | torch.cat([no, equal])).double().mean().item()


def count_users_split_within_a_time(data: Interactions, split: Split) -> int:
    """Number of users of whom rows in different parts have the same time."""
    part = torch.full((len(data),), -1)
    for number, rows in enumerate(split[:3]):
        part[rows] = number
    assigned = (part >= 0).nonzero().flatten()
    by_time = assigned[data.seconds[assigned].argsort(stable=True)]
    order = by_time[data.user[by_time].argsort(stable=True)]
    user, seconds = data.user[order], data.seconds[order]
    moment = torch.cat([torch.zeros(1, dtype=torch.int64), ((user.diff() != 0) | (seconds.diff() != 0)).cumsum(0)])
    low = torch.full((int(moment[-1]) + 1,), 3).scatter_reduce_(0, moment, part[order], "amin")
    high = torch.full_like(low, -1).scatter_reduce_(0, moment, part[order], "amax")
    return len(user[(low != high)[moment]].unique())


def describe_times(first: int, last: int) -> str:
    """First and last time; plain numbers where even the last is too early for a date, as for positions in a sequence.

    >>> describe_times(0, 1601450800)
    '1970-01-01 00:00:00 to 2020-09-30 07:26:40 UTC'
    >>> describe_times(0, 49)
    '0 to 49'
    """
    if last < FIRST_DATE:
        return f"{first} to {last}"
    return f"{format_time(first)} to {format_time(last)} UTC"


def format_time(seconds: int) -> str:
    """The time in UTC; the number of seconds if it is beyond the years that a calendar has."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"
