"""What strangers put into their folders, and what must not come of it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shell import Outcome, recsweep

WORDS_OF_HYDRA = {
    "callback": "+hydra.callbacks.x={_target_:pandas.read_pickle,filepath_or_buffer:theirs/x.pkl}",
    "callback of a file": "+hydra.callbacks.x={_target_:logging.FileHandler,filename:home/canary}",
    "handler": "+hydra.job_logging.handlers.x={class:logging.FileHandler,filename:home/canary}",
    "run folder": "hydra.run.dir=home",
    "sweep folder": "hydra.sweep.dir=home",
    "output folder": "hydra.output_subdir=../home",
    "search path": "hydra.searchpath=[file://conf]",
    "package": "hydra.searchpath=[pkg://theirs]",
    "launcher": "hydra/launcher=submitit_local",
    "launcher's setup": "hydra.launcher.setup=[touch home/canary]",
    "sweeper": "hydra.sweeper.storage=sqlite:///home/canary",
    "environment": "hydra.job.env_set.HOME=home",
    "plugins": "plugins=pandas",
    "flag": "--config-dir=conf",
    "cache": "paths.cache_dir=home/cache",
}
CANARY = Path("home", "canary")  # relative to the folder in which the test works
LOAD = {"_target_": "pandas.read_pickle", "filepath_or_buffer": "theirs/x.pkl"}
DOWNLOAD = {"_target_": "recsweep.data.movielens.ML100K", "folder": "home/ml", "duplicates": "error"}
DATA = {  # reads when it is built
    "_target_": "recsweep.data.datamodules.InteractionData",
    "source": DOWNLOAD,
    "split": {"_target_": "recsweep.data.splits.Rows", "shares": [3, 1, 1], "cold_users": "keep"},
    **{"batch_size": 1, "steps": 1, "limit": None, "seed": 0, "shuffle": "rows"},
}
RANDOM = {"_target_": "recsweep.data.splits.Random", "val_fraction": 0.1, "test_fraction": 0.1, "cold_users": DOWNLOAD}
BANDIT = {"_target_": "recsweep.models.two_stage.bandit.Bandit", "base": DOWNLOAD, "cache": "home/cache"}
POSITIVES = {"_target_": "recsweep.data.positives.Positives", "above": 3}


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(CANARY),)


def check_home() -> None:
    assert os.listdir("home") == ["victim"] and Path("home", "victim").read_text() == "mine\n"


def put(config: dict[str, Any], key: str, value: Any) -> None:
    """Sets `a.b.c` in a tree of plain dictionaries."""
    *parents, last = key.split(".")
    node = config
    for name in parents:
        node = node[name] if isinstance(node.get(name), dict) else node.setdefault(name, {})
    node[last] = value


def run_verb(*arguments: str) -> Outcome:
    """What a verb says, once its home is as it was, and a refusal is one line."""
    outcome = recsweep(Path.cwd(), *arguments)
    check_home()
    assert outcome.status in (0, 2)
    if outcome.status == 2:
        assert outcome.err.splitlines()[-1].startswith("recsweep: ") and "Traceback" not in outcome.err
    return outcome


def edit(path: Path, *changes: tuple[str, Any]) -> None:
    content = json.loads(path.read_text())
    for key, value in changes:
        put(content, key, value)
    path.write_text(json.dumps(content))
