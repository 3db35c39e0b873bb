"""The jobs of a sweep over lists of values."""

import math
from itertools import product
from typing import cast

from hydra.core.override_parser.types import Override, RangeSweep

from recsweep.errors import UserError

MAX_JOBS = 10_000
"""Jobs of one sweep: each is composed and checked before the first one starts."""


def first_job(overrides: list[Override]) -> list[str]:
    """The first value of every key; `UserError` for a sweep over no value."""
    job = {}
    for override in overrides:
        if not _n_values(override):
            raise UserError(f"{override.input_line}: stands for no value at all")
        key, value = override.get_key_element(), override.value()
        if isinstance(value, RangeSweep):
            job[key] = f"{key}={value.start}"  # without its other values, of which there may be millions
        elif override.is_sweep_override():
            job[key] = f"{key}={next(override.sweep_string_iterator())}"
        else:
            job[key] = f"{key}={override.get_value_element_as_str()}"
    return list(job.values())


def split_into_jobs(overrides: list[Override]) -> list[list[str]]:
    """The overrides of every job; `UserError` where they are none, or too many, or of an interval."""
    n_jobs = 1
    for override in overrides:
        if override.is_interval_sweep():
            raise UserError(f"{override.input_line}: intervals are for a search: add hydra/sweeper=optuna")
        n_jobs *= _n_values(override)
        if n_jobs > MAX_JOBS:
            raise UserError(
                f"{override.input_line}: more than {MAX_JOBS:,} jobs; a search draws some: hydra/sweeper=optuna"
            )
    return [list(job) for job in product(*map(_values, overrides))]


def _values(override: Override) -> list[str]:
    """The override for every value that it stands for, as typed."""
    if not override.is_sweep_override():
        return [cast(str, override.input_line)]
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _n_values(override: Override) -> int:
    """How many values the override stands for; of a long range only that there are more than `MAX_JOBS`."""
    sweep = override.value()
    if isinstance(sweep, RangeSweep):
        start, stop = cast(float, sweep.start), cast(float, sweep.stop)
        if not sweep.step:
            raise UserError(f"{override.input_line}: a step of 0 never ends")
        return math.ceil(max(0, min((stop - start) / sweep.step, MAX_JOBS + 1)))
    return len(list(override.sweep_string_iterator())) if override.is_sweep_override() else 1
