"""Histories as text, oldest first: `user item` a line, as of SASRec, or `user item item …`, as of S3-Rec."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa

from recsweep.data.assemble import assemble, unknown_split_error
from recsweep.data.files import START, read_text
from recsweep.data.ids import ID, read_ids
from recsweep.data.lines import encoding_error, open_bytes, read_start
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import Format, Sheet, check_exists
from recsweep.data.tables import IMPLICIT_SCALE
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError

BLANK = Format(separator=" ", header=False, encoding="utf-8", quoted=False)
SEPARATORS = " \t"
PAIR = {"user": ID, "item": ID}


@dataclass(frozen=True)
class SequenceText:
    """Events without ratings: each line is a user and one or more items, with blanks or tabs between.

    The time of a row is its position among its user's rows, from 0. It orders each user's rows, and says nothing of two
    users.

    Args:
        path: the file, as it is or in a gzip or zip file.
        duplicates: what to do with a repeated (user, item) pair, see `validate.resolve_duplicates`.
    """

    path: str
    duplicates: Duplicates

    name: ClassVar[str] = "sequence_text"
    ships: ClassVar[tuple[str, ...]] = ()

    def ready(self) -> bool:
        """Whether the file is on disk."""
        return Path(self.path).exists()

    def read(self) -> Interactions:
        """The rows in the order of the file."""
        data = assemble(self.name, read_sequences(Path(self.path)), IMPLICIT_SCALE, self.duplicates)
        return replace(data, has_seconds=False)

    def parts(self, name: str, data: Interactions) -> Split:
        """Raises `UserError`: the file ships no split."""
        raise unknown_split_error(self, name)


def read_sequences(path: Path) -> Sheet:
    """Columns user, item, rating 1 and timestamp, a row for each item; `UserError` names a line that is none."""
    check_exists(path)
    separator = _separator_of_pairs(path)
    sheet = _read_lists(path) if separator is None else read_text(path, replace(BLANK, separator=separator), PAIR)
    sheet.frame["rating"] = 1.0
    sheet.frame["timestamp"] = sheet.frame.groupby("user", observed=True).cumcount().to_numpy()
    return sheet


def _separator_of_pairs(path: Path) -> str | None:
    """The blank or tab between user and item, if the beginning of the file has one item a line."""
    lines = [line for line in read_start(path, "utf-8", START).splitlines() if line]
    pairs = ([line.split(separator) for line in lines] for separator in SEPARATORS)
    has_pairs = [all(len(fields) == 2 and all(fields) for fields in rows) for rows in pairs]
    return SEPARATORS[has_pairs.index(True)] if any(has_pairs) else None


def _read_lists(path: Path) -> Sheet:
    """Columns user and item of lines with several items.

    A user's second line is refused: such a file is likely a table of several columns.
    """
    sheet = Sheet(pd.DataFrame(), path, header_lines=0, form=BLANK)
    with open_bytes(path) as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise encoding_error(path, "utf-8") from error
    lines = [line.split() for line in text.split("\n") if line.strip("\r")]
    users: dict[str, int] = {}
    for number, fields in enumerate(lines):
        if len(fields) < 2:
            raise UserError(f"{sheet.location(number)}: {' '.join(fields)!r}, allowed: user item item …")
        first = users.setdefault(fields[0], number)
        if first < number:
            raise UserError(
                f"{sheet.location(number)}: user {fields[0]} already has {sheet.location(first)}, allowed: `user item` "
                "in every line, or one line a user; a table of columns is data=table"
            )
    row = np.repeat(np.arange(len(lines)), [len(fields) - 1 for fields in lines])
    items = [item for fields in lines for item in fields[1:]]
    frame = pd.DataFrame({"user": _ids(list(users))[row], "item": _ids(items)})
    return replace(sheet, frame=frame, rows=row)


def _ids(values: list[str]) -> np.ndarray | pd.Categorical:
    return read_ids(pa.chunked_array([pa.array(values, pa.string())]))
