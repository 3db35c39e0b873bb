"""Files as people have them: separators, encodings, archives, no header; what is found is said, and can be set."""

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from own_tables import HEADER, table

from recsweep.data.schema import Interactions
from recsweep.errors import UserError

ROWS = [("30", "b", 2.0, 5), ("10", "a", 4.5, 6), ("30", "a", 3.0, 7)]
PLAIN = HEADER + "30,b,2,5\n10,a,4.5,6\n30,a,3,7\n"
TABS = PLAIN.replace(",", "\t")
NUMBERS = {"user": 1, "item": 2, "rating": 3, "timestamp": 4}


def zip_of(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def rows(data: Interactions) -> list[tuple[str, str, float, int]]:
    columns = data.user_ids.decode(data.user), data.item_ids.decode(data.item), data.rating, data.seconds
    return [(str(u), str(i), r, t) for u, i, r, t in zip(*(column.tolist() for column in columns), strict=True)]


@pytest.mark.parametrize(
    ("name", "content", "changes", "said"),
    [
        ("plain.csv", PLAIN.encode(), {}, None),
        ("UPPER.CSV", PLAIN.encode(), {}, None),
        ("no_ending", PLAIN.encode(), {}, None),
        ("t.csv", PLAIN.replace("\n", "\r\n").encode("utf-8-sig"), {}, None),
        ("t.csv", PLAIN.replace("\n", "\r").encode(), {}, None),
        ("t.csv", PLAIN.replace(",", ";").encode(), {}, "separator=semicolon"),
        ("t.tsv", PLAIN.replace(",", "\t").encode(), {}, "separator=tab"),
        ("t.txt", PLAIN.replace(",", "|").encode(), {}, "separator=pipe"),
        ("t.dat", PLAIN.replace(",", "::").encode(), {}, "separator=colons"),
        ("t.txt", PLAIN.replace(",", " ").encode(), {}, "separator=space"),
        ("t.csv", PLAIN.replace(",", "^").encode(), {"separator": "^"}, None),
        ("t.csv", PLAIN.replace(",", ", ").encode(), {}, None),
        ("t.csv", PLAIN.replace(",", ";").replace(".", ",").encode(), {}, "separator=semicolon, decimal_comma=true"),
        ("t.csv", PLAIN.replace("4.5", '"4,5"').encode(), {}, "decimal_comma=true"),
        ("t.csv", PLAIN.replace("4.5", '"4,500"').encode(), {"decimal_comma": True}, None),
        ("t.csv", PLAIN.encode("utf-16"), {}, "encoding=utf-16"),
        ("t.csv", PLAIN.encode("utf-16-le"), {"encoding": "utf-16-le"}, None),
        ("t.csv", PLAIN.encode("utf-32"), {}, "encoding=utf-32"),
        ("t.csv.gz", gzip.compress(PLAIN.encode(), mtime=0), {}, None),
        ("t.zip", zip_of(**{"t.csv": PLAIN, "__MACOSX/._t.csv": "x"}), {}, None),
        ("t.txt.gz", gzip.compress(TABS.encode("utf-16"), mtime=0), {}, "separator=tab, encoding=utf-16"),
        ("t.csv", PLAIN.removeprefix(HEADER).encode(), NUMBERS, "header=false"),
        ("t.csv", PLAIN.encode(), NUMBERS | {"header": True}, "no column '1'"),
        ("t.csv", PLAIN.removeprefix(HEADER).replace(",", "\t").encode(), NUMBERS | {"header": False}, "separator=tab"),
    ],
)  # fmt: skip
def test_formats(
    tmp_path: Path, name: str, content: bytes, changes: dict[str, Any], said: str | None, capsys: Any
) -> None:
    (tmp_path / name).write_bytes(content)
    if said and said.startswith("no column"):
        with pytest.raises(UserError, match=said):
            table(tmp_path / name, **changes).read()
        return
    assert rows(table(tmp_path / name, **changes).read()) == ROWS
    line = capsys.readouterr().err
    assert (f"{name}: found {said}; if that is wrong, set data.separator, encoding" in line) if said else not line


def test_latin_text_in_ids_is_found(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes((HEADER + "1,Amélie – 1,2,3\n").encode("cp1252"))
    assert table(tmp_path / "t.csv").read().item_ids.raw.tolist() == ["Amélie – 1"]


@pytest.mark.parametrize("n_rows", [3, 3000])
def test_line_breaks_in_quotes(tmp_path: Path, n_rows: int) -> None:
    """Three lines a record; at 3,000 records of 12 KB, more than four blocks."""
    review = '"fine, ""really""\n' + "x" * 4 * n_rows + '\nbye"'
    text = "film,review,who,stars\n" + "".join(f"{row},{review},u,{row % 5}\n" for row in range(n_rows))
    (tmp_path / "t.csv").write_text(text)
    data = table(tmp_path / "t.csv", timestamp=None).read()
    assert data.item.tolist() == list(range(n_rows))
    (tmp_path / "t.csv").write_text(text + f"new,{review},u,five\n")
    with pytest.raises(UserError, match=rf"t\.csv, line {2 + 3 * n_rows}, column stars: 'five', allowed: numbers$"):
        table(tmp_path / "t.csv", timestamp=None).read()
    (tmp_path / "t.csv").write_text(text + f"new,{review},u\n")
    with pytest.raises(UserError, match=rf"t\.csv, line {2 + 3 * n_rows}: 3 fields, allowed: 4 fields"):
        table(tmp_path / "t.csv", timestamp=None).read()


@pytest.mark.parametrize("first", ["2,1,4,3", "1,3,2,4"])
def test_a_first_row_of_numbers_is_no_header(tmp_path: Path, first: str) -> None:
    (tmp_path / "t.csv").write_text(f"{first}\n5,2,4,8\n")
    user, item, rating, time = map(int, first.split(","))
    data = table(tmp_path / "t.csv", **NUMBERS).read()
    assert rows(data) == [(str(user), str(item), rating, time), ("5", "2", 4, 8)]


@pytest.mark.parametrize("first", ["1,2,3,4", "0,1,2,3,4"])
def test_a_first_line_that_counts_may_be_a_header(tmp_path: Path, first: str) -> None:
    (tmp_path / "t.csv").write_text(f"{first}\n{'7,' * first.count(',')}5\n")
    message = rf"t\.csv: the first line is {first.replace(',', ', ')}: names of columns, or a row\? Set data\.header="
    with pytest.raises(UserError, match=message):
        table(tmp_path / "t.csv", **NUMBERS).read()
    assert len(table(tmp_path / "t.csv", **NUMBERS, header=True).read()) == 1
    assert len(table(tmp_path / "t.csv", **NUMBERS, header=False).read()) == 2


def test_features_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEADER + "1,a,2,5\n2,a,4,6\n")
    (tmp_path / "users").write_text("1|24|M\n2|53|F\n")
    data = table(tmp_path / "t.csv", user_features={"path": str(tmp_path / "users"), "id": 1}).read()
    assert data.user_features is not None and data.user_features.labels == {"3": ("F", "M")}
    assert data.user_features.columns["2"].tolist() == [24, 53]


def test_a_record_longer_than_a_block(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('who,note,film\n1,"' + "long\n" * 4_000_000 + '",2\n3,"",4\n')
    data = table(tmp_path / "t.csv", rating=None, timestamp=None).read()
    assert data.user_ids.raw.tolist() == [1, 3] and data.item_ids.raw.tolist() == [2, 4]


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    """As Spark writes it: parts in order, markers of its own, a subfolder for each value of a column."""
    frame = pd.DataFrame(ROWS, columns=["who", "film", "stars", "when"])
    folder = tmp_path / "t.parquet"
    for name, part in (("month=1/part-0", frame[:2]), ("month=2/part-1", frame[2:])):
        (folder / name).parent.mkdir(parents=True)
        pa_parquet.write_table(pa.Table.from_pandas(part, preserve_index=False), folder / f"{name}.snappy.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "month=1" / ".part-0.snappy.parquet.crc").write_bytes(b"crc")
    assert table(folder).ready()
    assert rows(table(folder).read()) == ROWS
    assert table(folder, item="month").read().item_ids.raw.tolist() == [1, 2]


def test_lists_in_parquet(tmp_path: Path) -> None:
    pa_parquet.write_table(pa.table({"who": [1], "film": [[1]], "stars": [1], "when": [1]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet, column film: lists or structs, allowed: one value in each row$"):
        table(tmp_path / "t.parquet").read()


def test_a_folder_without_parquet_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a folder without \.parquet files; allowed: one table"):
        table(tmp_path).read()


def test_ratings_that_are_none_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(HEADER + "1,a,0,1\n1,b,5,2\n2,c,99,3\n\n2,b,-3,4\n")
    data = table(tmp_path / "t.csv", no_rating=[0, 99]).read()
    assert data.item_ids.raw.tolist() == ["b"] and data.rating.tolist() == [5, -3]
    assert "t.csv: 2 of 4 rows without a rating (0, 99) left out" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"t\.csv, line 6, column stars: -3, allowed: 1 to 5$"):
        table(tmp_path / "t.csv", no_rating=[0, 99], rating_scale=[1, 5]).read()
    with pytest.raises(UserError, match=r"data\.no_rating leaves no row: every rating is one of 0, 5, 99, -3$"):
        table(tmp_path / "t.csv", no_rating=[0, 5, 99, -3]).read()


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (b"30,b,2,5\n10,a,4,6\n", {}, r"no column 'who'; the file has 30, b, 2, 5; a file without a header: "),
        (b"# of a shop\n" + PLAIN.encode(), {}, r"no column 'who'; the file has # of a shop; one column only: set "
         r"data\.separator, or delete what is above the header$"),
        (b'[{"who":1},' + b'{"who":2},' * 999 + b'{"who":3}]', {}, r"no column 'who'; the file has .{300}\u2026$"),
        (PLAIN.replace("4.5", '"4,512"').encode(), {}, r"line 3, column stars: '4,512', allowed: numbers; "
         r"data\.decimal_comma=true reads a comma as the decimal point$"),
        (PLAIN.encode(), {"separator": "commas"}, r"^data\.separator=commas, allowed: comma, semicolon, tab, pipe, "),
        (PLAIN.encode(), {"encoding": "utf8000"}, r"^data\.encoding=utf8000: unknown, allowed: such as utf-8"),
        (PLAIN.encode(), {"item_title": "name"}, r"^data\.item_title: a column of data\.item_features, which is not"),
        (PLAIN.encode(), {"no_rating": [0], "rating": None}, r"^data\.no_rating: data\.rating=null names no column"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], {}, r"t\.csv: a damaged archive \("),
        (zip_of(a=PLAIN, b=PLAIN), {}, r"t\.csv: an archive of 2 files \(a, b\), allowed: one table; unpack it$"),
        (b"who,film,stars,when", {}, r"t\.csv: "),
        ("who,film,stars,when\n1,\u00e9,2,3\n".encode(), {"encoding": "ascii"}, r"t\.csv, line 2: not ascii"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, content: bytes, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        table(tmp_path / "t.csv", **changes).read()
    assert "\n" not in str(caught.value)
