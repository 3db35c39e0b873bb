"""Times of every kind are right in whole seconds, in CSV and in Parquet; what mixes units or is no time is named.

1601450800 is 2020-09-30 07:26:40 UTC: 18,535 days of 86,400 s are 1601424000, and 7 h 26 min 40 s are 26,800.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from own_tables import HEADER, table

from recsweep.errors import UserError

SECONDS, DAY = 1601450800, 18_535 * 86_400


def read(path: Path, **changes: Any) -> list[int]:
    data = table(path, **changes).read()
    assert data.timestamp is not None
    return data.timestamp.tolist()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1601450800", SECONDS),
        ("1601450800.9", SECONDS),
        ("1.601450800e+09", SECONDS),
        ("1601450800999", SECONDS),
        ("1601450800999.5", SECONDS),
        ("1601450800000001", SECONDS),
        ("1601450800000000001", SECONDS),
        ("2020-09-30", DAY),
        ("2020-09-30 07:26:40", SECONDS),
        ("2020-09-30T07:26:40", SECONDS),
        ("2020-09-30T07:26:40Z", SECONDS),
        ("2020-09-30T09:26:40+02:00", SECONDS),
        ("2020-09-30 02:56:40.999999-0430", SECONDS),
        ("2020-09-30 07:26:40.123456789", SECONDS),
        ("0", 0),
        ("5", 5),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_text(tmp_path: Path, text: str, seconds: int, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        path.write_text(HEADER + f"1,a,2,{text}\n2,a,2,{text}\n")
    else:
        pa_parquet.write_table(pa.table({"who": [1, 2], "film": [1, 1], "stars": [1, 2], "when": [text, text]}), path)
    assert read(path) == [seconds, seconds]


MOMENT = datetime(2020, 9, 30, 7, 26, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [
        *(pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
        pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")),
        pa.array([1601450800.5]),
        pa.array([1601450800123]),
        pa.array([1601450800], pa.uint64()),
        pa.array([1601450800], pa.int32()),
    ],
    ids=lambda values: str(values.type),
)
def test_parquet(tmp_path: Path, values: pa.Array) -> None:
    pa_parquet.write_table(pa.table({"who": [1], "film": [1], "stars": [1], "when": values}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == [SECONDS]


@pytest.mark.parametrize("dtype", [pa.date32(), pa.date64()])
def test_parquet_dates(tmp_path: Path, dtype: pa.DataType) -> None:
    values = pa.array([date(2020, 9, 30)], dtype)
    pa_parquet.write_table(pa.table({"who": [1], "film": [1], "stars": [1], "when": values}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == [DAY]


def test_the_unit_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(HEADER + "1,a,2,5999\n2,a,2,7000\n")
    assert read(tmp_path / "t.csv", time_unit="ms") == [5, 7]


@pytest.mark.parametrize("other", ["20201330", "20200932", "20200900", "20200030", "18991231", "21010101"])
def test_numbers_of_which_one_is_no_date_are_seconds(tmp_path: Path, other: str) -> None:
    (tmp_path / "t.csv").write_text(HEADER + f"1,a,2,20200930\n2,a,2,{other}\n")
    assert read(tmp_path / "t.csv") == [20200930, int(other)]
    (tmp_path / "t.csv").write_text(HEADER + "1,a,2,20200930\n")
    assert read(tmp_path / "t.csv", time_unit="s") == [20200930]


def test_the_unit_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(HEADER + "1,a,2,1601450800000\n2,a,2,0\n")
    assert read(tmp_path / "t.csv") == read(tmp_path / "t.csv") == [SECONDS, 0]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("t.csv, column when: read as milliseconds since 1970; data.time_unit sets the unit")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1601450800", "1601450800000"], r"line 3, column when: 1601450800000 is milliseconds, but 1601450800 is "
         r"seconds in .*t\.csv, line 2; allowed: one unit$"),
        (["1601450800000.5", "0", "1601450800"], r"line 4, column when: 1601450800 is seconds, but 1601450800000\.5 is "
         r"milliseconds in .*t\.csv, line 2; allowed: one unit$"),
        (["2020-09-30", "1601450800"], r"line 3, column when: '1601450800', allowed: times such as 2020-09-30"),
        (["2020-09-30T07:26:40Z", "2020-09-30T07:26:40"], r"line 3, column when: '2020-09-30T07:26:40', allowed: "),
        (["30.09.2020"], r"line 2, column when: '30\.09\.2020', allowed: numbers since 1970, or ISO dates"),
        (["nan", "5"], r"line 2, column when: 'nan', allowed: numbers since 1970|line 2, column when: missing"),
        (["20200930", "20191231"], r"line 2, column when: 20200930 looks like a date, YYYYMMDD, as all the others do, "
         r"allowed: numbers since 1970, or ISO dates.*; data\.time_unit sets the unit of numbers$"),
        (["202009300726"], r"line 2, column when: 202009300726 looks like a date, YYYYMMDDhhmm, "),
        (["20200930072640.0"], r"line 2, column when: 20200930072640 looks like a date, YYYYMMDDhhmmss, "),
        (["1969-12-31"], r"line 2, column when: -86400, allowed: seconds since 1970, 0 or more$"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, values: list[str], message: str) -> None:
    (tmp_path / "t.csv").write_text(HEADER + "".join(f"{row},a,2,{value}\n" for row, value in enumerate(values)))
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)
