"""Reads a run's folder as a `Run`, completed or not."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from recsweep.errors import UserError
from recsweep.parse import name_file, read_json, read_yaml

MetricName = Annotated[str, Field(pattern="^(val|test)/")]
Size = Annotated[int, Field(ge=0, lt=2**63)]


class Objective(BaseModel):
    """The metric that a sweep optimises; `mode` says whether lower or higher is better."""

    name: str
    value: float | None
    mode: Literal["min", "max"]


class Data(BaseModel):
    """The data of a run, as far as metrics.json says: runs of earlier versions have no fingerprints."""

    n_users: Size | None = None
    n_items: Size | None = None
    n_interactions: Size | None = None
    train: Size | None = None
    val: Size | None = None
    test: Size | None = None
    fingerprint: str | None = None
    split_fingerprint: str | None = None


class Record(BaseModel):
    """`metrics.json` as a run writes it. A metric is None if the run could not compute it."""

    status: Literal["completed", "failed", "pruned"]
    error: str | None = None
    objective: Objective | None = None
    metrics: Annotated[dict[MetricName, float | None], Field(max_length=300)] = Field(default_factory=dict)
    oracle: dict[str, float | None] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    n_parameters: Size | None = None
    simple_baseline: bool = False
    epochs: Size | None = None
    chosen_epoch: Size | None = None
    ended_by: str | None = None
    data: Data = Field(default_factory=Data)
    versions: dict[str, str] = Field(default_factory=dict)


class Runtime(BaseModel):
    choices: dict[str, str | None] = Field(default_factory=dict)
    config_dir: str | None = None


class Sweeper(BaseModel):
    objectives: list[str] | None = None


class HydraNode(BaseModel):
    """What the report takes from `.hydra/hydra.yaml`."""

    runtime: Runtime = Field(default_factory=Runtime)
    sweeper: Sweeper = Field(default_factory=Sweeper)


@dataclass(frozen=True)
class Run:
    """One run: its configuration and its results.

    Args:
        folder: of the run.
        status: "completed", "failed", "pruned" (a search stopped it early), "unfinished" (killed or still running) or
            "unreadable".
        reason: one line, empty for a completed run.
        overrides: as typed, `("model=svdpp", "seed=1")`.
        config_dir: --config-dir, as typed; None without one.
        choices: Hydra's group choices, `{"model": "svdpp", …}`, without groups of which nothing is chosen.
        config: the composed configuration.
        search_objectives: metrics that a guided search optimised together, such as ("val/ndcg@10", "n_parameters").
        record: None if `metrics.json` is absent or unreadable.
    """

    folder: Path
    status: str
    reason: str
    overrides: tuple[str, ...]
    config_dir: str | None
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
    try:
        return _read_run(folder)
    except UserError as error:  # in words of the folder that the report names already
        reason = _one_line(error).replace(f"{folder}/", "")
        return Run(folder, "unreadable", reason, (), None, {}, {}, (), None)


def _read_run(folder: Path) -> Run:
    hydra = folder / ".hydra"
    overrides = _read_node(hydra / "overrides.yaml", list)
    config = _read_node(hydra / "config.yaml", dict)
    settings = _read_node(hydra / "hydra.yaml", dict)
    with name_file(hydra / "hydra.yaml"):
        node = HydraNode.model_validate(settings.get("hydra", {}))
    status, reason, record = _read_record(folder / "metrics.json")
    if not config and status != "failed":
        raise UserError(".hydra/config.yaml: missing or empty")
    choices = node.runtime.choices.items()
    groups = {group: name for group, name in choices if name is not None and not group.startswith("hydra/")}
    objectives = tuple(node.sweeper.objectives or ())
    words, config_dir = tuple(map(str, overrides)), node.runtime.config_dir
    return Run(folder, status, reason, words, config_dir, groups, config, objectives, record)


def _read_node(path: Path, kind: type) -> Any:
    """The file's content, an empty `kind` if the file is absent or empty; `UserError` if it holds something else."""
    content = read_yaml(path) if path.exists() else None
    if content is not None and not isinstance(content, kind):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a {kind.__name__}")
    return content or kind()


def _read_record(path: Path) -> tuple[str, str, Record | None]:
    """Status, reason and content of a `metrics.json`."""
    if not path.exists():
        return "unfinished", "no metrics.json: killed, or still running", None
    try:
        content = read_json(path)
        with name_file(path):
            record = Record.model_validate(content)
    except UserError as error:
        return "unreadable", _one_line(error).replace(f"{path.parent}/", ""), None
    if record.status != "completed":
        return record.status, _one_line(record.error or "no reason given"), record
    if record.objective is None:
        return "unreadable", "metrics.json: completed, but without an objective", record
    if record.objective.value is None or not math.isfinite(record.objective.value):
        return "failed", f"diverged: {record.objective.name} is {record.objective.value}", record
    return "completed", "", record


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
