"""The plan of a guided search: its space, sampler and objectives, from `hydra.sweeper` and the other overrides."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from hydra.core.override_parser.types import Override
from optuna.samplers import BaseSampler
from pydantic import BaseModel, Field

from recsweep.config.shape import MAX_WORKERS, STRICT, Positive, bind
from recsweep.errors import UserError
from recsweep.evaluation import Evaluation
from recsweep.metrics import lower_is_better
from recsweep.runs import build
from recsweep.runs.recorded import Recorded
from recsweep.seeding import Seed
from recsweep.sweeps.samplers import GUIDED, ListSampler, PerTrialSampler
from recsweep.sweeps.space import Space, parse_space

Direction = Literal["minimize", "maximize"]

PROTOCOL = ("data", "filter", "split", "evaluation")
"""Groups that must be the same in all trials of a search, or their metrics cannot be compared."""


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
    max_batch_size: Annotated[int, Field(ge=1, le=MAX_WORKERS)] | None
    heartbeat: Annotated[float, Field(gt=0, le=60)]
    trial: int | None
    params: dict[str, Any] | None


class Plan(NamedTuple):
    """A valid search.

    Args:
        objectives: the metrics to optimise, each with its direction.
        n_trials: of the whole study, those of other workers included.
    """

    settings: Settings
    space: Space
    objectives: dict[str, Direction]
    n_trials: int
    sampler: BaseSampler


def plan_search(sweeper: Mapping[str, Any], overrides: Sequence[Override], base: Recorded) -> Plan:
    """The search that `hydra.sweeper` and the other overrides describe; `UserError` if either is invalid.

    Args:
        base: the settings that the trials change.
    """
    values = {key: value for key, value in sweeper.items() if key != "_target_"}
    bind("hydra.sweeper.", Settings, values)
    settings, space = Settings(**values), parse_space(overrides)
    _check_space(space)
    evaluation = build.evaluation(base.change(space.overrides_at(space.probes()[0])).build())
    objectives = _objectives(settings.objectives, evaluation)
    if len(objectives) > 1 and settings.pruner != "none":
        raise UserError(f"hydra.sweeper.pruner={settings.pruner}: pruning needs a single objective; set pruner=none")
    if settings.sampler != "grid":
        sampler = PerTrialSampler(GUIDED[settings.sampler], settings.seed)
        return Plan(settings, space, objectives, settings.n_trials, sampler)
    points = space.grid()
    if len(points) > settings.n_trials:
        raise UserError(f"the grid has {len(points)} points: give hydra.sweeper.n_trials={len(points)}, or more")
    return Plan(settings, space, objectives, len(points), ListSampler(points))


def _check_space(space: Space) -> None:
    if not space.distributions:
        raise UserError(
            "nothing to search: give search=NAME, or ranges such as 'optimizer.lr=tag(log,interval(1e-4,1e-1))' "
            "or model.embedding_dim=16,32,64"
        )
    for key in space.distributions:
        if re.split("[./@]", key)[0] in (*PROTOCOL, "search"):
            raise UserError(f"{key} cannot be searched: all trials must share it to be comparable; give it one value")


def _objectives(names: list[str] | None, evaluation: Evaluation) -> dict[str, Direction]:
    default: dict[str, Direction] = {
        f"val/{evaluation.objective}": "minimize" if evaluation.mode == "min" else "maximize"
    }
    return {name: default.get(name) or _direction(name) for name in names or default}


def _direction(name: str) -> Direction:
    if name == "n_parameters" or name.startswith("seconds/"):
        return "minimize"
    if not name.startswith("val/"):
        raise UserError(
            f"hydra.sweeper.objectives: {name}: an objective is val/… (never test/…), n_parameters or seconds/…"
        )
    return "minimize" if lower_is_better(name) else "maximize"
