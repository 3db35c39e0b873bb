"""Tables of a user's own that are damaged: text, archives, Parquet, and the tables of features beside them."""

import gzip
import io
import zipfile
from collections.abc import Callable
from functools import cache

import pandas as pd

FRAME = pd.DataFrame(
    {
        "who": [n % 30 for n in range(300)],
        "film": [f"f{n}" for n in range(300)],
        "stars": [1.0 + n % 5 for n in range(300)],
        "when": [1556668800 + 97 * n for n in range(300)],
    }
)
USERS = pd.DataFrame({"who": range(30), "age": [20.5 + n for n in range(30)], "city": ["a", "b", "c"] * 10})
SHARES = (0.02, 0.3, 0.6, 0.9, 0.99)
SECOND = b"1,f1,2.0,1556668897\n"
"""The second record of the table in text."""


def as_text(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def as_parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def as_zip(content: bytes, *names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def flip(content: bytes, place: int, mask: int = 0xFF) -> bytes:
    """The content with another byte at this place."""
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


def cuts(content: bytes) -> dict[str, bytes]:
    return {f"{share:.0%} of it": content[: int(share * len(content))] for share in SHARES}


ROWS: dict[str, bytes] = {
    "a field too few": b"1,f1,2.0\n",
    "a field too many": b"1,f1,2.0,1,1\n",
    "no user": b",f1,2.0,1\n",
    "no item": b"1,,2.0,1\n",
    "no rating": b"1,f1,,1\n",
    "no time": b"1,f1,2.0,\n",
    "a rating in words": b"1,f1,good,1\n",
    "a rating that is no number": b"1,f1,nan,1\n",
    "an infinite rating": b"1,f1,inf,1\n",
    "a rating of 400 digits": b"1,f1,1e400,1\n",
    "a rating of two points": b"1,f1,2.0.0,1\n",
    "a time in words": b"1,f1,2.0,soon\n",
    "a time before 1970": b"1,f1,2.0,-5\n",
    "a time of 40 digits": b"1,f1,2.0," + b"9" * 40 + b"\n",
    "a pair twice": b"0,f0,2.0,1556668800\n",
    "an open quote": b'1,"f1,2.0,1\n',
    "a zero byte": b"1,f\x001,2.0,1\n",
    "another line only": b"thanks for reading\n",
    "another separator": b"1;f1;2.0;1\n",
    "only commas": b",,,\n",
}
"""What stands in the place of the second record."""


@cache
def text_damages() -> dict[str, bytes]:
    content = as_text(FRAME)
    assert SECOND in content
    return {
        **{name: content.replace(SECOND, row) for name, row in ROWS.items()},
        "empty": b"",
        "blank lines": b"\n\n\n",
        "only a header": content.split(b"\n")[0] + b"\n",
        "no header": content.partition(b"\n")[2],
        "another header": b"a,b,c,d\n" + content.partition(b"\n")[2],
        "a column twice": content.replace(b"stars", b"who"),
        "zero bytes": bytes(500),
        "UTF-16 without a mark": content.decode().encode("utf-16-le"),
        "UTF-8 and Latin-1": content.replace(b"f1,", "é".encode() + b"\xff,"),
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        "JSON": b'[{"who": 1, "film": "a"}]',
    }


@cache
def archive_damages() -> dict[str, bytes]:
    packed, zipped = gzip.compress(as_text(FRAME), mtime=0), as_zip(as_text(FRAME), "t.csv")
    start = zipped.index(b"PK\x01\x02")  # of the list of contents
    return {
        **{f"gzip, {name}": content for name, content in cuts(packed).items()},
        **{f"zip, {name}": content for name, content in cuts(zipped).items()},
        **{f"gzip, byte {place}": flip(packed, place) for place in (2, 3, 200, 500, 900, len(packed) - 6)},
        **{f"zip, byte {place}": flip(zipped, place) for place in (200, 500, 900, start - 40)},
        **{f"zip, byte {place} of the list": flip(zipped, start + place, 0x5A) for place in (10, 16, 43, 45)},
        "gzip of nothing": gzip.compress(b"", mtime=0),
        "gzip of zero bytes": gzip.compress(bytes(500), mtime=0),
        "zip of nothing": as_zip(b""),
        "zip of an empty file": as_zip(b"", "t.csv"),
        "zip of two files": as_zip(as_text(FRAME), "a.csv", "b.csv"),
        "encrypted": flip(flip(zipped, 6, 1), start + 8, 1),
    }


@cache
def parquet_damages() -> dict[str, bytes]:
    content = as_parquet(FRAME)
    end = len(content) - 8
    return {
        **cuts(content),
        **{f"byte {place} from the end": flip(content, end - place) for place in (-7, -3, -2, 1)},
        **{f"byte {place}": flip(content, place) for place in (5, 8, 10)},
        "only its name": b"PAR1",
        "text": b"who,film\n1,2\n",
        "empty": b"",
        "zeros in the pages": content[:4] + bytes(600) + content[604:],
        "no row": as_parquet(FRAME[:0]),
        "no column": as_parquet(FRAME[["who", "film"]]),
        "ratings in words": as_parquet(FRAME.assign(stars="good")),
        "ratings in lists": as_parquet(FRAME.assign(stars=[[1.0]] * 300)),
        "times in words": as_parquet(FRAME.assign(when="soon")),
        "missing users": as_parquet(FRAME.assign(who=None)),
        "missing ratings": as_parquet(FRAME.assign(stars=float("nan"))),
        "lists of items": as_parquet(FRAME.assign(film=[["a"]] * 300)),
    }


@cache
def feature_damages() -> dict[str, bytes]:
    text, content = as_text(USERS), as_parquet(USERS)
    return {
        **{f"parquet, {name}": damaged for name, damaged in cuts(content).items()},
        **{f"gzip, {name}": damaged for name, damaged in cuts(gzip.compress(text, mtime=0)).items()},
        "empty": b"",
        "only a header": b"who,age,city\n",
        "no column of ids": text.replace(b"who", b"user"),
        "a user twice": text + b"3,1,a\n",
        "no user": text + b",1,a\n",
        "a field too many": text + b"99,1,a,b\n",
        "an infinite number": text + b"99,inf,a\n",
        "a number of 400 digits": text + b"99,1e400,a\n",
        "zero bytes": bytes(100),
    }


TABLES: dict[str, Callable[[], dict[str, bytes]]] = {
    "t.csv": text_damages,
    "t.zip": archive_damages,
    "t.parquet": parquet_damages,
    "users.csv": feature_damages,
}
"""File -> its damages."""
