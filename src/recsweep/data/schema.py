"""The data model: columnar interactions of contiguous ids, their features, splits and sources."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from recsweep.errors import UserError


@dataclass(frozen=True)
class IdMap:
    """Maps contiguous ids to raw ids: `raw[i]` is the raw id, used in the files, of user or item `i`.

    Args:
        raw: [n] distinct int64 or str values.
        kind: "user", "item" or "context", for messages.
    """

    raw: np.ndarray
    kind: str

    def __len__(self) -> int:
        return len(self.raw)

    def encode(self, raw: Iterable[int | str]) -> Tensor:
        """Contiguous ids [m] int64 of raw ids; `UserError` names the first unknown one."""
        values, keys = np.asarray(raw if isinstance(raw, np.ndarray) else list(raw)), self.raw
        if not values.dtype.kind == keys.dtype.kind == "i":  # as text, "7" matches 7, but "7.0" and "007" do not
            values, keys = values.astype(str), keys.astype(str)
        order = np.argsort(keys, kind="stable")
        ids = order[np.searchsorted(keys, values, sorter=order).clip(max=len(keys) - 1)]
        is_unknown = keys[ids] != values
        if is_unknown.any():
            raise UserError(
                f"unknown {self.kind} id {values[is_unknown][0]}: the data has {len(self.raw)} {self.kind}s, "
                f"ids such as {self.raw[0]} and {self.raw[-1]}"
            )
        return torch.from_numpy(ids)

    def decode(self, ids: Tensor) -> np.ndarray:
        """Raw ids, in the shape of `ids`."""
        return self.raw[ids.cpu().numpy()]


@dataclass(frozen=True)
class Features:
    """Side features of `n` users or items, one row each.

    Args:
        columns: name -> tensor. int64 [n] holds category codes, float32 [n] numbers, float32 [n, d] multi-hot or share
            vectors (such as the genres of MovieLens).
        labels: name -> the label of each code, or of each of the d columns; absent for numbers.
    """

    columns: Mapping[str, Tensor]
    labels: Mapping[str, tuple[str, ...]]


class Truth(Protocol):
    """The true expected ratings, known for generated data only; scores like a model."""

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Expected rating [B] of each pair."""

    def score_all(self, user: Tensor) -> Tensor:
        """Expected rating of every item [B, n_items]."""


@dataclass(frozen=True)
class Interactions:
    """Ratings or events: user, item, rating and time of each row.

    Args:
        name: name of the data set, for messages and reports.
        user: [N] int64 in [0, n_users).
        item: [N] int64 in [0, n_items).
        rating: [N] float32 within `rating_scale`; 1.0 for implicit feedback.
        timestamp: [N] int64 seconds, or anything that orders each user's rows; None if the source has no times.
        user_ids, item_ids: raw ids. They may include users and items without interactions.
        rating_scale: (lowest, highest) possible rating.
        user_features, item_features: feature tables; None if the source has none.
        item_titles: [n_items] titles; None if the source has none.
        truth: the true expected ratings; None for real data.
        has_seconds: whether timestamps are seconds of one clock; else they only order the rows of each user.
    """

    name: str
    user: Tensor
    item: Tensor
    rating: Tensor
    timestamp: Tensor | None
    user_ids: IdMap
    item_ids: IdMap
    rating_scale: tuple[float, float]
    user_features: Features | None = None
    item_features: Features | None = None
    item_titles: tuple[str, ...] | None = None
    truth: Truth | None = field(default=None, repr=False)
    has_seconds: bool = True

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Tensor) -> Self:
        """The same data with these rows only; users, items and features stay."""
        times = None if self.timestamp is None else self.timestamp[rows]
        return replace(self, user=self.user[rows], item=self.item[rows], rating=self.rating[rows], timestamp=times)

    @property
    def seconds(self) -> Tensor:
        """Timestamps [N]; zeros if the source has no times."""
        return torch.zeros_like(self.user) if self.timestamp is None else self.timestamp

    @property
    def checksum(self) -> Tensor:
        """[2] int64 sums over the (user, item) pairs, to detect another selection of rows."""
        pair = self.user * self.n_items + self.item
        return torch.stack([pair.sum(), pair.square().sum()])

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)


class Split(NamedTuple):
    """Row numbers of an `Interactions` in each part.

    Args:
        train, val, test: [·] int64 row numbers, disjoint.
        candidates: [len(test), n] published negative items of each test row. None if the source ships none; the
            evaluation then samples candidates or ranks all items.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    candidates: Tensor | None = None


class Source(Protocol):
    """A data set that can be read; `conf/data/*.yaml` builds it."""

    @property
    def name(self) -> str:
        """Name of the data set, as in `data=`."""

    @property
    def ships(self) -> tuple[str, ...]:
        """Names of the splits that `parts` accepts; empty if the source ships none."""

    def ready(self) -> bool:
        """Whether all files that `read` needs are on disk."""

    def read(self) -> Interactions:
        """The whole data set, validated; `UserError` if a file is missing or invalid."""

    def parts(self, name: str, data: Interactions) -> Split:
        """A split that the source ships ("u1", "given"); `UserError` lists the splits it has."""
