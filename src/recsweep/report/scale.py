"""Where the values of a setting stand along an axis: numbers to scale, words side by side."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import Locator, LogLocator, MaxNLocator

from recsweep.report.labels import Value

FACTOR = 16
"""Numbers that span less than this factor stand on a linear scale, whatever they are."""

ALL_NAMED = 8
"""So many settings of a sweep were chosen by hand."""

LETTER = 0.02
"""The width of a letter, as a share of the axis."""

LETTERS = 40
"""So many stand along the axis in one row."""


class Scale(NamedTuple):
    """An axis from 0 to 1: the values' places, [n], NaN where there is no value, and the named ones among all."""

    places: np.ndarray
    ticks: dict[float, str]


def numeric(values: Sequence[Value]) -> bool:
    """Whether all values that there are, are numbers."""
    return all(isinstance(value, int | float) for value in values if value is not None)


def scale(values: Sequence[Value], all_named: int = ALL_NAMED) -> Scale:
    """The axis of these values: of numbers if all are, else of words in the order of their first appearance.

    Up to `all_named` different numbers each have a tick of their own; of more, round numbers have.

    >>> scale([8, 16, 32]).ticks
    {0.0: '8', 0.3333333333333333: '16', 1.0: '32'}
    >>> scale(["mse", "bpr", None]).places.tolist()
    [0.0, 1.0, nan]
    """
    if not numeric(values):
        return _words(values)
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    named = np.unique(numbers[np.isfinite(numbers)])
    logarithmic = _multiply(named)
    if len(named) > all_named:
        named = _round(named[named > 0] if logarithmic else named, logarithmic)
    everything = np.concatenate([numbers, named])
    stretched = _logs(everything) if logarithmic else everything
    low, high = np.nanmin(stretched), np.nanmax(stretched)
    places = (stretched - low) / ((high - low) or 1.0)
    return Scale(
        places[: len(numbers)], _apart(places[len(numbers) :], [f"{number:.4g}".replace("-", "−") for number in named])
    )


def _words(values: Sequence[Value]) -> Scale:
    distinct = dict.fromkeys(str(value) for value in values if value is not None)
    step = 1 / max(len(distinct) - 1, 1)
    place = {word: number * step for number, word in enumerate(distinct)}
    return Scale(
        np.array([place.get(str(value), np.nan) for value in values]), {at: word for word, at in place.items()}
    )


def _multiply(numbers: np.ndarray) -> bool:
    """Whether ascending numbers grow by factors rather than by steps."""
    positive = numbers[numbers > 0]
    if numbers[0] < 0 or not len(positive) or positive[-1] / positive[0] < FACTOR:
        return False
    return _lopsided(np.log(positive)) < _lopsided(positive)


def _lopsided(ascending: np.ndarray) -> float:
    """How far the median is from the middle, as a share of the range."""
    low, high = ascending[0], ascending[-1]
    return abs(float(np.median(ascending)) - (low + high) / 2) / (high - low)


def _round(numbers: np.ndarray, logarithmic: bool) -> np.ndarray:
    """A few round numbers between the ends of ascending ones; the ends themselves where there is no such number."""
    low, high = numbers[0], numbers[-1]
    locator: Locator = MaxNLocator(4)
    if logarithmic:
        locator = LogLocator(subs=(1.0,) if high / low >= 1000 else (1.0, 2.0, 5.0), numticks=20)
    return np.array([tick for tick in locator.tick_values(low, high) if low <= tick <= high] or [low, high])


def _logs(numbers: np.ndarray) -> np.ndarray:
    """Logarithms; 0 stands as far below the others as they are apart on average."""
    logs = np.log(np.where(numbers > 0, numbers, np.nan))
    span = np.nanmax(logs) - np.nanmin(logs)
    zero = np.nanmin(logs) - span / max(len(np.unique(logs[np.isfinite(logs)])) - 1, 1)
    return np.where(numbers == 0, zero, logs)


def _apart(places: np.ndarray, names: Sequence[str]) -> dict[float, str]:
    """Ticks from low to high, without those whose name would touch the one before."""
    kept: dict[float, str] = {}
    for at, name in zip(places.tolist(), names, strict=True):
        if not kept or at - max(kept) >= LETTER * (len(name) + 1):
            kept[at] = name
    return kept
