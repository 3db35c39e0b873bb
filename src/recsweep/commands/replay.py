"""`train run=DIR key=value`: a run again, with something changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from recsweep.atomic import write_json
from recsweep.commands import compose
from recsweep.errors import UserError

Changes = dict[str, dict[str, Any]]


def replayed(words: list[str]) -> tuple[list[str], Path | None]:
    """The words with those of the run that `run=DIR` names before them, and that run; as they are without `run=`.

    What is given replaces what the run was given by the same key.
    """
    words = list(words)
    if not any(word.startswith("run=") for word in words):
        return words, None
    origin = compose.run_folder(words)
    given = compose.flags(words).overrides
    if not given:
        raise UserError(f"run={origin}: say what to change, such as seed=1, or add resume=true to go on with it")
    options = [word for word in words if word not in given]  # Hydra wants them before
    keys = {word.partition("=")[0] for word in given}
    kept = [word for word in compose.saved_words(origin) if word.partition("=")[0] not in keys]
    return [*options, *kept, *given], origin


def changes(cfg: DictConfig, origin: Path, folder: Path) -> Changes:
    """What differs from the run `origin`, key by key as `was` and `is`, also in the folder's changed.json.

    A key that one of the two does not have has only the other's value. Paths do not count.
    """
    before, now = (
        {key: value for key, value in flat(OmegaConf.to_container(node, resolve=True)).items() if key[:6] != "paths."}
        for node in (OmegaConf.load(origin / ".hydra" / "config.yaml"), cfg)
    )
    found: Changes = {}
    for key in [*before, *(key for key in now if key not in before)]:
        if key not in now or key not in before or now[key] != before[key]:
            found[key] = {name: values[key] for name, values in (("was", before), ("is", now)) if key in values}
    write_json(folder / "changed.json", {"run": str(origin), "changes": found})
    return found


def show(found: Changes) -> None:
    """A line a key on the terminal."""
    screen = Console(soft_wrap=True)
    for key, values in found.items():
        was, now = (str(values[name]) if name in values else "(none)" for name in ("was", "is"))
        screen.print(f"{key}: {was} → {now}", markup=False, highlight=False)


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of settings as `group.key`; a list is one value.

    >>> flat({"model": {"embedding_dim": 8, "hidden": [16, 4]}, "seed": 0})
    {'model.embedding_dim': 8, 'model.hidden': [16, 4], 'seed': 0}
    """
    if not isinstance(node, Mapping):
        return {prefix: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found
