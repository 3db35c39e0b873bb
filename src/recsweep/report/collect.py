"""From a folder of runs to one tidy table: a row a run, whatever became of it."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from pydantic import BaseModel, Field, ValidationError

from recsweep.errors import UserError

Value = str | float | None
"""What a configuration key holds in a table: text, a number, or None where the run has no such key."""

PROTOCOL = ("data", "split", "evaluation")
"""The groups that must agree before two numbers may stand in one table."""

SEEDS = ("seed", "split.seed", "data.seed")
"""What makes a run a repetition of another, not another configuration."""


class Objective(BaseModel):
    """What a sweep optimises: `name` is the metric, `mode` says which way is better."""

    name: str
    value: float | None
    mode: Literal["min", "max"]


class Record(BaseModel):
    """`metrics.json` as a run writes it. A metric is None where the run could not compute it."""

    status: Literal["completed", "failed"]
    error: str | None = None
    objective: Objective | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    oracle: dict[str, float | None] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    n_parameters: int | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    selected_on: Literal["val", "test"] = "val"
    versions: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run: what was asked, and what came of it.

    Args:
        folder: of the run.
        status: "completed", "failed", "unfinished" (killed or still running) or "unreadable".
        reason: one line, empty for a completed run.
        overrides: as typed, `("model=svdpp", "seed=1")`.
        choices: Hydra's group choices, `{"model": "svdpp", …}`.
        config: the composed configuration.
        record: None where `metrics.json` is absent or unreadable.
    """

    folder: Path
    status: str
    reason: str
    overrides: tuple[str, ...]
    choices: dict[str, str]
    config: dict[str, Any]
    record: Record | None


@dataclass(frozen=True)
class Runs:
    """Every run under a folder.

    Args:
        runs: in the order of their folders.
        table: a row a run: `run` (its folder), `status`, `reason`, `seed`, `data`, `split`, `evaluation`, `model`,
            every swept key, `label` (the configuration in words), `objective`, `mode`, `selected_on`, `n_parameters`, `seconds`, every
            metric under its own name and every oracle metric as `oracle/<name>`. Index: position in `runs`.
            `seed` is text, "0", or "0/3" where a second of `SEEDS` varies.
        protocol: the keys that must agree between compared runs: data, split, evaluation, and those of their
            settings (`data.n_users`) that differ between the runs.
        swept: the other keys that differ between the runs, seeds apart: what a configuration is.
    """

    runs: tuple[Run, ...]
    table: pd.DataFrame
    protocol: tuple[str, ...]
    swept: tuple[str, ...]


def collect(folder: Path) -> Runs:
    """Read every run at any depth below `folder`; `UserError` where there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that holds runs, such as outputs/multirun/…")
    runs = tuple(_read_run(path) for path in _run_folders(folder))
    if not runs:
        raise UserError(f"{folder}: no runs here; a run's folder holds .hydra/ or metrics.json")
    keys = _differing(runs)
    settings = tuple(key for key in keys if key not in PROTOCOL and key.split(".")[0] in PROTOCOL)
    swept = tuple(key for key in keys if key not in (*PROTOCOL, *settings))
    seeds = tuple(key for key in SEEDS if key == "seed" or len({_value(run, key) for run in runs}) > 1)
    rows = [_row(run, folder, settings, swept, seeds) for run in runs]
    return Runs(runs, pd.DataFrame(rows), (*PROTOCOL, *settings), swept)


def _run_folders(folder: Path) -> Iterator[Path]:
    """Folders of runs, sorted. A run's own folder is not searched further."""
    for path, subfolders, files in os.walk(folder):
        if ".hydra" in subfolders or "metrics.json" in files:
            subfolders.clear()
            yield Path(path)
        subfolders.sort(key=lambda name: (len(name), name) if name.isdigit() else (0, name))


def _read_run(folder: Path) -> Run:
    hydra = folder / ".hydra"
    try:
        overrides = _yaml(hydra / "overrides.yaml", list)
        config = _yaml(hydra / "config.yaml", dict)
        runtime = _yaml(hydra / "hydra.yaml", dict).get("hydra", {}).get("runtime", {})
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        reason = f".hydra: {_one_line(error)}"
        return Run(folder, "unreadable", reason, (), {}, {}, None)
    choices = {
        str(group): str(choice)
        for group, choice in (runtime.get("choices") or {}).items()
        if not str(group).startswith("hydra/")
    }
    status, reason, record = _read_record(folder / "metrics.json")
    return Run(folder, status, reason, tuple(map(str, overrides)), choices, config, record)


def _yaml(path: Path, kind: type) -> Any:
    """The file's content, or an empty `kind` where the file is absent, empty or holds something else."""
    content = yaml.load(path.read_bytes(), yaml.CSafeLoader) if path.is_file() else None
    return content if isinstance(content, kind) else kind()


def _read_record(path: Path) -> tuple[str, str, Record | None]:
    """Status, reason and content of a `metrics.json`."""
    if not path.is_file():
        return "unfinished", "no metrics.json: killed, or still running", None
    try:
        record = Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return "unreadable", _one_line(f"metrics.json: {where + ': ' if where else ''}{first['msg']}"), None
    if record.status == "failed":
        return "failed", _one_line(record.error or "no reason given"), record
    if record.objective is None:
        return "unreadable", "metrics.json: completed, but without an objective", record
    if record.objective.value is None or not math.isfinite(record.objective.value):
        return "failed", f"diverged: {record.objective.name} is {record.objective.value}", record
    return "completed", "", record


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def _differing(runs: tuple[Run, ...]) -> tuple[str, ...]:
    """Keys whose values tell runs apart, seeds excepted: what was overridden, then choices, then values.

    A key that nobody overrode is kept only where it separates runs that the keys before it do not: a model's
    own default loss says nothing new beside the model, a default that changed between two sweeps does.
    """
    overridden = dict.fromkeys(_key(word) for run in runs for word in run.overrides)
    overridden.pop("experiment", None)  # a bundle of other keys, which say more
    choices = dict.fromkeys(group for run in runs for group in run.choices)
    leaves = dict.fromkeys(leaf for run in runs for leaf in _leaves(run.config))
    kept: list[str] = []
    parts: list[tuple[Value, ...]] = [()] * len(runs)
    for key in dict.fromkeys(["model", *overridden, *choices, *leaves]):
        values = [_value(run, key) for run in runs]
        finer = [(*part, value) for part, value in zip(parts, values, strict=True)]
        told_apart = len(set(values)) > 1 if key in overridden else len(set(finer)) > len(set(parts))
        if key not in (*SEEDS, "name") and told_apart:
            kept.append(key)
            parts = finer
    return tuple(kept)


def _leaves(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a configuration's values."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _key(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")


def _value(run: Run, key: str) -> Value:
    """What a key is in this run: the group's choice, else the composed configuration's value."""
    if key in run.choices:
        return run.choices[key]
    node: Any = run.config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    if node is None or isinstance(node, str):
        return node
    return float(node) if isinstance(node, int | float) and not isinstance(node, bool) else str(node)


def _short_names(keys: tuple[str, ...]) -> dict[str, str]:
    """`regularization.dropout` -> `dropout`, where no other key ends so."""
    last = {key: key.rsplit(".", 1)[-1] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def configuration(run: Run, swept: tuple[str, ...]) -> str:
    """`svdpp dropout=0.1`: the model, then what sets its configuration apart."""
    names = _short_names(tuple(key for key in swept if key != "model"))
    values = {name: _value(run, key) for key, name in names.items()}
    shown = [f"{name}={_text(value)}" for name, value in values.items() if value is not None]
    return " ".join([run.choices.get("model", "?"), *shown])


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(
    run: Run, root: Path, settings: tuple[str, ...], swept: tuple[str, ...], seeds: tuple[str, ...]
) -> dict[str, Any]:
    record = run.record or Record(status="failed")
    return {
        "run": run.folder.relative_to(root).as_posix(),
        "status": run.status,
        "reason": run.reason,
        "seed": "/".join(_text(_value(run, key)) for key in seeds),
        "data": run.choices.get("data") or str(record.data.get("name", "?")),
        "split": run.choices.get("split") or str(record.data.get("split", "?")),
        "evaluation": run.choices.get("evaluation", "?"),
        "model": run.choices.get("model", "?"),
        **{key: _value(run, key) for key in (*settings, *swept)},
        "label": configuration(run, swept),
        "objective": record.objective.name if record.objective else None,
        "mode": record.objective.mode if record.objective else None,
        "selected_on": record.selected_on,
        "n_parameters": record.n_parameters,
        "seconds": record.seconds.get("total"),
        **record.metrics,
        **{f"oracle/{name}": value for name, value in record.oracle.items()},
    }
