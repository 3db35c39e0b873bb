"""Where a trial's values come from."""

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
    "tpe": lambda seed: TPESampler(seed=seed, constant_liar=True),  # keeps away from what runs at the same time
    "gp": lambda seed: GPSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "nsgaii": lambda seed: NSGAIISampler(seed=seed),
}


class ByNumber(BaseSampler):
    """A sampler whose draws depend on the seed, the trial's number, the key and the trials before, and on nothing else.

    So two workers with the same seed draw different points, and a search that goes on draws what it would have drawn
    without the interruption, be it in the middle of a point; there, a Gaussian process alone draws the rest afresh.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self.make = make
        self.seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.sampler = self._made(trial, "")
        self.sampler.before_trial(study, trial)

    def _made(self, trial: FrozenTrial, name: str) -> BaseSampler:
        key = (self.seed, trial.number, crc32(name.encode()))
        return self.make(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._made(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.sampler.after_trial(study, trial, state, values)


class Grid(BaseSampler):
    """Trial n takes point n. Optuna's own grid draws its points, so that two workers may draw the same."""

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
