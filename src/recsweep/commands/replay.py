"""A run's settings key by key: what `train run=DIR key=value` changes, and what loggers show."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recsweep.atomic import write_json
from recsweep.commands.unused import is_below
from recsweep.config import resolve
from recsweep.runs.recorded import key_of
from recsweep.terminal import print_line

Changes = dict[str, dict[str, Any]]

USUAL = ("model", "loss", "seed", "data", "split", "optimizer", "trainer.batch_size", "trainer.max_epochs")
USUAL_GROUPS = ("model", "loss", "regularization", "optimizer")
"""Columns of a run that is no job of a sweep: these keys, and all settings of these groups."""


def record_changes(before: Mapping[str, Any], after: Mapping[str, Any], origin: Path, folder: Path) -> Changes:
    """Writes what differs from the run `origin` to the folder's changed.json, and returns it: key -> `was` and `is`.

    A key that only one of the two configurations has gets only that value. Paths do not count.
    """
    old, new = _settings(before), _settings(after)  # resolved: what follows from a changed key is shown, too
    changes: Changes = {}
    for key in [*old, *(key for key in new if key not in old)]:
        if key not in new or key not in old or new[key] != old[key]:
            changes[key] = {name: values[key] for name, values in (("was", old), ("is", new)) if key in values}
    write_json(folder / "changed.json", {"run": str(origin), "changes": changes})
    return changes


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    paths = {key: f"<{key}>" for key in config.get("paths") or {}}
    settings = flatten(resolve(OmegaConf.create({**config, "paths": paths})))
    return {key: value for key, value in settings.items() if not key.startswith("paths.")}


def print_changes(changes: Changes) -> None:
    """One line for each key."""
    for key, values in changes.items():
        before, after = (str(values[name]) if name in values else "(none)" for name in ("was", "is"))
        print_line(f"{key}: {before} → {after}")


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of settings as `group.key` -> value; a list is one value.

    >>> flatten({"model": {"embedding_dim": 8, "hidden": [16, 4]}, "seed": 0})
    {'model.embedding_dim': 8, 'model.hidden': [16, 4], 'seed': 0}
    """
    if not isinstance(node, Mapping):
        return {prefix: node}
    settings: dict[str, Any] = {}
    for key, value in node.items():
        settings |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return settings


def describe_settings(cfg: DictConfig, group_choices: Mapping[str, str | None]) -> dict[str, Any]:
    """What may change a result: the configuration as `group.key` values, and the choice of each group."""
    neutral_keys = ("callbacks.checkpoint", "callbacks.progress", "logger", "paths", "name", "tags", "trainer.profiler")
    choices = {group: name for group, name in group_choices.items() if "/" not in group}
    settings = {
        key: value if isinstance(value, bool | int | float) else str(value)
        for key, value in flatten(OmegaConf.to_container(cfg, resolve=True)).items()
        if not key.endswith(("_target_", "_partial_")) and not key.startswith(neutral_keys)
    }
    for group in ("callbacks", "debug", "logger", "search", "trainer"):  # their values say it all
        choices.pop(group, None)
    return settings | {group: str(name) for group, name in choices.items()}


def choose_columns(
    settings: Mapping[str, Any], overrides: Sequence[str], varied_keys: Sequence[str], ignored: Sequence[str]
) -> dict[str, Any]:
    """The settings that are columns of TensorBoard's HParams.

    Of a job of a sweep: what varies between the jobs, for the other columns would be constant; where models vary, their
    losses may, too. Of any other run: what was typed, and the usual ones.

    Args:
        settings: from `describe_settings`.
        overrides: of the run.
        varied_keys: of the sweep; empty outside of one.
        ignored: keys and groups that the model ignores, which are no columns.
    """
    keys = set(varied_keys) if varied_keys else {*USUAL, *map(key_of, overrides)}
    if not keys.isdisjoint(("model", "experiment")):
        keys |= {"model", "loss"}
    groups = () if varied_keys else USUAL_GROUPS
    parents = (*groups, *(key for key in keys if key not in settings))  # a group whose values say it all, as trainer
    return {
        key: value
        for key, value in settings.items()
        if (key in keys or is_below(key, parents)) and not is_below(key, ignored)
    }


def describe_completed(folder: Path, cfg: DictConfig) -> str:
    """Why a completed run is not resumed, and what to do instead."""
    from recsweep.runs.folder import BEST, REFIT  # it loads torch and Lightning

    for name in (BEST, REFIT) if cfg.trainer.refit else (BEST,):
        if not (folder / "checkpoints" / name).is_file():
            return f"completed, but {name} is gone; `recsweep train run={folder} seed={cfg.seed}` trains it again"
    return f"already completed; `recsweep evaluate run={folder}` shows its metrics"
