"""Data sets whose test rows were shown to users for the sake of a fair test, so that no other split may touch them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from recsweep.data.assemble import assemble, has_pair_of, unknown_split_error
from recsweep.data.features import Entities
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import Sheet, note_once
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError


@dataclass(frozen=True)
class FixedTest(ABC):
    """Train rows, and test rows that are never split again.

    A subclass names `files` and `url`, and reads them in `_read_train`, `_read_test` and `_read_entities`.

    Args:
        folder: holds the files. Put them there by hand.
        with_test: whether the data include the test rows; without them, any split divides the train rows.
        duplicates: what to do with a repeated (user, item) pair, see `validate.resolve_duplicates`.
    """

    folder: str
    with_test: bool
    duplicates: Duplicates

    name: ClassVar[str]
    ships: ClassVar[tuple[str, ...]] = ("given",)
    url: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    scale: ClassVar[tuple[float, float] | None] = None
    fixes_test: ClassVar[bool] = True

    def ready(self) -> bool:
        """Whether all files are on disk."""
        return all((Path(self.folder) / file).is_file() for file in self.files)

    def read(self) -> Interactions:
        """Train rows, then test rows if `with_test`; train rows of a pair that is in test are left out."""
        if not Path(self.folder).is_dir():
            raise UserError(f"{self.folder}: no such folder; put {', '.join(self.files)} of {self.url} there")
        users, items = self._read_entities()
        rows = self._read_train()
        if self.with_test:
            rows = join_test(rows, self._read_test())
        return assemble(self.name, rows, self.scale, self.duplicates, users, items)

    def parts(self, name: str, data: Interactions) -> Split:
        """`given`: the published test rows; no validation part."""
        if name not in self.ships:
            raise unknown_split_error(self, name)
        if not self.with_test:
            raise UserError("data.with_test=false leaves out the test rows of split=given: choose another split")
        is_test = has_pair_of(self._read_test(), data)
        no_rows = torch.zeros(0, dtype=torch.int64)
        return Split((~is_test).nonzero().flatten(), no_rows, is_test.nonzero().flatten())

    @abstractmethod
    def _read_train(self) -> Sheet:
        """Columns user, item, rating, and timestamp if there are times."""

    @abstractmethod
    def _read_test(self) -> Sheet:
        """The same columns."""

    @abstractmethod
    def _read_entities(self) -> tuple[Entities | None, Entities | None]:
        """Users and items with their features."""


def join_test(train: Sheet, test: Sheet) -> Sheet:
    """Train rows, but for those whose user and item are in test, then test rows; says how many are left out."""
    rows, n = train.concatenate(test), len(train.frame)
    user, _ = pd.factorize(rows.frame["user"])
    item, items = pd.factorize(rows.frame["item"])
    pair = pd.Series(user.astype(np.int64) * len(items) + item)
    is_in_test = pair[:n].isin(pair[n:]).to_numpy()
    if is_in_test.any():
        note_once(
            f"{train.path}: {int(is_in_test.sum()):,} of {n:,} rows left out, for their user and item are in "
            f"{test.path} too, and a model must not see what it is tested on"
        )
    return rows.keep(np.append(~is_in_test, np.full(len(test.frame), True)))
