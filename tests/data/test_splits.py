"""Splits against a plain-Python loop, their properties, and the errors that a user can cause."""

import logging
import os
from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from recsweep.data.movielens import ML100K
from recsweep.data.schema import IdMap, Interactions, Split
from recsweep.data.splits import Canonical, LeaveLastOut, Random, Rows, Temporal, position_in_group
from recsweep.errors import UserError

N_USERS = 6


class SourceWithSplit:
    """A source that ships one split, `given`."""

    name = "toy"
    ships = ("given",)

    def __init__(self, split: Split) -> None:
        self.split = split

    def read(self) -> Interactions:
        raise NotImplementedError

    def parts(self, name: str, data: Interactions) -> Split:
        return self.split


NO_SOURCE = SourceWithSplit(Split(*(torch.empty(0, dtype=torch.int64) for _ in range(3))))


def interactions(rows: list[tuple[int, int]]) -> Interactions:
    """(user, second) rows. Items do not matter to a split, so each row has its own."""
    user, time = torch.tensor(rows).T
    return Interactions(
        name="toy",
        user=user,
        item=torch.arange(len(rows)),
        rating=torch.ones(len(rows)),
        timestamp=time,
        user_ids=IdMap(np.array([f"user{i}" for i in range(N_USERS)]), "user"),
        item_ids=IdMap(np.arange(len(rows)), "item"),
        rating_scale=(1.0, 5.0),
    )


# Few users and few seconds, so that ties in time and users with one or two rows are common. Bytes are fast to draw.
logs = st.binary(min_size=20, max_size=80).map(lambda row: [(byte % N_USERS, byte // N_USERS % 5) for byte in row])
fraction = st.floats(0.05, 0.45)


def parts(split: Split) -> list[list[int]]:
    return [part.tolist() for part in split[:3]]


def assert_parts_cover(split: Split, n: int) -> None:
    """Each row is in exactly one part, and each part is in file order."""
    assert sorted(row for part in parts(split) for row in part) == list(range(n))
    assert all(part == sorted(part) for part in parts(split))


def rows_by_time(rows: list[tuple[int, int]]) -> dict[int, list[int]]:
    """Each user's row numbers sorted by time; Python's sort keeps ties in file order."""
    rows_of_user = defaultdict(list)
    for row in sorted(range(len(rows)), key=lambda row: rows[row][1]):
        rows_of_user[rows[row][0]].append(row)
    return rows_of_user


@given(logs)
def test_leave_last_out_equals_a_loop_over_users(rows: list[tuple[int, int]]) -> None:
    train, val, test = [], [], []
    for of_user in rows_by_time(rows).values():
        if len(of_user) < 3:
            train += of_user
        else:
            train, val, test = train + of_user[:-2], [*val, of_user[-2]], [*test, of_user[-1]]
    split = LeaveLastOut()(interactions(rows), NO_SOURCE)
    assert parts(split) == [sorted(train), sorted(val), sorted(test)]
    assert_parts_cover(split, len(rows))


@given(logs)
def test_leave_last_out_tests_the_latest_row_of_each_user_with_three(rows: list[tuple[int, int]]) -> None:
    split = LeaveLastOut()(interactions(rows), NO_SOURCE)
    count = Counter(user for user, _ in rows)
    test = [rows[row] for row in split.test.tolist()]
    assert sorted(user for user, _ in test) == sorted(user for user, n in count.items() if n >= 3)
    assert all(second == max(s for u, s in rows if u == user) for user, second in test)


@given(logs, fraction, fraction)
def test_temporal_equals_a_loop_over_users(rows: list[tuple[int, int]], val: float, test: float) -> None:
    val, test = round(val, 2), round(test, 2)
    expected: list[list[int]] = [[], [], []]
    for of_user in rows_by_time(rows).values():
        # Exact decimals: 0.29 of 100 rows are 29, where floating point would give 28.
        n_test = floor(Fraction(str(test)) * len(of_user))
        n_val = floor(Fraction(str(val)) * len(of_user))
        cuts = (0, len(of_user) - n_val - n_test, len(of_user) - n_test, len(of_user))
        for part, start, stop in zip(expected, cuts[:-1], cuts[1:], strict=True):
            part += of_user[start:stop]
    assume(all(expected))
    split = Temporal(test, val)(interactions(rows), NO_SOURCE)
    assert parts(split) == [sorted(part) for part in expected]
    assert_parts_cover(split, len(rows))


@given(logs)
def test_temporal_never_trains_on_later_rows(rows: list[tuple[int, int]]) -> None:
    assume(max(Counter(user for user, _ in rows).values()) >= 4)
    split = Temporal(0.25, 0.25)(interactions(rows), NO_SOURCE)
    seconds = [defaultdict(list) for _ in range(3)]
    for part, part_rows in zip(seconds, parts(split), strict=True):
        for row in part_rows:
            part[rows[row][0]].append(rows[row][1])
    train, val, test = seconds
    assert set(train) == {user for user, _ in rows}
    assert all(max(train[user]) <= min(val[user]) for user in val)
    assert all(max(val[user]) <= min(test[user]) for user in test)


def test_temporal_takes_the_exact_decimal_share() -> None:
    # 0.29 * 100 is 28.999999999999996 in floating point.
    split = Temporal(test_fraction=0.29, val_fraction=0.1)(interactions([(0, s) for s in range(100)]), NO_SOURCE)
    assert parts(split) == [list(range(61)), list(range(61, 71)), list(range(71, 100))]


@given(logs, fraction, fraction, st.integers(0, 5))
def test_random_takes_its_shares_to_the_nearest_row(
    rows: list[tuple[int, int]], val: float, test: float, seed: int
) -> None:
    n = len(rows)
    split = Random(test, val, seed, "keep")(interactions(rows), NO_SOURCE)
    assert_parts_cover(split, n)
    assert abs(len(split.test) - test * n) <= 0.5
    assert abs(len(split.val) - val * n) <= 1
    twin = Random(test, val, seed, "keep")(interactions(rows), NO_SOURCE)
    assert parts(twin) == parts(split)


def test_random_depends_on_its_seed_and_not_on_the_global_one() -> None:
    data = interactions([(0, 0)] * 60)
    splits = []
    for seed, global_seed in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(global_seed)
        splits.append(parts(Random(0.2, 0.2, seed, "error")(data, NO_SOURCE)))
    assert splits[0] == splits[1] != splits[2]


def test_rows_cuts_in_file_order() -> None:
    # 11 rows at 3 : 1 : 1: cuts at 11 * 3/5 = 6.6 and 11 * 4/5 = 8.8, so after rows 7 and 9.
    split = Rows([3, 1, 1], "keep")(interactions([(0, 0)] * 11), NO_SOURCE)
    assert parts(split) == [[0, 1, 2, 3, 4, 5, 6], [7, 8], [9, 10]]


def split_of_sizes(n_train: int, n_val: int, n_test: int) -> Split:
    """Parts that are not in file order, to see that a split keeps the source's order."""
    rows = torch.arange(n_train + n_val + n_test).flip(0)
    train, val, test = rows.split([n_train, n_val, n_test])
    return Split(train, val, test, candidates=torch.arange(n_test)[:, None])


def test_canonical_draws_validation_from_train_only_if_none_is_shipped() -> None:
    data = interactions([(0, 0)] * 60)
    with_val, without_val = split_of_sizes(40, 10, 10), split_of_sizes(50, 0, 10)
    assert parts(Canonical("given", 0.1, 0, "error")(data, SourceWithSplit(with_val))) == parts(with_val)
    source = SourceWithSplit(without_val)
    split, same_seed, next_seed = (Canonical("given", 0.1, seed, "error")(data, source) for seed in (0, 0, 1))
    assert len(split.val) == 5
    assert sorted(split.train.tolist() + split.val.tolist()) == sorted(without_val.train.tolist())
    assert split.test.tolist() == without_val.test.tolist()
    assert split.candidates is without_val.candidates
    assert parts(split) == parts(same_seed) != parts(next_seed)


COLD = [(user, 0) for user in (0, 0, 0, 1, 2, 2)]  # cut at 3 : 1 : 2, users 1 and 2 have no row in train


def test_cold_users_are_an_error_or_kept() -> None:
    data = interactions(COLD)
    message = r"^2 of 3 users of toy have no row left in train, first user user1: .*split\.cold_users=keep$"
    source = SourceWithSplit(Split(*(torch.tensor(rows) for rows in ([0, 1, 2], [3], [4, 5]))))
    for split in (Rows([3, 1, 2], "error"), Canonical("given", 0.1, 0, "error")):
        with pytest.raises(UserError, match=message):
            split(data, source)
    for split in (Rows([3, 1, 2], "keep"), Canonical("given", 0.1, 0, "keep")):
        assert parts(split(data, source)) == [[0, 1, 2], [3], [4, 5]]


def test_random_refuses_cold_users() -> None:
    data = interactions([(user, 0) for user in range(N_USERS)])  # one row each
    with pytest.raises(UserError, match="4 of 6 users of toy have no row left in train"):
        Random(0.34, 0.34, 0, "error")(data, NO_SOURCE)
    assert len(Random(0.34, 0.34, 0, "keep")(data, NO_SOURCE).train) == 2


def test_an_empty_part_is_refused() -> None:
    single = interactions([(user, 0) for user in range(N_USERS)])
    for part, split in (
        ("val", LeaveLastOut()),
        ("val", Temporal(0.1, 0.1)),
        ("test", Random(0.01, 0.5, 0, "keep")),
        ("train", Rows([0.01, 1, 1], "keep")),
        ("val", Canonical("given", 0.01, 0, "keep")),
    ):
        with pytest.raises(UserError, match=rf"leaves the {part} part of toy \(6 rows\) empty"):
            split(single, SourceWithSplit(split_of_sizes(4, 0, 2)))


@pytest.mark.parametrize("split", [LeaveLastOut(), Temporal(0.1, 0.1)])
def test_splits_in_time_need_timestamps(split: LeaveLastOut | Temporal) -> None:
    data = replace(interactions([(0, 0)] * 30), timestamp=None)
    with pytest.raises(UserError, match=r"toy has no timestamps.*split=random or rows"):
        split(data, NO_SOURCE)


def test_fractions_must_leave_rows_to_train_on() -> None:
    with pytest.raises(UserError, match=r"split\.val_fraction=0\.5 and split\.test_fraction=0\.5 .* below 1"):
        Temporal(0.5, 0.5)
    with pytest.raises(UserError, match=r"split\.val_fraction=0\.6 and split\.test_fraction=0\.5 .* below 1"):
        Random(0.5, 0.6, 0, "error")


def test_users_with_too_few_rows_to_hold_out_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        LeaveLastOut()(interactions([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]), NO_SOURCE)
    assert "2 users with fewer than three rows" in caplog.text


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_position_in_group_counts_from_zero(group: list[int]) -> None:
    ids = torch.tensor(group)
    expected = [group[:row].count(value) for row, value in enumerate(group)]
    assert position_in_group(ids, ids.argsort(stable=True), 6).tolist() == expected


@pytest.mark.real
@pytest.mark.skipif("RECSWEEP_DATA_DIR" not in os.environ, reason="needs the real data: RECSWEEP_DATA_DIR")
@pytest.mark.parametrize(("name", "n_test"), [("u1", 20_000), ("ua", 9_430)])
def test_published_splits_leave_every_user_a_row_in_train(name: str, n_test: int) -> None:
    source = ML100K(folder=str(Path(os.environ["RECSWEEP_DATA_DIR"]) / "ml-100k"), duplicates="error")
    data = source.read()
    split = Canonical(name, 0.1, 0, "error")(data, source)
    n_train = 100_000 - n_test
    assert [len(part) for part in split[:3]] == [n_train - n_train // 10, n_train // 10, n_test]
    assert split.train.tolist() == sorted(split.train.tolist())
