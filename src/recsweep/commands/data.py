"""`recsweep data`: what data sets there are, and fetching one."""

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from recsweep import build
from recsweep.commands import compose
from recsweep.config import conf_dir, with_hydra
from recsweep.data.schema import Features
from recsweep.errors import UserError


def run(words: list[str]) -> None:
    """`data list`, or `data prepare data=NAME [overrides]`."""
    verb, *rest = words or ["list"]
    if verb == "list" and not rest:
        _list()
    elif verb == "prepare":
        compose.launch([*rest, *compose.LEAVES_NOTHING], _prepare)
    else:
        raise UserError(f"data {' '.join(words)}: there are `data list` and `data prepare data=NAME`")


def _list() -> None:
    table = Table("data=", "on disk", "where", "what")
    for path in sorted((conf_dir() / "data").glob("*.yaml")):
        cfg = with_hydra([f"data={path.stem}"])
        if OmegaConf.is_missing(cfg.data, "path"):
            state, where = "", "yours: data.path=FILE"
        else:
            state = "yes" if build.source(cfg).ready() else "no"
            where = cfg.data.get("folder", "made when asked for")
        table.add_row(path.stem, state, where, _headline(path.read_text()))
    Console().print(table)


def _headline(yaml: str) -> str:
    """What a data set is: the first sentence of its YAML file's comment."""
    comments = (line.removeprefix("#").strip() for line in yaml.splitlines() if line.startswith("#"))
    said = next((comment for comment in comments if not comment.startswith("@package")), "")
    return said.split(": ")[0].split(". ")[0]


def _prepare(cfg: DictConfig) -> None:
    data = build.source(cfg).read()
    table = Table(title=data.name, show_header=False)
    table.add_row("users", f"{data.n_users:,}")
    table.add_row("items", f"{data.n_items:,}")
    table.add_row("interactions", f"{len(data):,}")
    table.add_row("density", f"{len(data) / data.n_users / data.n_items:.4%}")
    table.add_row("rating", f"{data.rating.min():g} to {data.rating.max():g}, mean {data.rating.mean():.4f}")
    table.add_row("user features", _names(data.user_features))
    table.add_row("item features", _names(data.item_features))
    Console().print(table)


def _names(features: Features | None) -> str:
    return ", ".join(features.columns) if features else "none"
