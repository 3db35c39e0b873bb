"""Reads YAML and JSON that others wrote: whatever is wrong with a file becomes one line that names it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from recsweep.errors import UserError

MAX_YAML = 1 << 20
"""Bytes of a YAML file; a configuration has a few thousand."""
MAX_JSON = 1 << 24
"""Bytes of a JSON file; sweep.json grows with the jobs of its sweep."""
MAX_NODES = 100_000
"""Values in a YAML file, with those that aliases repeat."""
MAX_DEPTH = 50
"""Levels of a YAML file."""


def read_yaml(path: Path) -> Any:
    """The content of the file; `UserError` for any that is not plain YAML of a sensible size."""
    with name_file(path):
        return yaml.load(read_yaml_text(path), yaml.CSafeLoader)


def read_yaml_text(path: Path) -> str:
    """The text of the file, without a byte order mark, once it is safe to parse; `UserError` otherwise."""
    with name_file(path):
        text = _read(path, MAX_YAML).decode("utf-8-sig")
        _check_size(path, yaml.parse(text, yaml.CSafeLoader))
        return text


def read_json(path: Path) -> Any:
    """The content of the file; `UserError` for any that is not JSON of a sensible size."""
    with name_file(path):
        content = json.loads(_read(path, MAX_JSON))
        json.dumps(content, ensure_ascii=False).encode()  # half a pair of surrogates is no text
        return content


@contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Whatever reading the file raises becomes a `UserError` that names it, and the line where that is known."""
    try:
        yield
    except UserError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        number = mark.line if mark else 0
        line = path.read_text(errors="replace").split("\n")[number][:60]
        raise UserError(f"{path}:{number + 1}: {error.problem or error.context}: {line!r}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None
    except UnicodeEncodeError:
        raise UserError(f"{path}: holds half a character") from None
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{number}: not UTF-8 (byte {error.object[error.start]:#x}); save it as UTF-8") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {key + ': ' if key else ''}{first['msg']}") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except Exception as error:
        raise UserError(f"{path}: {' '.join(str(error).split()) or type(error).__name__}") from None


def _read(path: Path, limit: int) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would never end
        raise UserError(f"{path}: not a file")
    if (size := path.stat().st_size) > limit:
        raise UserError(f"{path}: {size} bytes, allowed are {limit}")
    return path.read_bytes()


def _check_size(path: Path, events: Iterator[yaml.Event]) -> None:
    """Raises `UserError` for too many levels or values, before anything is built from them."""
    size_by_anchor: dict[str, int] = {}
    parents: list[tuple[str | None, int]] = []  # anchor of each level, and the values before it
    n_nodes = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in size_by_anchor:
                raise UserError(f"{path}:{line}: *{event.anchor} stands for nothing before it")
            n_nodes += size_by_anchor[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            n_nodes += 1
            if event.anchor:
                size_by_anchor[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            parents.append((event.anchor, n_nodes))
            n_nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = parents.pop()
            if anchor:
                size_by_anchor[anchor] = n_nodes - before
        if len(parents) > MAX_DEPTH or n_nodes > MAX_NODES:
            what = "levels" if len(parents) > MAX_DEPTH else "values, with those that aliases repeat"
            limit = MAX_DEPTH if len(parents) > MAX_DEPTH else MAX_NODES
            raise UserError(f"{path}:{line}: more than {limit} {what}")
