"""What a job of a sweep costs beyond its training, beside Hydra alone; and what a second worker gains.

- bare Hydra: an application of one key whose job does nothing;
- Hydra, our configuration: its job does nothing either: what composing some twenty groups costs;
- recsweep: tiny runs with all that users have, checkpoints and TensorBoard; their training is then taken off.

    python benchmarks/bench_sweep.py [--jobs 20] [--epochs 60]

A job's cost is (time of a sweep of n jobs - time of a sweep of one) / (n - 1), so that starting the program does not
count; CPU time beside wall time, for a neighbour's load falls on the latter alone. Workers are compared by the wall
time of sweeps of `--epochs` epochs a job, likewise without what a sweep of a job for each worker takes.
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


class Took(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float

    def a_job(self, one: "Took", n_jobs: int) -> "Took":
        return Took(*((many - single) / (n_jobs - 1) for many, single in zip(self, one, strict=True)))


def timed(command: list[str], folder: Path) -> Took:
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    start, before = time.perf_counter(), spent()
    subprocess.run(
        command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return Took(time.perf_counter() - start, spent() - before)


def sweep(folder: Path, n_jobs: int, *words: str) -> Took:
    """A sweep of recsweep over seeds, into folder/n_jobs."""
    command = [sys.executable, "-m", "recsweep", "train", "-m", f"seed=range({n_jobs})", *words]
    return timed([*command, f"hydra.sweep.dir={folder / str(n_jobs)}"], folder)


def hydra_alone(folder: Path, conf: Path, n_jobs: int) -> Took:
    """A cost a job."""
    (folder / "app.py").write_text(NOTHING.format(folder=str(conf)))

    def seconds(n: int) -> Took:
        return timed([sys.executable, "app.py", "-m", f"seed=range({n})", f"hydra.sweep.dir=out_{n}"], folder)

    return seconds(n_jobs).a_job(seconds(1), n_jobs)


def ours(folder: Path, n_jobs: int) -> tuple[Took, float]:
    """A cost a job, and its training's part."""
    cost = sweep(folder, n_jobs, *TINY).a_job(sweep(folder, 1, *TINY), n_jobs)
    runs = (json.loads((folder / str(n_jobs) / str(job) / "metrics.json").read_text()) for job in range(n_jobs))
    return cost, sum(run["seconds"]["fit"] for run in runs) / n_jobs


def overhead(n_jobs: int) -> None:
    table = Table("", "wall seconds a job", "CPU seconds a job", title=f"sweeps of {n_jobs} jobs")
    with tempfile.TemporaryDirectory() as folder:
        bare, composing, runs = (Path(folder) / name for name in ("bare", "composing", "recsweep"))
        for path in (bare, composing, runs):
            path.mkdir()
        (bare / "config.yaml").write_text("seed: 0\n")
        alone = hydra_alone(bare, bare, n_jobs)
        table.add_row("bare Hydra", f"{alone.wall:.3f}", f"{alone.cpu:.3f}")
        composed = hydra_alone(composing, conf_dir(), n_jobs)
        table.add_row("Hydra, our configuration", f"{composed.wall:.3f}", f"{composed.cpu:.3f}")
        cost, training = ours(runs, n_jobs)
    table.add_row("recsweep", f"{cost.wall:.3f}", f"{cost.cpu:.3f}")
    beyond = cost.wall - training
    table.add_row("recsweep without its training", f"{beyond:.3f}", "")
    Console().print(table)
    print(f"recsweep beyond training: {beyond:.3f} s a job, {beyond / alone.wall:.1f} x bare Hydra")


def workers(n_jobs: int, epochs: int) -> None:
    words = ["hydra/launcher=joblib", f"trainer.max_epochs={epochs}", "callbacks.early_stopping.patience=null"]

    def seconds(n: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = sweep(Path(folder), n, *words, f"hydra.launcher.n_jobs={n}").wall
            return sweep(Path(folder), n_jobs, *words, f"hydra.launcher.n_jobs={n}").wall - started

    one, two = seconds(1), seconds(2)
    gain = (one / (n_jobs - 1)) / (two / (n_jobs - 2))
    print(f"joblib, {n_jobs} jobs of {epochs} epochs: 2 workers / 1 worker = {gain:.2f} jobs a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60, help="of the jobs that two workers share")
    options = parser.parse_args()
    overhead(options.jobs)
    workers(min(options.jobs, 12), options.epochs)


if __name__ == "__main__":
    main()
