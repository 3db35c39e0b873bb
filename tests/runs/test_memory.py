"""Too little memory is one line that says what to lower."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from shell import TINY, read_metrics, recsweep, train_run

from recsweep.api import run as api_run
from recsweep.commands import job
from recsweep.runs.memory import explain_memory

ADVICE = "lower trainer.batch_size, evaluation.batch_size, loss.n_negatives or model.embedding_dim"


def test_a_run_that_asks_for_too_much(tmp_path: Path) -> None:
    """10^12 copies of each row."""
    outcome = recsweep(tmp_path, "train", *TINY, "regularization.augmentation=1e12", "hydra.run.dir=run")
    line = f"the machine has too little memory for this run: {ADVICE}"
    assert outcome == (2, "", f"recsweep: {line}\n")
    assert read_metrics(tmp_path / "run") == {"status": "failed", "error": f"MemoryError: {line}", "lost_to": "memory"}


def test_a_job_that_asks_for_too_much_does_not_end_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = job.fit

    def fit_or_fail(cfg: DictConfig, *rest: Any) -> None:
        if cfg.seed == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")
        fit(cfg, *rest)

    monkeypatch.setattr(job, "fit", fit_or_fail)
    outcome = recsweep(tmp_path, "train", "-m", *TINY, "model=means", "seed=0,1", "hydra.sweep.dir=sweep")
    assert outcome.status == 2 and "1 of 2 jobs failed" in outcome.err
    assert read_metrics(tmp_path / "sweep" / "0")["error"].startswith("MemoryError: the GPU has too little memory")
    assert read_metrics(tmp_path / "sweep" / "1")["status"] == "completed"


def test_a_run_that_is_judged_on_a_smaller_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")

    run = train_run(tmp_path, *TINY, "model=means")
    monkeypatch.setattr(api_run, "judge", run_out)
    outcome = recsweep(tmp_path, "evaluate", f"run={run}")
    assert outcome == (2, "", f"recsweep: the GPU has too little memory for this run: {ADVICE}\n")


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="no such luck"), explain_memory():
        raise RuntimeError("no such luck")
