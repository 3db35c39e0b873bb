"""`train run=DIR key=value`: a new run with the settings of an earlier one, some of them changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from recsweep.atomic import write_json
from recsweep.commands import compose
from recsweep.errors import UserError, explain

Changes = dict[str, dict[str, Any]]


def expand_run(arguments: list[str]) -> tuple[list[str], Path | None]:
    """Puts the arguments of the run that `run=DIR` names before the others, which replace those with the same key.

    Returns the arguments and that run; without `run=`, the same arguments and None.
    """
    arguments = list(arguments)
    if not any(argument.startswith("run=") for argument in arguments):
        return arguments, None
    origin = compose.pop_run(arguments)
    overrides = compose.parse_flags(arguments).overrides
    if not overrides:
        raise UserError(f"run={origin}: say what to change, such as seed=1, or add resume=true to go on with it")
    flags = [argument for argument in arguments if argument not in overrides]  # Hydra wants them first
    keys = {override.partition("=")[0] for override in overrides}
    kept_arguments = [argument for argument in compose.load_arguments(origin) if argument.partition("=")[0] not in keys]
    return [*flags, *kept_arguments, *overrides], origin


def record_changes(cfg: DictConfig, origin: Path, folder: Path) -> Changes:
    """Writes what differs from the run `origin` to the folder's changed.json, and returns it: key -> `was` and `is`.

    A key that only one of the two runs has gets only that value. Paths do not count.
    """
    with explain(f"run={origin}: .hydra/config.yaml is not what Hydra wrote"):
        before = _settings(OmegaConf.load(origin / ".hydra" / "config.yaml"))
    after = _settings(cfg)
    changes: Changes = {}
    for key in [*before, *(key for key in after if key not in before)]:
        if key not in after or key not in before or after[key] != before[key]:
            changes[key] = {name: values[key] for name, values in (("was", before), ("is", after)) if key in values}
    write_json(folder / "changed.json", {"run": str(origin), "changes": changes})
    return changes


def _settings(cfg: Any) -> dict[str, Any]:
    settings = flatten(OmegaConf.to_container(cfg, resolve=True))
    return {key: value for key, value in settings.items() if not key.startswith("paths.")}


def print_changes(changes: Changes) -> None:
    """One line for each key."""
    screen = Console(soft_wrap=True)
    for key, values in changes.items():
        before, after = (str(values[name]) if name in values else "(none)" for name in ("was", "is"))
        screen.print(f"{key}: {before} → {after}", markup=False, highlight=False)


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
