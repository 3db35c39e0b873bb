"""Reads tables from delimited text into memory."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from recsweep.data.ids import ID
from recsweep.data.lines import encoding_error, is_plain, open_bytes, read_start, scan
from recsweep.data.sheet import FLOAT, INT, TEXT, Format, Sheet, Types, check_columns, check_exists, to_sheet
from recsweep.data.times import TIME, TimeUnit, text_type
from recsweep.errors import UserError

START = 1 << 18  # bytes of a file that show its header and format
BLOCK = 1 << 23  # bytes that Arrow parses at once; a record must fit in
MAX_BLOCK = 1 << 30

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def read_text(path: Path, form: Format, types: Types, unit: TimeUnit | None = None) -> Sheet:
    """Reads columns of a delimited text file.

    Args:
        path: the file; gzip and zip files are unpacked on the way.
        form: its separator, header, encoding and quoting.
        types: column -> type. With a header, or where `form` names the columns: the columns to read, in any order.
            Else: all columns of the file, in file order.
        unit: the unit of times that are numbers; None finds it by their size.

    Raises:
        UserError: the file is missing or empty, lacks a column, has a line with too few or too many fields, a value
            of the wrong type, or the wrong encoding.
    """
    check_exists(path)
    names = column_names(path, form) if form.header else list(form.columns or types)
    check_columns(path, types, names)
    arrow_types = {name: _arrow_type(path, form, names.index(name), dtype) for name, dtype in types.items()}
    try:
        try:
            table = _parse(path, form, arrow_types)
        except pa.ArrowInvalid:
            if TIME not in types.values():
                raise
            table = _parse(path, form, arrow_types | {name: TEXT for name, dtype in types.items() if dtype == TIME})
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise _parse_error(path, form, types, error) from error
    if any(pa.types.is_binary(column) for column in table.schema.types):
        raise encoding_error(path, form.encoding)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    del table
    return to_sheet(columns, path, types, form, unit)


def column_names(path: Path, form: Format) -> list[str]:
    """Column names in the header of a delimited text file, its first non-blank line, without blanks around them."""
    check_exists(path)
    return [name.strip() for name in _header(path, form)]


def records(text: str, form: Format) -> list[list[str]]:
    """The fields of each non-blank record of a text."""
    if len(form.separator) > 1:
        return [line.split(form.separator) for line in text.splitlines() if line]
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if form.quoted else csv.QUOTE_NONE
    return [
        record
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=form.separator, quoting=quoting)
        if record
    ]


def _header(path: Path, form: Format) -> list[str]:
    return next(iter(records(read_start(path, form.encoding, START), form)), [])


def _arrow_type(path: Path, form: Format, index: int, dtype: pa.DataType | None) -> pa.DataType | None:
    """The type as which Arrow reads a column; times by the first value."""
    if dtype != TIME:
        return TEXT if dtype == ID else dtype
    rows = records(read_start(path, form.encoding, START), form)[form.header :]
    return text_type(rows[0][index]) if rows and index < len(rows[0]) else TEXT


def _parse(path: Path, form: Format, types: Types, **options: object) -> pa.Table:
    """The columns of a text file by Arrow; `options` go to `ParseOptions`."""
    has_quotes = form.quoted and scan(path, form.encoding).has_quotes
    block = BLOCK
    while True:
        try:
            return _parse_blocks(path, form, types, has_quotes, block, options)
        except pa.ArrowInvalid as error:
            if not ("straddling" in str(error) and block < MAX_BLOCK):
                raise
            block *= 16  # a record is longer than a block


def _parse_blocks(
    path: Path, form: Format, types: Types, has_quotes: bool, block: int, options: Mapping[str, object]
) -> pa.Table:
    double = form.separator == "::"  # Arrow accepts single-character separators only; such fields contain no tabs
    in_file = dict(zip(column_names(path, form), _header(path, form), strict=True)) if form.header else {}
    types = {in_file.get(name, name): dtype for name, dtype in types.items()}
    with open_bytes(path) as file:
        source = io.BytesIO(file.read().replace(b"::", b"\t")) if double else path if is_plain(path) else file
        table = pa_csv.read_csv(
            source,
            read_options=pa_csv.ReadOptions(
                encoding=form.encoding,
                column_names=None if form.header else list(form.columns or types),
                use_threads="invalid_row_handler" not in options,  # with threads the handler gets no line numbers
                block_size=block,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter="\t" if double else form.separator,
                quote_char='"' if form.quoted else False,
                newlines_in_values=has_quotes,
                **options,
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(types),
                column_types={name: dtype for name, dtype in types.items() if dtype},
                decimal_point=form.decimal,
            ),
        )
    names = {raw: name for name, raw in in_file.items()}
    return table.rename_columns([names.get(name, name) for name in table.column_names])


def _parse_error(path: Path, form: Format, types: Types, error: Exception) -> UserError:
    """Why a file did not parse. Reads it again as text, which is slow but finds the line."""
    try:
        with open_bytes(path) as file:
            file.read().decode(form.encoding)
    except UnicodeError:
        return encoding_error(path, form.encoding)
    malformed: list[pa_csv.InvalidRow] = []

    def skip_row(row: pa_csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    try:
        table = _parse(path, form, dict.fromkeys(types, TEXT), invalid_row_handler=skip_row)
    except pa.ArrowInvalid:
        return UserError(f"{path}: {str(error).splitlines()[0]}")
    if malformed:
        row = malformed[0]
        return UserError(
            f"{path}, line {form.line_number(path, row.number - 1)}: {row.actual_columns} fields, "
            f"allowed: {row.expected_columns} fields separated by {form.separator!r}"
        )
    return type_error(Sheet(table.to_pandas(), path, int(form.header), form=form), types, error)


def type_error(as_text: Sheet, types: Types, error: Exception) -> UserError:
    """Names the first value of `as_text` (all columns strings) that does not parse as its column's type."""
    for column, dtype in types.items():
        if dtype not in (INT, FLOAT):
            continue
        values = as_text.frame[column].str.strip()
        if dtype == FLOAT:
            numbers = values.str.replace(",", ".") if as_text.form.decimal == "," else values
            is_bad, allowed = pd.to_numeric(numbers, errors="coerce").isna(), "numbers"
        else:
            is_bad, allowed = ~values.str.fullmatch(r"[+-]?\d+"), "whole numbers"
        is_bad &= values.notna() & ~values.isin(["", "nan", "NaN", "None"])
        if is_bad.any():
            row = int(is_bad.to_numpy().argmax())
            if dtype == FLOAT and as_text.form.decimal == "." and DECIMAL_COMMA.fullmatch(values.iloc[row]):
                allowed = "numbers; data.decimal_comma=true reads a comma as the decimal point"
            return UserError(f"{as_text.location(row, column)}: {values.iloc[row]!r}, allowed: {allowed}")
    return UserError(f"{as_text.path}: {str(error).splitlines()[0]}")
