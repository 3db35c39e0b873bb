"""The study behind a guided search: its storage, and the check that it belongs to the same search."""

import time
import warnings
from pathlib import Path

import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError

from recsweep.errors import UserError
from recsweep.sweeps.plan import Plan

optuna.logging.disable_default_handler()  # its messages go to the logs; results are in metrics.json
optuna.logging.enable_propagation()

PRUNERS: dict[str, type[BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
}
MACHINE_KEYS = ("paths.", "trainer.accelerator=", "trainer.threads=")
"""Overrides in which the workers of one study may differ."""


def local_storage(folder: Path) -> str:
    """The URL of the SQLite database in a sweep's own folder."""
    return f"sqlite:///{folder.resolve() / 'study.db'}"


def hide_password(url: str) -> str:
    """The URL with *** for its password."""
    return make_url(url).render_as_string(hide_password=True)


def open_study(plan: Plan, url: str) -> Study:
    """Loads or creates the plan's study; `UserError` if the study belongs to another search."""
    study = optuna.create_study(
        storage=open_storage(url),
        sampler=plan.sampler,
        pruner=PRUNERS[plan.settings.pruner](),
        study_name=plan.settings.study,
        directions=list(plan.objectives.values()),
        load_if_exists=True,
    )
    _check_same_search(study, plan)
    return study


def load_study(name: str, url: str, pruner: str) -> Study:
    """An existing study, such as the one that a running job belongs to."""
    return optuna.load_study(study_name=name, storage=open_storage(url), pruner=PRUNERS[pruner]())


def _check_same_search(study: Study, plan: Plan) -> None:
    search = [f"{direction} {name}" for name, direction in plan.objectives.items()]
    search += [f"{key}={values}" for key, values in plan.space.distributions.items()]
    search += sorted(override for override in plan.space.fixed if not override.startswith(MACHINE_KEYS))
    stored = study.user_attrs.get("search")
    if stored is None:
        study.set_user_attr("search", search)
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            study.set_metric_names(list(plan.objectives))  # for the dashboard
    elif stored != search:
        only_stored = "; ".join(line for line in stored if line not in search)
        only_new = "; ".join(line for line in search if line not in stored)
        raise UserError(
            f"hydra.sweeper.study={study.study_name}: is another search in this storage: it has "
            f"{only_stored or 'nothing'} where this one has {only_new or 'nothing'}; name another study"
        )


def open_storage(url: str, attempts: int = 10) -> RDBStorage:
    """The database at an SQLAlchemy URL, created if need be; `UserError` if it cannot be reached."""
    engine_kwargs = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    try:
        return RDBStorage(url, engine_kwargs=engine_kwargs)
    except ArgumentError:
        raise UserError(
            f"hydra.sweeper.storage={url}: not an SQLAlchemy URL such as postgresql+psycopg://user@host/database"
        ) from None
    except (ImportError, SQLAlchemyError, RuntimeError) as error:  # RuntimeError: tables of another Optuna version
        if attempts > 1 and _is_creation_race(error):
            time.sleep(0.2)
            return open_storage(url, attempts - 1)
        raise UserError(f"hydra.sweeper.storage={hide_password(url)}: {str(error).splitlines()[0]}") from None


def _is_creation_race(error: Exception) -> bool:
    """Whether another worker is creating the tables at this moment, so that a retry will find them."""
    # PostgreSQL, whose messages may be in any language, has its own error classes for this; SQLite and MySQL do not.
    return isinstance(error, IntegrityError | ProgrammingError) or "already exists" in str(error)
