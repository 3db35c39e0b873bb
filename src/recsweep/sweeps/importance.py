"""Which settings of a guided search mattered, by Optuna's own evaluator."""

import warnings
from pathlib import Path

from optuna import get_all_study_names, load_study
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from recsweep.errors import UserError
from recsweep.sweeps.study import local_storage, open_storage

MIN_TRIALS = 20
"""Completed trials below which shares would say nothing."""


def compute_importances(folder: Path) -> dict[str, float]:
    """Shares of the searched settings, the largest first, from `study.db` in a sweep's folder.

    By PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023). Empty for several objectives, for a few trials, and for a
    file that is no study.
    """
    try:
        storage = open_storage(local_storage(folder))
        (name,) = get_all_study_names(storage)
        study = load_study(study_name=name, storage=storage)
        n_completed = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if len(study.directions) > 1 or n_completed < MIN_TRIALS:
            return {}
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
    except (UserError, SQLAlchemyError, ValueError, KeyError, RuntimeError):
        return {}
