"""Tables of a user's own that are split already: one file for each part, all with the same columns."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from recsweep.data.assemble import assemble, find_rows, unknown_split_error
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import Sheet
from recsweep.data.tables import Table
from recsweep.errors import UserError


@dataclass(frozen=True)
class SplitTable(Table):
    """Interactions from two or three tables. Users and items are those of all of them.

    Args:
        val, test: as `path`, which holds the train part; without `val`, the split draws it from train.
    """

    val: str | None
    test: str

    name: ClassVar[str] = "split_table"
    ships: ClassVar[tuple[str, ...]] = ("given",)

    def ready(self) -> bool:
        """Whether all tables are on disk."""
        return all(path.exists() for path in self._paths.values())

    def read(self) -> Interactions:
        """The rows of train, validation and test, in this order; `UserError` where two tables have one in common."""
        return self._content[0]

    def parts(self, name: str, data: Interactions) -> Split:
        """`given`: the parts as they are."""
        if name not in self.ships:
            raise unknown_split_error(self, name)
        return self._content[1]

    @property
    def _paths(self) -> dict[str, Path]:
        files = {"train": self.path, "val": self.val, "test": self.test}
        return {part: Path(file) for part, file in files.items() if file is not None}

    @cached_property
    def _content(self) -> tuple[Interactions, Split]:
        sheets = _align_ids([self._read_sheet(path) for path in self._paths.values()])
        whole = sheets[-1]
        for sheet in reversed(sheets[:-1]):
            whole = sheet.concatenate(whole)
        _check_overlap(whole, [len(sheet.frame) for sheet in sheets])
        data = assemble(self.name, whole, self._scale, self.duplicates, *self._read_entities())
        rows = {part: find_rows(sheet, data).unique() for part, sheet in zip(self._paths, sheets, strict=True)}
        return data, Split(rows["train"], rows.get("val", torch.empty(0, dtype=torch.int64)), rows["test"])


def _align_ids(sheets: list[Sheet]) -> list[Sheet]:
    """The tables with ids of one type: text in all of them, if they are not whole numbers in all of them."""
    for column in ("user", "item"):
        if not all(pd.api.types.is_integer_dtype(sheet.frame[column]) for sheet in sheets):
            for sheet in sheets:
                sheet.frame[column] = sheet.frame[column].astype("str").astype(object)
    return sheets


def _check_overlap(whole: Sheet, sizes: list[int]) -> None:
    """Raises `UserError` at the first row whose user and item are in an earlier part.

    Args:
        whole: the rows of all parts.
        sizes: of the parts.
    """
    user, item = (pd.factorize(whole.frame[column])[0] for column in ("user", "item"))
    _, first, pair = np.unique(user * (item.max() + 1) + item, return_index=True, return_inverse=True)
    part = np.arange(len(sizes)).repeat(sizes)
    is_common = part[first[pair]] != part
    if is_common.any():
        row = int(is_common.argmax())
        earlier = whole.location(int(first[pair[row]]))
        raise UserError(
            f"{whole.location(row)}: this user and item are in {earlier} too ({int(is_common.sum())} such rows), and a "
            "model must not see what it is tested on: take them out of one of the files"
        )
