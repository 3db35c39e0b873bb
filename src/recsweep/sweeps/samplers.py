"""Samplers: where a trial's values come from."""

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from recsweep.sweeps.space import Point

GUIDED: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, constant_liar=True),  # keeps away from trials that are running
    "gp": lambda seed: GPSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "nsgaii": lambda seed: NSGAIISampler(seed=seed),
}


class PerTrialSampler(BaseSampler):
    """A sampler whose draws depend only on the seed, the trial's number, the key and the earlier trials.

    So two workers with the same seed draw different points, and a resumed search draws what it would have drawn
    without the interruption, even in the middle of a point; only a Gaussian process draws the rest of a point afresh.

    Args:
        make_sampler: from a seed to the sampler that draws.
    """

    def __init__(self, make_sampler: Callable[[int], BaseSampler], seed: int) -> None:
        self.make_sampler = make_sampler
        self.seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.sampler = self._sampler(trial, "")
        self.sampler.before_trial(study, trial)

    def _sampler(self, trial: FrozenTrial, param_name: str) -> BaseSampler:
        key = (self.seed, trial.number, crc32(param_name.encode()))
        return self.make_sampler(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.sampler.after_trial(study, trial, state, values)


class ListSampler(BaseSampler):
    """Trial n takes point n of a list. Optuna's own grid sampler picks at random, so two workers may pick the same."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.points[trial.number][param_name]
