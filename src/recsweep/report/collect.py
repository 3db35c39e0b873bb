"""Reads a folder of runs into one tidy table: a row per run, completed or not."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsweep.errors import UserError
from recsweep.report.labels import DRY_RUN, REFIT, SEEDS, describe, labels, protocol_keys, sweep_keys, value
from recsweep.report.read import Record, Run, read_run, run_folders
from recsweep.terminal import escape


@dataclass(frozen=True)
class Runs:
    """All runs below a folder.

    Args:
        runs: in the order of their folders.
        table: a row per run: `run` (its folder), `label` (the configuration in words), `status`, `reason`, `seed`,
            `data`, `split`, `evaluation`, `model`, `settings` (further differences of protocol between the runs, in
            words), every setting that differs under its own key, `objective`, `mode`, `n_parameters`,
            `simple_baseline`, `epochs`, `chosen_epoch` (from 1), `ended_by`, `refit` and `is_dry` (bool), sizes and
            fingerprints of the data, `seconds/<part>`, every metric under its own name, every oracle metric as
            `oracle/<name>`, `overrides` (as typed). Index: position in `runs`.
            `seed` is text: "0", or "0/3" if a second key of `SEEDS` varies.
        sweep_keys: the keys that differ between configurations, without seeds, model and protocol.
    """

    runs: tuple[Run, ...]
    table: pd.DataFrame
    sweep_keys: tuple[str, ...]


def collect(folder: Path) -> Runs:
    """Reads all runs at any depth below `folder`; `UserError` if there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds runs, such as outputs/multirun/…")
    runs = tuple(read_run(path) for path in run_folders(folder))
    if not runs:
        raise UserError(f"{folder}: no runs here; a run's folder holds .hydra/ or metrics.json")
    readable = [run for run in runs if run.config]
    protocol = protocol_keys(readable)
    keys = sweep_keys(readable, protocol)
    seeds = [key for key in SEEDS if key == "seed" or len({value(run, key) for run in readable}) > 1]
    rows = []
    for run, label in zip(runs, labels(runs, keys), strict=True):
        fixed = {"run": escape(run.folder.relative_to(folder).as_posix()), "label": label, **_row(run, seeds)}
        fixed["settings"] = describe(run, protocol)
        varying = {key: value(run, key) for key in (*seeds[1:], *protocol, *keys)}
        rows.append({**fixed, **varying, **_results(run), **fixed})  # whatever keys a configuration has
    return Runs(runs, pd.DataFrame(rows), keys)


def _row(run: Run, seeds: Sequence[str]) -> dict[str, Any]:
    return {
        "status": run.status,
        "reason": run.reason,
        "seed": "/".join(str(value(run, key)) for key in seeds if value(run, key) is not None),
        **{group: run.choices.get(group, "?") for group in ("data", "split", "evaluation", "model")},
        "refit": value(run, REFIT) == "True",
        "is_dry": any(value(run, key) not in (None, 0, "False", "None") for key in DRY_RUN),
    }


def _results(run: Run) -> dict[str, Any]:
    record = run.record or Record(status="failed")
    return {
        "objective": record.objective.name if record.objective else None,
        "mode": record.objective.mode if record.objective else None,
        "n_parameters": _number(record.n_parameters),
        "n_users": _number(record.data.n_users),
        "n_items": _number(record.data.n_items),
        "n_interactions": _number(record.data.n_interactions),
        "fingerprint": record.data.fingerprint,
        "split_fingerprint": record.data.split_fingerprint,
        "simple_baseline": record.simple_baseline,
        "epochs": _number(record.epochs),
        "chosen_epoch": _number(record.chosen_epoch),
        "ended_by": record.ended_by,
        "seconds/total": np.nan,
        **{f"seconds/{part}": seconds for part, seconds in record.seconds.items()},
        **{name: _number(metric) for name, metric in record.metrics.items()},
        **{f"oracle/{name}": _number(metric) for name, metric in record.oracle.items()},
        "overrides": shlex.join(run.overrides),
    }


def _number(value: float | None) -> float:
    return np.nan if value is None else value
