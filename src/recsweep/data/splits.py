"""Splits: which rows train a model, which select it, which judge it.

Every split is built from `conf/split/*.yaml` and called with the data set and the source it came from. Parts
hold row numbers in file order, shipped ones in the source's. An empty part is an error in every split.

A user without a row in train ("cold") can only be scored by what the model knows of everybody. Splits that
can produce one say what to do with `cold_users`: `error` stops and names the user, `keep` leaves the rows
where they fell. Items without a row in train are no error: the published splits of MovieLens have them too.
"""

import logging
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.schema import Interactions, Source, Split
from recsweep.errors import UserError
from recsweep.seeding import Seed

log = logging.getLogger(__name__)

Fraction = Annotated[float, Field(gt=0, lt=1)]
ColdUsers = Literal["error", "keep"]


@dataclass(frozen=True)
class Canonical:
    """A split that the source ships; where it ships no validation part, one is carved from train.

    Args:
        name: as the source calls it ("u1", "ua", "given").
        val_fraction: share of the shipped train part that becomes validation, drawn at random by `seed`.
    """

    name: str
    val_fraction: Fraction
    seed: Seed
    cold_users: ColdUsers

    def __call__(self, data: Interactions, source: Source) -> Split:
        split = source.parts(self.name, data)
        if not len(split.val):
            val, train = _cut(split.train[_shuffled(len(split.train), self.seed)], [self.val_fraction])
            split = split._replace(train=train.sort().values, val=val.sort().values)
        return _checked(split, data, self.cold_users)


@dataclass(frozen=True)
class Random:
    """Rows at random; both fractions are shares of all rows."""

    test_fraction: Fraction
    val_fraction: Fraction
    seed: Seed
    cold_users: ColdUsers

    def __post_init__(self) -> None:
        _check_sum(self.val_fraction, self.test_fraction)

    def __call__(self, data: Interactions, source: Source) -> Split:
        fractions = [self.test_fraction, self.val_fraction]
        test, val, train = _cut(_shuffled(len(data), self.seed), fractions)
        split = Split(train.sort().values, val.sort().values, test.sort().values)
        return _checked(split, data, self.cold_users)


@dataclass(frozen=True)
class Rows:
    """Rows in file order by shares train : val : test, such as 3 : 1 : 1."""

    shares: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]
    cold_users: ColdUsers

    def __call__(self, data: Interactions, source: Source) -> Split:
        total = sum(self.shares)
        fractions = [share / total for share in self.shares[:2]]
        return _checked(Split(*_cut(torch.arange(len(data)), fractions)), data, self.cold_users)


@dataclass(frozen=True)
class LeaveLastOut:
    """Each user's last row in time is test, the one before validation, the rest train.

    Rows of the same second keep their file order. Users with fewer than three rows train with all of them.
    """

    def __call__(self, data: Interactions, source: Source) -> Split:
        count = torch.bincount(data.user, minlength=data.n_users)
        short = int(((count > 0) & (count < 3)).sum())
        if short:
            log.info("leave_last_out: %d users with fewer than three rows keep all of them in train", short)
        held_out = (count >= 3).long()
        return _checked(last_rows(data, held_out, held_out), data, "error")


@dataclass(frozen=True)
class Temporal:
    """The last rows of each user in time: train, then validation, then test.

    Fractions are shares of the user's own rows, rounded down, so that every user keeps a row in train. Rows
    of the same second keep their file order.
    """

    test_fraction: Fraction
    val_fraction: Fraction

    def __post_init__(self) -> None:
        _check_sum(self.val_fraction, self.test_fraction)

    def __call__(self, data: Interactions, source: Source) -> Split:
        count = torch.bincount(data.user, minlength=data.n_users).double()
        # The tiny term: 0.29 * 100 is 28.999999999999996 in floating point, and 29 rows are meant.
        n_val, n_test = ((count * part + 1e-9).long() for part in (self.val_fraction, self.test_fraction))
        return _checked(last_rows(data, n_val, n_test), data, "error")


def place_in_group(group: Tensor, order: Tensor, n_groups: int) -> Tensor:
    """Place of each row among the rows of its group, 0 first.

    Args:
        group: [N] int64 in [0, n_groups).
        order: [N] row numbers sorted by group, and inside a group as the places are wanted.
        n_groups: number of groups.

    Returns:
        [N] int64 in [0, size of the row's group).

    >>> place_in_group(torch.tensor([1, 0, 1]), torch.tensor([1, 2, 0]), 2)
    tensor([1, 0, 0])
    """
    count = torch.bincount(group, minlength=n_groups)
    start = count.cumsum(0) - count
    place = torch.empty_like(group)
    place[order] = torch.arange(len(group), device=group.device) - start[group[order]]
    return place


def last_rows(data: Interactions, n_val: Tensor, n_test: Tensor) -> Split:
    """Each user's last `n_test` [n_users] rows in time as test, the `n_val` before them as validation, the rest train.

    Rows of the same second keep their file order. `UserError` where the data have no timestamps.
    """
    if data.timestamp is None:
        raise UserError(f"{data.name} has no timestamps, which this split needs: use split=random or rows")
    by_time = data.timestamp.argsort(stable=True)
    order = by_time[data.user[by_time].argsort(stable=True)]
    count = torch.bincount(data.user, minlength=data.n_users)
    from_end = count[data.user] - 1 - place_in_group(data.user, order, data.n_users)
    test = from_end < n_test[data.user]
    train = from_end >= (n_test + n_val)[data.user]
    return Split(*(part.nonzero().flatten() for part in (train, ~train & ~test, test)))


def _shuffled(n: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _cut(rows: Tensor, fractions: list[float]) -> tuple[Tensor, ...]:
    """`rows` in parts by `fractions`, the rest last; each cut is rounded to the nearest row."""
    cuts = [round(share * len(rows)) for share in accumulate(fractions)]
    return rows.tensor_split(cuts)


def _check_sum(val_fraction: float, test_fraction: float) -> None:
    if val_fraction + test_fraction >= 1:
        raise UserError(
            f"split.val_fraction={val_fraction} and split.test_fraction={test_fraction} leave no row "
            "to train on: allowed is a sum below 1"
        )


def _checked(split: Split, data: Interactions, cold_users: ColdUsers) -> Split:
    """The split itself; `UserError` where a part is empty or, on `error`, a user has no row in train."""
    for name in ("train", "val", "test"):
        if not len(getattr(split, name)):
            raise UserError(
                f"the split leaves the {name} part of {data.name} ({len(data)} rows) empty: "
                "use more data, another split=, or other fractions"
            )
    present, trained = (
        torch.bincount(rows, minlength=data.n_users) > 0 for rows in (data.user, data.user[split.train])
    )
    cold = (present & ~trained).nonzero().flatten()
    if cold_users == "error" and len(cold):
        raise UserError(
            f"{len(cold)} of {int(present.sum())} users of {data.name} have no row left in train, first user "
            f"{data.user_ids.raw[int(cold[0])]}: hold out less, use split=leave_last_out or temporal, which "
            "leave everyone a row, or accept such users with split.cold_users=keep"
        )
    return split
