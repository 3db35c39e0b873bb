"""A job's share of its machine: cores and GPUs."""

import os
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from shell import TINY, recsweep

from recsweep.commands import job
from recsweep.sweeps.share import Share, gpu, share


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
def test_cores_are_divided_among_the_jobs_that_run_at_once(
    launcher: str, settings: dict[str, Any], batch: int | None, expected: Share
) -> None:
    assert share({"_target_": f"some_module.{launcher}", **settings}, batch, 8) == expected


def test_a_job_takes_no_more_threads_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four are requested, and there are three cores, for a look at the data before the jobs, too."""
    for module in ("commands.sweep", "sweeps.splits"):
        monkeypatch.setattr(f"recsweep.{module}.cores", lambda: 3)
    n_threads: list[int] = []
    monkeypatch.setattr(job.torch, "set_num_threads", n_threads.append)
    arguments = ["train", "-m", *TINY, "model=means", "trainer.threads=4", "seed=0"]
    assert recsweep(tmp_path, *arguments, "hydra.sweep.dir=alone").status == 0
    assert n_threads == [3, 3]
    arguments += ["trainer=ddp", "trainer.processes=2"]
    assert recsweep(tmp_path, *arguments, "hydra.sweep.dir=two").status == 0
    assert n_threads[2:] == [3, 1]  # 3 // 2, for each process


def test_jobs_take_turns_with_the_gpus() -> None:
    assert [gpu(job, ["4", "5", "7"]) for job in range(7)] == ["4", "5", "7", "4", "5", "7", "4"]


def test_a_process_keeps_the_gpu_of_its_first_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    for number in (1, 2, 6):
        node = OmegaConf.create({"job": {"num": number}})
        monkeypatch.setattr(HydraConfig, "get", lambda node=node: node)
        job._choose_gpu(Share(1, gpus_round_robin=True))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
