"""What a job's run.log says of its epochs, and how long the training takes by that."""

import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from recsweep.sweeps.jobs import LOCK

LINE = re.compile(r"^(?P<time>\S+ [\d:]+,\d+) .*?\b(?P<text>epoch (?P<reached>\d+)/(?P<allowed>\d+)  .*)", re.MULTILINE)


class Epochs(NamedTuple):
    """How far a training is.

    Args:
        reached: the last epoch that run.log tells of.
        allowed: how many there may be.
        text: what run.log says of the last one.
        time: when it said so, in seconds since 1970.
        pace: seconds an epoch took, without what came before the first; None with a single line.
    """

    reached: int
    allowed: int
    text: str
    time: float
    pace: float | None

    def estimate_end(self, start: float, share: float) -> float:
        """When the training ends, in seconds since 1970.

        Args:
            start: of the job.
            share: of the epochs that it will make of those allowed.
        """
        pace = (self.time - start) / self.reached if self.pace is None else self.pace
        return self.time + max(0.0, self.allowed * share - self.reached) * pace


def read_epochs(job: Path) -> Epochs | None:
    """The epochs of the job in that folder since it started, or went on; None where there are none yet."""
    path, lock = job / "run.log", job / LOCK
    if not (path.is_file() and lock.is_file()):
        return None
    start = lock.stat().st_mtime
    lines = [line for line in LINE.finditer(path.read_text(errors="replace")) if _time(line) >= start]
    if not lines:
        return None
    last, time = lines[-1], _time(lines[-1])
    reached = [int(line["reached"]) for line in lines]
    n_epochs = sum(b - a if b > a else b for a, b in pairwise(reached))  # they start over on train + validation
    pace = (time - _time(lines[0])) / n_epochs if n_epochs else None
    return Epochs(int(last["reached"]), int(last["allowed"]), last["text"], time, pace)


def _time(line: re.Match[str]) -> float:
    return datetime.strptime(line["time"], "%Y-%m-%d %H:%M:%S,%f").timestamp()
