"""The progress line of a sweep. It reads the sweep's folder, so it works with every launcher."""

import time
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from recsweep.sweeps import jobs


class ProgressLine:
    """Counts the jobs in a sweep's folder by their state.

    Args:
        sweep: the folder.
        n_jobs: of the sweep.
    """

    def __init__(self, sweep: Path, n_jobs: int) -> None:
        self.sweep = sweep
        self.n_jobs = n_jobs
        self.completed: set[Path] = set()
        self.start_time = time.time()
        self._count()
        self.n_completed_before = len(self.completed)

    def __call__(self) -> Text:
        """`sweep: 12 of 200 done, 2 running, 1 failed, 0:03:10 left`."""
        n_running, n_failed = self._count()
        n_done = len(self.completed)
        parts = [f"sweep: {n_done} of {self.n_jobs} done", f"{n_running} running", f"{n_failed} failed"]
        if n_done > self.n_completed_before:
            seconds_per_job = (time.time() - self.start_time) / (n_done - self.n_completed_before)
            seconds_left = seconds_per_job * (self.n_jobs - n_done - n_failed)
            parts.append(f"{timedelta(seconds=round(seconds_left))} left")
        return Text(", ".join(parts))

    def _count(self) -> tuple[int, int]:
        """How many jobs are running, and how many have failed; updates `completed`."""
        n_running = n_failed = 0
        for job in jobs.folders(self.sweep):
            if job in self.completed:
                continue
            outcome = jobs.outcome(job)
            if outcome is None:  # an older job without an outcome was interrupted before this sweep
                n_running += jobs.is_newer(job / jobs.LOCK, self.start_time)
            elif outcome["status"] == "failed":
                n_failed += 1
            else:
                self.completed.add(job)
        return n_running, n_failed


def show_progress(sweep: Path, n_jobs: int) -> AbstractContextManager[object]:
    """Keeps the line up to date within a `with` block if stderr is a terminal; otherwise shows nothing."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext()
    return Live(
        get_renderable=ProgressLine(sweep, n_jobs),
        console=console,
        refresh_per_second=1,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
