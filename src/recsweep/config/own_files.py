"""Mistakes in a YAML file of one's own that Hydra reports without the file, the key, or what to write."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from recsweep.config.shape import Config
from recsweep.errors import UserError
from recsweep.paths import conf_dir

ENTRY = re.compile(r"(?P<words>(?:(?:override|optional) +)*)(?P<slash>/?)(?P<group>[\w-]+)")
"""The key of an entry of a defaults list that names a group; one with a package, such as `/loss@ranking`, does not."""


def check_file(path: Path, folder: str, content: dict[Any, Any]) -> None:
    """Raises `UserError` for the first mistake in a file that sets keys of the whole configuration.

    Args:
        folder: its group, such as "experiment".
        content: what it holds, with nothing resolved.
    """
    defaults = content.get("defaults")
    for entry in defaults if isinstance(defaults, list) else []:
        if isinstance(entry, dict):
            for key, value in entry.items():
                _check_entry(path, folder, str(key), value)
    for group in _groups():
        field = Config.model_fields.get(group)
        if field is None or group not in content or isinstance(content[group], dict):
            continue
        value = content[group]
        if isinstance(value, str) and "${" not in value:
            raise UserError(
                f"{path}: {group}: {value}: a group is chosen in the defaults: - override /{group}: {value}"
            )
        if value is None and field.is_required():
            advice = "it is needed; leave the line out, or choose one in the defaults"
            raise UserError(f"{path}: {group}: null: {advice}")
    sweep = OmegaConf.select(OmegaConf.create(content), "hydra.sweeper.params")
    for key, value in (sweep or {}).items():
        if value is None:
            advice = "several values in braces need quotes: {seed: '0,1'}"
            raise UserError(f"{path}: hydra.sweeper.params: {key} has no value; {advice}")


def _check_entry(path: Path, folder: str, key: str, value: Any) -> None:
    """Raises `UserError` for an entry of a defaults list that is not an override of a group that there is."""
    entry = ENTRY.fullmatch(key)
    if not entry:
        return
    group, is_override = entry["group"], "override" in entry["words"]
    is_own_group = not entry["slash"] and ((conf_dir() / folder / group).is_dir() or (path.parent / group).is_dir())
    if group in _groups() and not is_own_group and not (is_override and entry["slash"]):
        raise UserError(f"{path}: defaults: {key}: write it as - override /{group}: {value}")
    if group not in _groups() and is_override:
        raise UserError(f"{path}: defaults: {key}: no such group; there are {', '.join(_groups())}")


@cache
def _groups() -> tuple[str, ...]:
    """The groups that conf/config.yaml chooses."""
    defaults = OmegaConf.to_container(OmegaConf.load(conf_dir() / "config.yaml").defaults)
    assert isinstance(defaults, list)
    names = (str(key) for entry in defaults if isinstance(entry, dict) for key in entry)
    return tuple(name for name in names if "/" not in name)
