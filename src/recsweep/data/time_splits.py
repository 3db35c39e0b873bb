"""Splits in time for all users alike: nothing in train is later than anything in val, nor that than anything in test.

A cut lies between two times: rows of one time are in one part, the later one. Users and items without a row in train
are cold. Rows of theirs in val and test are dropped, so that they are in no part, or kept; either way a line says how
many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.schema import Interactions, Source, Split
from recsweep.data.sheet import note_once
from recsweep.data.splits import Fraction, check_fold, check_parts, position_in_group, times_of
from recsweep.data.summary import format_time
from recsweep.data.times import ALLOWED, BadTime, to_seconds
from recsweep.errors import UserError

Targets = Literal["all", "next"]
"""Which rows of val and of test are held out, see `GlobalTime`."""
Cold = Literal["drop", "keep"]
"""What to do with rows of users, and of items, without a row in train."""
Moment = str | int | float
"""An ISO date or date-time, a number since 1970, or, between 0 and 1, a share of the rows in time."""


@dataclass(frozen=True)
class GlobalTime:
    """Train before one moment, validation before another, test from there on.

    Args:
        val_from, test_from: the moments.
        cold_users: what to do with rows of users, and of items, without a row in train.
        targets: `all` holds out every later row. `next` holds out what a user does next: in val the first of their rows
            after one moment, in test the first after the other (of equal times, the first in the file). All their other
            later rows are in no part: nothing is trained on them, ranked or masked. So a model knows of a user what is
            before `val_from`; for test, the target of val counts as seen, too, and a refit trains on it.
    """

    val_from: Moment
    test_from: Moment
    cold_users: Cold
    targets: Targets = "all"  # of runs before there was a choice

    needs_times: ClassVar[bool] = True

    def __post_init__(self) -> None:
        starts = [_parse_moment(key, getattr(self, key)) for key in ("val_from", "test_from")]
        if type(starts[0]) is type(starts[1]):
            _check_order(self, starts)

    def __call__(self, data: Interactions, source: Source) -> Split:
        times = seconds_of(data)
        ordered = times.sort().values
        starts = [_parse_moment(key, getattr(self, key)) for key in ("val_from", "test_from")]
        cuts = [_time_at(ordered, start) if isinstance(start, float) else start for start in starts]
        _check_order(self, cuts)
        return _split_at(data, cuts, self.cold_users, self.targets)


@dataclass(frozen=True)
class Rolling:
    """Windows of the same number of rows at the end of the log, in time.

    Fold i trains on all rows before window i, validates on window i and tests on window i + 1, so that there is a
    window more than folds and the last one ends with the log.

    Args:
        fold: from 0.
        folds: their number.
        window: share of the rows in a window.
        cold_users: what to do with rows of users, and of items, without a row in train.
        targets: all rows of a window, or each user's first, see `GlobalTime`.
    """

    fold: Annotated[int, Field(ge=0)]
    folds: Annotated[int, Field(ge=1)]
    window: Fraction
    cold_users: Cold
    targets: Targets = "all"  # of runs before there was a choice

    needs_times: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fold(self.fold, self.folds)
        if self.window * (self.folds + 1) >= 1:
            raise UserError(
                f"split.folds={self.folds} need {self.folds + 1} windows, which leave no row to train on: "
                f"split.window={self.window} should be below {1 / (self.folds + 1):.4g}"
            )

    def __call__(self, data: Interactions, source: Source) -> Split:
        ordered = seconds_of(data).sort().values
        n_windows_after = [self.folds + 1 - self.fold - number for number in range(3)]
        cuts = [_time_at(ordered, 1 - n * self.window) for n in n_windows_after]
        return _split_at(data, cuts, self.cold_users, self.targets)


def seconds_of(data: Interactions) -> Tensor:
    """Timestamps [N] of one clock; `UserError` if there are none."""
    if not data.has_seconds:
        raise UserError(
            f"{data.name} orders the rows of each user, and has no times: use split=leave_last_out or temporal"
        )
    return times_of(data)


def _parse_moment(key: str, moment: Moment) -> int | float:
    """Seconds since 1970 as an int; a share of the rows as a float in (0, 1)."""
    try:
        number = float(moment)
    except ValueError:
        number = None
    if number is not None and 0 < number < 1:
        return number
    try:
        return int(to_seconds(pa.chunked_array([[moment if number is None else number]]), None).seconds[0])
    except BadTime:
        allowed = f"{ALLOWED}, or a share of the rows between 0 and 1"
        raise UserError(f"split.{key}={moment}, allowed: {allowed}") from None


def _check_order(split: GlobalTime, starts: Sequence[float]) -> None:
    if starts[0] >= starts[1]:
        texts = (f"split.{key}={getattr(split, key)}" for key in ("val_from", "test_from"))
        raise UserError(f"{', '.join(texts)}: validation comes before test")


def _time_at(ordered: Tensor, share: float) -> int:
    """The time before which a share of the rows lies, or less of them where rows tie; after the last row for 1.

    Args:
        ordered: [N] times, ascending.
        share: in (0, 1].
    """
    row = round(share * len(ordered))
    return int(ordered[row]) if row < len(ordered) else int(ordered[-1]) + 1


def _split_at(data: Interactions, cuts: Sequence[int], cold: Cold, targets: Targets) -> Split:
    """Train before the first time, validation before the second, then test; from a third one on, rows are in no part.

    A user's next row that is cold is no target, and the row after it is none either.

    Args:
        cuts: two or three times, ascending.
    """
    part = torch.bucketize(seconds_of(data), torch.tensor(cuts), right=True)
    if targets == "next":
        part[(part > 0) & (_position_in_part(data, part, len(cuts) + 1) > 0)] = -1
    split = check_parts(_rows_of(part), data, "keep")
    is_warm_user, is_warm_item = (
        torch.bincount(ids[split.train], minlength=n) > 0
        for ids, n in ((data.user, data.n_users), (data.item, data.n_items))
    )
    later = torch.cat([split.val, split.test])
    is_cold = ~(is_warm_user[data.user[later]] & is_warm_item[data.item[later]])
    if not is_cold.any():
        return split
    n_users, n_items = (
        int((~is_warm[ids[later].unique()]).sum())
        for ids, is_warm in ((data.user, is_warm_user), (data.item, is_warm_item))
    )
    done = "left out of val and test" if cold == "drop" else "kept in val and test"
    note_once(
        f"{data.name}, train before {format_time(cuts[0])}: {int(is_cold.sum()):,} of {len(later):,} later rows are of "
        f"{n_users:,} users and {n_items:,} items unseen in train: {done} (split.cold_users={cold})"
    )
    if cold == "keep":
        return split
    part[later[is_cold]] = -1
    split = _rows_of(part)
    for name in ("val", "test"):
        if not len(getattr(split, name)):
            raise UserError(
                f"every row in the {name} part of {data.name} is of a user or an item unseen in train: cut later, or "
                "keep them with split.cold_users=keep"
            )
    return split


def _position_in_part(data: Interactions, part: Tensor, n_parts: int) -> Tensor:
    """Position of each row [N] among its user's rows of the same part, in time, from 0; ties keep their file order."""
    group = data.user * n_parts + part
    by_time = seconds_of(data).argsort(stable=True)
    return position_in_group(group, by_time[group[by_time].argsort(stable=True)], data.n_users * n_parts)


def _rows_of(part: Tensor) -> Split:
    """The split that puts each row [N] into train (0), val (1), test (2) or none of them."""
    return Split(*((part == number).nonzero().flatten() for number in range(3)))
