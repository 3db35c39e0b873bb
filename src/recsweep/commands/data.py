"""`recsweep data`: lists the data sets, fetches and summarises one."""

from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from recsweep.commands import compose
from recsweep.config import compose_with_hydra, conf_dir
from recsweep.data.schema import Features
from recsweep.data.sequence_files import write_sequences
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.terminal import cell


class Sequences(NamedTuple):
    """A folder to write sequences to, and the longest history to keep."""

    folder: Path
    max_history: int


def run(arguments: list[str]) -> None:
    """`data list`, or `data prepare data=NAME [overrides] [sequences=DIR [max_history=50]]`."""
    verb, *rest = arguments or ["list"]
    if verb == "list" and not rest:
        _print_list()
    elif verb == "prepare":
        sequences = _pop_sequences(rest)
        if compose.asks_for_help(rest):
            compose.run_hydra(rest, lambda _: None)
        else:
            _prepare(OmegaConf.create(compose.prepare_run(rest).config), sequences)
    else:
        raise UserError(f"data {' '.join(arguments)}: there are `data list` and `data prepare data=NAME`")


def _print_list() -> None:
    table = Table("data=", "on disk", "where", "what")
    for path in sorted((conf_dir() / "data").glob("*.yaml")):
        cfg = compose_with_hydra([f"data={path.stem}"])
        if OmegaConf.is_missing(cfg.data, "path"):
            state, where = "", "yours: data.path=FILE"
        else:
            state = "yes" if build.source(cfg).ready() else "no"
            where = cfg.data.get("folder", "generated on demand")
        table.add_row(*map(cell, (path.stem, state, where, _headline(path.read_text()))))
    Console().print(table)


def _headline(yaml: str) -> str:
    """The first sentence of a YAML file's comment."""
    comments = (line.removeprefix("#").strip() for line in yaml.splitlines() if line.startswith("#"))
    first = next((comment for comment in comments if not comment.startswith("@package")), "")
    return first.split(": ")[0].split(". ")[0]


def _pop_sequences(arguments: list[str]) -> Sequences | None:
    folder = compose.pop_option(arguments, "sequences")
    if folder is None:
        return None
    max_history = compose.pop_option(arguments, "max_history") or "50"
    if not max_history.isdecimal() or int(max_history) < 1:
        raise UserError(f"max_history={max_history}: a whole number from 1 on")
    return Sequences(Path(folder), int(max_history))


def _prepare(cfg: DictConfig, sequences: Sequences | None) -> None:
    if sequences is None:
        data = build.source(cfg).read()
    else:
        datamodule = build.data(cfg)
        data = datamodule.data
        write_sequences(data, datamodule.split, *sequences)
    table = Table(title=cell(data.name), show_header=False)
    table.add_row("users", f"{data.n_users:,}")
    table.add_row("items", f"{data.n_items:,}")
    table.add_row("interactions", f"{len(data):,}")
    table.add_row("density", f"{len(data) / data.n_users / data.n_items:.4%}")
    table.add_row("rating", f"{data.rating.min():g} to {data.rating.max():g}, mean {data.rating.mean():.4f}")
    table.add_row("user features", cell(_column_names(data.user_features)))
    table.add_row("item features", cell(_column_names(data.item_features)))
    if sequences is not None:
        table.add_row("sequences", cell(f"data=sequences data.folder={sequences.folder}"))
    Console().print(table)


def _column_names(features: Features | None) -> str:
    return ", ".join(features.columns) if features else "none"
