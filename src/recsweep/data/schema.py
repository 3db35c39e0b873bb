"""What every reader returns and every later floor works on: columnar interactions of contiguous ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from recsweep.errors import UserError


@dataclass(frozen=True)
class IdMap:
    """Raw ids by contiguous id: `raw[i]` is the id that the source used for entity `i`.

    Args:
        raw: [n] distinct int64 or str values.
        kind: what the ids name, for messages ("user", "item").
    """

    raw: np.ndarray
    kind: str

    def __len__(self) -> int:
        return len(self.raw)

    def encode(self, raw: Iterable[int | str]) -> Tensor:
        """Contiguous ids [m] int64 of raw ids; `UserError` names the first unknown one."""
        wanted, known = np.asarray(raw if isinstance(raw, np.ndarray) else list(raw)), self.raw
        if not wanted.dtype.kind == known.dtype.kind == "i":  # as text, "7" is 7 and neither "7.0" nor "007"
            wanted, known = wanted.astype(str), known.astype(str)
        order = np.argsort(known, kind="stable")
        found = order[np.searchsorted(known, wanted, sorter=order).clip(max=len(known) - 1)]
        unknown = known[found] != wanted
        if unknown.any():
            raise UserError(
                f"unknown {self.kind} id {wanted[unknown][0]}: the data has {len(self.raw)} {self.kind}s, "
                f"ids such as {self.raw[0]} and {self.raw[-1]}"
            )
        return torch.from_numpy(found)

    def decode(self, ids: Tensor) -> np.ndarray:
        """Raw ids, in the shape of `ids`."""
        return self.raw[ids.cpu().numpy()]


@dataclass(frozen=True)
class Features:
    """Side features of `n` users or items, a row an entity.

    Args:
        columns: name -> tensor. int64 [n] is a category code, float32 [n] a number, float32 [n, d] a
            multi-hot or share vector (MovieLens genres).
        labels: name -> what each code (or each of the d positions) stands for; absent for numbers.
    """

    columns: Mapping[str, Tensor]
    labels: Mapping[str, tuple[str, ...]]


class Truth(Protocol):
    """What a generator knows and real data does not: scores like any model, with the true expectation."""

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Expected rating [B] of each pair."""

    def score_all(self, user: Tensor) -> Tensor:
        """Expected rating of every item [B, n_items]."""


@dataclass(frozen=True)
class Interactions:
    """Who rated what, how and when.

    Args:
        name: of the data set, for messages and reports.
        user: [N] int64 in [0, n_users).
        item: [N] int64 in [0, n_items).
        rating: [N] float32 within `rating_scale`; 1.0 for implicit feedback.
        timestamp: [N] int64 seconds; None where the source has no times.
        user_ids, item_ids: raw ids. They may hold entities that have features but no interaction.
        rating_scale: (lowest, highest) possible rating.
        item_titles: [n_items] titles, None where the source has none.
        truth: the generator's own expectation; None for real data.
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

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Tensor) -> Self:
        """The same users, items and features with these rows only."""
        times = None if self.timestamp is None else self.timestamp[rows]
        return replace(self, user=self.user[rows], item=self.item[rows], rating=self.rating[rows], timestamp=times)

    @property
    def seconds(self) -> Tensor:
        """Timestamps [N]; 0 where the source has no times."""
        return torch.zeros_like(self.user) if self.timestamp is None else self.timestamp

    @property
    def checksum(self) -> Tensor:
        """[2] int64 sums over the (user, item) rows that another choice of rows would hardly ever give."""
        pair = self.user * self.n_items + self.item
        return torch.stack([pair.sum(), pair.square().sum()])

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)


class Split(NamedTuple):
    """Rows of an `Interactions` by part.

    Args:
        train, val, test: [·] int64 row numbers, disjoint.
        candidates: published negatives, [len(test), n] item ids that go with the test rows; None where
            the source ships none (then `evaluation` samples or ranks everything).
    """

    train: Tensor
    val: Tensor
    test: Tensor
    candidates: Tensor | None = None


class Source(Protocol):
    """A data set that can be read; what `data/*.yaml` builds."""

    @property
    def name(self) -> str:
        """Name of the data set, as in `data=`."""

    @property
    def ships(self) -> tuple[str, ...]:
        """Names of the splits that `parts` knows; empty where the source ships none."""

    def ready(self) -> bool:
        """Whether `read` finds all it needs on disk."""

    def read(self) -> Interactions:
        """The whole data set, validated; `UserError` where a file is missing or wrong."""

    def parts(self, name: str, data: Interactions) -> Split:
        """A split that the source itself ships ("u1", "given"); `UserError` lists those it has."""
