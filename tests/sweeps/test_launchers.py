"""Jobs side by side: every launcher runs the same sweep."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from shell import TINY, read_metrics, recsweep
from sweep_results import results

pytestmark = pytest.mark.xdist_group("joblib")  # tests of one process share joblib's workers


def slurm_answers() -> bool:
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=3).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


@pytest.mark.parametrize(
    ("launcher", "n_jobs", "overrides"),
    [
        ("joblib", 2, ["hydra.launcher.n_jobs=2"]),
        ("submitit_local", 1, ["hydra.sweeper.max_batch_size=2"]),
        pytest.param(
            "ray",
            2,
            ["hydra.launcher.ray.init.num_cpus=2"],
            marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"),
        ),
        ("submitit_slurm", 2, ["hydra.launcher.mem_gb=2"]),
    ],
)
def test_launchers_run_the_same_sweep(
    launcher: str,
    n_jobs: int,
    overrides: list[str],
    four_jobs: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if launcher == "submitit_slurm" and not slurm_answers():
        pytest.skip("no Slurm cluster answers")
    seeds = ",".join(map(str, range(n_jobs)))
    arguments = ["-m", *TINY, "model=biased_mf", f"seed={seeds}", f"hydra/launcher={launcher}", *overrides]
    outcome = recsweep(tmp_path, "train", *arguments, "hydra.sweep.dir=sweep")
    assert outcome.status == 0, outcome.err
    if launcher != "submitit_slurm":  # a cluster may print something, such as that it keeps no accounts
        assert outcome.err == "" and capfd.readouterr() == ("", "")  # of the workers
    assert results(tmp_path / "sweep") == results(four_jobs)[:n_jobs]
    assert "epoch 1/2  train/loss" in (tmp_path / "sweep" / "0" / "run.log").read_text()


def test_jobs_in_other_processes_fail_alone_and_find_files_of_this_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{user},{item},{1 + (user + item) % 5}\n" for user in range(40) for item in range(20)]
    (tmp_path / "ratings.csv").write_text("user,item,rating\n" + "".join(rows))
    data = ["data=table", "data.path=ratings.csv", "trainer.max_epochs=2", "logger=none"]
    sizes = ["callbacks.checkpoint.max_mb=0.1", "model.embedding_dim=2048,4"]
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    outcome = recsweep(tmp_path, "train", "-m", *data, *sizes, *joblib, "hydra.sweep.dir=sweep")
    assert outcome.status == 2 and outcome.err.count("\n") == 1
    assert outcome.err.startswith("recsweep: 1 of 2 jobs failed, ")
    assert [read_metrics(tmp_path / "sweep" / job).get("error", "")[:13] for job in "01"] == ["a saved model", ""]
    assert capfd.readouterr() == ("", "")


def test_a_launcher_that_is_not_installed_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_ray_launcher.ray_launcher", None)
    outcome = recsweep(tmp_path, "train", "-m", *TINY, "seed=0,1", "hydra/launcher=ray")
    assert outcome == (2, "", "recsweep: hydra/launcher=ray is not installed: pip install 'recsweep[ray]'\n")
    assert not list(tmp_path.iterdir())
