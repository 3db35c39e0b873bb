"""Times of any kind as whole seconds since 1970 in UTC.

Dates and date-times follow ISO 8601; without a zone they are UTC. Numbers are seconds, or milli-, micro- or nanoseconds
by their size: below 10^11 seconds (until the year 5138), below 10^14 milliseconds, below 10^17 microseconds. A column
of dates written as numbers, such as 20200930, is refused.
"""

from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TimeUnit = Literal["s", "ms", "us", "ns"]
UNITS: tuple[TimeUnit, ...] = ("s", "ms", "us", "ns")
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
LIMITS = (1e11, 1e14, 1e17)
"""The size from which a number is no longer seconds, milliseconds, microseconds."""

TIME = pa.timestamp("s")
"""The type of a column of times, of whatever kind a file has them; the readers make int64 seconds of it."""

DATE_DIGITS = {8: "YYYYMMDD", 12: "YYYYMMDDhhmm", 14: "YYYYMMDDhhmmss"}
"""Number of digits -> how a date and time is written as one number."""

ALLOWED = "numbers since 1970, or ISO dates such as 2020-09-30 or 2020-09-30T07:26:40+02:00"


class Times(NamedTuple):
    """Seconds [N] int64, and the unit of the numbers that they were; None for dates."""

    seconds: np.ndarray
    unit: TimeUnit | None


class BadTime(Exception):
    """A value that is no time: `row` and `problem`."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row, self.problem = row, problem


class MixedUnits(Exception):
    """Two rows, each with a description, whose numbers have different units."""

    def __init__(self, first: tuple[int, str], second: tuple[int, str]) -> None:
        super().__init__(first, second)
        self.first, self.second = first, second


def to_seconds(column: pa.ChunkedArray, unit: TimeUnit | None) -> Times:
    """Seconds of a column of times, rounded down.

    Args:
        column: numbers, text, dates or timestamps; a timestamp with a zone already counts in UTC.
        unit: the unit of numbers; None finds it by their size.

    Raises:
        BadTime: at the first value that is missing, or no time.
            Also at the first of numbers that all look like dates.
        MixedUnits: the numbers have more than one unit.
    """
    dtype = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    column = column.cast(dtype)
    if column.null_count:
        raise BadTime(_first(column.is_null()), f"missing, allowed: {ALLOWED}")
    if pa.types.is_date32(dtype):
        return Times(column.cast(pa.int32()).to_numpy().astype(np.int64) * 86_400, None)
    if pa.types.is_date64(dtype) or pa.types.is_timestamp(dtype):
        per_second = PER_SECOND["ms" if pa.types.is_date64(dtype) else dtype.unit]
        return Times(column.cast(pa.int64()).to_numpy() // per_second, None)
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype):
        if pa.types.is_decimal(dtype) or pa.types.is_uint64(dtype):
            column = column.cast(pa.float64(), safe=False)
        return _from_numbers(column.to_numpy(), unit)
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype):
        return _from_text(column.cast(pa.string()), unit)
    raise BadTime(0, f"a value of type {dtype}, allowed: {ALLOWED}")


def text_type(example: str) -> pa.DataType:
    """The Arrow type that reads times like `example` from text fastest; text if it looks like none."""
    example = example.strip()
    if example.removeprefix("-").isdecimal():
        return pa.int64()
    for dtype in (pa.float64(), pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            pa.array([example]).cast(dtype)
        except pa.ArrowInvalid:
            continue
        return dtype
    return pa.string()


def unit_of(number: float) -> TimeUnit:
    """The unit of a number by its size."""
    return UNITS[int(np.searchsorted(LIMITS, abs(number), side="right"))]


def _from_numbers(numbers: np.ndarray, unit: TimeUnit | None) -> Times:
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        row = int((~np.isfinite(numbers)).argmax())
        problem = "missing" if np.isnan(numbers[row]) else f"{numbers[row]:g}"
        raise BadTime(row, f"{problem}, allowed: {ALLOWED}")
    if unit is None:
        if pattern := _date_pattern(numbers):
            problem = f"{numbers[0]:.0f} looks like a date, {pattern}, as all the others do, allowed: {ALLOWED}"
            raise BadTime(0, f"{problem}; data.time_unit sets the unit of numbers")
        unit = _find_unit(numbers)
    whole_seconds = numbers if unit == "s" else numbers // PER_SECOND[unit]
    return Times(np.floor(whole_seconds).astype(np.int64, copy=False), unit)


def _date_pattern(numbers: np.ndarray) -> str | None:
    """How all numbers are written if each is a date from 1900 to 2100, a value of `DATE_DIGITS`; else None."""
    for n_digits, pattern in DATE_DIGITS.items():
        scale = 10 ** (n_digits - 8)
        if 19000101 * scale <= numbers.min() and numbers.max() < 21010101 * scale:
            days = numbers // scale
            month, day = days // 100 % 100, days % 100
            return pattern if ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all() else None
    return None


def _find_unit(numbers: np.ndarray) -> TimeUnit:
    """The unit of all numbers; 0 is the same in each."""
    unit = unit_of(max(abs(float(numbers.max())), abs(float(numbers.min()))))
    if unit == "s":
        return unit
    size = np.abs(numbers)
    is_other = (size < LIMITS[UNITS.index(unit) - 1]) & (size > 0)
    if is_other.any():
        rows = sorted((int(is_other.argmax()), int((~is_other & (size > 0)).argmax())))
        first, second = ((row, f"{numbers[row]:.15g} is {UNIT_NAMES[unit_of(numbers[row])]}") for row in rows)
        raise MixedUnits(first, second)
    return unit


def _from_text(text: pa.ChunkedArray, unit: TimeUnit | None) -> Times:
    text = pc.utf8_trim_whitespace(text)
    dtype = text_type(text[0].as_py())
    if pa.types.is_integer(dtype):
        dtype = pa.float64() if pc.any(pc.match_substring_regex(text, "[.eE]")).as_py() else dtype
    try:
        if dtype == pa.string():
            raise pa.ArrowInvalid
        return to_seconds(text.cast(dtype), unit)
    except pa.ArrowInvalid as error:
        row, value = next((row, value) for row, value in enumerate(text.to_pylist()) if not _parses(value, dtype))
        allowed = (
            ALLOWED if dtype == pa.string() or value == "" else f"times such as {text[0].as_py()} in the first row"
        )
        raise BadTime(row, f"{value!r}, allowed: {allowed}" if value else f"missing, allowed: {allowed}") from error


def _parses(value: str, dtype: pa.DataType) -> bool:
    try:
        pa.array([value]).cast(dtype)
    except pa.ArrowInvalid:
        return False
    return dtype != pa.string()


def _first(mask: pa.ChunkedArray) -> int:
    return int(mask.to_numpy().argmax())
