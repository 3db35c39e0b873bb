"""The space of a guided search: Hydra's sweep syntax as Optuna's distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, cast

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from recsweep.errors import UserError

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
Point = Mapping[str, Any]
MAX_VALUES = 1_000_000
"""Values of a range, and points of a grid."""


@dataclass(frozen=True)
class Space:
    """The overrides of a search.

    Args:
        fixed: the overrides that all jobs share, such as `model=bpr_mf`.
        distributions: of each searched key. Listed values are the text after `=`.
    """

    fixed: tuple[str, ...]
    distributions: dict[str, Distribution]

    def job_overrides(self, point: Point) -> list[str]:
        """The overrides of the job at a point."""
        return [*self.fixed, *self.overrides_at(point)]

    def overrides_at(self, point: Point) -> list[str]:
        """The overrides of the searched keys at a point."""
        return [f"{key}={value}" for key, value in point.items()]

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """The trial's value of each searched key, drawn if the trial has none yet."""
        return {key: _suggest(trial, key, values) for key, values in self.distributions.items()}

    def probes(self) -> list[dict[str, Any]]:
        """A few points that together cover each key's lowest, highest and listed values."""
        columns = [_probe_values(distribution) for distribution in self.distributions.values()]
        longest = max(map(len, columns), default=1)
        columns = [[*values, *[values[-1]] * (longest - len(values))] for values in columns]
        return [dict(zip(self.distributions, row, strict=True)) for row in zip(*columns, strict=True)] or [{}]

    def grid(self) -> list[dict[str, Any]]:
        """Every combination, the last key's values changing fastest; `UserError` if a key has an interval."""
        columns = [_grid_values(key, distribution) for key, distribution in self.distributions.items()]
        if prod(map(len, columns)) > MAX_VALUES:
            raise UserError(f"the grid has more than {MAX_VALUES:,} points: hydra.sweeper.sampler=tpe draws some")
        return [dict(zip(self.distributions, row, strict=True)) for row in product(*columns)]


def parse_space(overrides: Sequence[Override]) -> Space:
    """The space that Hydra's overrides describe; if a key occurs twice, the last one counts."""
    fixed: dict[str, str] = {}
    distributions: dict[str, Distribution] = {}
    for override in overrides:
        key = override.get_key_element()
        fixed.pop(key, None)
        distributions.pop(key, None)
        if override.is_sweep_override():
            distributions[key] = _distribution(key, override)
        else:
            fixed[key] = key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"
    return Space(tuple(fixed.values()), distributions)


def _distribution(key: str, override: Override) -> Distribution:
    sweep = override.value()
    tags: set[str] = getattr(sweep, "tags", set())
    if tags and (tags != {"log"} or not isinstance(sweep, IntervalSweep)):
        raise UserError(f"{key}: the only tag of a search is log, of an interval: tag(log,interval(low,high))")
    try:
        if isinstance(sweep, IntervalSweep):
            return _interval(sweep, log=bool(tags))
        if isinstance(sweep, RangeSweep):
            return _range(sweep)
        return CategoricalDistribution(tuple(dict.fromkeys(override.sweep_string_iterator())))
    except ValueError as error:
        raise UserError(f"{override.input_line or key}: {error}") from None


def _interval(sweep: IntervalSweep, log: bool) -> Distribution:
    """Numbers from low to high, both included; integers if both ends are: `int(interval(8,64))`."""
    low, high = sweep.start, sweep.end
    assert low is not None and high is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log)
    return FloatDistribution(low, high, log)


def _range(sweep: RangeSweep) -> Distribution:
    """The numbers that Hydra lists, the end excluded."""
    start, stop = cast(float, sweep.start), cast(float, sweep.stop)
    if sweep.step and abs(stop - start) > MAX_VALUES * abs(sweep.step):
        raise ValueError(f"more than {MAX_VALUES:,} values; an interval has no such limit: interval(low,high)")
    values = sorted(sweep.range())
    if not values:
        raise ValueError("the range is empty")
    if isinstance(values[0], int):
        return IntDistribution(values[0], values[-1], step=abs(int(sweep.step)))
    return FloatDistribution(values[0], values[-1], step=abs(sweep.step))


def _suggest(trial: Trial, key: str, values: Distribution) -> Any:
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(key, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(key, values.low, values.high, step=values.step, log=values.log)
    return trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)


def _probe_values(values: Distribution) -> list[Any]:
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    return list(dict.fromkeys([values.low, values.high]))


def _grid_values(key: str, values: Distribution) -> list[Any]:
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    if values.log or values.step is None:
        raise UserError(f"{key}: a grid needs listed values: choice(…) or range(…), not an interval")
    count = round((values.high - values.low) / values.step) + 1
    return [values.low + index * values.step for index in range(count)]
