"""Finds the format of a delimited text file: what is not set is read off its beginning, and said in one line."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recsweep.data.files import DECIMAL_COMMA, START, records
from recsweep.data.lines import read_start, scan
from recsweep.data.sheet import ANY, CSV, FLOAT, Format, Types, check_exists, note_once
from recsweep.errors import UserError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "colons": "::", "space": " "}


@dataclass(frozen=True)
class Layout:
    """What is known of a text file's format; None where it is to be found.

    Args:
        separator: a name of `SEPARATORS`, or one character.
        encoding: such as `utf-8`, `cp1252`, `utf-16`.
        header: whether the first line names the columns; else they are called 1, 2, ….
        decimal_comma: whether a comma is the decimal point.
    """

    separator: str | None = None
    encoding: str | None = None
    header: bool | None = None
    decimal_comma: bool | None = None

    def __post_init__(self) -> None:
        if self.separator is not None and self.separator not in SEPARATORS and len(self.separator) != 1:
            raise UserError(
                f"data.separator={self.separator}, allowed: {', '.join(SEPARATORS)}, or another single character"
            )
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise UserError(f"data.encoding={self.encoding}: unknown, allowed: such as utf-8, cp1252, utf-16") from None


UNKNOWN = Layout()


def find_format(path: Path, types: Types, layout: Layout = UNKNOWN) -> Format:
    """The format of a file with columns `types`.

    The separator is the one that separates the names of these columns in the first line, else the one that gives all
    lines at the beginning the same number of fields, and most. There is no header if the columns are called by numbers.

    Raises:
        UserError: the columns are called by numbers, and the first line counts from 0 or 1: a header, or a row?
    """
    check_exists(path)
    found = scan(path, layout.encoding)
    text = read_start(path, found.encoding, START)
    separator = SEPARATORS.get(layout.separator or "", layout.separator) or _find_separator(text, list(types))
    form = replace(CSV, encoding=found.encoding, separator=separator)
    rows = _whole_records(text, form)
    names = [name.strip() for name in rows[0]] if rows else []
    has_header = layout.header
    if has_header is None:
        has_header = not all(name.isdecimal() for name in types)
        if not has_header and set(types) <= set(names) and names in (_count(0, names), _count(1, names)):
            line = f"{path}: the first line is {', '.join(names)}"
            raise UserError(f"{line}: names of columns, or a row? Set data.header=true or false")
    columns = None if has_header else tuple(_count(1, names))
    form = replace(form, header=has_header, columns=columns, stripped=_has_blanks(rows))
    decimal_comma = layout.decimal_comma
    if decimal_comma is None:
        decimal_comma = _has_decimal_comma(rows, types, list(columns or names), has_header)
    form = replace(form, decimal="," if decimal_comma else ".")
    _note(path, form, layout)
    return form


def layout_column_names(path: Path, form: Format) -> list[str]:
    """All column names of a file in this format."""
    rows = records(read_start(path, form.encoding, START), form)
    return list(form.columns or ()) or [name.strip() for name in (rows[0] if rows else [])]


def _count(first: int, names: Sequence[str]) -> list[str]:
    """As many numbers from `first` on as there are names."""
    return [str(first + index) for index in range(len(names))]


def _whole_records(text: str, form: Format) -> list[list[str]]:
    """The records of the beginning of a file; the last of many may be cut."""
    rows = records(text, form)
    return rows[:-1] if len(text) >= START // 2 and len(rows) > 1 else rows


def _find_separator(text: str, names: Sequence[str]) -> str:
    best, most = ",", 1
    for separator in SEPARATORS.values():
        rows = _whole_records(text, replace(CSV, separator=separator))
        if not rows:
            return best
        if set(names) <= {name.strip() for name in rows[0]}:
            return separator
        counts = {len(row) for row in rows}
        if len(counts) == 1 and (count := counts.pop()) > most:
            best, most = separator, count
    return best


def _has_blanks(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a blank follows every separator."""
    fields = [field for row in rows for field in row[1:]]
    return bool(fields) and all(field.startswith(" ") for field in fields)


def _has_decimal_comma(rows: Sequence[Sequence[str]], types: Types, names: list[str], has_header: bool) -> bool:
    """Whether a column of numbers has values such as 4,5; 4,512 may be four thousand and does not decide."""
    for name, dtype in types.items():
        if dtype not in (FLOAT, ANY) or name not in names:
            continue
        index = names.index(name)
        values = [row[index].strip() for row in rows[has_header:] if index < len(row)]
        with_comma = [value for value in values if DECIMAL_COMMA.fullmatch(value)]
        if not any(len(value.partition(",")[2]) != 3 for value in with_comma):
            continue
        if all(value.lstrip("+-").isdecimal() or not value for value in values if value not in with_comma):
            return True
    return False


def _note(path: Path, form: Format, layout: Layout) -> None:
    """Says what was found out and is not as in a usual CSV file."""
    name = next((name for name, separator in SEPARATORS.items() if separator == form.separator), form.separator)
    found = {
        f"separator={name}": layout.separator is None and form.separator != ",",
        f"encoding={form.encoding}": layout.encoding is None and form.encoding != "utf-8",
        "header=false": layout.header is None and not form.header,
        "decimal_comma=true": layout.decimal_comma is None and form.decimal == ",",
    }
    if any(found.values()):
        settings = ", ".join(setting for setting, is_found in found.items() if is_found)
        note_once(f"{path}: found {settings}; if that is wrong, set data.separator, encoding, header, decimal_comma")
