"""Splits rows into train (fits a model), val (selects it) and test (evaluates it).

`conf/split/*.yaml` builds a split; it is called with the data set and its source. Parts hold row numbers in file order,
shipped parts in the order of the source. An empty part is an error in every split.

A cold user has no row in train, so a model can score them only by what it learned about all users. Splits that can
produce cold users have the option `cold_users`: `error` raises and names the first one, `keep` accepts them. Items
without a row in train are allowed: the published splits of MovieLens have them as well.

Ties in time: `LeaveLastOut` and `Temporal` cut each user's rows by their number, and rows of one time keep the order of
the file, so that the file decides which of them is last. `GlobalTime` and `Rolling` (`time_splits.py`) cut between two
times: rows of one time are in one part, the later one. All other splits do not look at times.
"""

import logging
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.schema import Interactions, Source, Split
from recsweep.errors import UserError
from recsweep.seeding import Seed, generator

log = logging.getLogger(__name__)

Fraction = Annotated[float, Field(gt=0, lt=1)]
ColdUsers = Literal["error", "keep"]
HOLD_OUT_LESS = "hold out less, use split=leave_last_out or temporal, which leave every user a row, or"


@dataclass(frozen=True)
class Canonical:
    """A split that the source ships. If it has no validation part, one is drawn from train.

    Args:
        name: its name in the source ("u1", "ua", "given").
        val_fraction: share of the shipped train part that becomes validation if the source ships none.
        seed: seed of that random draw.
        cold_users: what to do with users without a row in train.
    """

    name: str
    val_fraction: Fraction
    seed: Seed
    cold_users: ColdUsers

    def __call__(self, data: Interactions, source: Source) -> Split:
        split = source.parts(self.name, data)
        advice = f"{self.name} is a split as it is: take another, or"
        if not len(split.val):
            advice = f"{self.name} is a split as it is but for split.val_fraction, drawn from train: draw less, or"
            shuffled_train = split.train[_random_order(len(split.train), self.seed)]
            val, train = _cut(shuffled_train, [self.val_fraction])
            split = split._replace(train=train.sort().values, val=val.sort().values)
        return check_parts(split, data, self.cold_users, advice)


@dataclass(frozen=True)
class Random:
    """Random rows; both fractions are shares of all rows."""

    test_fraction: Fraction
    val_fraction: Fraction
    seed: Seed
    cold_users: ColdUsers

    def __post_init__(self) -> None:
        _check_sum(self.val_fraction, self.test_fraction)

    def __call__(self, data: Interactions, source: Source) -> Split:
        fractions = [self.test_fraction, self.val_fraction]
        test, val, train = _cut(_random_order(len(data), self.seed), fractions)
        split = Split(train.sort().values, val.sort().values, test.sort().values)
        return check_parts(split, data, self.cold_users)


@dataclass(frozen=True)
class KFold:
    """Random rows in `folds` parts of the same size: one of them is test, and validation is drawn from the others.

    Args:
        fold: the part that is test, from 0.
        folds: number of parts.
        val_fraction: share of the other parts' rows.
        seed: the parts depend on it alone, validation also on the fold.
        cold_users: what to do with users without a row in train.
    """

    fold: Annotated[int, Field(ge=0)]
    folds: Annotated[int, Field(ge=2)]
    val_fraction: Fraction
    seed: Seed
    cold_users: ColdUsers

    def __post_init__(self) -> None:
        check_fold(self.fold, self.folds)

    def __call__(self, data: Interactions, source: Source) -> Split:
        order = torch.randperm(len(data), generator=generator("k_fold", self.seed))
        parts = list(_cut(order, [1 / self.folds] * (self.folds - 1)))
        test = parts.pop(self.fold)
        rest = torch.cat(parts)
        rest = rest[torch.randperm(len(rest), generator=generator("k_fold", self.seed, self.fold))]
        val, train = _cut(rest, [self.val_fraction])
        split = Split(train.sort().values, val.sort().values, test.sort().values)
        return check_parts(split, data, self.cold_users)


@dataclass(frozen=True)
class Rows:
    """Consecutive rows in file order, in shares train : val : test, such as 3 : 1 : 1."""

    shares: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]
    cold_users: ColdUsers

    def __call__(self, data: Interactions, source: Source) -> Split:
        total = sum(self.shares)
        fractions = [share / total for share in self.shares[:2]]
        return check_parts(Split(*_cut(torch.arange(len(data)), fractions)), data, self.cold_users)


@dataclass(frozen=True)
class LeaveLastOut:
    """Each user's last row in time is test, the one before it validation, the rest train.

    Rows with equal timestamps keep their file order. All rows of users with fewer than three go to train.
    """

    needs_times: ClassVar[bool] = True

    def __call__(self, data: Interactions, source: Source) -> Split:
        count = torch.bincount(data.user, minlength=data.n_users)
        n_short = int(((count > 0) & (count < 3)).sum())
        if n_short:
            log.info("leave_last_out: %d users with fewer than three rows keep all of them in train", n_short)
        n_held_out = (count >= 3).long()
        return check_parts(split_last_rows(data, n_held_out, n_held_out), data, "error")


@dataclass(frozen=True)
class Temporal:
    """Each user's rows in time: the first ones train, then validation, then test.

    Fractions are shares of each user's rows, rounded down, so that every user keeps a row in train. Rows with equal
    timestamps keep their file order.
    """

    test_fraction: Fraction
    val_fraction: Fraction

    needs_times: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_sum(self.val_fraction, self.test_fraction)

    def __call__(self, data: Interactions, source: Source) -> Split:
        count = torch.bincount(data.user, minlength=data.n_users).double()
        # 1e-9: 0.29 * 100 is 28.999999999999996 in floating point and must give 29 rows.
        n_val, n_test = ((count * part + 1e-9).long() for part in (self.val_fraction, self.test_fraction))
        return check_parts(split_last_rows(data, n_val, n_test), data, "error")


def position_in_group(group: Tensor, order: Tensor, n_groups: int) -> Tensor:
    """Position of each row within its group, from 0.

    Args:
        group: [N] int64 in [0, n_groups), the group of each row.
        order: [N] row numbers sorted by group, and within a group by position.
        n_groups: number of groups.

    Returns:
        [N] int64 in [0, size of the row's group).

    >>> position_in_group(torch.tensor([1, 0, 1]), torch.tensor([1, 2, 0]), 2)
    tensor([1, 0, 0])
    """
    count = torch.bincount(group, minlength=n_groups)
    start = count.cumsum(0) - count
    position = torch.empty_like(group)
    position[order] = torch.arange(len(group), device=group.device) - start[group[order]]
    return position


def split_last_rows(data: Interactions, n_val: Tensor, n_test: Tensor) -> Split:
    """Splits by time within each user: the last rows are test, those before them validation, the rest train.

    Rows with equal timestamps keep their file order.

    Args:
        data: with timestamps, else `UserError`.
        n_val, n_test: [n_users] int64, validation and test rows of each user.
    """
    by_time = times_of(data).argsort(stable=True)
    order = by_time[data.user[by_time].argsort(stable=True)]
    count = torch.bincount(data.user, minlength=data.n_users)
    from_end = count[data.user] - 1 - position_in_group(data.user, order, data.n_users)
    test = from_end < n_test[data.user]
    train = from_end >= (n_test + n_val)[data.user]
    return Split(*(part.nonzero().flatten() for part in (train, ~train & ~test, test)))


def times_of(data: Interactions) -> Tensor:
    """Timestamps [N]; `UserError` if there are none."""
    if data.timestamp is None:
        raise UserError(f"{data.name} has no timestamps, which this split needs: use split=random or rows")
    return data.timestamp


def check_fold(fold: int, folds: int) -> None:
    """Raises `UserError` unless the fold is one of `folds`, counted from 0."""
    if fold >= folds:
        raise UserError(f"split.fold={fold}: with split.folds={folds}, folds are 0 to {folds - 1}")


def check_parts(split: Split, data: Interactions, cold_users: ColdUsers, advice: str = HOLD_OUT_LESS) -> Split:
    """Returns the split; `UserError` if a part is empty or if a user is cold and `cold_users` is `error`.

    Args:
        advice: what to do about cold users other than to accept them.
    """
    for name in ("train", "val", "test"):
        if not len(getattr(split, name)):
            raise UserError(
                f"the split leaves the {name} part of {data.name} ({len(data)} rows) empty: "
                "use more data, another split=, or other fractions"
            )
    has_rows, has_train_rows = (
        torch.bincount(user, minlength=data.n_users) > 0 for user in (data.user, data.user[split.train])
    )
    cold = (has_rows & ~has_train_rows).nonzero().flatten()
    if cold_users == "error" and len(cold):
        raise UserError(
            f"{len(cold)} of {int(has_rows.sum())} users of {data.name} have no row left in train, first user "
            f"{data.user_ids.raw[int(cold[0])]}: {advice} accept cold users with split.cold_users=keep"
        )
    return split


def _random_order(n: int, seed: int) -> Tensor:
    """Numbers 0 to n - 1 in random order [n]."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _cut(rows: Tensor, fractions: list[float]) -> tuple[Tensor, ...]:
    """Cuts `rows` into parts by `fractions`, with the rest as the last part; rounds each cut to the nearest row."""
    cuts = [round(share * len(rows)) for share in accumulate(fractions)]
    return rows.tensor_split(cuts)


def _check_sum(val_fraction: float, test_fraction: float) -> None:
    if val_fraction + test_fraction >= 1:
        raise UserError(
            f"split.val_fraction={val_fraction} and split.test_fraction={test_fraction} leave no row "
            "to train on: allowed is a sum below 1"
        )
