"""Tables that a user has split: the parts as they are, with the ids of all of them."""

from pathlib import Path
from typing import Any

import pytest
from own_tables import HEADER, table
from shell import recsweep

from recsweep.data.split_table import SplitTable
from recsweep.data.splits import Canonical
from recsweep.errors import UserError


def split_table(folder: Path, train: str, test: str, val: str | None = None, **settings: Any) -> SplitTable:
    """Writes the rows below the header of `own_tables` to files."""
    for name, rows in (("train", train), ("val", val), ("test", test)):
        if rows is not None:
            (folder / f"{name}.csv").write_text(HEADER + rows)
    columns = vars(table(folder / "train.csv", **settings))
    return SplitTable(**columns, val=None if val is None else str(folder / "val.csv"), test=str(folder / "test.csv"))


def rows_of(source: SplitTable) -> list[list[tuple[str, str, float, int]]]:
    """Raw ids, rating and time of the rows in each part."""
    data = source.read()
    result = []
    for part in source.parts("given", data)[:3]:
        rows = data.take(part)
        users, items = data.user_ids.decode(rows.user).astype(str), data.item_ids.decode(rows.item).astype(str)
        assert rows.timestamp is not None
        columns = (users.tolist(), items.tolist(), rows.rating.tolist(), rows.timestamp.tolist())
        result.append(list(zip(*columns, strict=True)))
    return result


def test_parts_are_the_files_and_ids_are_those_of_all(tmp_path: Path) -> None:
    """Users are numbers in train alone; 007 is not 7."""
    source = split_table(tmp_path, "7,a,1,10\n8,b,2,11\n", "007,c,5,9\n7,c,4,12\n", val="8,a,3,8\n")
    data = source.read()
    assert (data.user_ids.raw.tolist(), data.item_ids.raw.tolist()) == (["7", "8", "007"], ["a", "b", "c"])
    assert data.rating_scale == (1, 5)
    assert rows_of(source) == [
        [("7", "a", 1, 10), ("8", "b", 2, 11)],
        [("8", "a", 3, 8)],
        [("007", "c", 5, 9), ("7", "c", 4, 12)],
    ]


def test_ids_that_are_numbers_in_all_files_stay_numbers(tmp_path: Path) -> None:
    data = split_table(tmp_path, "10,1,1,1\n", "9,2,1,1\n").read()
    assert (data.user_ids.raw.dtype.kind, data.user_ids.raw.tolist()) == ("i", [9, 10])


def test_validation_is_drawn_from_train_where_there_is_no_file(tmp_path: Path) -> None:
    source = split_table(tmp_path, "".join(f"u,{item},1,{item}\n" for item in range(10)), "u,x,2,3\n")
    split = Canonical("given", 0.2, 0, "error")(source.read(), source)
    assert [len(part) for part in split[:3]] == [8, 2, 1]
    assert split.test.tolist() == [10]


@pytest.mark.parametrize(
    ("val", "test", "message"),
    [
        (
            "u,c,1,1\n",
            "w,a,2,5\nw,b,2,5\n",
            "test.csv, line 3: this user and item are in train.csv, line 3 too (1 such",
        ),
        ("u,c,1,1\n", "w,a,1,1\nu,c,2,5\n", "test.csv, line 3: this user and item are in val.csv, line 2 too (1 such"),
        ("w,b,1,1\nu,a,1,1\n", "u,a,2,5\n", "val.csv, line 2: this user and item are in train.csv, line 3 too (3 such"),
        ("x,c,1,1\nx,c,1,1\n", "w,a,2,5\n", "val.csv, line 3"),
        ("x,c,1,1\n,c,1,1\n", "w,a,2,5\n", "val.csv, line 3, column who: missing"),
        ("x,c,1,1\n", "w,a,,5\n", "test.csv, line 2, column stars: missing"),
        ("x,c,1,soon\n", "w,a,1,5\n", "val.csv, line 2, column when: 'soon'"),
    ],
)
def test_mistakes_name_the_file_and_the_line(val: str, test: str, message: str, tmp_path: Path) -> None:
    source = split_table(tmp_path, "u,a,1,1\nw,b,2,2\n", test, val=val)
    with pytest.raises(UserError) as error:
        source.read()
    assert str(error.value).replace(f"{tmp_path}/", "").startswith(message)


def test_pairs_that_a_part_repeats_become_one(tmp_path: Path) -> None:
    source = split_table(tmp_path, "u,a,1,1\nw,b,2,2\nu,a,4,5\n", "u,b,3,3\n", duplicates="last")
    assert rows_of(source) == [[("w", "b", 2, 2), ("u", "a", 4, 5)], [], [("u", "b", 3, 3)]]


def test_pairs_that_a_part_repeats_may_stay(tmp_path: Path) -> None:
    source = split_table(tmp_path, "u,a,1,1\nw,b,2,2\nu,a,4,5\n", "u,a,3,9\nu,b,3,3\nu,b,3,3\n", duplicates="keep")
    train = [("u", "a", 1, 1), ("w", "b", 2, 2), ("u", "a", 4, 5)]
    assert rows_of(source) == [train, [], [("u", "a", 3, 9), ("u", "b", 3, 3), ("u", "b", 3, 3)]]


def test_a_pair_may_come_back_in_a_later_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """u buys a three times: twice in train, where the latest row stays, and again in test; b comes back in val."""
    parts = ("u,a,1,1\nu,a,1,5\nw,b,1,2\nw,c,1,3\n", "u,a,1,9\nw,d,1,9\n", "w,b,1,7\n")
    source = split_table(tmp_path, *parts, duplicates="last")
    assert rows_of(source) == [
        [("u", "a", 1, 5), ("w", "b", 1, 2), ("w", "c", 1, 3)],
        [("w", "b", 1, 7)],
        [("u", "a", 1, 9), ("w", "d", 1, 9)],
    ]
    line = "2 rows of val and test are of a user and an item that an earlier part has, too: kept (data.duplicates=last)"
    repeats = "1 of 7 rows repeat a user and an item: left out (data.duplicates=last)"
    assert capsys.readouterr().err.splitlines()[-2:] == [line, repeats]
    with pytest.raises(UserError, match=r"val\.csv, line 2: this user and item are .*duplicates=last keeps it in"):
        split_table(tmp_path, *parts, duplicates="error").read()
    with pytest.raises(UserError, match=r"test\.csv, line 3: this user, item and time are in .*train\.csv, line 4 too"):
        split_table(tmp_path, parts[0], "u,a,1,9\nw,b,1,2\n", duplicates="last").read()


def test_without_times_a_pair_may_come_back(tmp_path: Path) -> None:
    source = split_table(tmp_path, "u,a,1,1\nw,b,1,2\n", "u,a,1,1\n", timestamp=None, duplicates="mean")
    assert [len(part) for part in source.parts("given", source.read())[:3]] == [2, 0, 1]


def test_users_unseen_in_train_are_an_error_that_says_what_applies(tmp_path: Path) -> None:
    source = split_table(tmp_path, "u,a,1,1\nu,b,1,2\n", "w,a,1,1\n", val="u,c,1,1\n")
    with pytest.raises(UserError) as error:
        Canonical("given", 0.2, 0, "error")(source.read(), source)
    assert str(error.value) == (
        "1 of 2 users of split_table have no row left in train, first user w: given is a split as it is: take another, "
        "or accept cold users with split.cold_users=keep"
    )
    assert Canonical("given", 0.2, 0, "keep")(source.read(), source).test.tolist() == [3]


def test_it_is_ready_with_its_last_file(tmp_path: Path) -> None:
    source = split_table(tmp_path, "u,a,1,1\n", "u,b,3,3\n", val="u,c,3,3\n")
    assert source.ready()
    for name in ("val", "test"):
        (tmp_path / f"{name}.csv").rename(tmp_path / "elsewhere.csv")
        assert not source.ready()
        (tmp_path / "elsewhere.csv").rename(tmp_path / f"{name}.csv")
    with pytest.raises(UserError, match="split_table ships no split 'u1'; it ships given"):
        source.parts("u1", source.read())


def test_a_run_on_files_of_one_s_own(tmp_path: Path) -> None:
    rows = [f"u{user},i{item},{1 + (user + item) % 5},{user * item}\n" for user in range(6) for item in range(6)]
    split_table(tmp_path, "".join(rows[::2]), "".join(rows[1::4]), val="".join(rows[3::4]))
    names = ("data.user=who", "data.item=film", "data.rating=stars", "data.timestamp=when")
    files = ("data=split_table", "data.path=train.csv", "data.val=val.csv", "data.test=test.csv", *names)
    assert recsweep(tmp_path, "train", *files, "model=means", "hydra.run.dir=run", "logger=none").status == 0
    summary = recsweep(tmp_path, "data", "prepare", *files).out
    assert "18 train, 9 val, 9 test rows" in summary
    refused = recsweep(tmp_path, "train", *files, "split=u1")
    assert "this data ships no split u1: split=given|" in refused.err
