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
    assert (summary["users"], summary["items"], summary["interactions"]) == ("60", "100", "1,200")
    assert summary["density"] == "20.0000%"
    assert list(tmp_path.iterdir()) == []
