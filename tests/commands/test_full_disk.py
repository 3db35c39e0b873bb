"""A full disk is one line that names the file, or the run's folder. A limit on the size of files stands in for it."""

import re
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from shell import SYNTHETIC, TINY, Outcome, read_metrics, recsweep, train_run
from tensorboard.summary.writer.record_writer import RecordWriter

from recsweep.commands import job
from recsweep.vectors.export import _save_array


@contextmanager
def files_up_to(n_bytes: int) -> Iterator[None]:
    """Every file that this process writes ends after so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def too_large(path: str) -> str:
    return f"recsweep: [Errno 27] File too large: '{path}'\n"


def no_parts(folder: Path) -> bool:
    return not [path for path in folder.rglob("*.part") if not path.is_symlink()]


@pytest.mark.parametrize("model", ["model=means", "model=ease", "model=bpr_mf", "model=svdpp"])
def test_a_checkpoint_that_does_not_fit(model: str, tmp_path: Path) -> None:
    sizes = ("data.n_users=600", "data.n_items=200", "data.n_interactions=2000", "split.cold_users=keep")
    with files_up_to(9_000):  # .hydra/hydra.yaml has 6,000 bytes, and ids alone 6,400
        outcome = recsweep(tmp_path, "train", model, *TINY, *sizes, "hydra.run.dir=run")
    assert outcome == (2, "", too_large(f"{tmp_path}/run/checkpoints/best.ckpt"))
    assert read_metrics(tmp_path / "run") == {
        "status": "failed",
        "error": f"OSError: [Errno 27] File too large: '{tmp_path}/run/checkpoints/best.ckpt'",
        "lost_to": "disk",
    }
    assert no_parts(tmp_path)
    assert recsweep(tmp_path, "train", "run=run", "resume=true").status == 0


def test_a_configuration_that_does_not_fit(tmp_path: Path) -> None:
    with files_up_to(100):
        outcome = recsweep(tmp_path, "train", "model=means", *TINY, "hydra.run.dir=run")
    assert outcome == (2, "", too_large(f"{tmp_path}/run/.hydra/overrides.yaml"))
    assert [path.name for path in (tmp_path / "run" / ".hydra").iterdir()] == ["job.lock"]


@pytest.mark.parametrize("sweep", [(), ("hydra/sweeper=optuna", "model.user_shrinkage=interval(1,2)")])
def test_a_sweep_that_does_not_fit(sweep: tuple[str, ...], tmp_path: Path) -> None:
    arguments = ("train", "-m", "model=means", *TINY, *(sweep or ("seed=0,1",)), "hydra.sweep.dir=sweep")
    with files_up_to(2_000):
        outcome = recsweep(tmp_path, *arguments)
    assert outcome == (2, "", too_large("sweep/sweep.json"))
    assert not list((tmp_path / "sweep").iterdir())
    with files_up_to(5_000):  # sweep.json has less, and multirun.yaml more
        outcome = recsweep(tmp_path, *arguments)
    line = f"recsweep: [Errno 27] File too large: '{tmp_path}/sweep/multirun.yaml'; "
    assert outcome == (2, "", line + "recsweep train sweep.resume=sweep goes on\n")


def test_tensorboard_ends_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(writer: RecordWriter, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", write)
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # pytest has put its own there
    outcome = recsweep(tmp_path, "train", *TINY, "logger=tensorboard", "hydra.run.dir=run")
    assert outcome == (2, "", f"recsweep: [Errno 28] No space left on device: '{tmp_path}/run'\n")
    assert read_metrics(tmp_path / "run")["status"] == "failed"


def test_a_log_that_is_full_ends_nothing(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *TINY, "hydra.job_logging.handlers.file.filename=/dev/full")
    assert (outcome.status, outcome.err) == (0, "")


def test_a_run_that_ends_by_any_exception_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(job, "fit", fit)
    with pytest.raises(ZeroDivisionError):
        recsweep(tmp_path, "train", *TINY, "hydra.run.dir=run")
    assert read_metrics(tmp_path / "run") == {"status": "failed", "error": "ZeroDivisionError: division by zero"}


def test_what_other_verbs_write(tmp_path: Path) -> None:
    run = train_run(tmp_path, "model=bpr_mf", *TINY, "callbacks.embeddings=true")

    def limited(*arguments: str) -> Outcome:
        with files_up_to(50):
            return recsweep(tmp_path, *arguments)

    assert limited("report", ".") == (2, "", too_large("runs.csv"))
    index = run / "embeddings" / "HNSW8.faiss"
    assert limited("recommend", f"run={run}", "user=1", "k=2", "index=HNSW8") == (2, "", too_large(str(index)))
    assert limited("data", "prepare", *SYNTHETIC, "sequences=s", "max_history=5").err.endswith(".parquet'\n")
    assert limited("evaluate", f"run={run}").status == 0
    assert no_parts(tmp_path)


def test_an_array_that_does_not_fit(tmp_path: Path) -> None:
    """NumPy's own error has no number, and names no file."""
    with files_up_to(1_000), pytest.raises(OSError, match=re.escape(f"{tmp_path}/ids.npy: 1000 requested and ")):
        _save_array(tmp_path / "ids.npy", np.zeros(1000))
    assert not list(tmp_path.iterdir())
