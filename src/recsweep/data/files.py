"""Raw tables from delimited text and Parquet, read whole into memory; each knows where its rows came from."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from recsweep.errors import UserError

INT, FLOAT, TEXT = pa.int64(), pa.float64(), pa.string()
ANY = None  # a column whose type the file's values decide

Types = Mapping[str, pa.DataType | None]


@dataclass(frozen=True)
class Format:
    """How a text file is written. `separator` may be `::`; only CSV quotes its fields."""

    separator: str
    header: bool
    encoding: str
    quoted: bool


CSV = Format(separator=",", header=True, encoding="utf-8", quoted=True)


@dataclass(frozen=True)
class Sheet:
    """A table in memory.

    Args:
        frame: its rows in file order.
        path: the file.
        header: lines before the first row; None for Parquet, whose rows have no line.
        file_names: column of `frame` -> its name in the file, where the two differ.
        tail: the sheet that the last rows of `frame` came from, where two files were joined.
    """

    frame: pd.DataFrame
    path: Path
    header: int | None
    file_names: Mapping[str, str] = field(default_factory=dict)
    tail: "Sheet | None" = None

    def renamed(self, columns: Mapping[str, str]) -> "Sheet":
        """The same rows with columns renamed; `columns` goes from the name in the file to the new one."""
        names = {new: old for old, new in columns.items()}
        return replace(self, frame=self.frame.rename(columns=columns), file_names=names)

    def followed_by(self, tail: "Sheet") -> "Sheet":
        """The rows of this sheet and then those of another one with the same columns."""
        return replace(self, frame=pd.concat([self.frame, tail.frame], ignore_index=True), tail=tail)

    def where(self, row: int, column: str | None = None) -> str:
        """Place of a row for a message: `data/u.data, line 17, column rating`; blank lines count as lines."""
        if self.tail is not None and row >= (start := len(self.frame) - len(self.tail.frame)):
            return self.tail.where(row - start, column)
        if self.header is None:
            place = f"{self.path}, row {row + 1}"
        else:
            place = f"{self.path}, line {_line(self.path, row + self.header)}"
        return place if column is None else f"{place}, column {self.name(column)}"

    def wrong(self, row: int, column: str, allowed: str) -> UserError:
        """The error of a missing value or a number that is not `allowed`."""
        found = self.frame[column].iloc[row]
        value = "missing" if pd.isna(found) or found == "" else f"{found:.9g}"
        return UserError(f"{self.where(row, column)}: {value}, allowed: {allowed}")

    def name(self, column: str) -> str:
        """What the file calls a column."""
        return self.file_names.get(column, column)


def read_text(path: Path, form: Format, types: Types) -> Sheet:
    """Columns of a delimited text file.

    Args:
        path: of the file.
        form: its separator, header, encoding and quoting.
        types: column -> type. In a file with a header, the columns wanted, in any order; in one without,
            all its columns in file order.

    Raises:
        UserError: the file is missing or empty, lacks a column, has a line with too few or too many fields,
            a value of another type, or another encoding.
    """
    _check_exists(path)
    if form.header:
        _check_columns(path, types, columns_of(path, form))
    try:
        table = _parse(path, form, types)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _explain(path, form, types, error) from error
    if any(pa.types.is_binary(column) for column in table.schema.types):
        raise _wrong_encoding(path, form)
    return _sheet(table, path, header=int(form.header))


def read_parquet(path: Path, types: Types) -> Sheet:
    """Columns of a Parquet file, cast to `types`; errors as in `read_text`."""
    _check_columns(path, types, columns_of_parquet(path))
    table = pa_parquet.read_table(path, columns=list(types))
    wanted = pa.schema([(name, dtype or _plain(table.schema.field(name).type)) for name, dtype in types.items()])
    try:
        return _sheet(table.select(list(types)).cast(wanted), path, header=None)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        text = Sheet(table.to_pandas().astype("str"), path, header=None)
        raise _wrong_value(text, types, error) from error


def columns_of(path: Path, form: Format) -> list[str]:
    """Names in the header of a delimited text file, which is its first line that is not blank."""
    _check_exists(path)
    try:
        with path.open(encoding=form.encoding) as lines:
            first = next((line for line in lines if line.strip()), "")
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, form) from error
    return next(csv.reader([first.removeprefix("\ufeff")], delimiter=form.separator))


def columns_of_parquet(path: Path) -> list[str]:
    """Names of the columns of a Parquet file."""
    _check_exists(path)
    try:
        return list(pa_parquet.read_schema(path).names)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file, or a truncated one") from error


def _plain(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _parse(path: Path, form: Format, types: Types, **options: object) -> pa.Table:
    # Arrow separates by one character; no MovieLens field holds a tab.
    double = form.separator == "::"
    source = io.BytesIO(path.read_bytes().replace(b"::", b"\t")) if double else path
    names = list(types)
    return pa_csv.read_csv(
        source,
        read_options=pa_csv.ReadOptions(
            encoding=form.encoding,
            column_names=None if form.header else names,
            use_threads="invalid_row_handler" not in options,  # only then does the handler learn the line
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter="\t" if double else form.separator,
            quote_char='"' if form.quoted else False,
            **options,
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=names, column_types={name: dtype for name, dtype in types.items() if dtype}
        ),
    )


def _sheet(table: pa.Table, path: Path, header: int | None) -> Sheet:
    if not len(table):
        raise UserError(f"{path}: the file has no rows")
    return Sheet(table.to_pandas(split_blocks=True, self_destruct=True), path, header)


def _explain(path: Path, form: Format, types: Types, error: Exception) -> UserError:
    """What is wrong with a file that did not parse: read again as text, which is slow but names the line."""
    try:
        path.read_text(form.encoding)
    except UnicodeDecodeError:
        return _wrong_encoding(path, form)
    malformed: list[pa_csv.InvalidRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    table = _parse(path, form, dict.fromkeys(types, TEXT), invalid_row_handler=note)
    if malformed:
        row = malformed[0]
        return UserError(
            f"{path}, line {_line(path, row.number - 1)}: {row.actual_columns} fields, "
            f"allowed: {row.expected_columns} fields separated by {form.separator!r}"
        )
    return _wrong_value(Sheet(table.to_pandas(), path, int(form.header)), types, error)


def _wrong_value(text: Sheet, types: Types, error: Exception) -> UserError:
    """The first value of `text` [n rows of strings] that cannot be read as its column's type."""
    for column, dtype in types.items():
        if dtype not in (INT, FLOAT):
            continue
        values = text.frame[column].str.strip()
        wrong = pd.to_numeric(values, errors="coerce").isna() if dtype == FLOAT else ~values.str.fullmatch(r"[+-]?\d+")
        wrong &= values.notna() & ~values.isin(["", "nan", "NaN", "None"])
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            allowed = "numbers" if dtype == FLOAT else "whole numbers"
            return UserError(f"{text.where(row, column)}: {values.iloc[row]!r}, allowed: {allowed}")
    return UserError(f"{text.path}: {str(error).splitlines()[0]}")


def _wrong_encoding(path: Path, form: Format) -> UserError:
    try:
        path.read_bytes().decode(form.encoding)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return UserError(f"{path}, line {line}: not {form.encoding}, which this file must be written in")
    return UserError(f"{path}: holds bytes that are not {form.encoding} text")


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if not path.stat().st_size:
        raise UserError(f"{path}: the file is empty")


def _check_columns(path: Path, wanted: Types, found: list[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}; the file has {', '.join(found) or 'none'}")
    twice = [name for name in wanted if found.count(name) > 1]
    if twice:
        raise UserError(f"{path}: {found.count(twice[0])} columns are called {twice[0]!r}, allowed: one")


def _line(path: Path, place: int) -> int:
    """Line number, from 1, of the non-blank line at `place`, from 0."""
    with path.open("rb") as lines:
        return next(islice((n for n, line in enumerate(lines, 1) if line.rstrip(b"\r\n")), place, None))
