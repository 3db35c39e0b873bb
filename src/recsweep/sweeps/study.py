"""The study behind a guided search: its storage, and what makes it the same study as before."""

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

optuna.logging.disable_default_handler()  # what it says goes to the logs, and what matters to metrics.json
optuna.logging.enable_propagation()

PRUNERS: dict[str, type[BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
}
LOCAL = ("paths.", "trainer.accelerator=", "trainer.threads=")
"""What workers that share a study may differ in."""


def beside(folder: Path) -> str:
    """The address of the database in a sweep's own folder."""
    return f"sqlite:///{folder.resolve() / 'study.db'}"


def shown(address: str) -> str:
    """The URL without its password."""
    return make_url(address).render_as_string(hide_password=True)


def opened(plan: Plan, address: str) -> Study:
    """The study in the storage, made where there is none; `UserError` where it was begun for another search."""
    study = optuna.create_study(
        storage=storage(address),
        sampler=plan.sampler,
        pruner=PRUNERS[plan.settings.pruner](),
        study_name=plan.settings.study,
        directions=list(plan.aims.values()),
        load_if_exists=True,
    )
    _check_same(study, plan)
    return study


def begun(name: str, address: str, pruner: str) -> Study:
    """The study that a running job belongs to."""
    return optuna.load_study(study_name=name, storage=storage(address), pruner=PRUNERS[pruner]())


def _check_same(study: Study, plan: Plan) -> None:
    lines = [f"{direction} {name}" for name, direction in plan.aims.items()]
    lines += [f"{key}={values}" for key, values in plan.space.searched.items()]
    lines += sorted(word for word in plan.space.fixed if not word.startswith(LOCAL))
    begun = study.user_attrs.get("search")
    if begun is None:
        study.set_user_attr("search", lines)
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            study.set_metric_names(list(plan.aims))  # what the dashboard calls them
    elif begun != lines:
        then, now = ("; ".join(a for a in one if a not in other) for one, other in ((begun, lines), (lines, begun)))
        raise UserError(
            f"hydra.sweeper.study={study.study_name}: is another search in this storage: it has "
            f"{then or 'nothing'} where {now or 'nothing'} is asked now; name another study"
        )


def storage(address: str, attempts: int = 10) -> RDBStorage:
    """The database behind an SQLAlchemy URL; `UserError` where it cannot be reached."""
    patient = {"connect_args": {"timeout": 60}} if address.startswith("sqlite") else {}
    try:
        return RDBStorage(address, engine_kwargs=patient)
    except ArgumentError:
        raise UserError(
            f"hydra.sweeper.storage={address}: no SQLAlchemy URL, such as postgresql+psycopg://user@host/database"
        ) from None
    except (ImportError, SQLAlchemyError, RuntimeError) as error:  # RuntimeError: tables of another Optuna
        if attempts > 1 and _made_at_once(error):
            time.sleep(0.2)
            return storage(address, attempts - 1)
        reason = str(error).splitlines()[0]
        raise UserError(f"hydra.sweeper.storage={shown(address)}: {reason}") from None


def _made_at_once(error: Exception) -> bool:
    """Whether another worker makes the tables at this moment: soon they are there."""
    # PostgreSQL, which may say it in any language, has classes of its own for it; SQLite and MySQL have not.
    return isinstance(error, IntegrityError | ProgrammingError) or "already exists" in str(error)
