"""Folders of runs, written by hand."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import yaml
from rich.console import Console

from recsweep.report import console
from recsweep.report.collect import Runs, collect
from recsweep.report.comparisons import Comparison, comparisons
from recsweep.report.doubts import find_doubts

SWEEP_MSE = {"means": 0.9, "biased_mf": 0.8, "svdpp": 0.7}
DATA = {"name": "synthetic", "n_users": 60, "n_items": 100, "n_interactions": 9, "train": 7, "val": 1, "test": 1}


def write_run(folder: Path, *overrides: str, model: str = "means", value: float = 0.9, **record: Any) -> Path:
    """A run's folder as `recsweep train OVERRIDES` leaves it; `record` replaces parts of metrics.json.

    Args:
        value: of val/mse; test/mse is 0.01 higher.
    """
    (folder / ".hydra").mkdir(parents=True)
    choices: dict[str, str | None] = {"model": model, "data": "synthetic", "filter": None, "split": "random"}
    choices |= {"evaluation": "rating", "loss": "mse"}
    config: dict[str, Any] = {"seed": 0, "model": {}, "regularization": {"dropout": 0.1}, "data": {"n_users": 60}}
    for override in overrides:
        key, _, text = override.partition("=")
        group, _, leaf = key.partition(".")
        if leaf:
            config.setdefault(group, {})[leaf] = yaml.safe_load(text)
        elif key in choices:
            choices[key] = text
        else:
            config[key] = yaml.safe_load(text)
    for name, content in {
        "overrides": list(overrides),
        "config": config,
        "hydra": {"hydra": {"runtime": {"choices": choices}}},
    }.items():
        (folder / ".hydra" / f"{name}.yaml").write_text(yaml.dump(content, Dumper=yaml.CSafeDumper))
    default_record = {
        "status": "completed",
        "objective": {"name": "val/mse", "value": value, "mode": "min"},
        "metrics": {"val/mse": value, "test/mse": value + 0.01},
        "oracle": {},
        "seconds": {"data": 1.0, "fit": 2.0, "test": 3.0, "total": 6.0},
        "n_parameters": 12,
        "simple_baseline": model in ("means", "popularity"),
        "data": DATA,
        "versions": {"torch": "2.13.0"},
    }
    (folder / "metrics.json").write_text(json.dumps({**default_record, **record}))
    return folder


def leave_evidence(
    run: Path,
    test: list[float],
    n: list[int] | None = None,
    val: list[float] | None = None,
    n_seen: list[int] | None = None,
    groups: Mapping[str, tuple[list[float], list[int]]] | None = None,
) -> Path:
    """Evidence of a run on users u0, u1, …: each one's sum of squared errors, or with `n` rows of them.

    Args:
        test, val: sums on that part; on validation those of test by default.
        n_seen: rows that the model may know.
        groups: of items -> their sums of squared errors, and their rows.
    """
    (run / "evidence").mkdir()
    for part, sums in (("test", test), ("val", val or test)):
        fields = [pa.field("user", pa.string()), pa.field("n", pa.int32())]
        fields.append(pa.field("squared_error", pa.float32(), metadata={"holds": "sum"}))
        users = [f"u{number}" for number in range(len(sums))]
        columns = [users, n or [1] * len(sums), np.array(sums, np.float32)]
        counts = {"n_seen": n_seen} if n_seen else {}
        for group, (group_sums, group_n) in (groups or {}).items():
            fields.append(pa.field(f"squared_error/{group}", pa.float32(), metadata={"holds": "group"}))
            columns.append(np.array(group_sums, np.float32))
            counts[f"n/{group}"] = group_n
        fields += [pa.field(name, pa.int32()) for name in counts]
        columns += counts.values()
        table = pa.table([pa.array(column) for column in columns], pa.schema(fields).remove_metadata())
        pa_parquet.write_table(table.cast(pa.schema(fields)), run / "evidence" / f"{part}.parquet")
    return run


def write_sweep(folder: Path, **record: Any) -> Path:
    """Three models, three seeds; seed s adds s hundredths to the MSE of means, 2 s to biased_mf's, 3 s to svdpp's."""
    for number, (model, mse) in enumerate(SWEEP_MSE.items()):
        for seed in range(3):
            run = folder / f"{number * 3 + seed}"
            value = mse + 0.01 * seed * (1 + number)
            write_run(run, f"model={model}", f"seed={seed}", model=model, value=value, **record)
    return folder


def write_policy_run(
    folder: Path, loss: str, seed: int, value: float, *unknown: str, weights: Mapping[str, float] | None = None
) -> Path:
    """A run of a policy with this value and its estimates from the log: SNIPS 0.1 above, DM 0.1 below.

    Args:
        unknown: names below test/off_policy/ that are null.
        weights: further names below test/off_policy/ with their values.
    """
    estimates = {"ips": value, "snips": value + 0.1, "dm": value - 0.1, "dr": value, "logged": 0.3, "ess": 50.0}
    ends = {f"{name}{end}": estimates[name] + by for name in estimates for end, by in (("_low", -0.2), ("_high", 0.2))}
    numbers: dict[str, float | None] = {"true": value, **estimates, **ends, **(weights or {}), **dict.fromkeys(unknown)}
    off_policy = {f"test/off_policy/{name}": number for name, number in numbers.items()}
    metrics = {"val/mse": -value, "test/mse": -value, "test/two_stage/ndcg@5": value, **off_policy}
    overrides = ("model=nominator", f"loss={loss}", f"seed={seed}")
    return write_run(folder / f"{loss}{seed}", *overrides, model="nominator", value=-value, metrics=metrics)


def write_grid(folder: Path) -> Path:
    """biased_mf over dropout and loss, with MSE 0.8 + dropout (+ 0.01 for bpr); and means, which ignores both."""
    number = 0
    for dropout in (0.0, 0.1, 0.2):
        for loss in ("mse", "bpr"):
            for model, value in (("biased_mf", 0.8 + dropout + 0.01 * (loss == "bpr")), ("means", 0.95)):
                overrides = (f"model={model}", f"regularization.dropout={dropout}", f"loss={loss}")
                write_run(folder / str(number), *overrides, model=model, value=value)
                number += 1
    return folder


def write_search(folder: Path) -> Path:
    """Thirteen trials, each with its own dropout; only two share a rank."""
    for number in range(13):
        overrides = ("model=biased_mf", f"regularization.dropout={number / 20}", f"model.rank={50 - number % 12}")
        write_run(folder / str(number), *overrides, model="biased_mf", value=0.8 + 0.01 * number)
    return folder


def compare_runs(folder: Path, baseline: str | None = None) -> tuple[Comparison, Runs]:
    """The runs of a folder with one protocol, and their comparison."""
    runs = collect(folder)
    (comparison,) = comparisons(runs, baseline)
    return comparison, runs


def print_report(folder: Path, width: int = 120) -> str:
    """The report on this folder as printed on a terminal."""
    runs = collect(folder)
    screen = Console(width=width, record=True, file=io.StringIO())
    for comparison in comparisons(runs, None):
        console.print_comparison(screen, comparison, find_doubts(comparison, runs))
    console.print_incomplete_runs(screen, runs)
    return screen.export_text()
