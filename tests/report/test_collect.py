"""The table with a row per run."""

import math
import re
from pathlib import Path

import pytest
from run_folders import write_run

from recsweep.errors import UserError
from recsweep.report.collect import collect


def test_a_row_per_run_holds_all_that_varies(tmp_path: Path) -> None:
    for number, dropout in enumerate((0.1, 0.5)):
        overrides = ["model=svdpp", f"regularization.dropout={dropout}", f"seed={number}", "data.n_users=60"]
        write_run(tmp_path / str(number), *overrides, model="svdpp", value=0.8 - 0.1 * number)
    write_run(tmp_path / "2", "data.n_users=70", status="failed", error="it went wrong", objective=None, metrics={})
    runs = collect(tmp_path).table
    assert runs["run"].tolist() == ["0", "1", "2"]
    assert runs["status"].tolist() == ["completed", "completed", "failed"]
    assert runs["reason"].tolist() == ["", "", "it went wrong"]
    assert runs["model"].tolist() == ["svdpp", "svdpp", "means"]
    assert runs["regularization.dropout"].tolist() == [0.1, 0.5, 0.1]
    assert runs["data.n_users"].tolist() == [60, 60, 70]
    assert runs["seed"].tolist() == ["0", "1", "0"]
    assert runs["test/mse"].tolist()[:2] == pytest.approx([0.81, 0.71]) and math.isnan(runs["test/mse"][2])
    assert runs["seconds/total"].tolist()[:2] == [6, 6]
    assert runs["overrides"][1] == "model=svdpp regularization.dropout=0.5 seed=1 data.n_users=60"


def test_the_seed_holds_every_seed_that_varies(tmp_path: Path) -> None:
    for number in (3, 4):
        write_run(tmp_path / str(number), "seed=0", f"data.seed={number}")
    assert collect(tmp_path).table["seed"].tolist() == ["0/3", "0/4"]


@pytest.mark.parametrize(("folder", "message"), [("nowhere", "nowhere: no such folder"), (".", "no runs here")])
def test_a_folder_without_runs_is_refused(tmp_path: Path, folder: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        collect(tmp_path / folder)
