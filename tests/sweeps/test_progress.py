"""What a sweep shows while it runs."""

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from searches import BPR
from shell import TINY, recsweep
from sweep_results import COMPLETED

from recsweep.atomic import write_json
from recsweep.runs.record import Record
from recsweep.sweeps import progress
from recsweep.sweeps.jobs import LOCK
from recsweep.sweeps.progress import Progress, show_progress, varying_keys

pytestmark = pytest.mark.xdist_group("sweeps")

FAILED = {"status": "failed", "error": "it went wrong"}


def write_job(
    folder: Path, outcome: dict[str, Any] | None, start: float, end: float = 0.0, epochs: str = "", *overrides: str
) -> None:
    """A job that started and ended so many seconds ago, with epochs of the same length since its start."""
    lock, now = folder / LOCK, time.time()
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    os.utime(lock, (now - start, now - start))
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.dump(list(overrides)))
    reached, _, allowed = epochs.partition("/")
    times = {number: now - start + number * start / int(reached) for number in {1, int(reached)}} if epochs else {}
    lines = (f"{write_time(at)} INFO a: epoch {n}/{allowed}  train/loss 0.5\n" for n, at in sorted(times.items()))
    (folder / "run.log").write_text("".join(lines))
    if outcome:
        write_json(folder / "metrics.json", outcome)
        os.utime(folder / "metrics.json", (now - end, now - end))


def write_time(seconds: float) -> str:
    """As Python's logging writes it."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]


def completed(value: float) -> dict[str, Any]:
    return {**COMPLETED, "objective": {"name": "val/mse", "value": value, "mode": "min"}}


def begin(sweep: Path, n_jobs: int, *keys: str) -> Progress:
    """The progress of a sweep that began a minute ago."""
    shown = Progress(sweep, n_jobs, keys)
    shown.start_time -= 60
    return shown


def test_the_jobs_in_the_folder_are_counted_and_the_time_left_is_that_of_the_mean_job(tmp_path: Path) -> None:
    """Jobs of 4 and 2 seconds, a mean of 3; one has run for 1, which leaves 2, and 7 are to come: 2 + 7 x 3."""
    shown = begin(tmp_path, 11)
    assert str(shown()) == "sweep: 0 of 11 done"
    write_job(tmp_path / "0", COMPLETED, 10, 6)
    write_job(tmp_path / "1", FAILED, 6, 4)
    write_job(tmp_path / "2", None, 1)
    write_job(tmp_path / "3", None, 600)  # interrupted before this sweep
    assert shown.look() == [0, 1] and shown.look() == []
    assert shown.count() == "1 of 11 done, 1 running, 1 failed, 0:00:26 left"  # 2 + 8 x 3: job 3 is to come, too


def test_the_time_left_knows_the_epochs_and_does_not_grow(tmp_path: Path) -> None:
    """A job that ended early used 20 of 100 epochs. The one that runs took 5 seconds for 10: 10 in all, 5 are left.

    The 2 jobs to come take the mean of 4 and 10 seconds: 5 + 2 x 7. Three seconds and six epochs later, 2 + 2 x 7.
    """
    write_job(tmp_path / "0", COMPLETED, 9, 5, "20/100")
    shown = begin(tmp_path, 4)
    for seconds, epochs, left in ((5, "10/100", 19), (8, "16/100", 16)):
        write_job(tmp_path / "1", None, seconds, 0, epochs)
        shown.look()
        assert shown.count() == f"1 of 4 done, 1 running, 0:00:{left} left"


def test_the_time_left_counts_a_start_once_and_falls_between_epochs(tmp_path: Path) -> None:
    """Epoch 2 of 5 came 21 s after the start, a second after the first: 21 + 3 in all, and 31 are over."""
    write_job(tmp_path / "0", None, 31)
    log, shown = tmp_path / "0" / "run.log", begin(tmp_path, 2)
    now = time.time()
    for n, ago in ((4, 100), (1, 11), (2, 10)):  # the first is of an earlier start
        with log.open("a") as file:
            file.write(f"{write_time(now - ago)} INFO a: epoch {n}/5  train/loss 0.5\n")
    shown.look()
    assert shown.count() == "0 of 2 done, 1 running, 0:00:31 left"  # none, and another such job
    write_job(tmp_path / "0", None, 6, 0, "1/5")
    assert shown.count() == "0 of 2 done, 1 running, 0:00:54 left"  # 5 x 6 - 6, and 30
    write_job(tmp_path / "1", COMPLETED, 9, 5)
    shown.look()
    assert shown.count() == "1 of 2 done, 1 running"  # as long as the one that ended


def test_the_time_left_of_a_training_that_starts_over_on_train_and_validation(tmp_path: Path) -> None:
    """Three epochs, then the first of four, at a pace of 2 s: 3 x 2 are left, and another job of 10 + 6."""
    write_job(tmp_path / "0", None, 10)
    log, shown = tmp_path / "0" / "run.log", begin(tmp_path, 2)
    now = time.time()
    for epoch, ago in (("1/3", 6), ("2/3", 4), ("3/3", 2), ("1/4", 0)):
        with log.open("a") as file:
            file.write(f"{write_time(now - ago)} INFO a: epoch {epoch}  train/loss 0.5\n")
    shown.look()
    assert shown.count() == "0 of 2 done, 1 running, 0:00:22 left"


def test_jobs_side_by_side_divide_the_time(tmp_path: Path) -> None:
    """Two have run 4 of 8 seconds, two are to come: (4 + 4 + 8 + 8) / 2."""
    shown = begin(tmp_path, 4)
    for number in (0, 1):
        write_job(tmp_path / str(number), None, 4, 0, "3/6")
    shown.look()
    assert shown.count() == "0 of 4 done, 2 running, 0:00:12 left"


def test_the_terminal_shows_the_running_job_and_the_best_so_far(tmp_path: Path) -> None:
    write_job(tmp_path / "0", completed(0.5), 9, 5, "", "model=svdpp", "model.embedding_dim=8", "seed=0")
    write_job(tmp_path / "1", completed(0.25), 5, 2, "", "model=svdpp", "model.embedding_dim=16", "seed=0")
    write_job(tmp_path / "2", None, 1, 0, "3/6", "model=svdpp", "model.embedding_dim=8", "optimizer.lr=0.00123456")
    shown = begin(tmp_path, 3, "model.embedding_dim", "optimizer.lr")
    assert str(shown()).splitlines()[1:] == [
        "  job 2: embedding_dim=8 lr=0.001235, epoch 3 of 6",
        "  best: val/mse 0.2500, job 1: embedding_dim=16",
    ]
    end = "job 0: embedding_dim=8  val/mse 0.5000 (best 0.2500, job 1)"
    assert shown.describe_end(0).endswith(end) and shown.describe_end(0).startswith("sweep: 2 of 3 done, 1 running, ")


def test_off_a_terminal_a_job_that_takes_long_is_heard_of(tmp_path: Path) -> None:
    """A line once it has run for a while, then one where there is another epoch and the last line is old enough."""
    write_job(tmp_path / "7", None, 4, 0, "", "loss=bpr", "seed=1")
    shown = begin(tmp_path, 9, "loss")
    shown.look()
    began, later = time.monotonic() - 1, time.monotonic() + 60
    assert shown.describe_running(began) == []
    assert shown.describe_running(later) == ["sweep: 0 of 9 done, 1 running; job 7: loss=bpr  running"]
    write_job(tmp_path / "7", None, 4, 0, "2/4", "loss=bpr", "seed=1")
    assert shown.describe_running(began) == []
    line = "sweep: 0 of 9 done, 1 running, 0:01:08 left; job 7: loss=bpr  epoch 2/4  train/loss 0.5"  # 4 + 8 x 8
    assert shown.describe_running(later) == [line]
    assert shown.describe_running(later) == []


def test_the_best_is_the_largest_where_more_is_better(tmp_path: Path) -> None:
    for number, value in enumerate((0.25, 0.5)):
        objective = {"name": "val/ndcg@10", "value": value, "mode": "max"}
        write_job(tmp_path / str(number), {**COMPLETED, "objective": objective}, 9, 5)
    assert "  best: val/ndcg@10 0.5000, job 1: " in str(begin(tmp_path, 2)())


def test_failed_and_pruned_jobs_say_so(tmp_path: Path) -> None:
    write_job(tmp_path / "0", FAILED, 9, 5)
    write_job(tmp_path / "1", {"status": "pruned", "error": "not promising"}, 5, 4)
    shown = begin(tmp_path, 2)
    assert shown.describe_end(0) == "sweep: 1 of 2 done, 1 failed; job 0:   failed: it went wrong"
    assert shown.describe_end(1).endswith("job 1:   pruned")


def test_a_failed_job_that_is_tried_again_ends_again(tmp_path: Path) -> None:
    write_job(tmp_path / "0", FAILED, 9, 5)
    shown = begin(tmp_path, 1)
    assert shown.count() == "0 of 1 done, 1 failed"
    write_job(tmp_path / "0", COMPLETED, 4, 2)
    assert shown.look() == [0] and shown.count() == "1 of 1 done"


def test_keys_that_all_jobs_share_tell_nothing() -> None:
    jobs = (["model=svdpp", "seed=0", "loss=mse"], ["model=svdpp", "seed=1", "loss=mse"], ["model=svdpp", "seed=0"])
    records = [Record(config={}, choices={}, overrides=overrides, cwd="") for overrides in jobs]
    assert varying_keys(records) == {"seed", "loss"}


def test_a_terminal_gets_lines_that_stay_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(force_terminal=True, width=60, file=sys.stdout))
    with show_progress(Progress(tmp_path, 3, ())):
        pass
    assert "sweep: 0 of 3 done" in capsys.readouterr().out


def test_off_a_terminal_each_ended_job_is_a_line(tmp_path: Path) -> None:
    overrides = [*TINY, "model=means,biased_mf", "seed=0,1", "logger=tensorboard", "hydra.sweep.dir=sweep"]
    lines = recsweep(tmp_path, "train", "-m", *overrides, with_progress=True).err.splitlines()
    assert lines[:2] == ["sweep:  sweep/, 4 jobs", "curves: tensorboard --logdir sweep"]
    ends = [line.split("; job ")[1] for line in lines if "; job " in line]
    names = [f"model={model} seed={seed}" for model in ("means", "biased_mf") for seed in (0, 1)]
    assert [end.split("  ")[0] for end in ends] == [f"{number}: {name}" for number, name in enumerate(names)]
    assert all("  val/mse " in end for end in ends)
    assert lines[-1].startswith("sweep:  4 of 4 done, after 0:0")


def test_a_search_names_its_trials_by_what_it_searches(tmp_path: Path) -> None:
    words = ["hydra/sweeper=optuna", *BPR, "model.embedding_dim=2,4", "hydra.sweeper.n_trials=2"]
    outcome = recsweep(tmp_path, "train", "-m", *words, with_progress=True)
    ends = [line for line in outcome.err.splitlines() if "; job " in line]
    assert len(ends) == 2 and all(" embedding_dim=" in line and "n_users" not in line for line in ends)
