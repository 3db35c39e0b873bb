"""What the jobs of a sweep reached, so that two sweeps can be compared."""

import shutil
from pathlib import Path
from typing import Any

from shell import TINY, read_metrics

from recsweep.sweeps import jobs

COMPLETED: dict[str, Any] = {
    "status": "completed",
    "objective": {"name": "val/mse", "value": 0.5, "mode": "min"},
    "metrics": {"val/mse": 0.5},
    "seconds": {"total": 1.0},
    "n_parameters": 1,
}
"""A metrics.json with what a sweep takes from one."""

FOUR_JOBS = ("-m", *TINY, "model=biased_mf,means", "seed=0,1", "hydra.sweep.dir=sweep")
"""Arguments of the sweep that the fixture `four_jobs` runs."""


def results(sweep: Path) -> list[tuple[Any, ...]]:
    """Overrides, status and metrics of each job, by number."""
    folders = sorted(jobs.folders(sweep), key=lambda path: int(path.name))
    records = [read_metrics(path) for path in folders]
    overrides = [(path / ".hydra" / "overrides.yaml").read_text() for path in folders]
    return [(text, record["status"], record.get("metrics")) for text, record in zip(overrides, records, strict=True)]


def copy_sweep(sweep: Path, folder: Path) -> Path:
    return Path(shutil.copytree(sweep, folder / "sweep"))
