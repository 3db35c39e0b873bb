"""What a guided search searches: Hydra's sweep syntax, as Optuna understands it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from recsweep.errors import UserError

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Space:
    """The words of a search.

    Args:
        fixed: what every job is given, such as `model=bpr_mf`.
        searched: each searched key and where its values come from. Listed values are kept as the text behind `=`.
    """

    fixed: tuple[str, ...]
    searched: dict[str, Distribution]

    def job(self, point: Point) -> list[str]:
        """The words of the job at a point."""
        return [*self.fixed, *(f"{key}={value}" for key, value in point.items())]

    def point(self, trial: Trial) -> dict[str, Any]:
        """The trial's value of each searched key; those that it does not have yet are drawn."""
        return {key: _suggested(trial, key, values) for key, values in self.searched.items()}

    def probes(self) -> list[dict[str, Any]]:
        """Points that between them have each key's lowest value, its highest, and every listed one."""
        values = [_ends(distribution) for distribution in self.searched.values()]
        longest = max(map(len, values), default=1)
        columns = [[*listed, *[listed[-1]] * (longest - len(listed))] for listed in values]
        return [dict(zip(self.searched, row, strict=True)) for row in zip(*columns, strict=True)] or [{}]

    def grid(self) -> list[dict[str, Any]]:
        """Every combination, the last key's values changing fastest; `UserError` where a key has no listed values."""
        values = [_listed(key, distribution) for key, distribution in self.searched.items()]
        return [dict(zip(self.searched, row, strict=True)) for row in product(*values)]


def parsed(overrides: Sequence[Override]) -> Space:
    """The space that Hydra's overrides describe; of a key that stands there twice, the last counts."""
    fixed: dict[str, str] = {}
    searched: dict[str, Distribution] = {}
    for override in overrides:
        key = override.get_key_element()
        fixed.pop(key, None)
        searched.pop(key, None)
        if override.is_sweep_override():
            searched[key] = _distribution(key, override)
        else:
            fixed[key] = key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"
    return Space(tuple(fixed.values()), searched)


def _distribution(key: str, override: Override) -> Distribution:
    sweep = override.value()
    tags: set[str] = getattr(sweep, "tags", set())
    if tags and (tags != {"log"} or not isinstance(sweep, IntervalSweep)):
        raise UserError(f"{key}: of tags, a search knows tag(log,interval(low,high)) alone")
    try:
        if isinstance(sweep, IntervalSweep):
            return _interval(sweep, log=bool(tags))
        if isinstance(sweep, RangeSweep):
            return _range(sweep)
        return CategoricalDistribution(tuple(dict.fromkeys(override.sweep_string_iterator())))
    except ValueError as error:
        raise UserError(f"{override.input_line or key}: {error}") from None


def _interval(sweep: IntervalSweep, log: bool) -> Distribution:
    """Numbers between two, both included; whole ones where the ends are: `int(interval(8,64))`."""
    low, high = sweep.start, sweep.end
    assert low is not None and high is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log)
    return FloatDistribution(low, high, log)


def _range(sweep: RangeSweep) -> Distribution:
    """The numbers that Hydra lists: its end is not one of them."""
    values = sorted(sweep.range())
    if not values:
        raise ValueError("no number lies in this range")
    if isinstance(values[0], int):
        return IntDistribution(values[0], values[-1], step=abs(int(sweep.step)))
    return FloatDistribution(values[0], values[-1], step=abs(sweep.step))


def _suggested(trial: Trial, key: str, values: Distribution) -> Any:
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(key, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(key, values.low, values.high, step=values.step, log=values.log)
    return trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)


def _ends(values: Distribution) -> list[Any]:
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    return list(dict.fromkeys([values.low, values.high]))


def _listed(key: str, values: Distribution) -> list[Any]:
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    if values.log or values.step is None:
        raise UserError(f"{key}: a grid takes listed values: choice(…) or range(…), not an interval")
    count = round((values.high - values.low) / values.step) + 1
    return [values.low + place * values.step for place in range(count)]
