"""Short texts that identify the rows of a data set and of a split: recorded by runs, compared by later verbs.

They depend on the values alone: not on the order of the rows in a file, on the process or on the machine.
"""

import hashlib
import json
from typing import NamedTuple

import numpy as np
from torch import Tensor

from recsweep.cache import fingerprint
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Features, IdMap, Interactions, Split

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
DIGITS = 32  # 128 bits


class Fingerprints(NamedTuple):
    """Hexadecimal texts that are equal where the data are.

    Args:
        data: of all rows (user, item, rating, timestamp, propensity), raw ids and features, however they are split.
        split: of the same, and of which rows are in train, val and test; also of published negative items.
    """

    data: str
    split: str


def fingerprint_rows(data: Interactions, split: Split) -> Fingerprints:
    """The fingerprints of a data set and of its split."""
    rows = _hash_rows([data.user, data.item, data.rating, data.seconds])
    if isinstance(data, BanditLog):
        rows = _mix(rows + _to_bits(data.propensity))
    has_times = data.timestamp is not None
    ids = [_hash_ids(data.user_ids), _hash_ids(data.item_ids)]
    features = [_hash_features(data.user_features), _hash_features(data.item_features)]
    whole = _digest(ids, features, has_times, _sums(rows))
    train, val, test = (rows[part.numpy()] for part in (split.train, split.val, split.test))
    if split.candidates is not None:
        test = _mix(test + _mix(_to_bits(split.candidates) + GOLDEN).sum(1))
    return Fingerprints(whole, _digest(whole, _sums(train), _sums(val), _sums(test)))


def _hash_rows(columns: list[Tensor]) -> np.ndarray:
    """A hash [N] uint64 of each row's values in columns [N]."""
    rows = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        rows += GOLDEN
        rows += _to_bits(column)
        rows = _mix(rows)
    return rows


def _to_bits(column: Tensor) -> np.ndarray:
    """Values as uint64, those of floating point by their bits in single precision; 0.0 and -0.0 are the same."""
    values = np.ascontiguousarray(column.numpy())
    if column.is_floating_point():
        values = (values.astype(np.float32) + np.float32(0)).view(np.int32)
    return values.astype(np.int64, copy=False).view(np.uint64)


def _mix(bits: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that spreads every bit over all others (the finaliser of SplitMix64); overwrites `bits`."""
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits


def _sums(rows: np.ndarray) -> list[int]:
    """Number and two sums of hashes, which do not depend on their order."""
    return [len(rows), int(rows.sum()), int(_mix(rows + GOLDEN).sum())]


def _hash_ids(ids: IdMap) -> str:
    raw = ids.raw
    content = raw.astype("<i8").tobytes() if raw.dtype.kind == "i" else json.dumps(raw.tolist()).encode()
    return hashlib.sha256(content).hexdigest()


def _hash_features(features: Features | None) -> dict[str, str] | None:
    """A hash of each feature column, by name."""
    if features is None:
        return None
    return {name: fingerprint(column).hex() for name, column in sorted(features.columns.items())}


def _digest(*content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:DIGITS]
