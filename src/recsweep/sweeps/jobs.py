"""A sweep's folder: what was asked, and what became of its jobs, each in a folder that is named by its number."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recsweep.errors import UserError
from recsweep.runs import write_json

ASKED = "sweep.json"


class Asked(NamedTuple):
    """A sweep's words without its folder, and the overrides of each job; no jobs where a search proposes them."""

    words: list[str]
    jobs: list[list[str]]


def begin(folder: Path, asked: Asked) -> None:
    """Writes down what is asked, before the first job; `UserError` where the folder holds jobs already."""
    if (folder / ASKED).exists() or folders(folder):
        raise UserError(
            f"{folder}: holds a sweep already; name another hydra.sweep.dir, or go on with it: "
            f"recsweep train sweep.resume={folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ASKED, asked._asdict())


def asked_before(folder: Path) -> Asked:
    """What `begin` wrote down; `UserError` where it did not."""
    try:
        return Asked(**json.loads((folder / ASKED).read_text()))
    except OSError:
        raise UserError(
            f"sweep.resume={folder}: no {ASKED} there; name a folder that `recsweep train -m` made, such as "
            "outputs/multirun/2026-11-22_10-00-00"
        ) from None
    except (ValueError, TypeError):
        raise UserError(f"sweep.resume={folder}: {ASKED} is not what a sweep wrote") from None


def check_unchanged(folder: Path, before: Asked, jobs: Sequence[list[str]]) -> None:
    """Raises `UserError` where the words mean other jobs by now: the numbers of those that ran would be wrong."""
    for number, (then, now) in enumerate(zip(before.jobs, jobs, strict=False)):
        if then != now:
            raise UserError(f"sweep.resume={folder}: job {number} was {' '.join(then)}, now it is {' '.join(now)}")
    if len(before.jobs) != len(jobs):
        raise UserError(f"sweep.resume={folder}: had {len(before.jobs)} jobs, now it has {len(jobs)}")


def folders(sweep: Path) -> list[Path]:
    """Those of the jobs that have begun."""
    return [path for path in sweep.iterdir() if path.name.isdigit()] if sweep.is_dir() else []


def outcome(job: Path) -> dict[str, Any] | None:
    """What the job's metrics.json says; None while it has not ended."""
    try:
        return json.loads((job / "metrics.json").read_text())
    except FileNotFoundError:
        return None


def fail(job: Path, error: Exception) -> None:
    """Records in one line why the job failed."""
    reason = str(error) if isinstance(error, UserError) else one_line(error)
    write_json(job / "metrics.json", {"status": "failed", "error": reason})


def one_line(error: Exception) -> str:
    """An error that we did not foresee: its kind, and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


def start_over(job: Path) -> None:
    """Removes what a failed job left, so that it is tried afresh; what fails may be in a checkpoint."""
    for part in ("checkpoints", "tb", "embeddings"):
        shutil.rmtree(job / part, ignore_errors=True)
    (job / "metrics.json").unlink()  # at the end: until here it is a failed job
