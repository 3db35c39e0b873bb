"""What the trials of a search tell: which settings mattered, and whether the best lies at an end of its space."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from optuna import Study, get_all_study_names, load_study
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from recsweep.errors import UserError
from recsweep.sweeps.space import Distribution
from recsweep.sweeps.study import local_storage, open_storage

MIN_TRIALS = 20
"""Completed trials below which shares would say nothing."""

EDGE = 0.05
"""Share of an interval that counts as its end."""


class Insight(NamedTuple):
    """What a study tells.

    Args:
        importances: the share of each setting; none of few trials or several objectives.
        edges: the ends of the space at which the best trial lies, in words; none for several objectives.
        is_log: whether a setting was searched in logarithms, of those that were searched in an interval.
    """

    importances: Mapping[str, float] = MappingProxyType({})
    edges: Sequence[str] = ()
    is_log: Mapping[str, bool] = MappingProxyType({})


def describe_search(folder: Path) -> Insight:
    """What `study.db` in a sweep's folder tells; nothing if it is no study."""
    try:
        storage = open_storage(local_storage(folder))
        (name,) = get_all_study_names(storage)
        study = load_study(study_name=name, storage=storage)
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        spaces = (space for trial in completed for space in trial.distributions.items())
        is_log = {key: values.log for key, values in spaces if isinstance(values, FloatDistribution | IntDistribution)}
        if len(study.directions) > 1 or not completed:
            return Insight(is_log=is_log)
        importances = _measure_importances(study) if len(completed) >= MIN_TRIALS else {}
        return Insight(importances, _find_edges(study), is_log)
    except (UserError, SQLAlchemyError, ValueError, KeyError, RuntimeError):
        return Insight()


def describe_edge(key: str, values: Distribution, value: Any) -> str:
    """That the value lies at an end of what is searched; empty if it does not.

    An end is a twentieth of the interval, in logarithms where it is searched so, or the first or last of three or more
    listed numbers. Nothing lies beyond a 0.
    """
    low, high, position = _position(values, value)
    if EDGE < position < 1 - EDGE or math.isnan(position) or float(value) == 0:
        return ""
    end = "lower" if position <= EDGE else "upper"
    shown = f"{value:.4g}" if isinstance(value, float) else value
    return f"{key}={shown} is at the {end} end of what was searched, {low:g} to {high:g}"


def _measure_importances(study: Study) -> dict[str, float]:
    """Shares of the settings, the largest first, by PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023)."""
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def _find_edges(study: Study) -> list[str]:
    best = study.best_trial
    spaces = cast(dict[str, Distribution], best.distributions)
    edges = [describe_edge(key, values, best.params[key]) for key, values in spaces.items()]
    return [edge for edge in edges if edge]


def _position(values: Distribution, value: Any) -> tuple[float, float, float]:
    """The ends of the numbers that are searched, and the value's place between them, 0 to 1; NaN for other values."""
    if isinstance(values, CategoricalDistribution):
        try:
            numbers = sorted(float(str(choice)) for choice in values.choices)
        except ValueError:
            return math.nan, math.nan, math.nan
        if len(numbers) < 3:
            return math.nan, math.nan, math.nan
        return numbers[0], numbers[-1], numbers.index(float(value)) / (len(numbers) - 1)
    low, high = values.low, values.high
    start, end, at = (math.log(number) if values.log else number for number in (low, high, float(value)))
    return low, high, (at - start) / (end - start) if end > start else math.nan
