"""The bytes and lines of text files: compressed or not, in any encoding, with line breaks inside of quotes."""

import codecs
import csv
import gzip
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa

from recsweep.errors import UserError, summarize_error

CHUNK = 1 << 22
NOT_IN_CP1252 = b"\x81\x8d\x8f\x90\x9d"
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""The encoding that a file's first bytes announce; the mark of UTF-32 begins like that of UTF-16."""

csv.field_size_limit(2**31 - 1)  # fields may be longer than the 128 KiB that Python allows by default


class Scan(NamedTuple):
    """What the bytes of a text file say.

    Args:
        encoding: `utf-8`, another one that a byte order mark announces, or `cp1252` or `latin-1` if it is not UTF-8.
        has_quotes: whether `"` occurs.
    """

    encoding: str
    has_quotes: bool


def is_plain(path: Path) -> bool:
    """Whether a file is neither gzip nor zip."""
    with path.open("rb") as file:
        return not file.read(4).startswith((b"\x1f\x8b", b"PK\x03\x04"))


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, or the content of a gzip file, or the only file in a zip archive.

    A damaged archive can raise nearly anything; all but what a block raises about the content becomes a `UserError`.
    """
    if is_plain(path):
        with path.open("rb") as content:
            yield content
        return
    try:
        with _open_archive(path) as content:
            yield content
    except (UserError, UnicodeError, pa.ArrowException):
        raise
    except Exception as error:
        raise UserError(f"{path}: a damaged archive ({summarize_error(error)})") from error


@contextmanager
def _open_archive(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    if is_gzip:
        with gzip.open(path) as content:
            yield cast(BinaryIO, content)
    else:
        with zipfile.ZipFile(path) as archive, archive.open(_only_member(path, archive)) as content:
            yield cast(BinaryIO, content)


def scan(path: Path, encoding: str | None = None) -> Scan:
    """Reads all bytes once, to find the encoding and quotes.

    Args:
        path: the file.
        encoding: the encoding, if it is known.

    Raises:
        UserError: the file is no text, or mixes UTF-8 with something else.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    has_quotes = has_undefined = False
    is_utf8 = True
    with open_bytes(path) as file:
        chunk = file.read(CHUNK)
        marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if chunk.startswith(mark)), None)
        known = encoding or marked
        while chunk:
            has_quotes = has_quotes or b'"' in chunk
            if known is None:
                if b"\0" in chunk:
                    raise UserError(f"{path}: no text; allowed: delimited text and Parquet, else set data.encoding")
                is_utf8 = is_utf8 and _decodes(decoder, chunk)
                has_undefined = has_undefined or any(byte in chunk for byte in NOT_IN_CP1252)
            chunk = file.read(CHUNK)
    if known is not None:
        return Scan(known, has_quotes)
    if is_utf8 and _decodes(decoder, b"", final=True):
        return Scan("utf-8", has_quotes)
    if _has_wide_characters(path):
        raise UserError(f"{_first_bad_line(path, 'utf-8')}: not utf-8, as other lines are; set data.encoding")
    return Scan("latin-1" if has_undefined else "cp1252", has_quotes)


def read_start(path: Path, encoding: str, size: int) -> str:
    """The text that the first `size` bytes of a file hold, up to its last whole line, without a byte order mark."""
    with open_bytes(path) as file:
        content = file.read(size)
        is_whole = not file.read(1)
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(content).removeprefix("\ufeff")
    except UnicodeError as error:
        raise encoding_error(path, encoding) from error
    cut = max(text.rfind("\n"), text.rfind("\r")) + 1
    return text if is_whole or not cut else text[:cut]


def line_number(path: Path, index: int, encoding: str, quoted: bool) -> int:
    """The line, from 1, on which the record with this `index`, from 0, begins; blank lines are no records."""
    with open_bytes(path) as file, TextIOWrapper(file, encoding, errors="replace", newline="") as lines:
        if not quoted:
            non_blank = (number for number, line in enumerate(lines, 1) if line.strip("\r\n\ufeff"))
            return next(islice(non_blank, index, None))
        reader, end, seen = csv.reader(lines), 0, 0
        for record in reader:
            if record:
                if seen == index:
                    return end + 1
                seen += 1
            end = reader.line_num
    raise UserError(f"{path}: no record {index + 1}: a quote before it is left open")


def encoding_error(path: Path, encoding: str) -> UserError:
    """The error for a file that does not decode; names its first such line."""
    return UserError(f"{_first_bad_line(path, encoding)}: not {encoding}, the encoding that this file must have")


def _first_bad_line(path: Path, encoding: str) -> str:
    with open_bytes(path) as file:
        content = file.read()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return f"{path}, line {content.count(chr(10).encode(), 0, error.start) + 1}"
    return str(path)


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> bool:
    try:
        if not chunk.isascii() or decoder.getstate()[0]:
            decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _has_wide_characters(path: Path) -> bool:
    """Whether a file that is not UTF-8 holds characters of UTF-8 outside of ASCII."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with open_bytes(path) as file:
        while chunk := file.read(CHUNK):
            if not decoder.decode(chunk).replace("\ufffd", "").isascii():
                return True
    return False


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one file of an archive."""
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        names = ", ".join(member.filename for member in members[:4])
        raise UserError(f"{path}: an archive of {len(members)} files ({names}), allowed: one table; unpack it")
    if members[0].flag_bits & 1:
        raise UserError(f"{path}: an encrypted archive; unpack it")
    return members[0]
