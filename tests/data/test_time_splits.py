"""Splits in time for all users alike, by rows counted by hand, and never with the future in train."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from rows import interactions

from recsweep.data.schema import Interactions, Split
from recsweep.data.time_splits import GlobalTime, Rolling
from recsweep.errors import UserError

DAY = 86_400
NO_SOURCE: Any = None


def log(rows: list[tuple[int, int, int]]) -> Interactions:
    """(user, item, time) rows of 4 users and 6 items."""
    data = interactions([(user, item, 1.0) for user, item, _ in rows], n_users=4, n_items=6)
    return replace(data, timestamp=torch.tensor([time for *_, time in rows]))


def parts(split: Split) -> list[list[int]]:
    return [part.tolist() for part in split[:3]]


ROWS = log(
    [
        (0, 0, 30),  # test
        (0, 1, 10),
        (1, 0, 10),
        (2, 1, 20),  # validation, of user 2, who has no row before
        (1, 2, 20),  # validation, of item 2, which has no row before
        (0, 0, 19),
        (1, 1, 20),  # validation
        (2, 2, 30),  # test, of both
        (1, 1, 29),  # validation
    ]
)


def test_rows_of_a_cut_s_own_time_are_in_the_later_part() -> None:
    assert parts(GlobalTime(20, 30, "keep")(ROWS, NO_SOURCE)) == [[1, 2, 5], [3, 4, 6, 8], [0, 7]]
    assert parts(GlobalTime(21, 30, "keep")(ROWS, NO_SOURCE)) == [[1, 2, 3, 4, 5, 6], [8], [0, 7]]


def test_next_holds_out_each_user_s_first_row_after_a_moment() -> None:
    """By hand: users 1 and 2 have a first row at 20, user 1 two, of which the file's first; 0 and 2 have one at 30."""
    assert parts(GlobalTime(20, 30, "keep", "next")(ROWS, NO_SOURCE)) == [[1, 2, 5], [3, 4], [0, 7]]
    more = log([(0, 0, 1), (1, 0, 1), (0, 1, 9), (0, 0, 8), (1, 0, 7), (0, 0, 15), (1, 0, 19), (1, 0, 12), (0, 1, 2)])
    assert parts(GlobalTime(5, 10, "keep", "next")(more, NO_SOURCE)) == [[0, 1, 8], [3, 4], [5, 7]]
    # windows of three rows: times 1 1 2 | 7 8 9 | 12 15 19, and in fold 0 of 2 windows of two: 1 1 2 | 7 8 | 9 12 | …
    assert parts(Rolling(0, 1, 1 / 3, "keep", "next")(more, NO_SOURCE)) == [[0, 1, 8], [3, 4], [5, 7]]
    assert parts(Rolling(0, 2, 2 / 9, "keep", "next")(more, NO_SOURCE)) == [[0, 1, 8], [3, 4], [2, 7]]


def test_a_cold_next_row_is_no_target_and_gives_way_to_none() -> None:
    """User 1's next item, 2, is cold; their next warm row is not what they did next."""
    data = log([(0, 1, 1), (1, 1, 1), (1, 2, 5), (1, 1, 6), (0, 1, 7), (0, 1, 8)])
    assert parts(GlobalTime(5, 8, "drop", "next")(data, NO_SOURCE)) == [[0, 1], [4], [5]]


def test_cold_rows_are_dropped_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert parts(GlobalTime(20, 30, "drop")(ROWS, NO_SOURCE)) == [[1, 2, 5], [6, 8], [0]]
    line = "rows, train before 1970-01-01 00:00:20: 3 of 6 later rows are of 1 users and 1 items unseen in train: "
    assert capsys.readouterr().err == f"{line}left out of val and test (split.cold_users=drop)\n"
    GlobalTime(20, 30, "keep")(replace(ROWS, name="twin"), NO_SOURCE)
    assert capsys.readouterr().err == f"{line.replace('rows', 'twin', 1)}kept in val and test (split.cold_users=keep)\n"


def test_a_part_of_cold_rows_only_is_refused_with_what_helps() -> None:
    data = log([(0, 0, 1), (0, 0, 2), (1, 0, 3), (0, 1, 4)])
    with pytest.raises(UserError, match=r"^every row in the test part of rows is of a user or an item .*users=keep$"):
        GlobalTime(2, 3, "drop")(data, NO_SOURCE)
    assert parts(GlobalTime(2, 3, "keep")(data, NO_SOURCE)) == [[0], [1], [2, 3]]


SECONDS = log([(0, 0, second) for second in range(10)])


@pytest.mark.parametrize(
    ("val_from", "test_from", "sizes"),
    [
        (0.8, 0.9, [8, 1, 1]),
        (0.5, 0.75, [5, 3, 2]),  # row 7.5 is row 8
        ("0.5", 9, [5, 4, 1]),
        (5, "1970-01-01T00:00:07", [5, 2, 3]),
        ("1970-01-01 01:00:04+01:00", 6.5, [4, 2, 4]),  # half a second counts as whole ones do: 6
    ],
)
def test_moments_are_shares_times_or_dates(val_from: Any, test_from: Any, sizes: list[int]) -> None:
    split = GlobalTime(val_from, test_from, "drop")(SECONDS, NO_SOURCE)
    assert [len(part) for part in split[:3]] == sizes
    assert [row for part in parts(split) for row in part] == list(range(10))


def test_a_share_never_cuts_within_a_time() -> None:
    """Half of six rows would be three, but the third and the fourth have one time."""
    data = log([(0, 0, time) for time in (1, 2, 3, 3, 4, 5)])
    assert parts(GlobalTime(0.5, 0.8, "drop")(data, NO_SOURCE)) == [[0, 1], [2, 3, 4], [5]]


@pytest.mark.parametrize(
    ("val_from", "test_from", "message"),
    [
        (0.9, 0.8, r"^split\.val_from=0\.9, split\.test_from=0\.8: validation comes before test$"),
        ("2020-01-02", "2020-01-02", r"^split\.val_from=2020-01-02, .*: validation comes before test$"),
        (7, 0.5, r"^split\.val_from=7, split\.test_from=0\.5: validation comes before test$"),
        ("soon", 0.9, r"^split\.val_from=soon, allowed: numbers since .* or a share of the rows between 0 and 1$"),
        (0.5, float("inf"), r"^split\.test_from=inf, allowed"),
        (0.5, 100, "leaves the test part of rows"),
        (0, 5, "leaves the train part of rows"),
    ],
)
def test_moments_that_are_none_or_leave_a_part_empty(val_from: Any, test_from: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        GlobalTime(val_from, test_from, "drop")(SECONDS, NO_SOURCE)


def test_windows_roll_to_the_end_of_the_log() -> None:
    """Two folds have three windows of two rows each, the last six."""
    folds = [parts(Rolling(fold, 2, 0.2, "drop")(SECONDS, NO_SOURCE)) for fold in range(2)]
    assert folds == [[[0, 1, 2, 3], [4, 5], [6, 7]], [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9]]]


def test_the_last_window_is_that_of_a_global_split() -> None:
    last = Rolling(4, 5, 0.1, "keep")(SECONDS, NO_SOURCE)
    assert parts(last) == parts(GlobalTime(0.8, 0.9, "keep")(SECONDS, NO_SOURCE))


def test_folds_that_are_none() -> None:
    with pytest.raises(UserError, match=r"^split\.fold=5: with split\.folds=5, folds are 0 to 4$"):
        Rolling(5, 5, 0.1, "drop")
    message = r"^split\.folds=4 need 5 windows, which leave no .*: split\.window=0\.2 should be below 0\.2$"
    with pytest.raises(UserError, match=message):
        Rolling(0, 4, 0.2, "drop")


logs = st.binary(min_size=20, max_size=80).map(lambda row: [(byte % 4, byte // 4 % 6, byte // 24 % 11) for byte in row])
share = st.floats(0.05, 0.95)


@given(logs, share, share, st.sampled_from(["drop", "keep"]))
def test_no_train_row_is_as_late_as_a_later_part(
    rows: list[tuple[int, int, int]], first: float, second: float, cold: Any
) -> None:
    assume(first < second)
    check_that_the_future_is_held_out(rows, GlobalTime(first, second, cold))


@given(logs, st.integers(0, 2), st.sampled_from(["drop", "keep"]))
def test_no_window_trains_on_the_future(rows: list[tuple[int, int, int]], fold: int, cold: Any) -> None:
    check_that_the_future_is_held_out(rows, Rolling(fold, 3, 0.2, cold))


def check_that_the_future_is_held_out(rows: list[tuple[int, int, int]], splitter: GlobalTime | Rolling) -> None:
    data = log(rows)
    try:
        split = splitter(data, NO_SOURCE)
    except UserError as error:
        assume(not re.search("empty|before test|every row", str(error)))
        raise
    train, val, test = parts(split)
    assert len({*train, *val, *test}) == len(train) + len(val) + len(test)
    times = [[rows[row][2] for row in part] for part in (train, val, test)]
    assert max(times[0]) < min(times[1]) and max(times[1]) < min(times[2])
    if splitter.cold_users == "drop":
        warm_users, warm_items = ({rows[row][column] for row in train} for column in (0, 1))
        assert all(rows[row][0] in warm_users and rows[row][1] in warm_items for row in val + test)
    elif isinstance(splitter, GlobalTime):
        assert len(train) + len(val) + len(test) == len(rows)


def test_rows_without_times_are_refused() -> None:
    for splitter in (GlobalTime(0.8, 0.9, "drop"), Rolling(0, 5, 0.1, "drop")):
        with pytest.raises(UserError, match="rows has no timestamps"):
            splitter(replace(SECONDS, timestamp=None), NO_SOURCE)


@pytest.mark.parametrize("split", [GlobalTime(0.5, 0.75, "drop"), Rolling(0, 1, 0.2, "drop")])
def test_a_cut_in_time_needs_times_that_compare_users(split: GlobalTime | Rolling) -> None:
    data = replace(ROWS, has_seconds=False)
    with pytest.raises(UserError, match="orders the rows of each user, and has no times"):
        split(data, NO_SOURCE)
