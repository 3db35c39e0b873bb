"""Ids of users and items: text exactly as a file has it.

`007` and `7` are two ids. Whole numbers in their usual form (`7`, `-12`, no leading zeros, no plus) come first, in the
order of their values, then all other ids as text. Ids that are all such numbers are kept as int64, which is the same
ids in less memory.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MAX_BY_LENGTH = 10**12
WHOLE_NUMBER = "^(0|-?[1-9][0-9]*)$"
ID = pa.dictionary(pa.int32(), pa.string())
"""The type of a column of ids, each distinct id stored once."""


def read_ids(column: pa.ChunkedArray, stripped: bool = False) -> np.ndarray | pd.Categorical:
    """A column of ids: int64 if all are whole numbers in their usual form, else categories of text.

    Args:
        column: text, numbers, dates, booleans or bytes. Whole floats become whole numbers.
        stripped: without the blanks around an id.

    Raises:
        pa.ArrowInvalid, pa.ArrowNotImplementedError: of another type, such as a list.
    """
    numbers = None if column.null_count else _whole_numbers(column)
    if numbers is not None:
        return numbers.to_numpy()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries()
    values = _to_text(column.chunk(0).dictionary)
    if stripped:
        values = pc.utf8_trim_whitespace(values)
    code_of_value, distinct = pd.factorize(values.to_numpy(zero_copy_only=False))
    codes = np.concatenate([_codes(chunk.indices) for chunk in column.chunks])
    if len(distinct) < len(values):  # a repeated or missing value in the dictionary
        codes = np.append(code_of_value, -1)[codes]
    return pd.Categorical.from_codes(codes, pd.Index(distinct, dtype=object), validate=False)


def _whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column of integers, or of text that is their usual form, as int64; None for any other.

    Text that parses as a number is at least as long as the number's usual form (hexadecimal text from 10^12 on is not).
    So if their lengths are the same in sum, all text is in its usual form.
    """
    is_text = pa.types.is_string(column.type)
    if not (is_text or pa.types.is_integer(column.type)):
        return None
    try:
        numbers = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not is_text:
        return numbers
    range_ = pc.min_max(numbers).as_py()
    if range_["min"] < 0 or range_["max"] >= MAX_BY_LENGTH:
        return None
    values = numbers.to_numpy()
    n_digits = len(values) + sum(int((values >= 10**power).sum()) for power in range(1, len(str(range_["max"]))))
    return numbers if pc.sum(pc.binary_length(column)).as_py() == n_digits else None


def concatenate_columns(first: pd.Series, second: pd.Series) -> pd.Series:
    """Two columns as one; ids stay ids where only one of them holds all whole numbers, as int64."""
    if not any(isinstance(column.dtype, pd.CategoricalDtype) for column in (first, second)):
        return pd.concat([first, second], ignore_index=True)
    as_text = (_as_categories(column) for column in (first, second))
    return pd.Series(pd.api.types.union_categoricals(list(as_text)))


def _as_categories(ids: pd.Series) -> pd.Categorical:
    is_text = isinstance(ids.dtype, pd.CategoricalDtype)
    codes, values = (ids.cat.codes.to_numpy(), ids.cat.categories) if is_text else pd.factorize(ids)
    return pd.Categorical.from_codes(codes, pd.Index(values.astype(str), dtype=object), validate=False)


def occurring_ids(values: pd.Series) -> pd.Series:
    """The distinct ids that occur in a column of ids."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return pd.Series(values.unique())
    codes = values.cat.codes.to_numpy()
    is_used = np.bincount(codes[codes >= 0], minlength=len(values.cat.categories)) > 0
    return pd.Series(values.cat.categories[is_used])


def raw_ids(values: pd.Series) -> np.ndarray:
    """Ids [n] as an `IdMap` stores them: int64 if all are whole numbers of 64 bits, else fixed-width text."""
    if pd.api.types.is_integer_dtype(values):
        return values.to_numpy(dtype=np.int64)
    text = values.to_numpy(dtype=object).astype(str)
    if _is_whole_number(text).all():
        try:
            return text.astype(np.int64)
        except OverflowError:
            pass
    return text


def natural_order(raw: np.ndarray) -> np.ndarray:
    """Indices that sort raw ids [n]: whole numbers by value, then the rest as text.

    >>> ids = np.array(["b", "12", "007", "7", "-1"])
    >>> ids[natural_order(ids)].tolist()
    ['-1', '7', '12', '007', 'b']
    """
    if raw.dtype.kind == "i":
        return np.argsort(raw)
    is_number = _is_whole_number(raw)
    numbers, rest = np.flatnonzero(is_number), np.flatnonzero(~is_number)
    by_value = sorted(numbers.tolist(), key=lambda index: int(raw[index]))
    return np.concatenate([np.array(by_value, dtype=np.int64), rest[np.argsort(raw[rest])]])


def find_ids(sorted_ids: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Index [n] in `sorted_ids` of each of `raw` [n]; -1 where it is not there."""
    if sorted_ids.dtype.kind != raw.dtype.kind:
        sorted_ids, raw = sorted_ids.astype(str), raw.astype(str)
    if raw.dtype.kind != "i":
        sorted_ids, raw = sorted_ids.astype(object), raw.astype(object)
    return pd.Index(sorted_ids).get_indexer(pd.Index(raw))


def _is_whole_number(text: np.ndarray) -> np.ndarray:
    return pc.match_substring_regex(pa.array(text), WHOLE_NUMBER).to_numpy(zero_copy_only=False).astype(bool)


def _to_text(values: pa.Array) -> pa.Array:
    """Distinct values as text."""
    if pa.types.is_floating(values.type):
        texts = (None if value is None or value != value else repr(value) for value in values.to_pylist())
        return pa.array([text.removesuffix(".0") if text else text for text in texts], pa.string())
    if pa.types.is_decimal(values.type) and values.type.scale == 0:
        return pa.array([None if value is None else f"{value:f}" for value in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _codes(indices: pa.Array) -> np.ndarray:
    if indices.null_count:
        indices = (
            indices.fill_null(-1) if pa.types.is_signed_integer(indices.type) else indices.cast("int64").fill_null(-1)
        )
    return indices.to_numpy()
