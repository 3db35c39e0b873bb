"""Tables of a user's own that are split already: one file for each part, all with the same columns."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from recsweep.data.assemble import assemble, unknown_split_error
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import Sheet, note_once
from recsweep.data.tables import Table
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError


@dataclass(frozen=True)
class SplitTable(Table):
    """Interactions from two or three tables. Users and items are those of all of them.

    Args:
        val, test: as `path`, which holds the train part; without `val`, the split draws it from train.

    A user and an item may be in several parts unless `duplicates` is `error`; within a part they become one row, unless
    `duplicates` is `keep`.
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
        part = np.arange(len(sheets)).repeat([len(sheet.frame) for sheet in sheets])
        _check_overlap(whole, part, self.duplicates)
        data = assemble(self.name, whole, self._scale, self.duplicates, *self._read_entities(), part)
        pairs = [sheet.frame[["user", "item"]] for sheet in sheets]
        sizes = [len(rows if self.duplicates == "keep" else rows.drop_duplicates()) for rows in pairs]
        rows = dict(zip(self._paths, torch.arange(len(data)).split(sizes), strict=True))
        return data, Split(rows["train"], rows.get("val", torch.empty(0, dtype=torch.int64)), rows["test"])


def _align_ids(sheets: list[Sheet]) -> list[Sheet]:
    """The tables with ids of one type: text in all of them, if they are not whole numbers in all of them."""
    for column in ("user", "item"):
        if not all(pd.api.types.is_integer_dtype(sheet.frame[column]) for sheet in sheets):
            for sheet in sheets:
                sheet.frame[column] = sheet.frame[column].astype("str").astype(object)
    return sheets


def _check_overlap(whole: Sheet, part: np.ndarray, duplicates: Duplicates) -> None:
    """Raises `UserError` at the first row that is in an earlier part, too.

    With `duplicates` other than `error`, a pair of user and item may be in several parts, and a line says how many rows
    are of such pairs; with times, the same row may not.

    Args:
        whole: the rows of all parts.
        part: [N] the part of each row.
    """
    columns = ["user", "item"]
    row, first = _find_common(whole, part, columns)
    if duplicates != "error" and len(row):
        note_once(
            f"{len(row):,} rows of val and test are of a user and an item that an earlier part has, too: kept "
            f"(data.duplicates={duplicates})"
        )
        columns.append("timestamp")
        row, first = _find_common(whole, part, columns) if "timestamp" in whole.frame else (row[:0], first[:0])
    if len(row):
        same, advice = "this user, item and time are", ""
        if duplicates == "error":
            same = "this user and item are"
            advice = "; where people come back to an item, data.duplicates=last keeps it in both"
        earlier = whole.location(int(first[0]))
        raise UserError(
            f"{whole.location(int(row[0]))}: {same} in {earlier} too ({len(row)} such rows), and a model must not "
            f"see what it is tested on: take them out of one of the files{advice}"
        )


def _find_common(whole: Sheet, part: np.ndarray, columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The rows that agree in these columns with a row of an earlier part, and the first row that each agrees with."""
    group = whole.frame.groupby(columns, sort=False, observed=True, dropna=False).ngroup().to_numpy()
    _, start, index = np.unique(group, return_index=True, return_inverse=True)
    first = start[index]
    row = (part[first] != part).nonzero()[0]
    return row, first[row]
