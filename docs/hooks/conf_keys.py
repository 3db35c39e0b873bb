"""Every key of `conf/` with its default, what it may be, and what it means."""

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from conf_files import names, read_choice
from hydra.utils import get_object
from omegaconf import OmegaConf
from plain_markdown import code, escape, table

from recsweep.commands.help import read_comments, show_value, walk_leaves
from recsweep.config.shape import Config, build_schema, build_torch_schema
from recsweep.paths import conf_dir

ARGUMENT = re.compile(r"^ {4}(\w[\w, ]*): (.+(?:\n {8}.+)*)", re.MULTILINE)
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
TYPES = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "null": "null"}
GROUPS = sorted({str(path.parent.relative_to(conf_dir())) for path in conf_dir().glob("**/*.yaml")} - {"."})
INTERNAL = ("data/base", "hydra/job_logging")  # nodes of the choices of `data`; what run.log looks like


def list_keys() -> Iterator[str]:
    """The keys outside of groups, then every group with its choices and their keys."""
    top: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / "config.yaml"))
    own = {key: value for key, value in top.items() if key not in ("defaults", "hydra")}
    yield "## Outside of groups"
    yield from _list_keys_of("", own, dict(read_comments(conf_dir() / "config.yaml", "")), Config)
    for group in [group for group in GROUPS if group not in INTERNAL]:
        yield f"## `{group}`\n"
        if group == "experiment":
            rows = [[code(name), escape(read_choice(group, name).text)] for name in names(group)]
            yield from table(["experiment", "where it comes from, and what it gave"], rows)
            continue
        first: dict[str | None, str] = {}
        for name in names(group):
            yield from _describe_choice(group, name, first)


def _describe_choice(group: str, name: str, first: dict[str | None, str]) -> Iterator[str]:
    """A choice with all its keys, or with what differs from the first one of the same target, noted in `first`."""
    choice = read_choice(group, name)
    target = choice.node.get("_target_")
    yield f"### `{group}={name}`\n\n{escape(choice.text)}\n"
    leaves = dict(walk_leaves(choice.node, ""))
    if target and target in first:
        other = dict(walk_leaves(read_choice(group, first[target]).node, ""))
        changes = [code(f"{group}.{k}={show_value(v)}") for k, v in leaves.items() if other.get(k, ...) != v]
        yield f"The keys of `{first[target]}`{', with' * bool(changes)} {', '.join(changes)}\n"
    elif choice.node:
        first[target] = name
        owner = Config.model_fields[group].annotation if group in Config.model_fields else None
        is_ours = target and group in Config.model_fields
        shared = read_choice(group, "default").comments if "default" in names(group) else {}
        yield from _list_keys_of(group, choice.node, shared | choice.comments, get_object(target) if is_ours else owner)
    if choice.sets:
        yield f"Sets {', '.join(code(entry) for entry in choice.sets)}\n"


def _list_keys_of(group: str, node: dict[str, Any], comments: Mapping[str, str], owner: Any) -> Iterator[str]:
    """A table of a node's keys; `owner` has them as fields or arguments, None where it is of another library."""
    rows = []
    for key, value in walk_leaves(node, ""):
        name = f"{group}.{key}".lstrip(".")
        allowed, text = _find_argument(owner, node, key.split("."))
        meaning = comments.get(name) or text or comments.get(name.rpartition(".")[0], "")
        rows.append([code(name.replace("/", ".")), code(show_value(value)), escape(allowed), escape(meaning)])
    yield from table(["key", "default", "allowed", "meaning"], rows)


def _find_argument(owner: Any, node: dict[str, Any], path: list[str]) -> tuple[str, str]:
    """What the key at `path` of a node may be, and what the docstring of its owner says of it."""
    inner = node.get(path[0])
    if path[1:] and isinstance(inner, dict) and "_target_" in inner:
        return _find_argument(get_object(inner["_target_"]), inner, path[1:])
    if owner is None:
        return "", ""
    nested = frozenset(key for key, value in node.items() if isinstance(value, dict) and "_target_" in value)
    schema = _build_schema(owner, nested)
    entry = schema
    for step in path:
        entry = _resolve(entry.get("properties", {}).get(step, {}), schema)
    arguments = ARGUMENT.findall(inspect.getdoc(owner) or "")
    texts = {name: " ".join(text.split()) for names, text in arguments for name in names.split(", ")}
    return _describe_schema(entry, schema), texts.get(path[-1], "")


@cache
def _build_schema(owner: Any, nested: frozenset[str]) -> dict[str, Any]:
    """The JSON schema of what a configuration may set of a class or function."""
    if inspect.isclass(owner) and hasattr(owner, "model_json_schema"):
        return owner.model_json_schema()
    if not owner.__module__.startswith("recsweep."):
        return build_torch_schema(owner).model_json_schema()
    is_partial = any(a.kind is a.KEYWORD_ONLY for a in inspect.signature(owner).parameters.values())
    return build_schema(owner, is_partial, set(nested)).model_json_schema()


def _resolve(entry: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The entry that `entry` refers to, or itself."""
    return schema["$defs"][entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry


def _describe_schema(entry: dict[str, Any], schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    entry = _resolve(entry, schema)
    if options := entry.get("anyOf"):
        return " or ".join(dict.fromkeys(filter(None, (_describe_schema(option, schema) for option in options))))
    if values := entry.get("enum", [entry["const"]] if "const" in entry else None):
        return ", ".join(map(str, values))
    if entry.get("type") == "array":
        return f"list of {_describe_schema(entry.get('items', {}), schema) or 'values'}"
    bounds = [f"{sign} {entry[key]}" for key, sign in BOUNDS.items() if abs(entry.get(key, 2**31)) < 2**31]
    return f"{TYPES.get(entry.get('type', ''), '')} {', '.join(bounds)}".strip()
