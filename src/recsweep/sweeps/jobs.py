"""A sweep's folder: the request that started the sweep, and one numbered folder per job."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from hydra.plugins.launcher import Launcher
from pydantic import BaseModel, Field, TypeAdapter

from recsweep.atomic import write_json
from recsweep.errors import UserError, summarize_error
from recsweep.parse import name_file, read_json

METRICS_FILE = "metrics.json"
LOCK = Path(".hydra", "job.lock")  # written by each process that trains in the folder
NAMED_AFTER = 0.3  # seconds after which the process that has a lock has written its name into it


class Objective(BaseModel):
    name: str
    value: float
    mode: Literal["min", "max"]


class Completed(BaseModel):
    """What other code takes from the metrics.json of a completed job."""

    status: Literal["completed"]
    objective: Objective
    metrics: dict[str, float | None]
    seconds: dict[str, float]
    n_parameters: int


class Ended(BaseModel):
    """The metrics.json of a job without a result."""

    status: Literal["failed", "pruned"]
    error: str


OUTCOME: TypeAdapter[Completed | Ended] = TypeAdapter(Annotated[Completed | Ended, Field(discriminator="status")])


def run_jobs(launcher: Launcher, sweep: Path, overrides_by_job: Mapping[int, Sequence[str]]) -> None:
    """Has the launcher run these jobs, each in the folder of its number.

    If the launcher gives up because a process died, the jobs that died are run again one by one, then the jobs that
    had not started. A job that dies alone has failed.
    """
    start_time = time.time() - 0.1  # timestamps of files lag behind by up to one tick of the clock
    while overrides_by_job:
        overrides = [[*job, f"hydra.sweep.subdir={number}"] for number, job in overrides_by_job.items()]
        try:
            for result in launcher.launch(overrides, initial_job_idx=min(overrides_by_job)):
                _ = result.return_value  # raises errors from before or after the job itself
            return
        except Exception as error:  # from the launcher: errors of a job are in its metrics.json
            dead = [number for number in overrides_by_job if _is_dead(sweep / str(number), start_time)]
            if not dead:
                raise
            if len(overrides_by_job) == 1:
                record_failure(sweep / str(dead[0]), UserError(f"its process died: {summarize_error(error)}"))
                return
        for number in dead:
            run_jobs(launcher, sweep, {number: overrides_by_job[number]})
        overrides_by_job = {
            number: job
            for number, job in overrides_by_job.items()
            if not is_newer(sweep / str(number) / METRICS_FILE, start_time)
        }


def _is_dead(job: Path, since: float) -> bool:
    """Whether the job started at that time or later, has no result, and no process runs it."""
    if outcome(job) is not None or not is_newer(job / LOCK, since):
        return False
    try:
        with lock(job).acquire(blocking=False):
            return True
    except Timeout:
        return False


def is_newer(path: Path, since: float) -> bool:
    """Whether the file was written at that time or later."""
    return path.is_file() and path.stat().st_mtime >= since


def lock(job: Path) -> FileLock:
    """The lock that a process holds while it trains in the folder; the system frees it when the process dies."""
    return FileLock(job.resolve() / LOCK, is_singleton=True)


@contextmanager
def hold(folder: Path, wait: bool) -> Iterator[None]:
    """Holds the folder's lock, in which it says who does; a process may do so more than once.

    Where another process has it, waits for it, or else raises a `UserError` that names that process.
    """
    file = Path(lock(folder).lock_file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _acquire(folder, wait):
        with suppress(OSError):  # a full disk
            file.write_text(f"process {os.getpid()} on {gethostname()}\n")
        yield


def check_unheld(folder: Path) -> None:
    """Raises `UserError` where a process trains in the folder; changes nothing in it."""
    if Path(lock(folder).lock_file).exists():
        with _acquire(folder, wait=False):
            pass


def _acquire(folder: Path, wait: bool) -> AbstractContextManager[object]:
    folder_lock = lock(folder)
    try:
        return folder_lock.acquire(timeout=-1 if wait else NAMED_AFTER)
    except Timeout:
        text = Path(folder_lock.lock_file).read_text(errors="replace")
        holder = text.partition("\n")[0] or "another process"
        raise UserError(f"{folder}: {holder} trains here; wait until it ends, or name another folder") from None


def folders(sweep: Path) -> list[Path]:
    """The folders of the jobs that have started."""
    return [path for path in sweep.iterdir() if path.name.isdigit()] if sweep.is_dir() else []


def outcome(job: Path) -> dict[str, Any] | None:
    """The content of the job's metrics.json; None if the job has not ended, or if the file is broken."""
    try:
        return read_outcome(job)
    except UserError:
        return None


def read_outcome(job: Path) -> dict[str, Any] | None:
    """The content of the job's metrics.json, None without one; `UserError` if the file is broken."""
    path = job / METRICS_FILE
    if not path.exists():
        return None
    content = read_json(path)
    with name_file(path):
        OUTCOME.validate_python(content)
    return content


def record_failure(job: Path, error: Exception) -> None:
    """Writes to the job's metrics.json, in one line, why it failed, if the disk takes it.

    `lost_to`: the disk or the memory failed, and the job may well succeed another time.
    """
    reason = str(error) if isinstance(error, UserError) else summarize_error(error)
    content = {"status": "failed", "error": reason}
    if isinstance(error, OSError | MemoryError):
        content["lost_to"] = "disk" if isinstance(error, OSError) else "memory"
    with suppress(OSError):
        write_json(job / METRICS_FILE, content)


def start_over(job: Path) -> None:
    """Removes the results of a failed or pruned job, to run it from scratch: its checkpoint may hold the cause."""
    for part in ("checkpoints", "evidence", "tb", "embeddings"):
        shutil.rmtree(job / part, ignore_errors=True)
    (job / METRICS_FILE).unlink()  # last: until then it counts as a failed job
