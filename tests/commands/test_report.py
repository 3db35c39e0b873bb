"""`recsweep report DIR`."""

import re
from pathlib import Path

import pytest
from run_folders import write_run

from recsweep.commands import report
from recsweep.errors import UserError
from recsweep.runs.record import Record
from recsweep.sweeps.request import Request, write_request


def test_the_report_is_printed_and_written_into_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And counts the jobs of the sweep that have not started."""
    records = [Record(config={"seed": seed}, choices={}, overrides=[f"seed={seed}"], cwd="/") for seed in range(3)]
    write_request(tmp_path, Request(words=[], hydra=[], search=None, origin=None, records=records))
    write_run(tmp_path / "0", "model=means", "seed=0")
    report.run([str(tmp_path)])
    text = capsys.readouterr().out
    assert "means" in text and "The best again: recsweep train model=means seed=0" in text
    assert f"2 jobs of this sweep have not started: recsweep train sweep.resume={tmp_path}" in text
    names = {path.name for path in tmp_path.iterdir() if path.is_file()} - {"sweep.json"}
    assert names == {"report.html", "runs.csv", "runs.parquet", "comparison.csv", "effects.csv"}
    page = (tmp_path / "report.html").read_text()
    assert "means" in page and "recsweep train model=means seed=0" in page


def test_another_baseline_writes_files_of_its_own(tmp_path: Path) -> None:
    for number, dropout in enumerate((0.1, 0.5)):
        write_run(tmp_path / str(number), f"regularization.dropout={dropout}", value=0.5 + dropout)
    report.run([str(tmp_path)])
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    report.run([str(tmp_path), "baseline=dropout=0.5"])
    kept = [path for path in before if path.suffix != ".parquet"]
    assert all(path.read_bytes() == before[path] for path in kept)
    names = {path.name for path in tmp_path.iterdir() if path.is_file()} - {path.name for path in before}
    assert names == {"report_dropout=0.5.html", "comparison_dropout=0.5.csv"}
    assert "comparison_dropout=0.5.csv" in (tmp_path / "report_dropout=0.5.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["."], "no runs here"),
        ([], "wants one folder of runs, got 0"),
        ([".", ".."], "wants one folder of runs, got 2"),
        ([".", "colour=red"], "colour=red: the only options are baseline=NAME and compare=A,B"),
        ([".", "baseline="], "baseline=: the only options are baseline=NAME and compare=A,B"),
        ([".", "compare=1,2", "compare=3,4"], "compare= stands twice"),
        ([".", "baseline=means", "compare=1,2"], "baseline= and compare=: choose one of them"),
    ],
)
def test_a_wrong_argument_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        report.run(words)
