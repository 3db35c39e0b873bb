"""What a guided search searches, how, and for what: `hydra.sweeper` and the words of a sweep, checked."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig
from optuna.samplers import BaseSampler
from pydantic import BaseModel, Field

from recsweep.config.shape import STRICT, Positive, bind
from recsweep.errors import UserError
from recsweep.evaluation import Evaluation
from recsweep.metrics import ERRORS
from recsweep.runs import build
from recsweep.seeding import Seed
from recsweep.sweeps.samplers import GUIDED, ByNumber, Grid
from recsweep.sweeps.space import Space, parsed

Direction = Literal["minimize", "maximize"]

PROTOCOL = ("data", "split", "evaluation")
"""Groups that must agree before two trials can be compared."""


class Settings(BaseModel):
    """`hydra.sweeper`, explained in `conf/hydra/sweeper/optuna.yaml`."""

    model_config = STRICT
    sampler: Literal["tpe", "gp", "random", "nsgaii", "grid"]
    n_trials: Positive
    seed: Seed
    objectives: Annotated[list[str], Field(min_length=1)] | None
    pruner: Literal["none", "median", "halving", "hyperband"]
    storage: str | None
    study: str
    max_batch_size: Positive | None
    heartbeat: Annotated[float, Field(gt=0)]
    trial: int | None
    params: dict[str, Any] | None


class Plan(NamedTuple):
    """A search that was checked.

    Args:
        aims: the metrics that are optimised, with their directions.
        n_trials: in all, those of other workers included.
    """

    settings: Settings
    space: Space
    aims: dict[str, Direction]
    n_trials: int
    sampler: BaseSampler


def planned(
    sweeper: Mapping[str, Any], overrides: Sequence[Override], compose: Callable[[list[str]], DictConfig]
) -> Plan:
    """The search that `hydra.sweeper` and the other overrides ask for; `UserError` for whatever is wrong with it.

    Args:
        compose: from the words of a job to its configuration.
    """
    asked = {key: value for key, value in sweeper.items() if key != "_target_"}
    bind("hydra.sweeper.", Settings, asked)
    settings, space = Settings(**asked), parsed(overrides)
    _check_searched(space)
    aims = _aims(settings.objectives, build.evaluation(compose(space.job(space.probes()[0]))))
    if len(aims) > 1 and settings.pruner != "none":
        raise UserError(f"hydra.sweeper.pruner={settings.pruner}: with several objectives nothing is pruned; take none")
    if settings.sampler != "grid":
        return Plan(settings, space, aims, settings.n_trials, ByNumber(GUIDED[settings.sampler], settings.seed))
    points = space.grid()
    if len(points) > settings.n_trials:
        raise UserError(f"the grid has {len(points)} points: give hydra.sweeper.n_trials={len(points)}, or more")
    return Plan(settings, space, aims, len(points), Grid(points))


def _check_searched(space: Space) -> None:
    if not space.searched:
        raise UserError(
            "nothing to search: give search=NAME, or ranges such as 'optimizer.lr=tag(log,interval(1e-4,1e-1))' "
            "or model.embedding_dim=16,32,64"
        )
    for key in space.searched:
        if re.split("[./@]", key)[0] in (*PROTOCOL, "search"):
            raise UserError(f"{key} cannot be searched, for it says what trials are compared by; give it one value")


def _aims(asked: list[str] | None, evaluation: Evaluation) -> dict[str, Direction]:
    own = f"val/{evaluation.objective}"
    known: dict[str, Direction] = {own: "minimize" if evaluation.mode == "min" else "maximize"}
    return {name: known.get(name) or _direction(name) for name in asked or known}


def _direction(name: str) -> Direction:
    if name == "n_parameters" or name.startswith("seconds/"):
        return "minimize"
    if not name.startswith("val/"):
        raise UserError(
            f"hydra.sweeper.objectives: {name}: a search looks at val/… (never at the test), n_parameters or seconds/…"
        )
    return "minimize" if name.rpartition("/")[2] in ERRORS else "maximize"
