"""Is a mean over users and seeds real? Its interval and p-value speak of new users and new trainings at once.

Model: `value[u, s] = mean + user_u + seed_s + rest_us`, three independent sources of variance (Cornfield and Tukey,
Annals of Mathematical Statistics 1956). A value is a paired difference between two configurations, or a metric itself.
A "seed" is any repetition: another training, another fold, another split.

With the mean squares M of a two-way layout without replication, the variance of the mean is estimated by

    V = (M_user + max(M_seed - M_rest, 0)) / (n_users · n_seeds).

An interval is `mean ± q √V`. For a few seeds, Satterthwaite's degrees of freedom give a too small q (95 % intervals
over 3 seeds cover 92 %, and at p < 0.001 there are 16 times too many false positives). Here q is a power mean between
the normal quantile z and Student's quantiles t of the components, weighted by the squares of their shares of V:

    q^r = z^r + Σ share_i² · (t_i^r - z^r),   r = z.

For every r this agrees with Welch's expansion (Biometrika 1947) to first order in 1 / degrees of freedom, and it is
exact where a component is all of the variance: t over users for one seed, t over seeds where users do not differ.
r = z was chosen by simulation: `benchmarks/coverage.py` prints the coverage and compares. The share of seeds is
`M_seed / (n_users · n_seeds · V)` times the confidence of the F-test that seeds matter at all.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

SIGNIFICANT = 0.05
"""A p-value below is called significant; intervals hold with 1 minus this."""

POWER = 0.8
"""With this probability a test finds a difference of `Estimate.detectable`."""

LEAST_P = 1e-16


class MeanSquares(NamedTuple):
    """A two-way layout in numbers; fields may be arrays of one shape, for many layouts at once.

    Args:
        mean: of all values.
        user, seed, rest: mean squares; `seed` and `rest` are 0 for one seed.
        n_users, n_seeds: sizes of the layout.
    """

    mean: np.ndarray
    user: np.ndarray
    seed: np.ndarray
    rest: np.ndarray
    n_users: int
    n_seeds: int


class Estimate(NamedTuple):
    """A mean with its 95 % interval, `mean ± half_width`.

    Args:
        mean: NaN if there are no values.
        half_width: NaN if nothing varies.
        p: two-sided, of the test that the mean is 0.
        detectable: the smallest true mean that a test at 5 % finds with a probability of 80 %.
        n_users, n_seeds: 0 users if the values were not known by user.
        covers: what interval and p speak of: "users and seeds", "users" (one seed, or all seeds gave the same),
            "seeds", or "" without an interval.
    """

    mean: float
    half_width: float
    p: float
    detectable: float
    n_users: int
    n_seeds: int
    covers: str


NOTHING = Estimate(np.nan, np.nan, np.nan, np.nan, 0, 0, "")


def mean_squares(values: np.ndarray) -> MeanSquares:
    """The mean squares of values [..., n_users, n_seeds] without NaN, for at least two users.

    >>> squares = mean_squares(np.array([[1.0, 2.0], [3.0, 6.0]]))
    >>> [float(square) for square in squares[:4]]
    [3.0, 9.0, 4.0, 1.0]
    """
    n_users, n_seeds = values.shape[-2:]
    mean = values.mean((-2, -1), keepdims=True)
    user, seed = values.mean(-1, keepdims=True) - mean, values.mean(-2, keepdims=True) - mean
    ms_user = n_seeds * (user**2).sum((-2, -1)) / (n_users - 1)
    ms_seed = n_users * (seed**2).sum((-2, -1)) / max(n_seeds - 1, 1)
    rest = ((values - mean - user - seed) ** 2).sum((-2, -1)) / ((n_users - 1) * max(n_seeds - 1, 1))
    return MeanSquares(mean[..., 0, 0], ms_user, ms_seed, rest, n_users, n_seeds)


def standard_error(squares: MeanSquares) -> np.ndarray:
    """√V of the mean, as the module's docstring has it."""
    return np.asarray(np.sqrt(_total(squares) / (squares.n_users * squares.n_seeds)))


def critical_value(squares: MeanSquares, alpha: float) -> np.ndarray:
    """q of the module's docstring: |mean| > q √V has the probability `alpha` if the true mean is 0."""
    df_user, df_seed = squares.n_users - 1, squares.n_seeds - 1
    z = -special.ndtri(alpha / 2)
    order, total = z, _total(squares)
    power = z**order + (squares.user / total) ** 2 * (_student(df_user, alpha) ** order - z**order)
    if df_seed:
        with np.errstate(divide="ignore", invalid="ignore"):
            confidence = special.fdtr(df_seed, df_user * df_seed, squares.seed / squares.rest)
        share = np.minimum(np.where(squares.seed > 0, squares.seed / total * confidence, 0), 1)
        power = power + share**2 * (_student(df_seed, alpha) ** order - z**order)
    return power ** (1 / order)


def estimate(values: np.ndarray, seed: str = "seed") -> Estimate:
    """Mean, interval and test over users and seeds.

    Args:
        values: [n_users, n_seeds] float64 without NaN; a column may stand for other columns, if the model has no seed.
        seed: what a column is, such as "seed" or "fold".
    """
    n_users, n_seeds = values.shape
    if n_users < 2:
        return estimate_over_seeds(values.mean(0), seed) if n_users else NOTHING
    spread, scale = np.abs(values - values[:, :1]).max(), np.abs(values).max()
    covers_seeds = spread > 1e-9 * scale
    squares = mean_squares(values if covers_seeds else values[:, :1])
    error = float(standard_error(squares))
    mean = float(squares.mean)
    if not error > 1e-12 * scale:
        return Estimate(mean, np.nan, np.nan, np.nan, n_users, n_seeds, "")
    covers = f"users and {seed}s" if covers_seeds else "users"
    q = float(critical_value(squares, SIGNIFICANT))
    detectable = (q + float(critical_value(squares, 2 * (1 - POWER)))) * error
    return Estimate(mean, q * error, _p_value(squares, abs(mean) / error), detectable, n_users, n_seeds, covers)


def estimate_over_seeds(values: np.ndarray, seed: str = "seed") -> Estimate:
    """Student's interval and test, for values [n_seeds] that are not known by user; NaN are ignored."""
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return NOTHING
    mean = float(values.mean())
    # Two deterministic models differ by the same number at every seed, up to rounding: this is no evidence.
    if n < 2 or np.ptp(values) <= 1e-9 * np.abs(values).max():
        return Estimate(mean, np.nan, np.nan, np.nan, 0, n, "")
    error = float(values.std(ddof=1)) / n**0.5
    quantile = _student(n - 1, SIGNIFICANT)
    p = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    detectable = (quantile + _student(n - 1, 2 * (1 - POWER))) * error
    return Estimate(mean, quantile * error, p, detectable, 0, n, f"{seed}s")


def linearize_ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Values whose mean over users is a ratio of sums, such as mse, and whose spread is that of the ratio.

    The ratio R of sums is linear in the users' terms to first order (the delta method): user u adds
    `(numerator_u - R · denominator_u) / mean(denominator)`, the influence of u on R. Where all denominators are 1, as
    for a ranking with one list a user, the values are the numerators themselves.

    Args:
        numerator, denominator: [n_users, n_seeds]; a user whom the metric does not count has 0 / 0.

    Returns:
        [n_users, n_seeds], R plus the influences; NaN where all denominators are 0.

    >>> linearize_ratio(np.array([[2.0], [4.0]]), np.array([[1.0], [3.0]])).tolist()
    [[1.75], [1.25]]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = numerator.sum(0) / denominator.sum(0)
        return ratio + (numerator - ratio * denominator) / denominator.mean(0)


def linearize_root(values: np.ndarray) -> np.ndarray:
    """The same for the square root of such a ratio, as rmse is of mse: values [n_users, n_seeds] of the ratio.

    √x is `√R + (x - R) / (2 √R)` to first order. A root of 0 stays 0.
    """
    ratio = np.maximum(values.mean(0), 0)
    root = np.sqrt(ratio)
    with np.errstate(divide="ignore", invalid="ignore"):
        return root + np.where(root > 0, (values - ratio) / (2 * root), 0)


def _total(squares: MeanSquares) -> np.ndarray:
    return squares.user + np.maximum(squares.seed - squares.rest, 0)


def _student(df: int, alpha: float) -> float:
    return float(-special.stdtrit(df, alpha / 2))


def _p_value(squares: MeanSquares, statistic: float) -> float:
    """The `alpha` whose critical value is the statistic."""

    def excess(log_alpha: float) -> float:
        return float(critical_value(squares, np.exp(log_alpha))) - statistic

    low, high = np.log(LEAST_P), -1e-9
    if excess(high) >= 0:
        return 1.0
    return float(np.exp(optimize.brentq(excess, low, high))) if excess(low) > 0 else 0.0
