"""What repeated pairs become: policies against hand-worked rows and a loop; bad values; the cost of the checks."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsweep.data.sheet import Sheet
from recsweep.data.validate import check_ratings, resolve_duplicates
from recsweep.errors import UserError


def sheet(pairs: Sequence[int], ratings: Sequence[float], times: Sequence[int] | None = None) -> Sheet:
    frame = pd.DataFrame({"user": 1, "item": pairs, "rating": np.array(ratings, dtype=float)})
    return Sheet(frame if times is None else frame.assign(timestamp=times), Path("t"), header_lines=None)


def test_last_is_by_time_then_by_file_order() -> None:
    pairs = np.array([7, 8, 7, 8, 9])
    table = sheet(pairs.tolist(), [1, 2, 3, 4, 5], times=[50, 10, 40, 10, 0])
    rows, rating = resolve_duplicates(table, pairs, "last")
    assert np.arange(5)[rows].tolist() == [0, 3, 4]  # 7 at time 50; 8 twice at 10, the later line; 9
    assert rating.tolist() == [1, 4, 5]


def test_mean_keeps_the_last_row_with_the_mean_rating() -> None:
    pairs = np.array([7, 8, 7])
    rows, rating = resolve_duplicates(sheet(pairs.tolist(), [1, 2, 4]), pairs, "mean")
    assert np.arange(3)[rows].tolist() == [1, 2]
    assert rating.tolist() == [2, (1 + 4) / 2]


def test_keep_keeps_every_row_and_says_how_many_repeat(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = np.array([7, 8, 7, 7, 9])
    rows, rating = resolve_duplicates(sheet(pairs.tolist(), [1, 2, 4, 1, 5], times=[9, 8, 7, 6, 5]), pairs, "keep")
    assert np.arange(5)[rows].tolist() == [0, 1, 2, 3, 4]
    assert rating.tolist() == [1, 2, 4, 1, 5]
    assert capsys.readouterr().err == "2 of 5 rows repeat a user and an item: kept (data.duplicates=keep)\n"


def test_error_names_both_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("header\n\na\nb\na\n")
    table = Sheet(sheet([7, 8, 7], [1, 2, 3]).frame, tmp_path / "t.csv", header_lines=1)
    with pytest.raises(UserError, match=r"t\.csv, line 5: user 1 and item 7 are already in .*t\.csv, line 3; "):
        resolve_duplicates(table, np.array([7, 8, 7]), "error")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 5)), min_size=1))
def test_policies_equal_a_loop(rows: list[tuple[int, int, int]]) -> None:
    pair, when, stars = (list(column) for column in zip(*rows, strict=True))
    last: dict[int, int] = {}
    for row, key in enumerate(pair):
        if key not in last or when[row] >= when[last[key]]:
            last[key] = row
    expected = sorted(last.values())
    mean = [np.mean([star for star, key in zip(stars, pair, strict=True) if key == pair[row]]) for row in expected]
    table = sheet(pair, [float(value) for value in stars], when)
    rows_to_keep, rating = resolve_duplicates(table, np.array(pair), "last")
    assert np.arange(len(pair))[rows_to_keep].tolist() == expected
    assert rating.tolist() == [stars[row] for row in expected]
    assert resolve_duplicates(table, np.array(pair), "mean")[1] == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("rating", 5.5, "t, row 3, column rating: 5.5, allowed: 1 to 5"),
        ("rating", 0.5, "t, row 3, column rating: 0.5, allowed: 1 to 5"),
        ("rating", float("nan"), "t, row 3, column rating: missing, allowed: 1 to 5"),
        ("timestamp", -1, "t, row 3, column timestamp: -1, allowed: seconds since 1970, 0 or more"),
    ],
)
def test_first_bad_value(column: str, value: float, message: str) -> None:
    table = sheet([1, 2, 3, 4], [1, 5, 3, 3], times=[0, 1, 2, 3])
    check_ratings(table, (1, 5))
    table.frame.loc[2:, column] = value
    with pytest.raises(UserError) as caught:
        check_ratings(table, (1, 5))
    assert str(caught.value) == message


def test_messages_use_the_column_name_in_the_file() -> None:
    frame = sheet([1], [9]).frame.rename(columns={"rating": "stars"})
    table = Sheet(frame, Path("t"), header_lines=None).rename({"stars": "rating"})
    with pytest.raises(UserError, match="column stars: 9, allowed: 1 to 5"):
        check_ratings(table, (1, 5))


def test_a_million_rows_in_half_a_second() -> None:
    count = np.arange(1_000_000)
    table = sheet(count, count % 5 + 1.0, times=count)
    start = time.process_time()
    check_ratings(table, (1, 5))
    resolve_duplicates(table, count, "error")
    assert time.process_time() - start < 0.5
