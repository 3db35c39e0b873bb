"""A sweep's folder: what was asked, and what became of its jobs, each in a folder that is named by its number."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from hydra.plugins.launcher import Launcher

from recsweep.atomic import write_json
from recsweep.errors import UserError

ASKED = "sweep.json"
RECORD = "metrics.json"


class Asked(NamedTuple):
    """A sweep's words without its folder, and the overrides of each job; no jobs where a search proposes them."""

    words: list[str]
    jobs: list[list[str]]


def begin(folder: Path, asked: Asked) -> None:
    """Writes down what is asked, before the first job; `UserError` where the folder holds jobs already."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if folders(folder):
            raise FileExistsError
        with (folder / ASKED).open("x") as file:  # of two who begin at once, one alone succeeds
            json.dump(asked._asdict(), file, indent=2)
    except FileExistsError:
        raise UserError(
            f"{folder}: holds a sweep already; name another hydra.sweep.dir, or go on with it: "
            f"recsweep train sweep.resume={folder}"
        ) from None


def asked_before(folder: Path) -> Asked:
    """What `begin` wrote down; `UserError` where it did not."""
    try:
        return Asked(**json.loads((folder / ASKED).read_text()))
    except OSError:
        raise UserError(
            f"sweep.resume={folder}: no {ASKED} there; name a folder that `recsweep train -m` made, such as "
            "outputs/multirun/2026-11-22_10-00-00-000000"
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


def made(launcher: Launcher, sweep: Path, asked: Mapping[int, Sequence[str]]) -> None:
    """Has the launcher make these jobs, each in the folder of its number.

    Where it gives up because a process was killed, those that were lost with it are made one by one, then come the
    others. What is lost alone has failed.

    Args:
        asked: the words of each job.
    """
    began = time.time() - 0.1  # files bear the time of the last tick of the clock
    while asked:
        words = [[*job, f"hydra.sweep.subdir={number}"] for number, job in asked.items()]
        try:
            for result in launcher.launch(words, initial_job_idx=min(asked)):
                _ = result.return_value  # raises what went wrong before or after the job
            return
        except Exception as error:  # the launcher's own, too: what goes wrong in a job is recorded there
            lost = [number for number in asked if _lost(sweep / str(number), began)]
            if not lost:
                raise
            if len(asked) == 1:
                fail(sweep / str(lost[0]), UserError(f"broke off: {one_line(error)}"))
                return
        for number in lost:
            made(launcher, sweep, {number: asked[number]})
        asked = {number: job for number, job in asked.items() if not written(sweep / str(number) / RECORD, began)}


def _lost(job: Path, began: float) -> bool:
    """Whether the job began at that time or later, has not ended, and nobody makes it now."""
    if outcome(job) is not None or not written(job / ".hydra" / "overrides.yaml", began):
        return False
    try:
        with lock(job).acquire(blocking=False):
            return True
    except Timeout:
        return False


def written(path: Path, since: float) -> bool:
    """Whether the file was written at that time or later."""
    return path.is_file() and path.stat().st_mtime >= since


def lock(job: Path) -> FileLock:
    """Held by the process that makes the job."""
    return FileLock(job / ".hydra" / "job.lock")


def folders(sweep: Path) -> list[Path]:
    """Those of the jobs that have begun."""
    return [path for path in sweep.iterdir() if path.name.isdigit()] if sweep.is_dir() else []


def outcome(job: Path) -> dict[str, Any] | None:
    """What the job's metrics.json says; None while it has not ended, or where somebody broke the file."""
    try:
        found = json.loads((job / RECORD).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) and "status" in found else None


def fail(job: Path, error: Exception) -> None:
    """Records in one line why the job failed."""
    reason = str(error) if isinstance(error, UserError) else one_line(error)
    write_json(job / RECORD, {"status": "failed", "error": reason})


def one_line(error: Exception) -> str:
    """An error that we did not foresee: its kind, and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


def start_over(job: Path) -> None:
    """Removes what a failed job left, so that it is tried afresh; what fails may be in a checkpoint."""
    for part in ("checkpoints", "tb", "embeddings"):
        shutil.rmtree(job / part, ignore_errors=True)
    (job / RECORD).unlink()  # at the end: until here it is a failed job
