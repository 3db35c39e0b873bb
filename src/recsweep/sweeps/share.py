"""A job's share of its machine: jobs that run side by side never use more cores or GPUs than there are."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Share(NamedTuple):
    """A job's share of its machine.

    Args:
        cores: at least 1.
        gpus_round_robin: jobs take turns with the GPUs; False if a job has them all, or if the launcher assigns them.
    """

    cores: int
    gpus_round_robin: bool


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(launcher: Mapping[str, Any], batch: int | None, cores: int) -> Share:
    """The share of each job under a launcher of `conf/hydra/launcher/`, or under Hydra's own.

    Args:
        launcher: its settings.
        batch: jobs that the launcher gets at once; None: all of them.
        cores: of this machine.

    >>> share({"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "n_jobs": 3}, None, 8)
    Share(cores=2, gpus_round_robin=True)
    """
    match launcher["_target_"].rpartition(".")[2]:
        case "JoblibLauncher":
            return Share(max(1, cores // n_workers(launcher["n_jobs"], cores)), gpus_round_robin=True)
        case "LocalLauncher":
            return Share(max(1, cores // (batch or cores)), gpus_round_robin=True)
        case "SlurmLauncher":
            return Share(launcher["cpus_per_task"] or 1, gpus_round_robin=False)
        case "RayLauncher":
            return Share(max(1, int(launcher["ray"]["remote"]["num_cpus"])), gpus_round_robin=False)
        case _:
            return Share(cores, gpus_round_robin=False)


def n_workers(n_jobs: int, cores: int) -> int:
    """Number of joblib's workers: `n_jobs`; -1 means all cores, -2 all but one, and so on.

    >>> n_workers(3, 8), n_workers(-1, 8), n_workers(-2, 8)
    (3, 8, 7)
    """
    return n_jobs if n_jobs > 0 else max(1, cores + 1 + n_jobs)


def gpu(job: int, visible: Sequence[str]) -> str:
    """The one GPU of a job, as a value of CUDA_VISIBLE_DEVICES.

    A process that runs several jobs keeps the GPU of its first one: CUDA reads the variable only once.

    >>> [gpu(job, ["0", "1"]) for job in range(3)], gpu(3, ["0"])
    (['0', '1', '0'], '0')
    """
    return visible[job % len(visible)]
