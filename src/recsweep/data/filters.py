"""Leaves rows of a data set out, between reading and splitting; a line for each step says what it dropped.

`conf/filter/*.yaml` builds a `Filter`. Users and items that keep no row leave the data, so that nothing is ranked or
counted that was dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from recsweep.data.logged import BanditLog
from recsweep.data.schema import Features, IdMap, Interactions, Source, Split
from recsweep.data.sheet import note_once
from recsweep.data.splits import Fraction
from recsweep.data.truth import SyntheticTruth
from recsweep.errors import UserError
from recsweep.seeding import Seed, generator

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Filter:
    """What to keep; steps that are None are left out. They are done in this order.

    Args:
        user_fraction: share of the users, to the nearest user, with all their rows.
        users: which: drawn at random, or those whose last row is latest (of equal times, the first in order of ids).
        seed: of the draw.
        min_user_rows, min_item_rows: rows that a user and an item need, both counted once, before any is dropped.
        k_core: rows that every user and every item has in the end: dropping is repeated until all have them.
    """

    user_fraction: Fraction | None
    users: Literal["random", "latest"]
    seed: Seed
    min_user_rows: Count | None
    min_item_rows: Count | None
    k_core: Count | None

    def __post_init__(self) -> None:
        if not list(self._keys()):
            raise UserError("filter: none of its steps is set; set one, or leave it out: filter=null")

    def __call__(self, data: Interactions) -> Tensor:
        """Row numbers [·] to keep, in order; `UserError` if there are none."""
        rows = torch.arange(len(data))
        n_users, n_items = data.n_users, data.n_items
        for keys in self._keys():
            before = f"{len(rows):,} → ", f"{n_users:,} → ", f"{n_items:,} → "
            rows = rows[self._step(keys, data, rows)]
            settings = " ".join(f"filter.{key}={getattr(self, key)}" for key in keys)
            if not len(rows):
                raise UserError(f"{settings} leaves no row of {data.name} ({len(data):,} rows)")
            n_users, n_items = (len(ids[rows].unique()) for ids in (data.user, data.item))
            after = f"{len(rows):,} rows", f"{n_users:,} users", f"{n_items:,} items"
            note_once(f"{data.name}, {settings}: {', '.join(map(str.__add__, before, after))}")
        return rows

    def _keys(self) -> Iterator[list[str]]:
        """The keys of each step that is set."""
        minima = [key for key in ("min_user_rows", "min_item_rows") if getattr(self, key) is not None]
        if self.user_fraction is not None:
            yield ["user_fraction", "users"]
        if minima:
            yield minima
        if self.k_core is not None:
            yield ["k_core"]

    def _step(self, keys: list[str], data: Interactions, rows: Tensor) -> Tensor:
        """Whether the step keeps each of the rows."""
        user, item = data.user[rows], data.item[rows]
        if "k_core" in keys:
            assert self.k_core is not None
            return k_core(user, item, self.k_core)
        if "users" in keys:
            return torch.isin(user, self._choose_users(data))
        return has_rows(user, self.min_user_rows or 1) & has_rows(item, self.min_item_rows or 1)

    def _choose_users(self, data: Interactions) -> Tensor:
        assert self.user_fraction is not None
        users = data.user.unique()
        n = max(1, round(self.user_fraction * len(users)))
        if self.users == "random":
            return users[torch.randperm(len(users), generator=generator("filter", self.seed))[:n]]
        if data.timestamp is None:
            raise UserError(f"{data.name} has no timestamps, which filter.users=latest needs: use filter.users=random")
        first = torch.full((data.n_users,), torch.iinfo(torch.int64).min)
        last = first.scatter_reduce_(0, data.user, data.timestamp, "amax")[users]
        return users[last.argsort(descending=True, stable=True)[:n]]


def has_rows(ids: Tensor, n: int) -> Tensor:
    """Whether the user or item of each row [N] has at least `n` rows."""
    return torch.bincount(ids)[ids] >= n


def k_core(user: Tensor, item: Tensor, k: int) -> Tensor:
    """Whether each row [N] is in the largest set of rows in which every user and every item has at least k.

    >>> k_core(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 0, 1, 1]), 2)
    tensor([ True,  True,  True,  True, False])
    """
    rows = torch.arange(len(user))
    while len(rows):
        keep = has_rows(user[rows], k) & has_rows(item[rows], k)
        if keep.all():
            break
        rows = rows[keep]
    return torch.zeros(len(user), dtype=torch.bool).index_fill_(0, rows, True)


class _Content(NamedTuple):
    base: Interactions
    rows: Tensor


@dataclass(frozen=True)
class Filtered:
    """A data set of which a filter keeps some rows, and the users and items of those."""

    source: Source
    filter: Filter

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def ships(self) -> tuple[str, ...]:
        return self.source.ships

    def ready(self) -> bool:
        return self.source.ready()

    def read(self) -> Interactions:
        """The rows that are kept, in their order."""
        return take_rows(*self._content)

    def parts(self, name: str, data: Interactions) -> Split:
        """A split that the source ships, of the rows that are kept."""
        split = self.source.parts(name, self._content.base)
        if split.candidates is not None:
            raise UserError(f"split={name} of {self.name} names items to rank, which a filter may drop: filter=null")
        new_row = torch.full((len(self._content.base),), -1)
        new_row[self._content.rows] = torch.arange(len(data))
        train, val, test = (rows[rows >= 0] for rows in (new_row[part] for part in split[:3]))
        return Split(train, val, test)

    @cached_property
    def _content(self) -> _Content:
        base = self.source.read()
        if isinstance(base, BanditLog):
            raise UserError(f"{base.name} is a log with propensities, which hold for all of its rows: filter=null")
        return _Content(base, self.filter(base))


def take_rows(data: Interactions, rows: Tensor) -> Interactions:
    """The data with these rows, and with the users and items that occur in them; a truth only of synthetic data."""
    users, items = data.user[rows].unique(), data.item[rows].unique()
    return replace(
        data.take(rows),
        user=torch.searchsorted(users, data.user[rows]),
        item=torch.searchsorted(items, data.item[rows]),
        user_ids=_take_ids(data.user_ids, users),
        item_ids=_take_ids(data.item_ids, items),
        user_features=_take_features(data.user_features, users),
        item_features=_take_features(data.item_features, items),
        item_titles=data.item_titles and tuple(data.item_titles[item] for item in items.tolist()),
        truth=data.truth.take(users, items) if isinstance(data.truth, SyntheticTruth) else None,
    )


def _take_ids(ids: IdMap, indices: Tensor) -> IdMap:
    return replace(ids, raw=ids.raw[indices.numpy()])


def _take_features(features: Features | None, indices: Tensor) -> Features | None:
    if features is None:
        return None
    return replace(features, columns={name: column[indices] for name, column in features.columns.items()})
