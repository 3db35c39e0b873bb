"""Reading sequence files: their rows become events as worked out by hand, and each mistake gets its message."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sequence_tables import ITEM_MAP, PARTS, TEST, TRAIN, USER_MAP, VAL, Rows, pairs, save_sequences, to_frame

from recsweep.data.sequences import Sequences
from recsweep.errors import UserError


def test_rows_by_hand(tmp_path: Path) -> None:
    """User 0: 3 (train), 2 (val's history), val's 4, test's 0; the 4 in test's history is the one that val holds out.

    User 1: 0, 2, 1 (first row), then val's 1 again. User 2 has only test's 3.
    """
    source = save_sequences(tmp_path, sequences_test=TEST)
    data = source.read()
    assert source.ready()
    assert pairs(data) == [(0, 3), (0, 2), (0, 4), (0, 0), (1, 0), (1, 2), (1, 1), (1, 1), (2, 3)]
    assert data.timestamp is not None and data.timestamp.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    split = source.parts("given", data)
    assert pairs(data, split.train) == [(0, 3), (0, 2), (1, 0), (1, 2), (1, 1)]
    assert pairs(data, split.val) == [(0, 4), (1, 1)]
    assert pairs(data, split.test) == [(0, 0), (2, 3)]
    assert split.candidates is None


def test_ids_titles_and_ratings(tmp_path: Path) -> None:
    data = save_sequences(tmp_path, sequences_test=TEST).read()
    assert data.name == "sequences" and data.rating_scale == (0.0, 1.0)
    assert data.rating.tolist() == [1.0] * 9 and data.rating.dtype == torch.float32
    assert data.user.dtype == data.item.dtype == torch.int64
    assert data.user_ids.raw.tolist() == [7, 70, 700]
    assert data.item_ids.raw.tolist() == ["ale", "rum", "tea", "gin", "cola"]
    assert data.item_titles == ("Ale", "", "Tea, green", "Gin", "Cola")
    untitled = save_sequences(tmp_path, item_id_map=ITEM_MAP.drop(columns="title"))
    assert untitled.read().item_titles is None


def test_without_a_test_file_val_is_the_test_part(tmp_path: Path) -> None:
    """The last train event of user 0, item 2, and of user 1, item 1, is validation; user 2 has only one."""
    source = save_sequences(tmp_path, sequences_val=[*VAL, (2, 0, "3")])
    data = source.read()
    split = source.parts("given", data)
    assert pairs(data, split.train) == [(0, 3), (1, 0), (1, 2), (2, 3)]
    assert pairs(data, split.val) == [(0, 2), (1, 1)]
    assert pairs(data, split.test) == [(0, 4), (1, 1), (2, 0)]


def test_a_held_out_item_in_a_later_history_is_no_train_event(tmp_path: Path) -> None:
    """The histories of later val rows show items of earlier val rows. Item 1 is a train event and held out as well."""
    source = save_sequences(
        tmp_path,
        sequences_train=[(0, 1, None)],
        sequences_val=[(0, 2, "1"), (0, 3, "1 2"), (0, 1, "1 2 3"), (0, 2, "3")],
        sequences_test=[(0, 2, "1 2 3"), (0, 4, "3 2")],
    )
    data = source.read()
    split = source.parts("given", data)
    assert pairs(data, split.train) == [(0, 1)]
    assert pairs(data, split.val) == [(0, 2), (0, 3), (0, 1)]  # an item held out twice by one file gives one row
    assert pairs(data, split.test) == [(0, 2), (0, 4)]


def test_repeats_that_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """User 0's sequence is 1 2 1 1 (train), 1 3 1 (val), 1 1 (test), cut by max_history=3; user 1 comes back to 0.

    The first row of user 1 tells of 0 4 0; the second row, whose history was cut, of no more.
    """
    train: Rows = [(0, 1, None), (0, 2, "1"), (1, 2, "0 4 0"), (0, 1, "1 2"), (0, 1, "1 2 1"), (1, 4, "4 0 2")]
    val: Rows = [(0, 1, "2 1 1"), (0, 3, "2 1 1"), (0, 1, "2 1 1")]
    files = {"sequences_train": train, "sequences_val": val, "sequences_test": [(0, 1, "1 3 1"), (0, 1, "1 3 1")]}
    source = replace(save_sequences(tmp_path, **files), duplicates="keep")
    data = source.read()
    split = source.parts("given", data)
    of_user_1 = [(1, 0), (1, 4), (1, 0), (1, 2), (1, 4)]
    assert pairs(data, split.train) == [(0, 1), (0, 2), (0, 1), (0, 1), *of_user_1]
    assert pairs(data, split.val) == [(0, 1), (0, 3), (0, 1)]
    assert pairs(data, split.test) == [(0, 1), (0, 1)]
    line = f"{tmp_path}: 6 of 14 events repeat a user and an item in a part: "
    assert capsys.readouterr().err == f"{line}kept (data.duplicates=keep)\n"
    assert len(replace(source, duplicates="first").read()) == 14 - 6
    assert capsys.readouterr().err == f"{line}left out (data.duplicates=first)\n"


N_USERS, N_ITEMS = 6, 5
MAPS = {
    "item_id_map": pd.DataFrame({"item_idx": range(N_ITEMS), "item_id": range(N_ITEMS)}),
    "customer_id_map": pd.DataFrame({"user_idx": range(N_USERS), "customer_id": range(N_USERS)}),
}
Files = tuple[list[tuple[int, int, list[int]]], ...]
item = st.integers(0, N_ITEMS - 1)
file = st.lists(st.tuples(st.integers(0, N_USERS - 1), item, st.lists(item, max_size=3)), min_size=1, max_size=12)


def split_event_by_event(files: Files, keeps_repeats: bool) -> list[list[tuple[int, int]]]:
    """The (user, item) pairs of each part, from a loop over the events."""
    parts: list[list[tuple[int, int]]] = [[], [], []]
    seen = set()
    count = Counter[tuple[int, int]]()
    for part, rows in enumerate(files):
        for user, next_item, history in rows:
            if keeps_repeats:
                before, in_row = Counter(count), Counter[tuple[int, int]]()
                for item in history:
                    in_row[user, item] += 1
                    if in_row[user, item] > before[user, item]:
                        parts[0].append((user, item))
                        count[user, item] += 1
                parts[part].append((user, next_item))
                count[user, next_item] += 1
                continue
            for event_part, item in [*((0, item) for item in history), (part, next_item)]:
                if (user, item) not in (parts[event_part] if event_part else seen):
                    parts[event_part].append((user, item))
                seen.add((user, item))
    return [sorted(rows, key=lambda pair: pair[0]) for rows in parts]


@settings(max_examples=20, deadline=None)
@given(st.tuples(file, file, file), st.booleans())
def test_parts_equal_a_loop_over_the_events(
    tmp_path_factory: pytest.TempPathFactory, files: Files, keeps_repeats: bool
) -> None:
    tables = {
        f"sequences_{part}": [(user, next_item, " ".join(map(str, history))) for user, next_item, history in rows]
        for part, rows in zip(PARTS, files, strict=True)
    }
    source = save_sequences(tmp_path_factory.mktemp("files"), **MAPS, **tables)
    source = replace(source, duplicates="keep" if keeps_repeats else "first")
    data = source.read()
    split = source.parts("given", data)
    assert [pairs(data, rows) for rows in split[:3]] == split_event_by_event(files, keeps_repeats)
    assert torch.equal(torch.cat(split[:3]).sort().values, torch.arange(len(data)))


def test_users_without_history_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    save_sequences(tmp_path).read()
    assert not caplog.records
    save_sequences(tmp_path, sequences_test=TEST).read()
    assert [record.message for record in caplog.records] == ["sequences: 1 users have held-out items but no history"]


def replace_column(table: pd.DataFrame, column: str, values: list[Any]) -> pd.DataFrame:
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
        ({"sequences_train": to_frame(TRAIN).drop(columns="history_idx")},
         r"_train\.parquet: no column 'history_idx'; the file has user_idx, pos_item_idx$"),
        ({"sequences_val": replace_column(to_frame(VAL), "user_idx", [0, None])},
         r"_val\.parquet, row 2, column user_idx: missing, allowed: indices 0 to 2$"),
        ({"sequences_val": replace_column(to_frame(VAL), "pos_item_idx", ["0", "x"])},
         r"_val\.parquet, row 2, column pos_item_idx: 'x', allowed: whole numbers$"),
        ({"item_id_map": replace_column(ITEM_MAP, "item_idx", [2, 0, 1, 3, 5])},
         r"item_id_map\.parquet, row 5, column item_idx: 5, allowed: indices 0 to 4$"),
        ({"item_id_map": replace_column(ITEM_MAP, "item_idx", [2, 0, 1, 3, 3])},
         r"item_id_map\.parquet, row 5, column item_idx: repeated id, allowed: one row per id$"),
        ({"item_id_map": replace_column(ITEM_MAP, "item_id", ["tea", "ale", "tea", "gin", "cola"])},
         r"item_id_map\.parquet, row 3, column item_id: repeated id"),
        ({"item_id_map": ITEM_MAP.drop(columns="item_id")}, r"item_id_map\.parquet: no column 'item_id'"),
        ({"customer_id_map": replace_column(USER_MAP, "customer_id", [7, None, 70])},
         r"customer_id_map\.parquet, row 2, column customer_id: missing id"),
        ({"customer_id_map": replace_column(USER_MAP, "customer_id", [[1], [2], [3]])},
         r"customer_id_map\.parquet, column customer_id: lists"),
        ({"customer_id_map": USER_MAP.drop(columns="user_idx")}, r"customer_id_map\.parquet: no column 'user_idx'"),
        ({"customer_id_map": USER_MAP[:0]}, r"customer_id_map\.parquet: the file has no rows$"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, files: dict[str, pd.DataFrame | Rows], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        save_sequences(tmp_path, **files).read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["sequences_train", "sequences_val", "item_id_map", "customer_id_map"])
def test_a_folder_without_a_file(missing: str, tmp_path: Path) -> None:
    source = save_sequences(tmp_path)
    assert source.ready()
    (tmp_path / f"{missing}.parquet").unlink()
    assert not source.ready()
    with pytest.raises(UserError, match=rf"{missing}\.parquet: no such file$"):
        source.read()


def test_no_folder_and_no_such_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; put sequences_train\.parquet .* there, or write"):
        Sequences(str(tmp_path / "nowhere"), 3).read()
    source = save_sequences(tmp_path)
    with pytest.raises(UserError, match="sequences ships no split 'u1'; it ships given"):
        source.parts("u1", source.read())
