"""The files of `conf/`, each on top of those it builds on."""

from functools import cache
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from recsweep.commands.help import read_comments, show_value, walk_leaves
from recsweep.paths import conf_dir


class Choice(NamedTuple):
    """What a file of a group says: its first comment, its settings, their comments by key, what it sets elsewhere."""

    text: str
    node: dict[str, Any]
    comments: dict[str, str]
    sets: list[str]


def names(group: str) -> list[str]:
    """The choices of a group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@cache
def read_choice(group: str, name: str) -> Choice:
    """What `GROUP=NAME` chooses; for the group data/base a node of the group data."""
    path = conf_dir() / group / f"{name}.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    first_key = next(index for index, line in enumerate([*lines, ""]) if not line.startswith("#"))
    text = " ".join(line.removeprefix("#").strip() for line in lines[:first_key] if "@package" not in line)
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    comments, parts, sets = {}, [], {}
    for default in content.pop("defaults", []):
        key, value = next(iter(default.items())) if isinstance(default, dict) else ("", default)
        if not key and value != "_self_":
            folder, _, stem = value.partition("@")[0].rpartition("/")
            parent = read_choice(f"{group}/{folder}".rstrip("/"), stem)
            parts.append(parent.node)
            comments |= parent.comments
            sets |= dict(entry.split("=", 1) for entry in parent.sets)
        elif key.startswith(f"/{group}@"):
            package = key.partition("@")[2]
            inner = read_choice(group, value)
            parts.append({package: inner.node})
            comments |= {key.replace(group, f"{group}.{package}", 1): text for key, text in inner.comments.items()}
        elif key:
            sets[key.removeprefix("override ").lstrip("/").replace("base@data.base", "data/base")] = value
    comments |= dict(read_comments(path, group.partition("/")[0] if group == "data/base" else group))
    own = content
    if "# @package _global_" in lines[:1]:
        own = content.pop(group, {})
        sets |= {key: show_value(value) for key, value in walk_leaves(content, "") if key not in ("", "name")}
    node: Any = OmegaConf.to_container(OmegaConf.merge(*parts, own))
    return Choice(text, node, comments, [f"{key}={value}" for key, value in sets.items()])
