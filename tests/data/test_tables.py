"""Tables of the user's own: CSV and Parquet give the same data, and each mistake gets its message."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from own_tables import HEADER, table

from recsweep.errors import UserError

FRAME = pd.DataFrame(
    {
        "when": [5, 6, 7],
        "stars": [2.0, 4.5, 3.0],
        "film": ["b", "a", "a"],
        "who": [30, 10, 30],
        "note": ["x", "y", "z"],
    }
)
USERS = pd.DataFrame({"who": [30, 20, 10], "age": [40, 50.5, 60], "city": ["Ulm", None, "Bonn"]})


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_named_columns_ids_and_features(tmp_path: Path, suffix: str) -> None:
    users = save(USERS.astype({"city": "category"}), tmp_path / f"users{suffix}")
    source = table(save(FRAME, tmp_path / f"t{suffix}"), user_features={"path": str(users), "id": "who"})
    assert source.ready()
    data = source.read()
    assert data.user_ids.raw.tolist() == [10, 20, 30]  # 20 has no rating
    assert data.item_ids.raw.tolist() == ["a", "b"]
    assert data.user.tolist() == [2, 0, 2] and data.item.tolist() == [1, 0, 0]
    assert data.rating.tolist() == [2.0, 4.5, 3.0]
    assert data.timestamp is not None and data.timestamp.tolist() == [5, 6, 7]
    assert data.rating_scale == (2.0, 4.5)
    assert data.user_features is not None
    assert data.user_features.columns["age"].tolist() == [60.0, 50.5, 40.0]
    assert data.user_features.columns["city"].tolist() == [0, 2, 1]
    assert dict(data.user_features.labels) == {"city": ("Bonn", "Ulm", "unknown")}


def test_implicit_feedback_without_times(tmp_path: Path) -> None:
    data = table(save(FRAME, tmp_path / "t.csv"), rating=None, timestamp=None).read()
    assert data.rating.tolist() == [1, 1, 1]
    assert data.rating_scale == (0.0, 1.0)
    assert data.timestamp is None


def test_parquet_categories_are_ids_too(tmp_path: Path) -> None:
    data = table(save(FRAME.astype({"film": "category", "who": "category"}), tmp_path / "t.parquet")).read()
    assert data.item_ids.raw.tolist() == ["a", "b"]
    assert data.user_ids.raw.tolist() == [10, 30]


def test_a_byte_order_mark_is_not_part_of_the_first_column_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeffwho,film,stars,when\n1,a,2,3\n", "utf-8")
    assert len(table(tmp_path / "t.csv").read()) == 1


def test_blank_lines_may_come_before_the_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n\nwho,film,stars,when\n1,a,2,3\n")
    assert table(tmp_path / "t.csv").read().rating.tolist() == [2]


def test_empty_values_of_all_types_of_categories_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("who,vip,since\n10,true,2020-01-02\n30,,\n")
    features = {"path": str(tmp_path / "users.csv"), "id": "who"}
    data = table(save(FRAME, tmp_path / "t.csv"), user_features=features).read()
    assert data.user_features is not None
    for name, label in (("vip", "True"), ("since", "2020-01-02")):
        codes, labels = data.user_features.columns[name].tolist(), data.user_features.labels[name]
        assert [labels[code] for code in codes] == [label, "unknown"]


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("who,film,when\n1,a,3\n", {}, r"t\.csv: no column 'stars'; the file has who, film, when$"),
        (HEADER + "1,a,2,3\n2,a,bad,4\n", {}, r"t\.csv, line 3, column stars: 'bad', allowed: numbers$"),
        (HEADER + "1,a,2,3\n1,b,2,soon\n", {}, r"t\.csv, line 3, column when: 'soon', allowed: times such as 3 in the "
         r"first row$"),
        (HEADER + "1,a,2,soon\n", {}, r"t\.csv, line 2, column when: 'soon', allowed: numbers since 1970, or ISO"),
        (HEADER + "1,a,2,3\n1,b,2,\n", {}, r"t\.csv, line 3, column when: missing, allowed: numbers since 1970"),
        (HEADER + "1,a,nan,3\n", {}, r"line 2, column stars: missing, allowed: finite numbers$"),
        (HEADER + "1,a,inf,3\n", {}, r"line 2, column stars: inf, allowed: finite numbers$"),
        (HEADER + "1,a,,3\n", {"rating_scale": [1, 5]}, r"column stars: missing, allowed: 1 to 5$"),
        (HEADER + "1,a,7,3\n", {"rating_scale": [1, 5]}, r"column stars: 7, allowed: 1 to 5$"),
        (HEADER + "1,a,2,-3\n", {}, r"line 2, column when: -3, allowed: seconds since 1970, 0 or more$"),
        (HEADER + ",a,2,3\n", {}, r"line 2, column who: missing, allowed: an id in every row$"),
        (HEADER + "1,a,2,3\n2,,2,3\n", {}, r"line 3, column film: missing, allowed: an id in every row$"),
        (HEADER + "1,a,2\n", {}, r"t\.csv, line 2: 3 fields, allowed: 4 fields separated by ','$"),
        (HEADER, {}, r"t\.csv: the file has no rows$"),
        ("", {}, r"t\.csv: the file is empty$"),
        ("\n\n", {}, r"t\.csv: no column 'who'; the file has none$"),
        (HEADER + "1,a,2,3\n", {"item": "who"}, r"'who', 'who', 'stars', 'when'\], allowed: each column once$"),
        (HEADER + "1,a,2,3\n", {"rating_scale": [5, 1]}, r"data\.rating_scale=\[5, 1\]"),
    ],
)  # fmt: skip
def test_bad_csv(tmp_path: Path, text: str, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        table(tmp_path / "t.csv", **changes).read()
    assert "\n" not in str(caught.value)


def test_a_csv_that_is_not_what_it_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(HEADER.encode() + b"1,a,2,3\n2,\xe9,2,3\n")
    with pytest.raises(UserError, match=r"t\.csv, line 3: not utf-8, the encoding that this file must have$"):
        table(tmp_path / "t.csv", encoding="utf-8").read()


def test_a_csv_that_mixes_encodings(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(HEADER.encode() + "1,é,2,3\n".encode() + b"2,\xe9,2,3\n")
    with pytest.raises(UserError, match=r"t\.csv, line 3: not utf-8, as other lines are; set data\.encoding$"):
        table(tmp_path / "t.csv").read()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"stars": ["2", "x", "3"]}, r"t\.parquet, row 2, column stars: 'x', allowed: numbers$"),
        ({"stars": [2.0, None, 3.0]}, r"t\.parquet, row 2, column stars: missing"),
        ({"when": [5, -6, 7]}, r"t\.parquet, row 2, column when: -6, allowed: seconds"),
    ],
)
def test_bad_parquet(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(save(FRAME.assign(**columns), tmp_path / "t.parquet")).read()


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    path = save(FRAME, tmp_path / "t.parquet")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="not a Parquet file, or a truncated one"):
        table(path).read()


def test_a_missing_file(tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv")
    assert not source.ready()
    with pytest.raises(UserError, match=r"t\.csv: no such file$"):
        source.read()


def test_no_table_at_all(tmp_path: Path) -> None:
    (tmp_path / "t.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(UserError, match=r"t\.png: no text; allowed: delimited text and Parquet"):
        table(tmp_path / "t.png").read()


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ("who,age\n10,1\n", r"line 2, column who: unknown user 30, allowed: the 1 users .*, ids 10 to 10$"),
        ("who,age\nx,1\n", r"line 2, column who: unknown user 30, allowed: the 1 users of .*users\.csv, ids x to x$"),
        ("who,age\n10,1\n30,2\n10,3\n", r"users\.csv, line 4, column who: repeated id, allowed: one row per id$"),
        ("who,age\n10,1\n30,\n", r"users\.csv, line 3, column age: missing, allowed: finite numbers$"),
        ("id,age\n10,1\n", r"users\.csv: no column 'who'; the file has id, age$"),
    ],
)  # fmt: skip
def test_bad_feature_tables(tmp_path: Path, users: str, message: str) -> None:
    (tmp_path / "users.csv").write_text(users)
    features = {"path": str(tmp_path / "users.csv"), "id": "who"}
    with pytest.raises(UserError, match=message):
        table(save(FRAME, tmp_path / "t.csv"), user_features=features).read()
