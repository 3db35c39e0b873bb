"""Sequence files: what their rows become, worked out by hand; written and read again; every mistake in them."""

import logging
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import SYNTHETIC, read_metrics, recsweep, train_run

from recsweep.data.movielens import ML100K
from recsweep.data.schema import IdMap, Interactions, Split
from recsweep.data.sequence_files import ITEMS_AT_ONCE, write_sequences
from recsweep.data.sequences import Sequences
from recsweep.data.splits import LeaveLastOut
from recsweep.errors import UserError

DATA = os.environ.get("RECSWEEP_DATA_DIR")
PARTS = ("train", "val", "test")
Rows = list[tuple[int, int, str | None]]

ITEM_MAP = pd.DataFrame(
    {
        "item_idx": [2, 0, 1, 3, 4],
        "item_id": ["tea", "ale", "rum", "gin", "cola"],
        "title": ["Tea, green", "Ale", None, "Gin", "Cola"],
    }
)
USER_MAP = pd.DataFrame({"user_idx": [1, 0, 2], "customer_id": [70, 7, 700]})
TRAIN: Rows = [(1, 1, "0 2"), (0, 3, None), (1, 0, " 0  2 1 ")]
VAL: Rows = [(0, 4, "3 2"), (1, 1, "0 2 1")]
TEST: Rows = [(0, 0, "3 2 4"), (2, 3, "")]


def frame(rows: Rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user_idx", "pos_item_idx", "history_idx"])


def saved_as(folder: Path, **files: pd.DataFrame | Rows) -> Sequences:
    """A source of the hand-made files, with `files` in place of those of the same name."""
    folder.mkdir(exist_ok=True)
    named = {"item_id_map": ITEM_MAP, "customer_id_map": USER_MAP, "sequences_train": TRAIN, "sequences_val": VAL}
    for name, content in (named | files).items():
        table = content if isinstance(content, pd.DataFrame) else frame(content)
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return Sequences(str(folder), max_history=3)


def of(data: Interactions, rows: torch.Tensor | None = None) -> list[tuple[int, int]]:
    chosen = data if rows is None else data.take(rows)
    return list(zip(chosen.user.tolist(), chosen.item.tolist(), strict=True))


def test_rows_by_hand(tmp_path: Path) -> None:
    """User 0: 3 (train), 2 (val's history), then val's 4, then test's 0; the 4 in test's history is val's.

    User 1: 0, 2, 1 (the first row), then val's 1 once more. User 2 has test's 3 alone.
    """
    source = saved_as(tmp_path, sequences_test=TEST)
    data = source.read()
    assert source.ready()
    assert of(data) == [(0, 3), (0, 2), (0, 4), (0, 0), (1, 0), (1, 2), (1, 1), (1, 1), (2, 3)]
    assert data.timestamp is not None and data.timestamp.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    split = source.parts("given", data)
    assert of(data, split.train) == [(0, 3), (0, 2), (1, 0), (1, 2), (1, 1)]
    assert of(data, split.val) == [(0, 4), (1, 1)]
    assert of(data, split.test) == [(0, 0), (2, 3)]
    assert split.candidates is None


def test_ids_titles_and_ratings(tmp_path: Path) -> None:
    data = saved_as(tmp_path, sequences_test=TEST).read()
    assert data.name == "sequences" and data.rating_scale == (0.0, 1.0)
    assert data.rating.tolist() == [1.0] * 9 and data.rating.dtype == torch.float32
    assert data.user.dtype == data.item.dtype == torch.int64
    assert data.user_ids.raw.tolist() == [7, 70, 700]
    assert data.item_ids.raw.tolist() == ["ale", "rum", "tea", "gin", "cola"]
    assert data.item_titles == ("Ale", "", "Tea, green", "Gin", "Cola")
    untitled = saved_as(tmp_path, item_id_map=ITEM_MAP.drop(columns="title"))
    assert untitled.read().item_titles is None


def test_without_a_test_file_val_is_the_test_part(tmp_path: Path) -> None:
    """The last known event of user 0, the 2, is validation, and that of user 1, the 1; user 2 has only one."""
    source = saved_as(tmp_path, sequences_val=[*VAL, (2, 0, "3")])
    data = source.read()
    split = source.parts("given", data)
    assert of(data, split.train) == [(0, 3), (1, 0), (1, 2), (2, 3)]
    assert of(data, split.val) == [(0, 2), (1, 1)]
    assert of(data, split.test) == [(0, 4), (1, 1), (2, 0)]


def test_what_an_earlier_row_holds_out_is_not_known_from_a_later_ones_history(tmp_path: Path) -> None:
    """Of val's two rows the second shows the first's item; an item known before stays known and is held out too."""
    source = saved_as(
        tmp_path,
        sequences_train=[(0, 1, None)],
        sequences_val=[(0, 2, "1"), (0, 3, "1 2"), (0, 1, "1 2 3"), (0, 2, "3")],
        sequences_test=[(0, 2, "1 2 3"), (0, 4, "3 2")],
    )
    data = source.read()
    split = source.parts("given", data)
    assert of(data, split.train) == [(0, 1)]
    assert of(data, split.val) == [(0, 2), (0, 3), (0, 1)]  # held out twice by one file, an item is one row
    assert of(data, split.test) == [(0, 2), (0, 4)]


item, user = st.integers(0, 4), st.integers(0, 2)
file = st.lists(st.tuples(user, item, st.lists(item, max_size=3)), min_size=1, max_size=6)


def expected(files: list[list[tuple[int, int, list[int]]]]) -> list[list[tuple[int, int]]]:
    """The parts by walking through the events."""
    parts: list[list[tuple[int, int]]] = [[], [], []]
    met = set()
    for part, rows in enumerate(files):
        for user, last, history in rows:
            for its_part, item in [*((0, old) for old in history), (part, last)]:
                if (user, item) not in (parts[its_part] if its_part else met):
                    parts[its_part].append((user, item))
                met.add((user, item))
    return [sorted(rows, key=lambda pair: pair[0]) for rows in parts]


@settings(max_examples=60)
@given(st.tuples(file, file, file))
def test_parts_equal_their_twin(
    tmp_path_factory: pytest.TempPathFactory, files: tuple[list[tuple[int, int, list[int]]], ...]
) -> None:
    written = {
        f"sequences_{part}": [(user, last, " ".join(map(str, history))) for user, last, history in rows]
        for part, rows in zip(PARTS, files, strict=True)
    }
    source = saved_as(tmp_path_factory.mktemp("files"), **written)
    data = source.read()
    split = source.parts("given", data)
    assert [of(data, rows) for rows in split[:3]] == expected(list(files))
    assert torch.equal(torch.cat(split[:3]).sort().values, torch.arange(len(data)))


def test_users_without_history_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    saved_as(tmp_path).read()
    assert not caplog.records
    saved_as(tmp_path, sequences_test=TEST).read()
    assert [record.message for record in caplog.records] == ["sequences: 1 users are held out without any history"]


def changed(table: pd.DataFrame, column: str, values: list[Any]) -> pd.DataFrame:
    return table.assign(**{column: pd.Series(values)})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"sequences_train": [(0, 1, "0"), (3, 1, "0")]},
         r"_train\.parquet, row 2, column user_idx: 3, allowed: indices 0 to 2$"),
        ({"sequences_train": [(-1, 1, "0")]}, r"_train\.parquet, row 1, column user_idx: -1, allowed"),
        ({"sequences_val": [(0, 5, "0")]},
         r"_val\.parquet, row 1, column pos_item_idx: 5, allowed: indices 0 to 4$"),
        ({"sequences_test": [(0, 1, None), (0, 1, "0 5")]},
         r"_test\.parquet, row 2, column history_idx: '5', allowed: indices 0 to 4, separated by spaces$"),
        ({"sequences_val": [(0, 1, "0"), (0, 1, "1 -1")]}, r"row 2, column history_idx: '-1', allowed: indices"),
        ({"sequences_val": [(0, 1, None), (0, 1, ""), (1, 1, "0,1")]}, r"row 3, column history_idx: '0,1', allowed"),
        ({"sequences_val": [(0, 1, "0 1.0")]}, r"row 1, column history_idx: '1\.0', allowed"),
        ({"sequences_val": [(0, 1, "9999999999999999999")]}, r"column history_idx: '9{19}', allowed"),
        ({"sequences_train": [(0, 1, "0 1 2"), (0, 1, "0 1 2 3")]},
         r"_train\.parquet, row 2, column history_idx: 4 items, allowed: data\.max_history=3$"),
        ({"sequences_train": []}, r"sequences_train\.parquet: the file has no rows$"),
        ({"sequences_train": frame(TRAIN).drop(columns="history_idx")},
         r"_train\.parquet: no column 'history_idx'; the file has user_idx, pos_item_idx$"),
        ({"sequences_val": changed(frame(VAL), "user_idx", [0, None])},
         r"_val\.parquet, row 2, column user_idx: missing, allowed: indices 0 to 2$"),
        ({"sequences_val": changed(frame(VAL), "pos_item_idx", ["0", "x"])},
         r"_val\.parquet, row 2, column pos_item_idx: 'x', allowed: whole numbers$"),
        ({"item_id_map": changed(ITEM_MAP, "item_idx", [2, 0, 1, 3, 5])},
         r"item_id_map\.parquet, row 5, column item_idx: 5, allowed: indices 0 to 4$"),
        ({"item_id_map": changed(ITEM_MAP, "item_idx", [2, 0, 1, 3, 3])},
         r"item_id_map\.parquet, row 5, column item_idx: an id for the second time, allowed: one row an id$"),
        ({"item_id_map": changed(ITEM_MAP, "item_id", ["tea", "ale", "tea", "gin", "cola"])},
         r"item_id_map\.parquet, row 3, column item_id: an id for the second time"),
        ({"item_id_map": ITEM_MAP.drop(columns="item_id")}, r"item_id_map\.parquet: no column 'item_id'"),
        ({"customer_id_map": changed(USER_MAP, "customer_id", [7, None, 70])},
         r"customer_id_map\.parquet, row 2, column customer_id: no id"),
        ({"customer_id_map": changed(USER_MAP, "customer_id", [0.5, 1.5, 2.5])},
         r"customer_id_map\.parquet, column customer_id: ids of type float64, allowed: whole numbers or text$"),
        ({"customer_id_map": USER_MAP.drop(columns="user_idx")}, r"customer_id_map\.parquet: no column 'user_idx'"),
        ({"customer_id_map": USER_MAP[:0]}, r"customer_id_map\.parquet: the file has no rows$"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, files: dict[str, pd.DataFrame | Rows], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        saved_as(tmp_path, **files).read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["sequences_train", "sequences_val", "item_id_map", "customer_id_map"])
def test_a_folder_without_a_file(missing: str, tmp_path: Path) -> None:
    source = saved_as(tmp_path)
    assert source.ready()
    (tmp_path / f"{missing}.parquet").unlink()
    assert not source.ready()
    with pytest.raises(UserError, match=rf"{missing}\.parquet: no such file$"):
        source.read()


def test_no_folder_and_no_such_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; put sequences_train\.parquet .* there, or write"):
        Sequences(str(tmp_path / "nowhere"), 3).read()
    source = saved_as(tmp_path)
    with pytest.raises(UserError, match="sequences ships no split 'u1'; it ships given"):
        source.parts("u1", source.read())


def interactions(rows: list[tuple[int, int, int]]) -> Interactions:
    """(user, item, second) rows; raw users are numbers, raw items text, and neither are sorted."""
    user, item, second = torch.tensor(rows).T
    return Interactions(
        name="toy",
        user=user,
        item=item,
        rating=torch.full((len(rows),), 4.0),
        timestamp=second,
        user_ids=IdMap(np.array([30, 10, 20]), "user"),
        item_ids=IdMap(np.array(["e", "d", "c", "b", "a"]), "item"),
        rating_scale=(1.0, 5.0),
        item_titles=("E", "D", "C", "B", "A"),
    )


def split_by(parts: list[int]) -> Split:
    part = torch.tensor(parts)
    return Split(*((part == number).nonzero().flatten() for number in range(3)))


def in_time(data: Interactions, rows: torch.Tensor) -> dict[int, list[str]]:
    """Raw items by raw user in time; Python's sort keeps ties in file order."""
    assert data.timestamp is not None
    found = defaultdict(list)
    second = data.timestamp.tolist()
    for row in sorted(rows.tolist(), key=lambda row: second[row]):
        user, item = (
            ids.decode(column[row]) for ids, column in ((data.user_ids, data.user), (data.item_ids, data.item))
        )
        found[int(user)].append(str(item))
    return found


# Few seconds, so that ties are common.
logs = st.lists(
    st.tuples(user, item, st.integers(0, 3), st.integers(0, 2)),
    min_size=3,
    max_size=15,
    unique_by=lambda row: row[:2],
).filter(lambda rows: {part for *_, part in rows} == {0, 1, 2})


@settings(max_examples=60)
@given(logs, st.integers(1, 4))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, int]], max_history: int
) -> None:
    data, split = interactions([row[:3] for row in rows]), split_by([row[3] for row in rows])
    folder = tmp_path_factory.mktemp("written")
    write_sequences(data, split, folder, max_history)
    source = Sequences(str(folder), max_history)
    again = source.read()
    parts = source.parts("given", again)
    assert len(again) == len(data) == sum(len(part) for part in parts[:3])
    for mine, theirs in zip(split[:3], parts[:3], strict=True):
        assert in_time(data, mine) == in_time(again, theirs)
    assert again.user_ids.raw.tolist() == [30, 10, 20] and again.item_titles == data.item_titles
    assert again.item_ids.raw.tolist() == data.item_ids.raw.tolist()


@settings(max_examples=60)
@given(logs, st.integers(1, 4))
def test_histories_are_the_last_known_items_before(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, int]], max_history: int
) -> None:
    """Every written row against its twin: of all rows the part may know, the user's, sorted in time, cut at the end."""
    folder = tmp_path_factory.mktemp("written")
    write_sequences(interactions([row[:3] for row in rows]), split_by([row[3] for row in rows]), folder, max_history)
    order = sorted(range(len(rows)), key=lambda row: (rows[row][0], rows[row][2]))
    for part, name in enumerate(PARTS):
        twin = []
        for place, row in enumerate(order):
            user, item, _, its_part = rows[row]
            if its_part == part:
                candidates = order[:place] if part == 0 else order
                known = [rows[r][1] for r in candidates if rows[r][0] == user and rows[r][3] < max(part, 1)]
                twin.append((user, item, " ".join(map(str, known[-max_history:]))))
        table = pd.read_parquet(folder / f"sequences_{name}.parquet")
        assert list(table.itertuples(index=False, name=None)) == twin


def test_a_file_is_written_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, split = interactions([(0, item, item) for item in range(5)]), split_by([0, 0, 0, 1, 2])
    write_sequences(data, split, tmp_path / "whole", 5)
    monkeypatch.setattr("recsweep.data.sequence_files.ITEMS_AT_ONCE", 1)
    assert ITEMS_AT_ONCE > 1
    write_sequences(data, split, tmp_path / "pieces", 5)
    for part in PARTS:
        name = f"sequences_{part}.parquet"
        pd.testing.assert_frame_equal(*(pd.read_parquet(tmp_path / way / name) for way in ("whole", "pieces")))


def test_writing_replaces_only_its_own_files(tmp_path: Path) -> None:
    saved_as(tmp_path, sequences_test=TEST)
    (tmp_path / "notes.txt").write_text("mine")
    write_sequences(interactions([(0, 1, 5), (0, 2, 6), (0, 3, 7)]), split_by([0, 1, 2]), tmp_path, 3)
    files = {*(f"sequences_{part}.parquet" for part in PARTS), "item_id_map.parquet", "customer_id_map.parquet"}
    assert {path.name for path in tmp_path.iterdir()} == {*files, "notes.txt"}
    assert of(Sequences(str(tmp_path), 3).read()) == [(0, 1), (0, 2), (0, 3)]


def test_writing_that_fails_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at the third of five files: the first two are not replaced either."""
    saved_as(tmp_path, sequences_test=TEST)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    written: list[Path] = []

    def full(path: Path, tables: object) -> None:
        path.write_bytes(b"half")
        written.append(path)
        if len(written) == 3:
            raise OSError("no space left on device")

    monkeypatch.setattr("recsweep.data.sequence_files._write", full)
    with pytest.raises(OSError, match="no space"):
        write_sequences(interactions([(0, 1, 5), (0, 2, 6), (0, 3, 7)]), split_by([0, 1, 2]), tmp_path, 3)
    assert len(written) == 3 and {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_data_without_times_are_refused(tmp_path: Path) -> None:
    data = replace(interactions([(0, 1, 5), (0, 2, 6), (0, 3, 7)]), timestamp=None)
    with pytest.raises(UserError, match="toy has no timestamps, which sequences need"):
        write_sequences(data, split_by([0, 1, 2]), tmp_path / "new", 3)
    assert not (tmp_path / "new").exists()


def test_a_model_sees_through_the_files_what_it_sees_without(tmp_path: Path) -> None:
    mine = [*SYNTHETIC, "data=synthetic", "split=leave_last_out"]
    shown = recsweep(tmp_path, "data", "prepare", *mine, "sequences=seq", "max_history=7")
    assert shown.status == 0 and "data=sequences data.folder=seq" in shown.out
    assert pd.read_parquet(tmp_path / "seq/sequences_train.parquet").history_idx.str.split().str.len().max() == 7
    common = ["model=popularity", "logger=none"]
    direct = train_run(tmp_path, *common, *mine)
    written = train_run(tmp_path, *common, "data=sequences", f"data.folder={tmp_path / 'seq'}")
    assert read_metrics(written)["metrics"] == read_metrics(direct)["metrics"]
    sizes = ("n_users", "n_items", "train", "val", "test")
    assert [read_metrics(written)["data"][size] for size in sizes] == [
        read_metrics(direct)["data"][size] for size in sizes
    ]


def test_a_run_with_users_without_history(tmp_path: Path) -> None:
    saved_as(tmp_path / "seq", sequences_test=TEST)
    words = ["data=sequences", "data.folder=seq", "model=popularity", "evaluation.ks=[2]", "evaluation.objective=mrr"]
    run = train_run(tmp_path, *words, "logger=none")
    assert read_metrics(run)["data"]["test"] == 2
    assert "1 users are held out without any history" in (run / "run.log").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sequences=seq max_history=0", "max_history=0: a whole number from 1 on"),
        ("sequences=seq max_history=many", "max_history=many: a whole number from 1 on"),
    ],
)
def test_prepare_refuses(words: str, message: str, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "data", "prepare", *words.split())
    assert found == (2, "", f"recsweep: {message}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
@pytest.mark.skipif(DATA is None, reason="RECSWEEP_DATA_DIR is unset, so no real data")
def test_ml_100k_as_sequences(tmp_path: Path) -> None:
    """Every user has 20 ratings or more, so each holds out one for validation and one for the test."""
    prepared = recsweep(tmp_path, "data", "prepare", "data=ml_100k", "split=leave_last_out", "sequences=seq")
    assert prepared.status == 0
    assert pd.read_parquet(tmp_path / "seq/sequences_train.parquet").history_idx.str.split().str.len().max() == 50
    source, direct = Sequences(str(tmp_path / "seq"), max_history=50), ML100K(f"{DATA}/ml-100k", "error")
    data, rated = source.read(), direct.read()
    parts, rated_parts = source.parts("given", data), LeaveLastOut()(rated, direct)
    assert [len(part) for part in parts[:3]] == [100_000 - 2 * 943, 943, 943]
    for mine, theirs in zip(parts[:3], rated_parts[:3], strict=True):
        assert in_time(data, mine) == in_time(rated, theirs)
    assert data.item_titles == rated.item_titles
