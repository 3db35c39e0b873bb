"""Writing sequence files: they read back as the same data, and a model learns the same from them."""

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sequence_tables import PARTS, TEST, pairs, save_sequences
from shell import SYNTHETIC, fit_model, read_metrics, recsweep, train_run

from recsweep.config import compose_config
from recsweep.data.movielens import ML100K
from recsweep.data.schema import IdMap, Interactions, Split
from recsweep.data.sequence_files import ITEMS_AT_ONCE, write_sequences
from recsweep.data.sequences import Sequences
from recsweep.data.splits import LeaveLastOut
from recsweep.errors import UserError
from recsweep.evaluation import evaluate
from recsweep.runs import build

DATA = os.environ.get("RECSWEEP_DATA_DIR")


def interactions(rows: list[tuple[int, int, int]]) -> Interactions:
    """(user, item, second) rows; raw user ids are numbers, raw item ids text, and neither are sorted."""
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
    """The split of rows with these parts: 0 for train, 1 for val, 2 for test."""
    part = torch.tensor(parts)
    return Split(*((part == number).nonzero().flatten() for number in range(3)))


def items_in_time(data: Interactions, rows: torch.Tensor) -> dict[int, list[str]]:
    """Raw items by raw user, sorted by time; Python's sort keeps ties in file order."""
    assert data.timestamp is not None
    second = data.timestamp.tolist()
    user, item = data.user_ids.decode(data.user).tolist(), data.item_ids.decode(data.item).tolist()
    items = defaultdict(list)
    for row in sorted(rows.tolist(), key=lambda row: second[row]):
        items[user[row]].append(str(item[row]))
    return items


def check_reads_back(source: Sequences, data: Interactions, split: Split) -> None:
    """The files hold the same items of each user in each part, in the same order, with the same ids and titles."""
    read = source.read()
    parts = source.parts("given", read)
    assert len(read) == len(data) == sum(len(part) for part in parts[:3])
    for rows, read_rows in zip(split[:3], parts[:3], strict=True):
        assert items_in_time(data, rows) == items_in_time(read, read_rows)
    assert read.user_ids.raw.tolist() == data.user_ids.raw.tolist()
    assert read.item_ids.raw.astype(str).tolist() == data.item_ids.raw.astype(str).tolist()
    assert read.item_titles == data.item_titles


def check_histories(folder: Path, rows: list[tuple[int, int, int, int]], max_history: int) -> None:
    """Each row's history is the last earlier items of its user, of the parts that its own part may see."""
    order = sorted(range(len(rows)), key=lambda row: (rows[row][0], rows[row][2]))
    for part, name in enumerate(PARTS):
        expected = []
        for position, row in enumerate(order):
            user, item, _, row_part = rows[row]
            if row_part == part:
                earlier = order[:position] if part == 0 else order
                history = [rows[r][1] for r in earlier if rows[r][0] == user and rows[r][3] < max(part, 1)]
                expected.append((user, item, " ".join(map(str, history[-max_history:]))))
        table = pd.read_parquet(folder / f"sequences_{name}.parquet")
        assert list(table.itertuples(index=False, name=None)) == expected


# Few seconds, so that ties are common.
logs = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 3), st.integers(0, 2)),
    min_size=3,
    max_size=15,
    unique_by=lambda row: row[:2],
).filter(lambda rows: {part for *_, part in rows} == {0, 1, 2})


@settings(max_examples=30, deadline=None)
@given(logs, st.integers(1, 4))
def test_files_read_back_and_histories_are_the_last_items_before(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, int]], max_history: int
) -> None:
    data, split = interactions([row[:3] for row in rows]), split_by([row[3] for row in rows])
    folder = tmp_path_factory.mktemp("sequences")
    write_sequences(data, split, folder, max_history)
    check_reads_back(Sequences(str(folder), max_history), data, split)
    check_histories(folder, rows, max_history)


def test_a_file_written_in_chunks_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, split = interactions([(0, item, item) for item in range(5)]), split_by([0, 0, 0, 1, 2])
    write_sequences(data, split, tmp_path / "whole", 5)
    monkeypatch.setattr("recsweep.data.sequence_files.ITEMS_AT_ONCE", 1)
    assert ITEMS_AT_ONCE > 1
    write_sequences(data, split, tmp_path / "chunks", 5)
    for part in PARTS:
        name = f"sequences_{part}.parquet"
        pd.testing.assert_frame_equal(*(pd.read_parquet(tmp_path / way / name) for way in ("whole", "chunks")))


def test_writing_replaces_only_its_own_files(tmp_path: Path) -> None:
    save_sequences(tmp_path, sequences_test=TEST)
    (tmp_path / "notes.txt").write_text("mine")
    write_sequences(interactions([(0, 1, 5), (0, 2, 6), (0, 3, 7)]), split_by([0, 1, 2]), tmp_path, 3)
    files = {*(f"sequences_{part}.parquet" for part in PARTS), "item_id_map.parquet", "customer_id_map.parquet"}
    assert {path.name for path in tmp_path.iterdir()} == {*files, "notes.txt"}
    assert pairs(Sequences(str(tmp_path), 3).read()) == [(0, 1), (0, 2), (0, 3)]


def test_a_write_that_fails_leaves_the_folder_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at the third of five files: the first two are not replaced either."""
    save_sequences(tmp_path, sequences_test=TEST)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    paths: list[Path] = []

    def write_until_full(path: Path, tables: object) -> None:
        path.write_bytes(b"half")
        paths.append(path)
        if len(paths) == 3:
            raise OSError("no space left on device")

    monkeypatch.setattr("recsweep.data.sequence_files._write_parquet", write_until_full)
    with pytest.raises(OSError, match="no space"):
        write_sequences(interactions([(0, 1, 5), (0, 2, 6), (0, 3, 7)]), split_by([0, 1, 2]), tmp_path, 3)
    assert len(paths) == 3 and {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_data_without_times_are_refused(tmp_path: Path) -> None:
    data = replace(interactions([(0, 1, 5), (0, 2, 6), (0, 3, 7)]), timestamp=None)
    with pytest.raises(UserError, match="toy has no timestamps, and sequences need them"):
        write_sequences(data, split_by([0, 1, 2]), tmp_path / "new", 3)
    assert not (tmp_path / "new").exists()


def test_a_model_scores_the_same_on_the_files_as_on_the_data(tmp_path: Path) -> None:
    overrides = [*SYNTHETIC, "data=synthetic", "split=leave_last_out"]
    outcome = recsweep(tmp_path, "data", "prepare", *overrides, "sequences=seq", "max_history=7")
    assert outcome.status == 0 and "data=sequences data.folder=seq" in outcome.out
    assert pd.read_parquet(tmp_path / "seq/sequences_train.parquet").history_idx.str.split().str.len().max() == 7
    on_data, on_files = (
        compose_config(["model=popularity", *choice])
        for choice in (overrides, ["data=sequences", f"data.folder={tmp_path / 'seq'}"])
    )
    results = []
    for run, cfg in enumerate((on_data, on_files)):
        data, model = build.data(cfg), fit_model(cfg, tmp_path / str(run))
        sizes = [data.data.n_users, data.data.n_items, *(len(part) for part in data.split[:3])]
        metrics = [evaluate(model, build.evaluation(cfg), data.target(part)) for part in ("val", "test")]
        results.append([sizes, *({name: of[name] for name in of if "diversity" not in name} for of in metrics)])
    assert results[0] == results[1]  # without diversity, which needs features; the files have none


def test_a_run_with_users_without_history(tmp_path: Path) -> None:
    save_sequences(tmp_path / "seq", sequences_test=TEST)
    data = ["data=sequences", "data.folder=seq"]
    run = train_run(tmp_path, *data, "model=popularity", "evaluation.ks=[2]", "evaluation.objective=mrr", "logger=none")
    assert read_metrics(run)["data"]["test"] == 2
    assert "1 users have held-out items but no history" in (run / "run.log").read_text()


@pytest.mark.parametrize("max_history", ["0", "many"])
def test_prepare_refuses_a_wrong_max_history(max_history: str, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "data", "prepare", "sequences=seq", f"max_history={max_history}")
    assert outcome == (2, "", f"recsweep: max_history={max_history}: a whole number from 1 on\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
@pytest.mark.skipif(DATA is None, reason="RECSWEEP_DATA_DIR is unset, so no real data")
def test_ml_100k_as_sequences(tmp_path: Path) -> None:
    """Every user has at least 20 ratings, so each has one validation and one test row."""
    outcome = recsweep(tmp_path, "data", "prepare", "data=ml_100k", "split=leave_last_out", "sequences=seq")
    assert outcome.status == 0
    assert pd.read_parquet(tmp_path / "seq/sequences_train.parquet").history_idx.str.split().str.len().max() == 50
    ratings = ML100K(f"{DATA}/ml-100k", "error")
    data = ratings.read()
    split = LeaveLastOut()(data, ratings)
    assert [len(part) for part in split[:3]] == [100_000 - 2 * 943, 943, 943]
    check_reads_back(Sequences(str(tmp_path / "seq"), max_history=50), data, split)
