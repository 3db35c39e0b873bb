"""Sweeps that are interrupted and resumed end like undisturbed ones."""

import random
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event, Thread

import pytest
from filelock import FileLock
from shell import equal_weights, read_metrics, recsweep, start_program, wait_for, weights
from sweep_results import FOUR_JOBS, copy_sweep, results

from recsweep.runs.folder import BEST
from recsweep.sweeps import jobs

pytestmark = pytest.mark.xdist_group("forkserver")  # tests of one process fork from the same server


def test_a_resume_runs_what_is_missing(four_jobs: Path, tmp_path: Path) -> None:
    """As if killed while writing the folder of job 0, before that of job 1, and while writing the result of job 2.

    Job 3 lost its result in another way.
    """
    sweep = copy_sweep(four_jobs, tmp_path)
    for path in (sweep / "0").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (sweep / "0" / ".hydra").mkdir()
    (sweep / "0" / ".hydra" / "config.yaml").write_text("trainer:\n  max_ep")
    shutil.rmtree(sweep / "1")
    (sweep / "2" / "metrics.json").write_text('{"status": "compl')
    (sweep / "3" / "metrics.json").write_text('{"status": "completed"}')
    (sweep / "report.html").unlink()
    outcome = recsweep(tmp_path, "train", "sweep.resume=sweep")
    assert (outcome.status, outcome.err) == (0, "")
    assert results(sweep) == results(four_jobs)
    resumed, undisturbed = (weights(folder / "0" / "checkpoints" / BEST) for folder in (sweep, four_jobs))
    assert equal_weights(resumed, undisturbed)
    assert (sweep / "report.html").is_file()


def test_a_resume_after_kills_equals_an_undisturbed_sweep(four_jobs: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    sweep = tmp_path / "sweep"
    arguments = list(FOUR_JOBS)
    for n_jobs in (1, 3):  # jobs that have started by the kill
        process = start_program(tmp_path, "train", *arguments)
        wait_for(lambda n_jobs=n_jobs: len(jobs.folders(sweep)) >= n_jobs, process)
        time.sleep(rng.random() / 4)
        process.kill()
        process.join()
        arguments = ["sweep.resume=sweep"]
    outcome = recsweep(tmp_path, "train", *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    assert results(sweep) == results(four_jobs)
    assert not list(sweep.rglob("*.part"))


def test_a_resume_waits_for_a_job_that_still_runs(
    four_jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process that outlived the one that was killed."""
    sweep = copy_sweep(four_jobs, tmp_path)
    job = sweep / "2"
    (job / "metrics.json").unlink()
    is_locked, is_about_to_start, has_waited = Event(), Event(), []
    hold = jobs.hold

    def hold_and_tell(folder: Path, wait: bool) -> AbstractContextManager[None]:
        is_about_to_start.set()
        return hold(folder, wait)

    monkeypatch.setattr(jobs, "hold", hold_and_tell)

    def hold_lock() -> None:
        with FileLock(job / ".hydra" / "job.lock"):
            is_locked.set()
            is_about_to_start.wait(60)
            time.sleep(1)  # the job would take half as long
            has_waited.append(not (job / "metrics.json").exists())

    thread = Thread(target=hold_lock)
    thread.start()
    is_locked.wait()
    assert recsweep(tmp_path, "train", "sweep.resume=sweep").status == 0
    thread.join()
    assert has_waited == [True] and read_metrics(job)["status"] == "completed"
