"""Recommender models side by side under one honest protocol.

>>> import recsweep
>>> run = recsweep.load("outputs/my_run")  # doctest: +SKIP
>>> run.recommend(["42"], k=5)  # doctest: +SKIP

Importing the package loads nothing else: each name below loads what it needs when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsweep.api.judge import evaluate as evaluate
    from recsweep.api.results import read_runs as read_runs
    from recsweep.api.run import Run as Run
    from recsweep.api.run import Vectors as Vectors
    from recsweep.api.run import load as load
    from recsweep.commands.functions import compose as compose
    from recsweep.commands.functions import train as train
    from recsweep.errors import UserError as UserError

HOMES = {
    "load": "recsweep.api.run",
    "Run": "recsweep.api.run",
    "Vectors": "recsweep.api.run",
    "evaluate": "recsweep.api.judge",
    "read_runs": "recsweep.api.results",
    "train": "recsweep.commands.functions",
    "compose": "recsweep.commands.functions",
    "UserError": "recsweep.errors",
}
"""The modules of the names that `import recsweep` offers."""

__all__ = ["Run", "UserError", "Vectors", "compose", "evaluate", "load", "read_runs", "train"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'recsweep' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
