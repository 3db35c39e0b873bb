"""From a folder of runs to one tidy table: a row a run, whatever became of it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsweep.errors import UserError
from recsweep.report.labels import SEEDS, described, labels, settings, swept, value
from recsweep.report.read import Record, Run, read_run, run_folders


@dataclass(frozen=True)
class Runs:
    """Every run under a folder.

    Args:
        runs: in the order of their folders.
        table: a row a run: `run` (its folder), `label` (the configuration in words), `status`, `reason`, `seed`,
            `data`, `split`, `evaluation`, `model`, `settings` (what else of the protocol differs between the runs, in
            words), every setting that differs under its own key, `objective`, `mode`, `selected_on`, `n_parameters`,
            `seconds/<part>`, every metric under its own name, every oracle metric as `oracle/<name>`, `overrides` (as
            typed). Index: position in `runs`. `seed` is text, "0", or "0/3" where a second of `SEEDS` varies.
        swept: the keys that differ between the runs, seeds, model and protocol apart: what a configuration is.
    """

    runs: tuple[Run, ...]
    table: pd.DataFrame
    swept: tuple[str, ...]


def collect(folder: Path) -> Runs:
    """Read every run at any depth below `folder`; `UserError` where there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds runs, such as outputs/multirun/…")
    runs = tuple(read_run(path) for path in run_folders(folder))
    if not runs:
        raise UserError(f"{folder}: no runs here; a run's folder holds .hydra/ or metrics.json")
    readable = [run for run in runs if run.config]
    fixed = settings(readable)
    keys = swept(readable, fixed)
    seeds = [key for key in SEEDS if key == "seed" or len({value(run, key) for run in readable}) > 1]
    rows = [
        {"run": run.folder.relative_to(folder).as_posix(), "label": label, **_row(run, fixed, keys, seeds)}
        for run, label in zip(runs, labels(runs, keys), strict=True)
    ]
    return Runs(runs, pd.DataFrame(rows), keys)


def _row(run: Run, fixed: Sequence[str], swept: Sequence[str], seeds: Sequence[str]) -> dict[str, Any]:
    record = run.record or Record(status="failed")
    return {
        "status": run.status,
        "reason": run.reason,
        "seed": "/".join(str(value(run, key)) for key in seeds if value(run, key) is not None),
        **{group: run.choices.get(group, "?") for group in ("data", "split", "evaluation", "model")},
        "settings": described(run, fixed),
        **{key: value(run, key) for key in (*seeds[1:], *fixed, *swept)},
        "objective": record.objective.name if record.objective else None,
        "mode": record.objective.mode if record.objective else None,
        "selected_on": record.selected_on,
        "n_parameters": _number(record.n_parameters),
        "seconds/total": np.nan,
        **{f"seconds/{part}": seconds for part, seconds in record.seconds.items()},
        **{name: _number(metric) for name, metric in record.metrics.items()},
        **{f"oracle/{name}": _number(metric) for name, metric in record.oracle.items()},
        "overrides": shlex.join(run.overrides),
    }


def _number(known: float | None) -> float:
    return np.nan if known is None else known
