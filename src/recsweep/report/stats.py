"""Holm's correction for several tests."""

import numpy as np
from numpy.typing import ArrayLike


def holm(p: ArrayLike) -> np.ndarray:
    """P-values adjusted for the number of tests, family-wise (Holm 1979).

    With p in ascending order, the i-th of m becomes `max over j ≤ i of min(1, (m - j + 1) · p_j)`. NaN stay NaN
    and do not count.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p, dtype=float)
    adjusted = np.full_like(raw, np.nan)
    order = np.argsort(raw)[: np.count_nonzero(~np.isnan(raw))]
    factor = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factor * raw[order]))
    return adjusted
