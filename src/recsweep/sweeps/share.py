"""What of the machine a job may use, so that jobs side by side never use more than there is."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Share(NamedTuple):
    """A job's part of its machine.

    Args:
        cores: at least 1.
        gpus_go_round: jobs take GPUs in turn; False where they have them all, or an engine hands them out.
    """

    cores: int
    gpus_go_round: bool


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(launcher: Mapping[str, Any], batch: int | None, cores: int) -> Share:
    """What each job may use under a launcher of `conf/hydra/launcher/`, or Hydra's own.

    Args:
        launcher: its settings.
        batch: jobs that it is given at once; None: all of them.
        cores: of this machine.

    >>> share({"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "n_jobs": 3}, None, 8)
    Share(cores=2, gpus_go_round=True)
    """
    match launcher["_target_"].rpartition(".")[2]:
        case "JoblibLauncher":
            return Share(max(1, cores // workers(launcher["n_jobs"], cores)), gpus_go_round=True)
        case "LocalLauncher":
            return Share(max(1, cores // (batch or cores)), gpus_go_round=True)
        case "SlurmLauncher":
            return Share(launcher["cpus_per_task"] or 1, gpus_go_round=False)
        case "RayLauncher":
            return Share(max(1, int(launcher["ray"]["remote"]["num_cpus"])), gpus_go_round=False)
        case _:
            return Share(cores, gpus_go_round=False)


def workers(n_jobs: int, cores: int) -> int:
    """How many joblib has: `n_jobs`, or from -1 down all cores, all but one, …

    >>> workers(3, 8), workers(-1, 8), workers(-2, 8)
    (3, 8, 7)
    """
    return n_jobs if n_jobs > 0 else max(1, cores + 1 + n_jobs)


def gpu(job: int, visible: Sequence[str]) -> str:
    """The one GPU of a job, as CUDA_VISIBLE_DEVICES wants it.

    A process that makes several jobs stays with the first one's: CUDA does not look again.

    >>> [gpu(job, ["0", "1"]) for job in range(3)], gpu(3, ["0"])
    (['0', '1', '0'], '0')
    """
    return visible[job % len(visible)]
