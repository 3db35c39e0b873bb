"""Samplers: the same seed draws the same points, and guided ones beat chance."""

from math import log10
from statistics import median

import optuna
import pytest
from searches import space

from recsweep.sweeps.samplers import GUIDED, PerTrialSampler
from recsweep.sweeps.worker import load_trial

N_RANDOM = 10
"""Trials that TPE and the Gaussian process draw at random before they are guided."""


def minimize(sampler: str, seed: int, n_trials: int, interrupt_at: int | None = None) -> list[float]:
    """The values of x that a search for the minimum of (log10 x - 2)² tries; y has no effect."""
    xy_space = space("y=interval(0,1)", "x=tag(log,interval(1,1e5))")
    study = optuna.create_study(sampler=PerTrialSampler(GUIDED[sampler], seed))
    for number in range(n_trials):
        trial = study.ask()
        if number == interrupt_at:  # another process continues
            if sampler != "gp":  # in the middle of the point
                space("y=interval(0,1)").suggest(trial)
            study.sampler = PerTrialSampler(GUIDED[sampler], seed)
            trial = load_trial(study, number)
        study.tell(trial, (log10(xy_space.suggest(trial)["x"]) - 2) ** 2)
    return [trial.params["x"] for trial in study.trials]


@pytest.mark.parametrize("sampler", sorted(GUIDED))
def test_a_seed_determines_the_points_even_after_an_interruption(sampler: str) -> None:
    n_trials = N_RANDOM + 1
    points = minimize(sampler, 0, n_trials)
    assert minimize(sampler, 0, n_trials) == points == minimize(sampler, 0, n_trials, interrupt_at=N_RANDOM)
    assert len({*points, *minimize(sampler, 1, n_trials)}) == 2 * n_trials


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_guided_samplers_come_closer_than_chance(sampler: str) -> None:
    """Of random points in five decades, half would be more than 1.25 decades away from 10²: 2 · 1.25 / 5 = 1/2."""
    guided = minimize(sampler, 0, N_RANDOM + 5)[N_RANDOM:]
    assert median(abs(log10(point) - 2) for point in guided) < 1.25 / 2
