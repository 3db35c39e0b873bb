"""`recsweep data`: lists the data sets; `prepare` fetches and summarises one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from recsweep.config import compose_with_hydra, conf_dir, resolve
from recsweep.errors import UserError
from recsweep.terminal import announce, cell


def run(arguments: list[str]) -> None:
    """`data list`, or `data prepare data=NAME [overrides] [sequences=DIR [max_history=50]]`."""
    verb, *rest = arguments or ["list"]
    if verb == "list" and not rest:
        _print_list()
    elif verb == "prepare":
        from recsweep.commands import prepare  # it loads torch, which the list does not need

        prepare.run(rest)
    else:
        raise UserError(f"data {' '.join(arguments)}: there are `data list` and `data prepare data=NAME`")


def _print_list() -> None:
    table = Table("data=", "on disk", "where", "what")
    with announce("recsweep data: looking for the data sets …"):
        _add_rows(table)
    Console().print(table)


def _add_rows(table: Table) -> None:
    for path in sorted((conf_dir() / "data").glob("*.yaml")):
        cfg = compose_with_hydra([f"data={path.stem}"])
        missing = sorted(OmegaConf.missing_keys(cfg.data))
        if missing:
            state, where = "", f"yours: {' '.join(f'{key}={key[5:].upper()}' for key in missing)}"
        else:
            state = "yes" if all(map(_is_there, _places(resolve(cfg.data)))) else "no"
            where = cfg.data.get("folder") or cfg.data.get("path", "generated on demand")
        table.add_row(*map(cell, (path.stem, state, where, _headline(path.read_text()))))


def _places(node: dict[str, Any]) -> Iterator[Path]:
    """The files and folders that a data set and those inside it read."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _places(value)
        elif key in ("folder", "path") and isinstance(value, str):
            yield Path(value)


def _is_there(place: Path) -> bool:
    """Whether it is a file, or a folder that is not empty: the class that knows which files it needs loads torch."""
    return any(place.iterdir()) if place.is_dir() else place.exists()


def _headline(yaml: str) -> str:
    """The first sentence of a YAML file's comment."""
    comments = (line.removeprefix("#").strip() for line in yaml.splitlines() if line.startswith("#"))
    first = next((comment for comment in comments if not comment.startswith("@package")), "")
    return first.split(": ")[0].split(". ")[0]
