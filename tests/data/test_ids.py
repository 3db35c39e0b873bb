"""Ids are text exactly as a file has them, in CSV and in Parquet of any type; whole numbers sort by value."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_tables import table

from recsweep.data.ids import natural_order, raw_ids, read_ids
from recsweep.data.schema import Interactions
from recsweep.errors import UserError

TEXTS = [
    "7", "007", "07", "12E5", "2020-01-12", "18446744073709551012", "019515344X", "true",
    "12:12", "12.0", "0x10", "+7", "-7", "-0", "1_0",
]  # fmt: skip


def read(path: Path, **changes: Any) -> Interactions:
    return table(path, rating=None, timestamp=None, **changes).read()


def ids_of(data: Interactions) -> list[str | int]:
    return data.item_ids.decode(data.item).tolist()


@pytest.mark.parametrize("quote", ["", '"'])
def test_csv_keeps_every_id(tmp_path: Path, quote: str) -> None:
    (tmp_path / "t.csv").write_text("who,film\n" + "".join(f"1,{quote}{text}{quote}\n" for text in TEXTS))
    data = read(tmp_path / "t.csv")
    assert ids_of(data) == TEXTS
    assert data.item_ids.raw.tolist()[:3] == ["-7", "7", "18446744073709551012"]  # numbers by value, then text
    assert data.item_ids.encode(["007"]).tolist() == [data.item[1].item()]


@pytest.mark.parametrize("texts", [["0", "7", "12"], ["-5", "3"], ["9223372036854775807", "1"]])
def test_whole_numbers_of_64_bits_are_stored_as_such(tmp_path: Path, texts: list[str]) -> None:
    (tmp_path / "t.csv").write_text("who,film\n" + "".join(f"1,{text}\n" for text in texts))
    data = read(tmp_path / "t.csv")
    assert data.item_ids.raw.dtype == np.int64
    assert ids_of(data) == [int(text) for text in texts]


@pytest.mark.parametrize("texts", [["08"], ["+8"], [" 8"], ["8.0"], ["00"], ["0x10"], ["0xFFFFFFFFFFF", "07"]])
def test_other_text_among_numbers_makes_all_of_them_text(tmp_path: Path, texts: list[str]) -> None:
    """Padded numbers are longer than their usual form; hexadecimal ones are shorter, as much as 07 is longer."""
    (tmp_path / "t.csv").write_text("who,film\n1,12\n1,8\n" + "".join(f"1,{text}\n" for text in texts))
    assert ids_of(read(tmp_path / "t.csv")) == ["12", "8", *texts]


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (pa.array([1, 2**64 - 1], pa.uint64()), ["1", "18446744073709551615"]),
        (pa.array([5, 70], pa.uint8()), [5, 70]),
        (pa.array([12.0, 0.5]), ["12", "0.5"]),
        (pa.array([12.0, 3.0]), [12, 3]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([date(2020, 1, 12), date(2021, 2, 3)]), ["2020-01-12", "2021-02-03"]),
        (pa.array([b"a", b"b"]), ["a", "b"]),
        (pa.array(["007", "7"]), ["007", "7"]),
        (pa.array(["007", "7"], pa.large_string()), ["007", "7"]),
        (pa.array(["b", "a"]).dictionary_encode(), ["b", "a"]),
        (pa.array([30, 10]).dictionary_encode(), [30, 10]),
        (pa.array([Decimal("12"), Decimal("7")]), [12, 7]),
    ],
)
def test_parquet_of_any_type(tmp_path: Path, values: pa.Array, ids: list[str | int]) -> None:
    pa_parquet.write_table(pa.table({"who": [1, 1], "film": values}), tmp_path / "t.parquet")
    assert ids_of(read(tmp_path / "t.parquet")) == ids


def test_parquet_lists_are_no_ids(tmp_path: Path) -> None:
    pa_parquet.write_table(pa.table({"who": [1, 1], "film": [[1], [2]]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet, column film: ") as caught:
        read(tmp_path / "t.parquet")
    assert "\n" not in str(caught.value)


def test_a_feature_file_with_one_x_makes_no_other_ids(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("who,film\n1,195153448\n1,20\n")
    (tmp_path / "books.csv").write_text("isbn,year,name\n195153448,2000,One\n20,2001, Two \n00X,2002,\n")
    books = {"path": str(tmp_path / "books.csv"), "id": "isbn"}
    data = read(tmp_path / "t.csv", item_features=books, item_title="name")
    assert data.item_ids.raw.tolist() == ["20", "195153448", "00X"]
    assert data.item.tolist() == [1, 0]
    assert data.item_titles == ("Two", "One", "")
    assert data.item_features is not None and list(data.item_features.columns) == ["year"]
    assert data.item_features.columns["year"].tolist() == [2001, 2000, 2002]


def test_a_missing_category_is_named(tmp_path: Path) -> None:
    pa_parquet.write_table(pa.table({"who": [1, 1], "film": pa.array(["a", None])}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="row 2, column film: missing, allowed: an id in every row"):
        read(tmp_path / "t.parquet")


@given(st.lists(st.text("0179-+xFE. é", min_size=1, max_size=16), min_size=1, unique=True), st.integers(1, 3))
def test_ids_read_are_the_ids_written(texts: list[str], n_chunks: int) -> None:
    chunks = [[*texts[start::n_chunks], texts[0]] for start in range(n_chunks)]
    ids = read_ids(pa.chunked_array(chunks))
    assert [str(value) for value in ids] == [text for chunk in chunks for text in chunk]


def test_natural_order() -> None:
    ids = raw_ids(pd.Series(["b", "100", "7", "B", "0100", "12", "99999999999999999999", "-3"]))
    expected = ["-3", "7", "12", "100", "99999999999999999999", "0100", "B", "b"]
    assert ids[natural_order(ids)].tolist() == expected
