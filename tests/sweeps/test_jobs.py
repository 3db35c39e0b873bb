"""A sweep outlives its jobs and itself: whatever fails is recorded, and what was killed ends as if it had not been."""

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from rich.console import Console
from shell import TINY, read_metrics, recsweep, same, start_program, wait_for, weights

from recsweep.atomic import write_json
from recsweep.commands import train
from recsweep.errors import UserError
from recsweep.runs.folder import BEST, LAST
from recsweep.sweeps import jobs, progress
from recsweep.sweeps.progress import Line
from recsweep.sweeps.share import Share, gpu, share

WORDS = (*TINY, "model=biased_mf,means", "seed=0,1")
JOBS = [
    ["model=biased_mf", "seed=0"],
    ["model=biased_mf", "seed=1"],
    ["model=means", "seed=0"],
    ["model=means", "seed=1"],
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with two seeds each."""
    folder = tmp_path_factory.mktemp("undisturbed")
    found = recsweep(folder, "train", "-m", *WORDS, "hydra.sweep.dir=sweep")
    assert (found.status, found.err) == (0, "")
    return folder / "sweep"


def results(sweep: Path) -> list[tuple[Any, ...]]:
    """What each job was asked and what it reached, all but the time it took."""
    made = sorted(jobs.folders(sweep), key=lambda path: int(path.name))
    return [
        (
            (path / ".hydra" / "overrides.yaml").read_text(),
            read_metrics(path)["status"],
            read_metrics(path).get("metrics"),
        )
        for path in made
    ]


def copied(sweep: Path, folder: Path) -> Path:
    return Path(shutil.copytree(sweep, folder / "sweep"))


# Jobs that fail.


def test_any_exception_is_recorded_and_a_resume_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = train.fit

    def breaks(cfg: Any, *rest: Any) -> None:
        fit(cfg, *rest)
        if cfg.seed == 0:
            raise RuntimeError("no such luck\nand more of it")

    monkeypatch.setattr(train, "fit", breaks)
    found = recsweep(tmp_path, "train", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep")
    advice = "as listed above; recsweep train sweep.resume=sweep tries them again"
    assert (found.status, found.err) == (2, f"recsweep: 1 of 2 jobs failed, {advice}\n")
    assert "failed: RuntimeError: no such luck\n" in found.out and "Traceback" not in found.out
    failed, completed = (tmp_path / "sweep" / job for job in "01")
    assert read_metrics(failed) == {"status": "failed", "error": "RuntimeError: no such luck"}
    log = (failed / "run.log").read_text()
    assert "Traceback" in log and "and more of it" in log

    monkeypatch.setattr(train, "fit", fit)
    (failed / "checkpoints" / LAST).write_bytes(b"what failed may be in there")
    written = (completed / "metrics.json").stat().st_mtime_ns
    again = recsweep(tmp_path, "train", "sweep.resume=sweep")
    assert (again.status, again.err) == (0, "")
    assert read_metrics(failed)["status"] == "completed"
    assert (completed / "metrics.json").stat().st_mtime_ns == written


def test_the_table_ends_with_the_best_command(undisturbed: Path, tmp_path: Path) -> None:
    """The means win on so little data; their seed is left to the reader."""
    found = recsweep(tmp_path, "train", f"sweep.resume={copied(undisturbed, tmp_path)}")
    assert f"The best again: recsweep train {' '.join(TINY)} model=means\n" in found.out


class Fragile(Launcher):
    """Makes three jobs side by side, and gives up on all when number 1 is killed."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.launched: list[list[int]] = []

    def setup(self, **_: Any) -> None:
        pass

    def launch(self, job_overrides: Any, initial_job_idx: int) -> list[Any]:
        numbers = [int(words[-1].removeprefix("hydra.sweep.subdir=")) for words in job_overrides]
        self.launched.append(numbers)
        side_by_side = numbers[:3] if 1 in numbers else numbers
        for number in side_by_side:
            (self.sweep / str(number) / ".hydra").mkdir(parents=True, exist_ok=True)
            (self.sweep / str(number) / ".hydra" / "overrides.yaml").write_text("")
        for number in side_by_side if 1 not in numbers else [0]:
            write_json(self.sweep / str(number) / "metrics.json", {"status": "completed"})
        if 1 in numbers:
            raise RuntimeError("a worker is gone")
        return []


def test_a_job_whose_process_is_killed_has_failed_and_the_others_are_made(tmp_path: Path) -> None:
    """Of 0, 1 and 2, the first had ended; 1 is killed again, alone."""
    launcher = Fragile(tmp_path)
    jobs.made(launcher, tmp_path, {number: [] for number in range(5)})
    assert launcher.launched == [[0, 1, 2, 3, 4], [1], [2], [3, 4]]
    reason = "broke off: RuntimeError: a worker is gone"
    assert read_metrics(tmp_path / "1") == {"status": "failed", "error": reason}
    assert [read_metrics(tmp_path / job)["status"] for job in "0234"] == ["completed"] * 4


def test_a_launcher_that_cannot_begin_ends_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fragile, "launch", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no cluster")))
    with pytest.raises(RuntimeError, match="no cluster"):
        jobs.made(Fragile(tmp_path), tmp_path, {0: [], 1: []})


# Sweeps that are interrupted.


def test_of_two_sweeps_that_begin_in_one_folder_one_is_refused(tmp_path: Path) -> None:
    together, begun = Barrier(4), []

    def begin() -> None:
        together.wait()
        with suppress(UserError):
            jobs.begin(tmp_path / "sweep", jobs.Asked([], []))
            begun.append(True)

    threads = [Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun == [True]


def test_what_was_asked_is_kept(undisturbed: Path) -> None:
    kept = json.loads((undisturbed / "sweep.json").read_text())
    assert kept["words"] == ["-m", *WORDS, "hydra.sweep.dir=sweep"]
    assert kept["jobs"] == [[*TINY, *job] for job in JOBS]


def test_a_resume_makes_what_is_missing(undisturbed: Path, tmp_path: Path) -> None:
    """Killed while the first job's folder was made, before the second's was, and after an epoch of none."""
    sweep = copied(undisturbed, tmp_path)
    for part in (sweep / "0").iterdir():
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    (sweep / "0" / ".hydra").mkdir()
    (sweep / "0" / ".hydra" / "config.yaml").write_text("trainer:\n  max_ep")
    shutil.rmtree(sweep / "1")
    (sweep / "2" / "metrics.json").write_text('{"status": "compl')
    (sweep / "report.html").unlink()
    found = recsweep(tmp_path, "train", "sweep.resume=sweep")
    assert (found.status, found.err) == (0, "")
    assert results(sweep) == results(undisturbed)
    assert same(weights(sweep / "0" / "checkpoints" / BEST), weights(undisturbed / "0" / "checkpoints" / BEST))
    assert (sweep / "report.html").is_file()


def test_a_resume_after_kills_equals_an_undisturbed_sweep(undisturbed: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    sweep = tmp_path / "sweep"
    words = ["-m", *WORDS, "hydra.sweep.dir=sweep"]
    for wanted in (1, 3):  # jobs that have begun when the kill is drawn
        process = start_program(tmp_path, "train", *words)
        wait_for(lambda wanted=wanted: len(jobs.folders(sweep)) >= wanted, process)
        time.sleep(chance.random() / 4)
        process.kill()
        process.join()
        words = ["sweep.resume=sweep"]
    found = recsweep(tmp_path, "train", *words)
    assert (found.status, found.err) == (0, "")
    assert results(sweep) == results(undisturbed)
    assert not list(sweep.rglob("*.part"))


def test_a_job_waits_for_who_still_makes_it(undisturbed: Path, tmp_path: Path) -> None:
    """A process that the killed one left behind."""
    sweep = copied(undisturbed, tmp_path)
    (sweep / "2" / "metrics.json").unlink()
    held, released = Event(), []

    def hold() -> None:
        with FileLock(sweep / "2" / ".hydra" / "job.lock"):
            held.set()
            time.sleep(3)
            released.append(time.time_ns())

    Thread(target=hold).start()
    held.wait()
    assert recsweep(tmp_path, "train", "sweep.resume=sweep").status == 0
    assert (sweep / "2" / "metrics.json").stat().st_mtime_ns > released[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["hydra.sweep.subdir=x"],
            "hydra.sweep.dir alone may be named: the folders of a sweep's jobs bear their numbers",
        ),
        (["hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0: give a number of jobs, or null for all"),
        (["--help"], "-m runs a sweep; leave it out with --help"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=abc"], "hydra.launcher.n_jobs=abc"),
    ],
)
def test_what_a_sweep_cannot_be_is_refused(words: list[str], message: str, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "-m", *TINY, "seed=0,1", *words)
    assert (found.status, found.out) == (2, "") and message in found.err and found.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_a_sweep_is_not_mixed_with_another(undisturbed: Path, tmp_path: Path) -> None:
    sweep = copied(undisturbed, tmp_path)
    before = sorted((path, path.stat().st_mtime_ns) for path in sweep.rglob("*"))
    found = recsweep(tmp_path, "train", "-m", *WORDS, "hydra.sweep.dir=sweep")
    advice = "name another hydra.sweep.dir, or go on with it: recsweep train sweep.resume=sweep"
    assert found == (2, "", f"recsweep: sweep: holds a sweep already; {advice}\n")
    assert sorted((path, path.stat().st_mtime_ns) for path in sweep.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (None, [], "no sweep.json there; name a folder that `recsweep train -m` made, such as outputs/multirun/2026"),
        ("[1", [], "sweep.json is not what a sweep wrote"),
        ('{"words": ["-m", "seed=0,1"], "jobs": [["seed=0"], ["seed=2"]]}', [], "job 1 was seed=2, now it is seed=1"),
        ('{"words": ["-m", "seed=0,1"], "jobs": [["seed=0"]]}', [], "had 1 jobs, now it has 2"),
        ("{}", ["seed=3"], "seed=3: a resumed sweep goes on as it was asked for; start another to change something"),
    ],
)
def test_a_sweep_is_resumed_only_as_it_was(content: str | None, words: list[str], message: str, tmp_path: Path) -> None:
    if content:
        (tmp_path / "sweep.json").write_text(content)
    found = recsweep(tmp_path, "train", "sweep.resume=.", *words)
    assert found.status == 2 and message in found.err and found.err.count("\n") == 1


# Jobs side by side.


def slurm_answers() -> bool:
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=3).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("joblib", ["hydra.launcher.n_jobs=2"]),
        ("submitit_local", ["hydra.sweeper.max_batch_size=2"]),
        pytest.param(
            "ray",
            ["hydra.launcher.ray.init.num_cpus=2"],
            marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"),
        ),
        ("submitit_slurm", ["hydra.launcher.mem_gb=2"]),
    ],
)
def test_launchers_make_the_same_sweep(
    launcher: str, words: list[str], undisturbed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if launcher == "submitit_slurm" and not slurm_answers():
        pytest.skip("no Slurm cluster answers here")
    words = [*TINY, "model=biased_mf", "seed=0,1", f"hydra/launcher={launcher}", *words]
    found = recsweep(tmp_path, "train", "-m", *words, "hydra.sweep.dir=sweep")
    assert found.status == 0, found.err
    if launcher != "submitit_slurm":  # a cluster may say a word, such as that it keeps no accounts
        assert found.err == "" and capfd.readouterr() == ("", "")  # of the workers
    assert results(tmp_path / "sweep") == results(undisturbed)[:2]
    assert "lightning" in (tmp_path / "sweep" / "0" / "run.log").read_text()


def test_jobs_elsewhere_fail_alone_and_find_what_is_here(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [f"{user},{item},{1 + (user + item) % 5}\n" for user in range(40) for item in range(20)]
    (tmp_path / "here.csv").write_text("user,item,rating\n" + "".join(rows))
    words = [
        "data=table",
        "data.path=here.csv",
        "trainer.max_epochs=2",
        "logger=none",
        "callbacks.checkpoint.max_mb=0.1",
    ]
    words += ["model.embedding_dim=2048,4", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    found = recsweep(tmp_path, "train", "-m", *words, "hydra.sweep.dir=sweep")
    assert found.status == 2 and found.err.startswith("recsweep: 1 of 2 jobs failed, ") and found.err.count("\n") == 1
    assert [read_metrics(tmp_path / "sweep" / job).get("error", "")[:13] for job in "01"] == ["a saved model", ""]
    assert capfd.readouterr() == ("", "")


def test_a_launcher_that_is_not_installed_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_ray_launcher.ray_launcher", None)
    found = recsweep(tmp_path, "train", "-m", *TINY, "seed=0,1", "hydra/launcher=ray")
    assert found == (2, "", "recsweep: hydra/launcher=ray is not installed: pip install 'recsweep[ray]'\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("launcher", "settings", "batch", "expected"),
    [
        ("JoblibLauncher", {"n_jobs": 3}, None, Share(2, True)),  # 8 // 3
        ("JoblibLauncher", {"n_jobs": -1}, None, Share(1, True)),  # 8 jobs
        ("JoblibLauncher", {"n_jobs": -5}, None, Share(2, True)),  # all but 4 of 8 cores: 4 jobs
        ("JoblibLauncher", {"n_jobs": 20}, None, Share(1, True)),
        ("LocalLauncher", {}, 2, Share(4, True)),
        ("SlurmLauncher", {"cpus_per_task": 6}, None, Share(6, False)),
        ("SlurmLauncher", {"cpus_per_task": None}, None, Share(1, False)),
        ("RayLauncher", {"ray": {"remote": {"num_cpus": 0.5}}}, None, Share(1, False)),
        ("BasicLauncher", {}, None, Share(8, False)),  # one job at a time
    ],
)
def test_shares(launcher: str, settings: dict[str, Any], batch: int | None, expected: Share) -> None:
    assert share({"_target_": f"somewhere.{launcher}", **settings}, batch, 8) == expected


def test_a_job_takes_no_more_threads_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four are asked for, and there are three cores."""
    monkeypatch.setattr("recsweep.commands.compose.cores", lambda: 3)
    asked: list[int] = []
    monkeypatch.setattr(train.torch, "set_num_threads", asked.append)
    words = [*TINY, "model=means", "trainer.threads=4"]
    assert recsweep(tmp_path, "train", "-m", *words, "seed=0,1", "hydra.sweep.dir=alone").status == 0
    assert asked == [3, 3]
    words += ["trainer=ddp", "trainer.processes=2"]
    assert recsweep(tmp_path, "train", "-m", *words, "seed=0,1", "hydra.sweep.dir=shared").status == 0
    assert asked[2:] == [1, 1]  # 3 // 2, of each process


def test_gpus_go_round() -> None:
    assert [gpu(job, ["4", "5", "7"]) for job in range(7)] == ["4", "5", "7", "4", "5", "7", "4"]


def test_a_process_stays_with_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    for number in (1, 2, 6):
        node = OmegaConf.create({"job": {"num": number}})
        monkeypatch.setattr(HydraConfig, "get", lambda node=node: node)
        train._take(Share(1, gpus_go_round=True))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


# Progress.


def test_the_line_counts_what_is_in_the_folder(tmp_path: Path) -> None:
    """Ten jobs: two done before, two since, in 6 seconds; one failed, one runs, one was interrupted, three to come."""

    def job(number: int, content: dict[str, str] | None, age: float = 0.0) -> None:
        asked = tmp_path / str(number) / ".hydra" / "overrides.yaml"
        asked.parent.mkdir(parents=True)
        asked.touch()
        os.utime(asked, (time.time() - age, time.time() - age))
        if content:
            write_json(tmp_path / str(number) / "metrics.json", content)

    job(0, {"status": "completed"})
    job(1, {"status": "completed"})
    line = Line(tmp_path, 10)
    assert str(line()) == "sweep: 2 of 10 done, 0 running, 0 failed"
    line.began -= 6
    job(2, {"status": "completed"})
    job(3, {"status": "completed"})
    job(4, {"status": "failed"})
    job(5, None)
    job(6, None, age=60)
    # 10 - 4 done - 1 failed = 5 to make, 6 / 2 = 3 seconds each
    assert str(line()) == "sweep: 4 of 10 done, 1 running, 1 failed, 0:00:15 left"


def test_progress_is_for_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(force_terminal=True, width=60, file=sys.stdout))
    with progress.shown(tmp_path, 3):
        pass
    assert "sweep: 0 of 3 done, 0 running, 0 failed" in capsys.readouterr().out
