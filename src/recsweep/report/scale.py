"""Positions of a setting's values along an axis: numbers to scale, words at equal distances."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import Locator, LogLocator, MaxNLocator

from recsweep.report.labels import Value

MIN_LOG_RATIO = 16
"""The scale is linear if the largest number is less than this times the smallest."""

MAX_OWN_TICKS = 8
"""Up to so many distinct numbers were probably chosen by hand: each has a tick of its own."""

LETTER_WIDTH = 0.022
"""As a share of the axis."""

LETTERS_PER_ROW = 40
"""Letters of tick labels that fit in one row along the axis."""


class Scale(NamedTuple):
    """An axis from 0 to 1: the positions of the values, [n], NaN for a missing value; and tick labels by position."""

    positions: np.ndarray
    ticks: dict[float, str]


def is_numeric(values: Sequence[Value]) -> bool:
    """Whether all values except None are numbers."""
    return all(isinstance(value, int | float) for value in values if value is not None)


def scale(values: Sequence[Value], max_own_ticks: int = MAX_OWN_TICKS, is_log: bool | None = None) -> Scale:
    """The axis of these values: of numbers if all are numbers, else of words in the order of first appearance.

    Up to `max_own_ticks` distinct numbers of at most two digits, or whole ones, have a tick each; else the ticks are at
    round numbers.

    Args:
        is_log: whether numbers were searched in logarithms; None where their spread shall tell.

    >>> scale([8, 16, 32]).ticks
    {0.0: '8', 0.3333333333333333: '16', 1.0: '32'}
    >>> scale(["mse", "bpr", None]).positions.tolist()
    [0.0, 1.0, nan]
    """
    if not is_numeric(values):
        return _word_scale(values)
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    ticks = np.unique(numbers[np.isfinite(numbers)])
    logarithmic = _grows_by_factors(ticks) if is_log is None else is_log and bool((ticks > 0).all())
    if len(ticks) > max_own_ticks or not all(float(f"{n:.2g}") == n or n.is_integer() for n in ticks):
        ticks = _round_numbers(ticks[ticks > 0] if logarithmic else ticks, logarithmic)
    numbers_and_ticks = np.concatenate([numbers, ticks])
    heights = _logarithms(numbers_and_ticks) if logarithmic else numbers_and_ticks
    low, high = np.nanmin(heights), np.nanmax(heights)
    positions = (heights - low) / ((high - low) or 1.0)
    names = [f"{number:.4g}".replace("-", "−") for number in ticks]
    return Scale(positions[: len(numbers)], _ticks_without_overlap(positions[len(numbers) :], names))


def _word_scale(values: Sequence[Value]) -> Scale:
    distinct = dict.fromkeys(str(value) for value in values if value is not None)
    step = 1 / max(len(distinct) - 1, 1)
    position = {word: number * step for number, word in enumerate(distinct)}
    return Scale(
        np.array([position.get(str(value), np.nan) for value in values]), {x: word for word, x in position.items()}
    )


def _grows_by_factors(numbers: np.ndarray) -> bool:
    """Whether ascending numbers grow by factors rather than by steps."""
    positive = numbers[numbers > 0]
    if numbers[0] < 0 or not len(positive) or positive[-1] / positive[0] < MIN_LOG_RATIO:
        return False
    return _skew(np.log(positive)) < _skew(positive)


def _skew(ascending: np.ndarray) -> float:
    """Distance of the median from the middle, as a share of the range."""
    low, high = ascending[0], ascending[-1]
    return abs(float(np.median(ascending)) - (low + high) / 2) / (high - low)


def _round_numbers(numbers: np.ndarray, logarithmic: bool) -> np.ndarray:
    """A few round numbers within the range of ascending `numbers`; its two ends if no round number lies in it."""
    low, high = numbers[0], numbers[-1]
    locator: Locator = MaxNLocator(5, steps=[1, 2, 5, 10])
    if logarithmic and high / low >= 3:
        locator = LogLocator(subs=(1.0,) if high / low >= 1000 else (1.0, 2.0, 5.0), numticks=20)
    return np.array([tick for tick in locator.tick_values(low, high) if low <= tick <= high] or [low, high])


def _logarithms(numbers: np.ndarray) -> np.ndarray:
    """Logarithms; zeros get the smallest logarithm minus the mean distance between neighbours."""
    logs = np.log(np.where(numbers > 0, numbers, np.nan))
    span = np.nanmax(logs) - np.nanmin(logs)
    zero = np.nanmin(logs) - span / max(len(np.unique(logs[np.isfinite(logs)])) - 1, 1)
    return np.where(numbers == 0, zero, logs)


def _ticks_without_overlap(positions: np.ndarray, names: Sequence[str]) -> dict[float, str]:
    """Ticks in ascending order, without those whose name would touch the one before."""
    ticks: dict[float, str] = {}
    last = ""
    for position, name in zip(positions.tolist(), names, strict=True):
        room = LETTER_WIDTH * ((len(name) + len(last)) / 2 + 1)
        if not ticks or position - max(ticks) >= room:
            ticks[position] = last = name
    return ticks
