"""Guided searches of small models, and what their studies hold."""

from pathlib import Path

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from shell import SYNTHETIC, TINY, Outcome, recsweep

from recsweep.sweeps.space import Space, parse_space

EASE = ("model=ease", *SYNTHETIC, "logger=none", "hydra.sweeper.heartbeat=0.2")
L2 = "model.l2=tag(log,interval(1,1e5))"
BPR = ("model=bpr_mf", *TINY, "hydra.sweeper.heartbeat=0.2")


def search(folder: Path, *overrides: str, into: str = "sweep") -> Outcome:
    """Runs `recsweep train -m hydra/sweeper=optuna OVERRIDES` in the folder."""
    return recsweep(folder, "train", "-m", "hydra/sweeper=optuna", *overrides, f"hydra.sweep.dir={into}")


def read_study(database: Path) -> optuna.Study:
    """The only study in a SQLite file."""
    return optuna.load_study(study_name=None, storage=f"sqlite:///{database}")


def states(database: Path) -> list[str]:
    """The state of each trial, by number."""
    return [trial.state.name for trial in read_study(database).trials]


def points(database: Path) -> list[dict[str, object]]:
    """The parameters of each trial, by number."""
    return [trial.params for trial in read_study(database).trials]


def space(*overrides: str) -> Space:
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)))
