"""Searches in processes of their own: one is killed and resumed, two share a study."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from searches import BPR, points, read_study, search
from shell import read_metrics, recsweep, start_program, wait_for

pytestmark = pytest.mark.xdist_group("forkserver")  # tests of one process fork from the same server


def test_a_search_that_was_killed_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    overrides = (*BPR, "optimizer.lr=tag(log,interval(1e-4,0.1))", "hydra.sweeper.n_trials=2")
    assert search(tmp_path, *overrides, into="undisturbed").status == 0
    arguments = ["-m", "hydra/sweeper=optuna", *overrides, "hydra.sweep.dir=killed"]
    for job in "01":  # killed during job 0, resumed, and killed during job 1
        process = start_program(tmp_path, "train", *arguments)
        wait_for((tmp_path / "killed" / job / ".hydra" / "overrides.yaml").is_file, process)
        process.kill()
        process.join()
        arguments = ["sweep.resume=killed"]
    assert recsweep(tmp_path, "train", *arguments).status == 0
    first, second = read_study(tmp_path / "killed" / "study.db").trials
    assert first.datetime_complete < second.datetime_start  # and learns from the first
    assert points(tmp_path / "killed" / "study.db") == points(tmp_path / "undisturbed" / "study.db")
    for job in "01":
        killed, undisturbed = (read_metrics(tmp_path / sweep / job) for sweep in ("killed", "undisturbed"))
        assert killed["metrics"] == undisturbed["metrics"]
    assert not (tmp_path / "killed" / "2").exists()


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of a database; its server runs as long as the test."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    if os.geteuid() == 0 and not Path("/usr/sbin/runuser").exists():
        pytest.skip("PostgreSQL refuses to run as root, and there is no runuser to change the user")
    home = Path(tempfile.mkdtemp(prefix="recsweep_postgresql_"))  # pytest's folders are closed to other users
    as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_postgres:
        shutil.chown(home, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = [*as_postgres, str(programs[-1] / "pg_ctl"), "-D", str(home / "data"), "-w", "-l", str(home / "log")]
    subprocess.run(
        [*as_postgres, str(programs[-1] / "initdb"), "-D", str(home / "data"), "-A", "trust", "-U", "recsweep"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    subprocess.run(
        [*server, "-o", f"-p {port} -k {home} -c fsync=off", "start"], check=True, stdout=subprocess.DEVNULL, cwd="/"
    )
    try:
        yield f"postgresql+psycopg://recsweep@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*server, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        shutil.rmtree(home)


def test_two_workers_share_a_study_on_postgresql(tmp_path: Path, postgresql: str) -> None:
    n_trials = 6
    searched = ("optimizer.lr=tag(log,interval(1e-4,0.1))", f"hydra.sweeper.n_trials={n_trials}")
    shared = (f"hydra.sweeper.storage={postgresql}", "hydra.sweeper.heartbeat=2")
    arguments = ("-m", "hydra/sweeper=optuna", *BPR, "trainer.max_epochs=10", *searched, *shared)
    folders = [tmp_path / "worker_0", tmp_path / "worker_1"]
    workers = []
    for folder in folders:
        folder.mkdir()
        workers.append(start_program(folder, "train", *arguments, "hydra.sweep.dir=sweep"))
    for folder, process in zip(folders, workers, strict=True):
        process.join(300)
        assert process.exitcode == 0, (folder / "output").read_text()
    trials = optuna.load_study(study_name="bpr_mf", storage=postgresql).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * n_trials
    assert len({trial.params["optimizer.lr"] for trial in trials}) == n_trials
    jobs = [sorted(int(path.name) for path in folder.glob("sweep/[0-9]*")) for folder in folders]
    assert jobs[0] and jobs[1] and sorted(jobs[0] + jobs[1]) == list(range(n_trials))
    for trial in trials:
        assert trial.value == read_metrics(Path(trial.user_attrs["folder"]))["objective"]["value"]
