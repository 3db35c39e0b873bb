"""Tables in memory: a `Sheet` remembers where each row came from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recsweep.data.ids import ID, concatenate_columns, read_ids
from recsweep.data.lines import line_number
from recsweep.data.times import TIME, UNIT_NAMES, BadTime, MixedUnits, TimeUnit, to_seconds
from recsweep.errors import UserError
from recsweep.terminal import print_line

INT, FLOAT, TEXT = pa.int64(), pa.float64(), pa.string()
ANY = None  # infer the column's type from its values

MAX_LISTED = 300  # characters of a file's column names in a message
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")

Types = Mapping[str, pa.DataType | None]
"""Column -> type: INT, FLOAT, TEXT, ID (text, each id stored once), TIME (int64 seconds) or ANY."""


@dataclass(frozen=True)
class Format:
    """The format of a text file.

    Args:
        separator: between fields, one character or `::`.
        header: whether the first line holds the column names.
        encoding: such as `utf-8` or `latin-1`.
        quoted: whether `"` quotes a field.
        decimal: the decimal point, `.` or `,`.
        stripped: whether blanks around ids are layout.
        columns: names of all columns of a file without header, if not all of them are read.
    """

    separator: str
    header: bool
    encoding: str
    quoted: bool
    decimal: str = "."
    stripped: bool = False
    columns: tuple[str, ...] | None = None

    def line_number(self, path: Path, index: int) -> int:
        """The line, from 1, on which the record of a file with this `index`, from 0, begins."""
        return line_number(path, index, self.encoding, self.quoted)


CSV = Format(separator=",", header=True, encoding="utf-8", quoted=True)


@dataclass(frozen=True)
class Sheet:
    """A table in memory that can name the file, line and column of each value in error messages.

    Args:
        frame: the rows, in file order.
        path: the file.
        header_lines: lines before the first row, 0 or 1; None for Parquet, where rows have no line numbers.
        names_in_file: column of `frame` -> its name in the file, for renamed columns.
        tail: if two files were concatenated, the sheet that the last rows of `frame` came from.
        form: the format of a text file.
        rows: for each row of `frame` its number among all rows of the file, if some were left out.
    """

    frame: pd.DataFrame
    path: Path
    header_lines: int | None
    names_in_file: Mapping[str, str] = field(default_factory=dict)
    tail: "Sheet | None" = None
    form: Format = CSV
    rows: np.ndarray | None = None

    def rename(self, columns: Mapping[str, str]) -> "Sheet":
        """The same rows with columns renamed; `columns` maps names in the file to new names."""
        names_in_file = {new: old for old, new in columns.items()}
        return replace(self, frame=self.frame.rename(columns=columns), names_in_file=names_in_file)

    def keep(self, mask: np.ndarray) -> "Sheet":
        """The rows where `mask` is true."""
        if mask.all():
            return self
        own = mask if self.tail is None else mask[: -len(self.tail.frame)]
        tail = None if self.tail is None else self.tail.keep(mask[len(own) :])
        rows = np.flatnonzero(own) if self.rows is None else self.rows[own]
        return replace(self, frame=self.frame[mask].reset_index(drop=True), rows=rows, tail=tail)

    def concatenate(self, tail: "Sheet") -> "Sheet":
        """The rows of this sheet, then those of `tail`, which has the same columns."""
        columns = {name: concatenate_columns(self.frame[name], tail.frame[name]) for name in self.frame}
        tail = tail if self.tail is None else self.tail.concatenate(tail)
        return replace(self, frame=pd.DataFrame(columns, copy=False), tail=tail)

    def location(self, row: int, column: str | None = None) -> str:
        """Location of a row for messages: `data/u.data, line 17, column rating`; blank lines count as lines."""
        if self.tail is not None:
            tail_row = row - (len(self.frame) - len(self.tail.frame))
            if tail_row >= 0:
                return self.tail.location(tail_row, column)
        row = row if self.rows is None else int(self.rows[row])
        if self.header_lines is None:
            location = f"{self.path}, row {row + 1}"
        else:
            location = f"{self.path}, line {self.form.line_number(self.path, row + self.header_lines)}"
        return location if column is None else f"{location}, column {self.name_in_file(column)}"

    def value_error(self, row: int, column: str, allowed: str) -> UserError:
        """The error for a missing value, or a number outside of what is `allowed`."""
        value = self.frame[column].iloc[row]
        text = "missing" if pd.isna(value) or value == "" else f"{value:.9g}"
        return UserError(f"{self.location(row, column)}: {text}, allowed: {allowed}")

    def name_in_file(self, column: str) -> str:
        """The name of a column in the file."""
        return self.names_in_file.get(column, column)


def to_sheet(
    columns: dict[str, pa.ChunkedArray],
    path: Path,
    types: Types,
    form: Format | None = None,
    unit: TimeUnit | None = None,
) -> Sheet:
    """The rows of Arrow columns, with ids as `ids.read_ids` and times as seconds.

    Args:
        columns: emptied, so that memory is freed.
        path, types, unit: as in `files.read_text`.
        form: the format of a text file; None for Parquet.
    """
    if not len(next(iter(columns.values()))):
        raise UserError(f"{path}: the file has no rows")
    sheet = Sheet(pd.DataFrame(), path, int(form.header) if form else None, form=form or CSV)
    values: dict[str, Any] = {}
    for name, dtype in types.items():
        column = columns.pop(name)
        if dtype == ID:
            values[name] = read_ids(column, bool(form and form.stripped))
        elif dtype == TIME:
            values[name] = _read_times(sheet, name, column, unit)
        else:
            values[name] = column.to_pandas()
        del column
    return replace(sheet, frame=pd.DataFrame(values, copy=False))


def _read_times(sheet: Sheet, name: str, column: pa.ChunkedArray, unit: TimeUnit | None) -> np.ndarray:
    try:
        times = to_seconds(column, unit)
    except BadTime as error:
        raise UserError(f"{sheet.location(error.row, name)}: {error.problem}") from error
    except MixedUnits as error:
        (first, text), (second, other) = error.first, error.second
        raise UserError(
            f"{sheet.location(second, name)}: {other}, but {text} in {sheet.location(first)}; allowed: one unit"
        ) from error
    if unit is None and times.unit not in (None, "s"):
        note_once(
            f"{sheet.path}, column {name}: read as {UNIT_NAMES[times.unit]} since 1970; data.time_unit sets the unit"
        )
    return times.seconds


def check_exists(path: Path) -> None:
    """`UserError` unless there is a file with content, or a folder."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not (path.is_file() or path.is_dir()):  # a pipe would never end
        raise UserError(f"{path}: neither a file nor a folder")
    if path.is_file() and not path.stat().st_size:
        raise UserError(f"{path}: the file is empty")


def check_columns(path: Path, types: Types, names: list[str]) -> None:
    """`UserError` unless each column of `types` occurs exactly once among the file's column `names`."""
    missing = [name for name in types if name not in names]
    if missing:
        hint, listed = "", ", ".join(names) or "none"
        if len(names) == 1:
            hint = "; one column only: set data.separator, or delete what is above the header"
        elif any(NUMBER.fullmatch(name) for name in names):
            hint = "; a file without a header: data.header=false, and columns have numbers: 1, 2, …"
        listed = listed if len(listed) <= MAX_LISTED else f"{listed[:MAX_LISTED]}…"
        raise UserError(f"{path}: no column {missing[0]!r}; the file has {listed}{hint}")
    repeated = [name for name in types if names.count(name) > 1]
    if repeated:
        raise UserError(f"{path}: {names.count(repeated[0])} columns are called {repeated[0]!r}, allowed: one")


@cache
def note_once(line: str) -> None:
    """Prints a line about how a file is read, once in a process."""
    print_line(line, stderr=True)
