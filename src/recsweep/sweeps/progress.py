"""The progress of a sweep: jobs done, the running ones, the best so far, time left.

It reads the sweep's folder, so it works with every launcher.
"""

import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.text import Text

from recsweep.errors import UserError
from recsweep.parse import read_yaml
from recsweep.runs.record import FOLDER, Record
from recsweep.runs.recorded import key_of
from recsweep.sweeps import jobs
from recsweep.sweeps.epochs import read_epochs
from recsweep.terminal import escape, format_number, print_line

MAX_SHOWN = 8
"""Running jobs that the terminal shows."""

INTERVAL = 1.0
"""Seconds between two looks at the folder."""

LINE_INTERVAL = 10.0
"""Shortest time in seconds between two lines about a running job, off a terminal."""


class Result(NamedTuple):
    """A job that has ended.

    Args:
        seconds: from its start; None if unknown.
        share: of the epochs that it was allowed; None without epochs.
    """

    outcome: dict[str, Any]
    seconds: float | None
    share: float | None


def varying_keys(records: Sequence[Record]) -> set[str]:
    """The keys of the overrides that not all jobs of a grid share."""
    first, *others = [set(record.overrides) for record in records]
    return {key_of(override) for override in first.union(*others) - first.intersection(*others)}


def describe_overrides(overrides: Iterable[str], keys: Collection[str]) -> str:
    """The overrides of these keys in words: short keys if they are unique, numbers with four significant digits.

    >>> keys = {"regularization.dropout", "seed"}
    >>> describe_overrides(["model=svdpp", "regularization.dropout=0.123456", "seed=1"], keys)
    'dropout=0.1235 seed=1'
    """
    ends = [key.rpartition(".")[2] for key in keys]
    words = []
    for override in overrides:
        key, value = key_of(override), override.partition("=")[2]
        if key in keys:
            end = key.rpartition(".")[2]
            words.append(f"{end if ends.count(end) == 1 else key}={_shorten(value)}")
    return " ".join(words)


class Progress:
    """What a sweep's folder tells.

    Args:
        sweep: the folder.
        n_jobs: of the sweep.
        keys: of the overrides that tell its jobs apart.
    """

    def __init__(self, sweep: Path, n_jobs: int, keys: Iterable[str]) -> None:
        self.sweep = sweep
        self.n_jobs = n_jobs
        self.keys = set(keys)
        self.results: dict[int, Result] = {}
        self.running: list[int] = []
        self.width = 1
        self.names: dict[int, str] = {}
        self.last_lines: dict[int, tuple[float, str]] = {}
        self.start_time = time.time()
        self.look()

    def look(self) -> list[int]:
        """Reads the folder; returns the jobs that have ended since the last look."""
        self.running, ended = [], []
        for folder in jobs.folders(self.sweep):
            number = int(folder.name)
            result = self.results.get(number)
            if result and result.outcome["status"] != "failed":  # a resumed sweep starts those over
                continue
            outcome = jobs.outcome(folder)
            if outcome is not None:
                if result is None or result.outcome != outcome:
                    self.results[number] = Result(outcome, _seconds(folder), _share_of_epochs(folder))
                    ended.append(number)
                continue
            self.results.pop(number, None)
            if jobs.is_newer(folder / jobs.LOCK, self.start_time):  # an older one was interrupted before this sweep
                self.running.append(number)
        self.running.sort()
        self.width = max(self.width, len(self.running))
        return sorted(ended)

    def count(self) -> str:
        """`12 of 200 done, 2 running, 1 failed, 0:03:10 left`, without what is not."""
        n_failed = sum(result.outcome["status"] == "failed" for result in self.results.values())
        counts = {"running": len(self.running), "failed": n_failed}
        parts = [f"{len(self.results) - n_failed} of {self.n_jobs} done"]
        parts += [f"{n} {what}" for what, n in counts.items() if n]
        left = self._seconds_left()
        return ", ".join(parts + ([f"{timedelta(seconds=round(left))} left"] if left else []))

    def __call__(self) -> Text:
        """The lines for a terminal."""
        self.look()
        lines = [f"sweep: {self.count()}"]
        for number in self.running[:MAX_SHOWN]:
            epochs = read_epochs(self.sweep / str(number))
            end = f", epoch {epochs.reached} of {epochs.allowed}" if epochs else ""
            lines.append(f"  job {number}: {self.name(number)}{end}")
        if len(self.running) > MAX_SHOWN:
            lines.append(f"  and {len(self.running) - MAX_SHOWN} more")
        if (best := self._best()) is not None:
            lines.append(f"  best: {self._describe_objective(best)}, job {best}: {self.name(best)}")
        return Text("\n".join(map(escape, lines)), no_wrap=True, overflow="ellipsis")

    def describe_running(self, since: float) -> list[str]:
        """A line for each running job that has started, or written of another epoch, since its last line.

        Args:
            since: `time.monotonic()` of the latest line that is old enough for another one.
        """
        lines = []
        for number in self.running:
            said_at, said = self.last_lines.setdefault(number, (time.monotonic(), ""))
            epochs = read_epochs(self.sweep / str(number))
            text = epochs.text if epochs else "running"
            if said_at <= since and text != said:
                self.last_lines[number] = (time.monotonic(), text)
                lines.append(f"sweep: {self.count()}; job {number}: {self.name(number)}  {text}")
        return lines

    def describe_end(self, number: int) -> str:
        """A line for a job that has ended."""
        outcome, best = self.results[number].outcome, self._best()
        what = outcome["status"] if outcome["status"] != "failed" else f"failed: {outcome['error']}"
        if outcome["status"] == "completed":
            what = self._describe_objective(number)
        if best is not None and best != number:
            what = f"{what} (best {format_number(self._objective(best)['value'])}, job {best})"
        return f"sweep: {self.count()}; job {number}: {self.name(number)}  {what}"

    def name(self, number: int) -> str:
        """The job's configuration in words, `loss=bpr dropout=0.2 seed=1`."""
        if number not in self.names:
            path = self.sweep / str(number) / FOLDER / "overrides.yaml"
            try:
                overrides = read_yaml(path)
            except (UserError, OSError):  # not written yet, or damaged
                return ""
            self.names[number] = describe_overrides(overrides, self.keys)
        return self.names[number]

    def _objective(self, number: int) -> dict[str, Any]:
        return self.results[number].outcome["objective"]

    def _describe_objective(self, number: int) -> str:
        objective = self._objective(number)
        return f"{objective['name']} {format_number(objective['value'])}"

    def _best(self) -> int | None:
        """The job with the best validation objective; None without one, or where jobs have different ones."""
        completed = sorted(n for n, result in self.results.items() if result.outcome["status"] == "completed")
        kinds = {(self._objective(number)["name"], self._objective(number)["mode"]) for number in completed}
        if len(kinds) != 1:
            return None
        sign = 1 if kinds.pop()[1] == "max" else -1
        return max(completed, key=lambda number: sign * self._objective(number)["value"])

    def _seconds_left(self) -> float | None:
        """An estimate; None before anything is known.

        A running job takes as long as its epochs say, if it makes as large a share of those that it is allowed as the
        ended jobs did. Where its epochs say nothing yet, it takes as long as the mean job, and so do the jobs to come;
        of the first epoch nobody knows how much of it was the start.
        """
        ended = [result.seconds for result in self.results.values() if result.seconds is not None]
        shares = [result.share for result in self.results.values() if result.share is not None]
        share = sum(shares) / len(shares) if shares else 1.0
        starts = {number: (self.sweep / str(number) / jobs.LOCK).stat().st_mtime for number in self.running}
        elapsed = {number: time.time() - start for number, start in starts.items()}
        totals = dict[int, float]()
        for number, start in starts.items():
            epochs = read_epochs(self.sweep / str(number))
            if epochs and (epochs.pace is not None or not ended):
                totals[number] = max(elapsed[number], epochs.estimate_end(start, share) - start)
        known = [*ended, *totals.values()]
        if not known:
            return None
        mean = sum(known) / len(known)
        n_waiting = max(0, self.n_jobs - len(self.results) - len(self.running))
        to_run = sum(max(0.0, totals.get(number, mean) - elapsed[number]) for number in self.running)
        return (to_run + n_waiting * mean) / self.width


@contextmanager
def show_progress(progress: Progress) -> Iterator[None]:
    """Keeps a few lines up to date within a `with` block if stderr is a terminal; else prints what is new."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(
            get_renderable=progress,
            console=console,
            refresh_per_second=1 / INTERVAL,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield
        return
    stop = Event()
    thread = Thread(target=_print_news, args=(progress, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _print_news(progress: Progress, stop: Event) -> None:
    """A line for each job that has ended, and now and then one for each that runs."""
    is_last = False
    while not is_last:
        is_last = stop.wait(INTERVAL)
        for number in progress.look():
            print_line(progress.describe_end(number), stderr=True)
        for line in progress.describe_running(time.monotonic() - LINE_INTERVAL):
            print_line(line, stderr=True)


def _seconds(job: Path) -> float | None:
    """How long the job took, by its files."""
    try:
        return (job / jobs.METRICS_FILE).stat().st_mtime - (job / jobs.LOCK).stat().st_mtime
    except FileNotFoundError:  # no lock, or the job starts over at this moment
        return None


def _share_of_epochs(job: Path) -> float | None:
    epochs = read_epochs(job)
    return epochs.reached / epochs.allowed if epochs else None


def _shorten(value: str) -> str:
    return f"{float(value):.4g}" if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", value) else value
