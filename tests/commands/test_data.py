"""`recsweep data`: the list of data sets, and the summary of one."""

from pathlib import Path

import pytest
from shell import SYNTHETIC, recsweep, table_cells

from recsweep.config import conf_dir


def test_data_list_says_what_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSWEEP_DATA_DIR", str(tmp_path))
    (tmp_path / "ml-latest-small").mkdir()
    for name in ("ratings.csv", "movies.csv"):
        (tmp_path / "ml-latest-small" / name).touch()
    outcome = recsweep(tmp_path, "data", "list")
    assert outcome.status == 0
    state = {row[0]: row[1] for row in table_cells(outcome.out) if row[0]}
    assert set(state) == {path.stem for path in (conf_dir() / "data").glob("*.yaml")}
    assert {name for name, on_disk in state.items() if on_disk == "yes"} == {
        "bandit",
        "ml_latest_small",
        "positives",
        "synthetic",
    }
    assert state["ml_1m"] == "no"


def test_data_prepare_prints_a_summary(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "data", "prepare", "data=synthetic", *SYNTHETIC)
    assert outcome.status == 0
    summary = dict(row for row in table_cells(outcome.out) if len(row) == 2)
    assert (summary["users"], summary["items"]) == ("60, 0 of them with one row", "100")
    assert summary["interactions"] == "1,200"
    assert summary["density"] == "20.0000%"
    assert list(tmp_path.iterdir()) == []


def test_data_prepare_describes_a_table(tmp_path: Path) -> None:
    """u's rows b and c and w's only row; test is the last row of u, which has the time of the row before it."""
    text = (
        "user,item,rating,when\nu,a,1,2020-09-29\nu,b,4.5,2020-09-30\nu,c,4.5,2020-09-30\nw,b,2,2020-10-01 01:02:03\n"
    )
    (tmp_path / "t.csv").write_text(text)
    settings = ("data=table", "data.path=t.csv", "data.timestamp=when", "split=leave_last_out")
    outcome = recsweep(tmp_path, "data", "prepare", *settings)
    assert outcome.status == 0
    summary = dict(row for row in table_cells(outcome.out) if len(row) == 2)
    assert summary["users"] == "2, 1 of them with one row"
    assert summary["time"] == "2020-09-29 00:00:00 to 2020-10-01 01:02:03 UTC"
    assert summary["ties in time"].startswith(
        "50.0% of the rows have the time of their user's row before or after; there"
    )
    assert summary["split"] == (
        "2 train, 1 val, 1 test rows; 1 items only in test; 1 users have rows of one and the same time in several parts"
    )
    assert "50.0% of the train rows are later than the first test row" in outcome.out
    for bar in ("  1 ██████████ 1", "  2 ██████████ 1", "4.5 ████████████████████ 2"):
        assert bar in outcome.out


def test_data_prepare_describes_a_split_in_time(tmp_path: Path) -> None:
    """Train holds the rows at 9 and 10, and so knows neither user w nor item a2."""
    (tmp_path / "t.csv").write_text(
        "user,item,rating,when\nu,a,1,9\nv,b,2,10\nu,b,3,11\nw,b,4,12\nu,a2,5,13\nv,a,1,14\n"
    )
    settings = ("data=table", "data.path=t.csv", "data.timestamp=when", "split=global_time", "split.val_from=11")
    outcome = recsweep(tmp_path, "data", "prepare", *settings, "split.test_from=13")
    summary = dict(row for row in table_cells(outcome.out) if len(row) == 2)
    assert summary["split"] == "2 train, 1 val, 1 test rows; 0 items only in test; 2 rows in no part"
    assert "train 9 to 10" in outcome.out and "test 14 to 14" in outcome.out
    outcome = recsweep(tmp_path, "data", "prepare", *settings, "split.test_from=13", "split.cold_users=keep")
    summary = dict(row for row in table_cells(outcome.out) if len(row) == 2)
    assert summary["split"] == "2 train, 2 val, 2 test rows; 1 items only in test; 1 users unseen in train"


def test_data_prepare_says_why_there_is_no_split(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item,rating\nu,a,1\n")
    outcome = recsweep(tmp_path, "data", "prepare", "data=table", "data.path=t.csv")
    reason = (
        "recsweep: the split leaves the val part of table (1 rows) empty: use more data, another split=, or other "
        "fractions\n"
    )
    assert (outcome.status, outcome.err) == (2, reason)
    assert "1 of them with one row" in outcome.out
    assert recsweep(tmp_path, "train", "data=table", "data.path=t.csv").err == reason
