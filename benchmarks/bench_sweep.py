"""The overhead of a job of a sweep, beside Hydra alone; and the speed-up by a second worker.

- bare Hydra: an application with one key and an empty job;
- Hydra, our configuration: an empty job too, so this is the cost of composing some twenty groups;
- recsweep: tiny runs as users have them, with checkpoints and TensorBoard; the time of training is subtracted.

    python benchmarks/bench_sweep.py [--jobs 20] [--epochs 60]

A job's cost is (time of a sweep of n jobs - time of a sweep of one) / (n - 1), so that starting the program does not
count. It is given as wall time, and as CPU time, which other processes affect less. Workers are compared by the wall
time of sweeps with `--epochs` epochs per job, minus that of a sweep with one job per worker.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from recsweep.paths import conf_dir

TINY = ["data.n_users=60", "data.n_items=100", "data.n_interactions=1200", "trainer.max_epochs=2"]
NOTHING = """
import hydra
hydra.main(version_base="1.3", config_path={folder!r}, config_name="config")(lambda cfg: 0.0)()
"""


class Seconds(NamedTuple):
    """Seconds of a command, or per job."""

    wall: float
    cpu: float

    def per_job(self, one: "Seconds", n_jobs: int) -> "Seconds":
        """Seconds per job, from those of `n_jobs` jobs and of one."""
        return Seconds(*((many - single) / (n_jobs - 1) for many, single in zip(self, one, strict=True)))


def time_command(command: list[str], folder: Path) -> Seconds:
    def cpu_seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    start, before = time.perf_counter(), cpu_seconds()
    subprocess.run(
        command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return Seconds(time.perf_counter() - start, cpu_seconds() - before)


def sweep(folder: Path, n_jobs: int, *overrides: str) -> Seconds:
    """A sweep of recsweep over seeds, into folder/n_jobs."""
    command = [sys.executable, "-m", "recsweep", "train", "-m", f"seed=range({n_jobs})", *overrides]
    return time_command([*command, f"hydra.sweep.dir={folder / str(n_jobs)}"], folder)


def hydra_alone(folder: Path, conf: Path, n_jobs: int) -> Seconds:
    """The cost per job."""
    (folder / "app.py").write_text(NOTHING.format(folder=str(conf)))

    def seconds(n: int) -> Seconds:
        return time_command([sys.executable, "app.py", "-m", f"seed=range({n})", f"hydra.sweep.dir=out_{n}"], folder)

    return seconds(n_jobs).per_job(seconds(1), n_jobs)


def ours(folder: Path, n_jobs: int) -> tuple[Seconds, float]:
    """The cost per job, and the seconds of training in it."""
    cost = sweep(folder, n_jobs, *TINY).per_job(sweep(folder, 1, *TINY), n_jobs)
    runs = (json.loads((folder / str(n_jobs) / str(job) / "metrics.json").read_text()) for job in range(n_jobs))
    return cost, sum(run["seconds"]["fit"] for run in runs) / n_jobs


def print_overhead(n_jobs: int) -> None:
    table = Table("", "wall seconds per job", "CPU seconds per job", title=f"sweeps of {n_jobs} jobs")
    with tempfile.TemporaryDirectory() as folder:
        bare, composition, runs = (Path(folder) / name for name in ("bare", "composition", "recsweep"))
        for path in (bare, composition, runs):
            path.mkdir()
        (bare / "config.yaml").write_text("seed: 0\n")
        alone = hydra_alone(bare, bare, n_jobs)
        table.add_row("bare Hydra", f"{alone.wall:.3f}", f"{alone.cpu:.3f}")
        empty = hydra_alone(composition, conf_dir(), n_jobs)
        table.add_row("Hydra, our configuration", f"{empty.wall:.3f}", f"{empty.cpu:.3f}")
        cost, training = ours(runs, n_jobs)
    table.add_row("recsweep", f"{cost.wall:.3f}", f"{cost.cpu:.3f}")
    overhead = cost.wall - training
    table.add_row("recsweep without its training", f"{overhead:.3f}", "")
    Console().print(table)
    print(f"recsweep beyond training: {overhead:.3f} s per job, {overhead / alone.wall:.1f} x bare Hydra")


def print_speed_up(n_jobs: int, epochs: int) -> None:
    overrides = ["hydra/launcher=joblib", f"trainer.max_epochs={epochs}", "callbacks.early_stopping.patience=null"]

    def seconds(n: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            start = sweep(Path(folder), n, *overrides, f"hydra.launcher.n_jobs={n}").wall
            return sweep(Path(folder), n_jobs, *overrides, f"hydra.launcher.n_jobs={n}").wall - start

    one, two = seconds(1), seconds(2)
    gain = (one / (n_jobs - 1)) / (two / (n_jobs - 2))
    print(f"joblib, {n_jobs} jobs of {epochs} epochs: 2 workers / 1 worker = {gain:.2f} jobs per second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60, help="per job that two workers share")
    options = parser.parse_args()
    print_overhead(options.jobs)
    print_speed_up(min(options.jobs, 12), options.epochs)


if __name__ == "__main__":
    main()
