"""The one line that a sweep shows while it runs, whoever runs its jobs and wherever."""

import time
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from recsweep.sweeps import jobs


class Line:
    """Counts the jobs by what is in the sweep's folder.

    Args:
        sweep: the folder.
        n_jobs: of the sweep.
    """

    def __init__(self, sweep: Path, n_jobs: int) -> None:
        self.sweep = sweep
        self.n_jobs = n_jobs
        self.completed: set[Path] = set()
        self.began = time.time()
        self._count()
        self.before = len(self.completed)

    def __call__(self) -> Text:
        """`sweep: 12 of 200 done, 2 running, 1 failed, 0:03:10 left`."""
        running, failed = self._count()
        done = len(self.completed)
        shown = [f"sweep: {done} of {self.n_jobs} done", f"{running} running", f"{failed} failed"]
        if done > self.before:
            seconds = (time.time() - self.began) / (done - self.before) * (self.n_jobs - done - failed)
            shown.append(f"{timedelta(seconds=round(seconds))} left")
        return Text(", ".join(shown))

    def _count(self) -> tuple[int, int]:
        """How many jobs run now, and how many failed."""
        running = failed = 0
        for job in jobs.folders(self.sweep):
            if job in self.completed:
                continue
            found = jobs.outcome(job)
            if found is None:
                running += jobs.written(job / ".hydra" / "overrides.yaml", self.began)  # else it was interrupted before
            elif found["status"] == "failed":
                failed += 1
            else:
                self.completed.add(job)
        return running, failed


def shown(sweep: Path, n_jobs: int) -> AbstractContextManager[object]:
    """Shows the line on a terminal; elsewhere nothing."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext()
    line = Line(sweep, n_jobs)
    return Live(
        get_renderable=line,
        console=console,
        refresh_per_second=1,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
