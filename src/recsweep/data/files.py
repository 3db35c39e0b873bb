"""Reads tables from delimited text and Parquet into memory; a `Sheet` remembers where each row came from."""

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
ANY = None  # infer the column's type from its values

Types = Mapping[str, pa.DataType | None]
"""Column -> type, INT, FLOAT, TEXT or ANY."""


@dataclass(frozen=True)
class Format:
    """The format of a text file.

    Args:
        separator: between fields, one character or `::`.
        header: whether the first line holds the column names.
        encoding: such as `utf-8` or `latin-1`.
        quoted: whether `"` quotes a field.
    """

    separator: str
    header: bool
    encoding: str
    quoted: bool


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
    """

    frame: pd.DataFrame
    path: Path
    header_lines: int | None
    names_in_file: Mapping[str, str] = field(default_factory=dict)
    tail: "Sheet | None" = None

    def rename(self, columns: Mapping[str, str]) -> "Sheet":
        """The same rows with columns renamed; `columns` maps names in the file to new names."""
        names_in_file = {new: old for old, new in columns.items()}
        return replace(self, frame=self.frame.rename(columns=columns), names_in_file=names_in_file)

    def concatenate(self, tail: "Sheet") -> "Sheet":
        """The rows of this sheet, then those of `tail`, which has the same columns."""
        return replace(self, frame=pd.concat([self.frame, tail.frame], ignore_index=True), tail=tail)

    def location(self, row: int, column: str | None = None) -> str:
        """Location of a row for messages: `data/u.data, line 17, column rating`; blank lines count as lines."""
        if self.tail is not None:
            tail_row = row - (len(self.frame) - len(self.tail.frame))
            if tail_row >= 0:
                return self.tail.location(tail_row, column)
        if self.header_lines is None:
            location = f"{self.path}, row {row + 1}"
        else:
            location = f"{self.path}, line {_line_number(self.path, row + self.header_lines)}"
        return location if column is None else f"{location}, column {self.name_in_file(column)}"

    def value_error(self, row: int, column: str, allowed: str) -> UserError:
        """The error for a missing value, or a number outside of what is `allowed`."""
        value = self.frame[column].iloc[row]
        text = "missing" if pd.isna(value) or value == "" else f"{value:.9g}"
        return UserError(f"{self.location(row, column)}: {text}, allowed: {allowed}")

    def name_in_file(self, column: str) -> str:
        """The name of a column in the file."""
        return self.names_in_file.get(column, column)


def read_text(path: Path, form: Format, types: Types) -> Sheet:
    """Reads columns of a delimited text file.

    Args:
        path: the file.
        form: its separator, header, encoding and quoting.
        types: column -> type. With a header: the columns to read, in any order. Without: all columns of the file, in
            file order.

    Raises:
        UserError: the file is missing or empty, lacks a column, has a line with too few or too many fields, a value
            of the wrong type, or the wrong encoding.
    """
    _check_exists(path)
    if form.header:
        _check_columns(path, types, column_names(path, form))
    try:
        table = _parse(path, form, types)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _parse_error(path, form, types, error) from error
    if any(pa.types.is_binary(column) for column in table.schema.types):
        raise _encoding_error(path, form)
    return _to_sheet(table, path, header_lines=int(form.header))


def read_parquet(path: Path, types: Types) -> Sheet:
    """Reads columns of a Parquet file and casts them to `types`; errors as in `read_text`."""
    _check_columns(path, types, parquet_column_names(path))
    table = pa_parquet.read_table(path, columns=list(types))
    schema = pa.schema([(name, dtype or _value_type(table.schema.field(name).type)) for name, dtype in types.items()])
    try:
        return _to_sheet(table.select(list(types)).cast(schema), path, header_lines=None)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        as_text = Sheet(table.to_pandas().astype("str"), path, header_lines=None)
        raise _type_error(as_text, types, error) from error


def column_names(path: Path, form: Format) -> list[str]:
    """Column names in the header of a delimited text file: its first non-blank line."""
    _check_exists(path)
    try:
        with path.open(encoding=form.encoding) as lines:
            header = next((line for line in lines if line.strip()), "")
    except UnicodeDecodeError as error:
        raise _encoding_error(path, form) from error
    return next(csv.reader([header.removeprefix("\ufeff")], delimiter=form.separator))


def parquet_column_names(path: Path) -> list[str]:
    """Column names of a Parquet file."""
    _check_exists(path)
    try:
        return list(pa_parquet.read_schema(path).names)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file, or a truncated one") from error


def _value_type(dtype: pa.DataType) -> pa.DataType:
    """The type of a column's values, also where a dictionary encodes them (pandas' `category`)."""
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _parse(path: Path, form: Format, types: Types, **options: object) -> pa.Table:
    """The columns of a text file by Arrow; `options` go to `ParseOptions`."""
    # Arrow accepts single-character separators only; MovieLens fields contain no tabs.
    double = form.separator == "::"
    source = io.BytesIO(path.read_bytes().replace(b"::", b"\t")) if double else path
    names = list(types)
    return pa_csv.read_csv(
        source,
        read_options=pa_csv.ReadOptions(
            encoding=form.encoding,
            column_names=None if form.header else names,
            use_threads="invalid_row_handler" not in options,  # with threads the handler gets no line numbers
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


def _to_sheet(table: pa.Table, path: Path, header_lines: int | None) -> Sheet:
    if not len(table):
        raise UserError(f"{path}: the file has no rows")
    return Sheet(table.to_pandas(split_blocks=True, self_destruct=True), path, header_lines)


def _parse_error(path: Path, form: Format, types: Types, error: Exception) -> UserError:
    """Why a file did not parse. Reads it again as text, which is slow but finds the line."""
    try:
        path.read_text(form.encoding)
    except UnicodeDecodeError:
        return _encoding_error(path, form)
    malformed: list[pa_csv.InvalidRow] = []

    def skip_row(row: pa_csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    table = _parse(path, form, dict.fromkeys(types, TEXT), invalid_row_handler=skip_row)
    if malformed:
        row = malformed[0]
        return UserError(
            f"{path}, line {_line_number(path, row.number - 1)}: {row.actual_columns} fields, "
            f"allowed: {row.expected_columns} fields separated by {form.separator!r}"
        )
    return _type_error(Sheet(table.to_pandas(), path, int(form.header)), types, error)


def _type_error(as_text: Sheet, types: Types, error: Exception) -> UserError:
    """Names the first value of `as_text` (all columns strings) that does not parse as its column's type."""
    for column, dtype in types.items():
        if dtype not in (INT, FLOAT):
            continue
        values = as_text.frame[column].str.strip()
        if dtype == FLOAT:
            is_bad, allowed = pd.to_numeric(values, errors="coerce").isna(), "numbers"
        else:
            is_bad, allowed = ~values.str.fullmatch(r"[+-]?\d+"), "whole numbers"
        is_bad &= values.notna() & ~values.isin(["", "nan", "NaN", "None"])
        if is_bad.any():
            row = int(is_bad.to_numpy().argmax())
            return UserError(f"{as_text.location(row, column)}: {values.iloc[row]!r}, allowed: {allowed}")
    return UserError(f"{as_text.path}: {str(error).splitlines()[0]}")


def _encoding_error(path: Path, form: Format) -> UserError:
    try:
        path.read_bytes().decode(form.encoding)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return UserError(f"{path}, line {line}: not {form.encoding}, the encoding that this file must have")
    return UserError(f"{path}: contains bytes that are not {form.encoding} text")


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if not path.stat().st_size:
        raise UserError(f"{path}: the file is empty")


def _check_columns(path: Path, types: Types, names: list[str]) -> None:
    """`UserError` unless each column of `types` occurs exactly once among the file's column `names`."""
    missing = [name for name in types if name not in names]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}; the file has {', '.join(names) or 'none'}")
    repeated = [name for name in types if names.count(name) > 1]
    if repeated:
        raise UserError(f"{path}: {names.count(repeated[0])} columns are called {repeated[0]!r}, allowed: one")


def _line_number(path: Path, index: int) -> int:
    """Line number, from 1, of the non-blank line with this `index`, from 0."""
    with path.open("rb") as lines:
        non_blank = (number for number, line in enumerate(lines, 1) if line.rstrip(b"\r\n"))
        return next(islice(non_blank, index, None))
