"""Reads a run's folder as a `Run`, completed or not."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError


class Objective(BaseModel):
    """The metric that a sweep optimises; `mode` says whether lower or higher is better."""

    name: str
    value: float | None
    mode: Literal["min", "max"]


class Data(BaseModel):
    """The data of a run, as far as metrics.json says: runs of earlier versions have no fingerprints."""

    n_users: int | None = None
    n_items: int | None = None
    n_interactions: int | None = None
    train: int | None = None
    val: int | None = None
    test: int | None = None
    fingerprint: str | None = None
    split_fingerprint: str | None = None


class Record(BaseModel):
    """`metrics.json` as a run writes it. A metric is None if the run could not compute it."""

    status: Literal["completed", "failed", "pruned"]
    error: str | None = None
    objective: Objective | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    oracle: dict[str, float | None] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    n_parameters: int | None = None
    simple_baseline: bool = False
    data: Data = Field(default_factory=Data)
    selected_on: Literal["val", "test"] = "val"
    versions: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run: its configuration and its results.

    Args:
        folder: of the run.
        status: "completed", "failed", "pruned" (a search stopped it early), "unfinished" (killed or still running) or
            "unreadable".
        reason: one line, empty for a completed run.
        overrides: as typed, `("model=svdpp", "seed=1")`.
        choices: Hydra's group choices, `{"model": "svdpp", …}`.
        config: the composed configuration.
        search_objectives: metrics that a guided search optimised together, such as ("val/ndcg@10", "n_parameters").
        record: None if `metrics.json` is absent or unreadable.
    """

    folder: Path
    status: str
    reason: str
    overrides: tuple[str, ...]
    choices: dict[str, str]
    config: dict[str, Any]
    search_objectives: tuple[str, ...]
    record: Record | None


def run_folders(folder: Path) -> Iterator[Path]:
    """Folders of runs below `folder`, sorted, jobs of a sweep by number; no runs inside the folder of a run."""
    for path, subfolders, files in os.walk(folder):
        if ".hydra" in subfolders or "metrics.json" in files:
            subfolders.clear()
            yield Path(path)
        subfolders.sort(key=lambda name: (len(name), name) if name.isdigit() else (0, name))


def read_run(folder: Path) -> Run:
    """The run in this folder; `status` and `reason` say what is wrong with it, if anything."""
    hydra = folder / ".hydra"
    try:
        overrides = _read_yaml(hydra / "overrides.yaml", list)
        config = _read_yaml(hydra / "config.yaml", dict)
        hydra_config = _read_yaml(hydra / "hydra.yaml", dict).get("hydra", {})
        choices = hydra_config.get("runtime", {}).get("choices", {})
        objectives = hydra_config.get("sweeper", {}).get("objectives") or ()
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        return Run(folder, "unreadable", f".hydra: {_one_line(error)}", (), {}, {}, (), None)
    status, reason, record = _read_record(folder / "metrics.json")
    if not config and status != "failed":
        return Run(folder, "unreadable", ".hydra/config.yaml: missing or empty", (), {}, {}, (), None)
    groups = {str(group): str(name) for group, name in choices.items() if not str(group).startswith("hydra/")}
    return Run(folder, status, reason, tuple(map(str, overrides)), groups, config, tuple(objectives), record)


def _read_yaml(path: Path, kind: type) -> Any:
    """The file's content, or an empty `kind` if the file is absent, empty or holds something else."""
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
        key = ".".join(map(str, first["loc"]))
        return "unreadable", _one_line(f"metrics.json: {key + ': ' if key else ''}{first['msg']}"), None
    if record.status != "completed":
        return record.status, _one_line(record.error or "no reason given"), record
    if record.objective is None:
        return "unreadable", "metrics.json: completed, but without an objective", record
    if record.objective.value is None or not math.isfinite(record.objective.value):
        return "failed", f"diverged: {record.objective.name} is {record.objective.value}", record
    return "completed", "", record


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
