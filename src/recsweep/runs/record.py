"""A run's record, `.hydra/`: what was asked for, written before the training and never changed."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field

from recsweep.atomic import write_atomically, write_json
from recsweep.errors import UserError
from recsweep.parse import name_file, read_json, read_yaml

FOLDER = ".hydra"
START = "start.json"
GIVEN_SCORES = "scores"
"""The one key of `model` in the record of a run that judges scores from elsewhere; it says where they come from."""

ENSEMBLE_OF = "ensemble_of"
"""A key of `model` in the record of an ensemble: the jobs of the sweep whose scores it averages."""

RESOLVER = re.compile(r"\$\{[^}]*:|\}[\w.\s]*:")  # such as ${oc.env:HOME}: its value comes from outside
STRICT = ConfigDict(strict=True, extra="ignore", frozen=True)


class Record(BaseModel):
    """What was asked for.

    Args:
        config: the configuration. References from one key to another are kept; values of the environment are not.
        choices: the choice of each group, such as `{"model": "svdpp", "hydra/launcher": "basic"}`.
        overrides: as typed, without those of Hydra itself.
        cwd: the working directory, to which paths in the configuration are relative.
        config_dir: as typed; None without one.
        objectives: metrics that a guided search optimises.
    """

    model_config = STRICT
    config: dict[str, Any]
    choices: dict[str, str | None]
    overrides: list[str]
    cwd: str
    config_dir: str | None = None
    objectives: list[str] | None = None


class _Runtime(BaseModel):
    model_config = STRICT
    choices: dict[str, str | None]
    cwd: str
    config_dir: str | None = None


class _Sweeper(BaseModel):
    model_config = STRICT
    objectives: list[str] | None = None


class _Hydra(BaseModel):
    model_config = STRICT
    runtime: _Runtime
    sweeper: _Sweeper = Field(default_factory=_Sweeper)


class _HydraFile(BaseModel):
    model_config = STRICT
    hydra: _Hydra


def freeze(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain data that means the same on another day.

    A value such as `${oc.env:HOME}` is replaced by what it is now; `${data.item}` stays. So do the group `paths`, which
    belongs to the machine, and keys without a value (`???`).
    """
    content = OmegaConf.to_container(cfg)
    assert isinstance(content, dict)

    def freeze_node(node: Any, key: str) -> Any:
        if isinstance(node, dict):
            return {name: freeze_node(value, f"{key}.{name}" if key else str(name)) for name, value in node.items()}
        if isinstance(node, list):
            return [freeze_node(value, f"{key}[{index}]") for index, value in enumerate(node)]
        if isinstance(node, str) and RESOLVER.search(node):
            value = OmegaConf.select(cfg, key)
            return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        return node

    return {str(group): node if group == "paths" else freeze_node(node, str(group)) for group, node in content.items()}


def write_record(folder: Path, record: Record) -> None:
    """Writes the record into the run's folder; one that is there already stays as it is, unless it is damaged."""
    if has_record(folder):
        with suppress(UserError):
            read_record(folder)
            return
    target = folder / FOLDER
    runtime = {"cwd": record.cwd, "config_dir": record.config_dir, "choices": record.choices}
    hydra: dict[str, Any] = {"runtime": runtime}
    if record.objectives is not None:
        hydra["sweeper"] = {"objectives": record.objectives}
    contents = {"overrides": record.overrides, "hydra": {"hydra": hydra}, "config": record.config}
    target.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():  # config.yaml last: with it the record is complete
        with write_atomically(target / f"{name}.yaml") as partial:
            partial.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True))


def has_record(folder: Path) -> bool:
    """Whether the folder is that of a run."""
    return (folder / FOLDER / "config.yaml").is_file()


def describe_given_scores(config: Mapping[str, Any]) -> str | None:
    """What a run judges in place of a model of its own: scores from elsewhere, or an ensemble; None for other runs."""
    model = config.get("model")
    if not isinstance(model, dict):
        return None
    if ENSEMBLE_OF in model:
        return f"an ensemble of jobs ({model[ENSEMBLE_OF]})"
    return f"scores from elsewhere ({model[GIVEN_SCORES]})" if GIVEN_SCORES in model else None


def check_files(folder: Path) -> None:
    """Raises `UserError` for a link that leads out of the folder, and for a pipe or a device in it.

    A verb that goes on with somebody else's run or sweep would write through the link, and wait at the pipe.
    """
    root = os.path.realpath(folder)
    for parent, folders, files in os.walk(root):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise UserError(f"{path}: a link out of {folder}; put a copy in its place")
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise UserError(f"{path}: neither a file nor a folder; delete it")


def read_record(folder: Path) -> Record:
    """The record in a run's folder; `UserError` where a file of it is missing or damaged.

    It is data that somebody else may have written: nothing in it is resolved, imported or run here.
    """
    paths = {name: folder / FOLDER / f"{name}.yaml" for name in ("config", "overrides", "hydra")}
    config, overrides, hydra = (read_yaml(path) for path in paths.values())
    with name_file(paths["hydra"]):
        node = _HydraFile.model_validate(hydra).hydra
    for name, content, kind in (("config", config, dict), ("overrides", overrides, list)):
        if not isinstance(content, kind):
            raise UserError(f"{paths[name]}: holds a {type(content).__name__}, not a {kind.__name__}")
    with name_file(paths["config"]):
        runtime = node.runtime
        return Record(
            config=config,
            choices=runtime.choices,
            overrides=overrides,
            cwd=runtime.cwd,
            config_dir=runtime.config_dir,
            objectives=node.sweeper.objectives,
        )


def read_start(folder: Path) -> dict[str, Any] | None:
    """The content of `start.json`; None where no training has begun."""
    path = folder / FOLDER / START
    if not path.exists():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("data"), dict):
        raise UserError(f"{path}: does not say what data the run has")
    return content


def write_start(folder: Path, start: Mapping[str, Any]) -> None:
    """Writes command, machine, time, versions and data, unless the run has begun before.

    Raises:
        UserError: the run began on other data.
    """
    recorded = read_start(folder)
    if recorded is None:
        write_json(folder / FOLDER / START, start)
        return
    for part, key in (("rows", "fingerprint"), ("split", "split_fingerprint")):
        if recorded["data"].get(key) != start["data"][key]:
            advice = "put the old ones back, or start a new run"
            raise UserError(f"{folder}: the run began on other {part} than the data has now; {advice}")
