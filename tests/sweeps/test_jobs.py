"""A sweep's folder: what is written there, jobs that fail, and requests that are refused."""

from contextlib import suppress
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from unittest.mock import Mock

import pytest
from hydra.plugins.launcher import Launcher
from shell import TINY, read_metrics, recsweep
from sweep_results import COMPLETED, FOUR_JOBS, copy_sweep

from recsweep.atomic import write_json
from recsweep.commands import job, train
from recsweep.data.tables import Table
from recsweep.errors import UserError
from recsweep.runs.folder import LAST
from recsweep.runs.record import Record, read_record
from recsweep.sweeps import jobs
from recsweep.sweeps.request import Request, read_request, write_request


def test_any_exception_is_recorded_and_a_resume_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = job.fit

    def fit_and_raise(cfg: Any, *rest: Any) -> None:
        fit(cfg, *rest)
        if cfg.seed == 0:
            raise RuntimeError("no such luck\nand more of it")

    monkeypatch.setattr(job, "fit", fit_and_raise)
    outcome = recsweep(tmp_path, "train", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep")
    advice = "as listed above; recsweep train sweep.resume=sweep tries them again"
    assert (outcome.status, outcome.err) == (2, f"recsweep: 1 of 2 jobs failed, {advice}\n")
    assert "failed: RuntimeError: no such luck\n" in outcome.out and "Traceback" not in outcome.out
    failed, completed = (tmp_path / "sweep" / job for job in "01")
    assert read_metrics(failed) == {"status": "failed", "error": "RuntimeError: no such luck"}
    log = (failed / "run.log").read_text()
    assert "Traceback" in log and "and more of it" in log

    monkeypatch.setattr(job, "fit", fit)
    (failed / "checkpoints" / LAST).write_bytes(b"the cause of the failure may be in here")
    mtime = (completed / "metrics.json").stat().st_mtime_ns
    resumed = recsweep(tmp_path, "train", "sweep.resume=sweep")
    assert (resumed.status, resumed.err) == (0, "")
    assert read_metrics(failed)["status"] == "completed"
    assert (completed / "metrics.json").stat().st_mtime_ns == mtime


def test_the_table_ends_with_the_best_command(four_jobs: Path) -> None:
    """The means win on so little data; the command leaves the seed out."""
    assert f"The best again: recsweep train {' '.join(TINY)} model=means\n" in (four_jobs.parent / "output").read_text()


class FragileLauncher(Launcher):
    """Runs three jobs side by side, and gives up on all when number 1 is killed."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.launches: list[list[int]] = []

    def setup(self, **_: Any) -> None:
        pass

    def launch(self, job_overrides: Any, initial_job_idx: int) -> list[Any]:
        numbers = [int(overrides[-1].removeprefix("hydra.sweep.subdir=")) for overrides in job_overrides]
        self.launches.append(numbers)
        side_by_side = numbers[:3] if 1 in numbers else numbers
        for number in side_by_side:
            (self.sweep / str(number) / ".hydra").mkdir(parents=True, exist_ok=True)
            (self.sweep / str(number) / jobs.LOCK).write_text("")
        for number in side_by_side if 1 not in numbers else [0]:
            write_json(self.sweep / str(number) / "metrics.json", COMPLETED)
        if 1 in numbers:
            raise RuntimeError("a worker is gone")
        return []


def test_a_job_whose_process_is_killed_has_failed_and_the_others_run(tmp_path: Path) -> None:
    """Of 0, 1 and 2, the first had ended; 1 is killed again, alone."""
    launcher = FragileLauncher(tmp_path)
    jobs.run_jobs(launcher, tmp_path, {number: [] for number in range(5)})
    assert launcher.launches == [[0, 1, 2, 3, 4], [1], [2], [3, 4]]
    reason = "its process died: RuntimeError: a worker is gone"
    assert read_metrics(tmp_path / "1") == {"status": "failed", "error": reason}
    assert [read_metrics(tmp_path / job)["status"] for job in "0234"] == ["completed"] * 4


def test_a_launcher_that_cannot_start_ends_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FragileLauncher, "launch", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no cluster")))
    with pytest.raises(RuntimeError, match="no cluster"):
        jobs.run_jobs(FragileLauncher(tmp_path), tmp_path, {0: [], 1: []})


def test_of_two_sweeps_that_start_in_one_folder_one_is_refused(tmp_path: Path) -> None:
    record = Record(config={}, choices={}, overrides=[], cwd="/")
    request = Request(words=[], hydra=[], search=None, origin=None, records=[record])
    barrier, successes = Barrier(4), []

    def start() -> None:
        barrier.wait()
        with suppress(UserError):
            write_request(tmp_path / "sweep", request)
            successes.append(True)

    threads = [Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert successes == [True]


def test_the_request_is_saved(four_jobs: Path) -> None:
    """With the settings of each job, which are those that its folder records."""
    request = read_request(four_jobs)
    assert request.words == list(FOUR_JOBS)
    models_and_seeds = [(model, seed) for model in ("biased_mf", "means") for seed in (0, 1)]
    assert [record.overrides for record in request.records] == [
        [*TINY, f"model={model}", f"seed={seed}"] for model, seed in models_and_seeds
    ]
    assert [(record.config["name"], record.config["seed"]) for record in request.records] == models_and_seeds
    assert request.records == [read_record(four_jobs / str(number)) for number in range(4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["hydra.sweep.subdir=x"],
            "hydra.sweep.dir alone may be set: the folders of a sweep's jobs are named by their numbers",
        ),
        (["hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0: give a number of jobs, or null for all"),
        (["--help"], "-m runs a sweep; leave it out with --help"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=abc"], "hydra.launcher.n_jobs=abc"),
    ],
)
def test_impossible_sweeps_are_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "-m", *TINY, "seed=0,1", *arguments)
    assert (outcome.status, outcome.out) == (2, "") and message in outcome.err and outcome.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_a_sweep_is_not_mixed_with_another(four_jobs: Path, tmp_path: Path) -> None:
    sweep = copy_sweep(four_jobs, tmp_path)
    before = sorted((path, path.stat().st_mtime_ns) for path in sweep.rglob("*"))
    outcome = recsweep(tmp_path, "train", *FOUR_JOBS)
    advice = "name another hydra.sweep.dir, or continue it: recsweep train sweep.resume=sweep"
    assert outcome == (2, "", f"recsweep: sweep: holds a sweep already; {advice}\n")
    assert sorted((path, path.stat().st_mtime_ns) for path in sweep.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "has no sweep.json; name a folder that `recsweep train -m` wrote, such as outputs/multirun/2026"),
        ("[1", [], "sweep.json is broken"),
        ("[1]", [], "sweep.json is broken"),
        ('{"jobs": []}', [], "sweep.json is broken"),
        ('{"words": ["-m", "seed=0,1"], "jobs": [["seed=0"], ["seed=1"]]}', [], "sweep.json is broken"),
        ("{}", ["seed=3"], "seed=3: a resumed sweep keeps its settings; start another to change something"),
    ],
)
def test_a_sweep_is_resumed_only_as_it_was(
    content: str | None, arguments: list[str], message: str, tmp_path: Path
) -> None:
    if content:
        (tmp_path / "sweep.json").write_text(content)
    outcome = recsweep(tmp_path, "train", "sweep.resume=.", *arguments)
    assert outcome.status == 2 and message in outcome.err and outcome.err.count("\n") == 1


def test_data_that_cannot_be_split_stop_a_sweep_before_its_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two data sets is too small for its split; the other one is read once for its three splits."""
    for name, n_rows in (("small", 1), ("large", 30)):
        rows = [f"u{row % 3},i{row},{row % 5}" for row in range(n_rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["user,item,rating", *rows]))
    arguments = ("data=table", "model=means", "split.seed=0,1,2", "seed=0,1", "logger=none", "hydra.sweep.dir=sweep")
    refused = recsweep(tmp_path, "train", "-m", *arguments, "data.path=large.csv,small.csv")
    assert refused.status == 2
    assert refused.err.startswith("recsweep: the split leaves the val part of table (1 rows) empty: ")
    assert not (tmp_path / "sweep").exists()
    reads: list[str] = []
    read = Table.read
    monkeypatch.setattr(Table, "read", lambda self: reads.append(self.path) or read(self))
    monkeypatch.setattr(train, "write_request", Mock(side_effect=UserError("all is checked")))
    assert recsweep(tmp_path, "train", "-m", *arguments, "data.path=large.csv").err == "recsweep: all is checked\n"
    assert reads == ["large.csv"]
