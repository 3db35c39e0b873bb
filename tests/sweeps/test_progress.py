"""The progress line of a sweep."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sweep_results import COMPLETED

from recsweep.atomic import write_json
from recsweep.sweeps import progress
from recsweep.sweeps.jobs import LOCK
from recsweep.sweeps.progress import ProgressLine, show_progress


def test_the_line_counts_the_jobs_in_the_folder(tmp_path: Path) -> None:
    """Ten jobs: two done before, two since, in 6 seconds; one failed, one runs, one was interrupted, three to come."""

    def write_job(number: int, record: dict[str, Any] | None, age: float = 0.0) -> None:
        lock = tmp_path / str(number) / LOCK
        lock.parent.mkdir(parents=True)
        lock.touch()
        os.utime(lock, (time.time() - age, time.time() - age))
        if record:
            write_json(tmp_path / str(number) / "metrics.json", record)

    write_job(0, COMPLETED)
    write_job(1, COMPLETED)
    line = ProgressLine(tmp_path, 10)
    assert str(line()) == "sweep: 2 of 10 done, 0 running, 0 failed"
    line.start_time -= 6
    write_job(2, COMPLETED)
    write_job(3, COMPLETED)
    write_job(4, {"status": "failed", "error": "it went wrong"})
    write_job(5, None)
    write_job(6, None, age=60)
    # 10 - 4 done - 1 failed = 5 to run, 6 / 2 = 3 seconds each
    assert str(line()) == "sweep: 4 of 10 done, 1 running, 1 failed, 0:00:15 left"


def test_progress_is_for_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with show_progress(tmp_path, 3):
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(force_terminal=True, width=60, file=sys.stdout))
    with show_progress(tmp_path, 3):
        pass
    assert "sweep: 0 of 3 done, 0 running, 0 failed" in capsys.readouterr().out
