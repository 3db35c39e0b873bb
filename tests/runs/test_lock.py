"""A run's folder belongs to one process at a time."""

import os
import shutil
import socket
from pathlib import Path

import pytest
from shell import TINY, modification_times, recsweep, start_program, train_run, wait_for

from recsweep.errors import UserError
from recsweep.runs.folder import LAST
from recsweep.sweeps import jobs

pytestmark = [pytest.mark.xdist_group("forkserver"), pytest.mark.usefixtures("forkserver")]

LONG = [*TINY, "trainer.max_epochs=20000", "callbacks.early_stopping.patience=null"]
LONG += ["callbacks.checkpoint.every_seconds=0", "hydra.run.dir=run"]


def test_a_second_process_is_told_who_trains(tmp_path: Path) -> None:
    """It changes nothing, and another one goes on where the first is killed."""
    first = start_program(tmp_path, "train", *LONG)
    wait_for((tmp_path / "run" / "checkpoints" / LAST).is_file, first)
    record = modification_times(tmp_path / "run" / ".hydra")
    who = f"process {first.pid} on {socket.gethostname()} trains here; wait until it ends, or name another folder"
    for second in (["run=run", "resume=true"], LONG, [*TINY, "seed=1", "hydra.run.dir=run"]):
        assert recsweep(tmp_path, "train", *second) == (2, "", f"recsweep: run: {who}\n")
    assert first.is_alive() and modification_times(tmp_path / "run" / ".hydra") == record
    first.kill()
    first.join()
    third = start_program(tmp_path, "train", "run=run", "resume=true")
    wait_for(lambda: f"process {third.pid} on" in (tmp_path / "run" / ".hydra" / "job.lock").read_text(), third)
    third.kill()


def test_of_runs_that_start_at_once_one_trains(tmp_path: Path) -> None:
    """The record is that of the one that trains, also before it has a checkpoint."""
    processes = []
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        words = [*LONG[:-1], f"seed={seed}", f"hydra.run.dir={tmp_path / 'run'}"]
        processes.append(start_program(tmp_path / str(seed), "train", *words))
    record = tmp_path / "run" / ".hydra" / "overrides.yaml"
    wait_for(lambda: sum(process.is_alive() for process in processes) == 1 and record.is_file())
    (seed,) = (number for number, process in enumerate(processes) if process.is_alive())
    for number, process in enumerate(processes):
        process.kill()
        process.join()
        output = (tmp_path / str(number) / "output").read_text()
        assert (f"process {processes[seed].pid} on" in output) == (number != seed)
    assert f"- seed={seed}\n" in record.read_text()


def test_a_run_in_a_folder_of_the_default_name_is_locked_too(tmp_path: Path) -> None:
    first = start_program(tmp_path, "train", *LONG[:-1])
    wait_for(lambda: list(tmp_path.glob(f"outputs/*/*/checkpoints/{LAST}")), first)
    (folder,) = tmp_path.glob("outputs/*/*")
    outcome = recsweep(tmp_path, "train", f"run={folder}", "resume=true")
    assert outcome.status == 2 and outcome.err.startswith(f"recsweep: {folder}: process {first.pid} on ")
    first.kill()


def test_a_dead_process_does_not_block(tmp_path: Path) -> None:
    """Its lock file stays, and names it until the next one trains."""
    run = train_run(tmp_path, *TINY, "model=means")
    lock = run / ".hydra" / "job.lock"
    assert lock.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    lock.write_text("process 1 on elsewhere\n")
    (run / "metrics.json").unlink()
    assert recsweep(tmp_path, "train", f"run={run}", "resume=true").status == 0
    assert lock.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"


def test_a_job_of_a_sweep_keeps_its_lock(tmp_path: Path) -> None:
    sweep = start_program(tmp_path, "train", "-m", *LONG[:-1], "seed=0,1", "hydra.sweep.dir=sweep")
    wait_for((tmp_path / "sweep" / "0" / "checkpoints" / LAST).is_file, sweep)
    outcome = recsweep(tmp_path, "train", "run=sweep/0", "resume=true")
    assert outcome.status == 2 and outcome.err.startswith(f"recsweep: sweep/0: process {sweep.pid} on ")
    sweep.kill()


def test_a_process_holds_a_lock_twice(tmp_path: Path) -> None:
    with jobs.hold(tmp_path, wait=False), jobs.hold(tmp_path, wait=False):
        pass
    jobs.check_unheld(tmp_path)


def test_a_mistake_leaves_no_lock_behind(tmp_path: Path) -> None:
    assert recsweep(tmp_path, "train", "model=nope", "hydra.run.dir=run").status == 2
    assert recsweep(tmp_path, "train", "--cfg", "job", "hydra.run.dir=run").status == 0
    assert list(tmp_path.iterdir()) == []


def test_a_broken_lock_file_names_nobody(tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / ".hydra").mkdir()
    with FileLock(tmp_path / ".hydra" / "job.lock"), pytest.raises(UserError) as caught:
        jobs.check_unheld(tmp_path)
    text = f"{tmp_path}: another process trains here; wait until it ends, or name another folder"
    assert str(caught.value) == text


def test_a_copied_run_is_free(tmp_path: Path) -> None:
    with jobs.hold(tmp_path / "run", wait=False):
        jobs.check_unheld(Path(shutil.copytree(tmp_path / "run", tmp_path / "copy")))
