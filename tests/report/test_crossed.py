"""Intervals and tests over users and seeds: hand-worked values, and coverage on data with known variances."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from recsweep.report.crossed import (
    MeanSquares,
    critical_value,
    estimate,
    estimate_over_seeds,
    linearize_ratio,
    linearize_root,
    mean_squares,
    standard_error,
)

USER_SD, REST_SD = 0.3, 0.2
SEED_SDS = (0, 0.003, 0.01, 0.03, 0.1)
N_DRAWS = 100_000


def draw_mean_squares(rng: np.random.Generator, n_users: int, n_seeds: int, seed_sd: float) -> MeanSquares:
    """`N_DRAWS` layouts of true mean 0, by the laws of their mean and mean squares (Cochran's theorem)."""
    df_user, df_seed = n_users - 1, n_seeds - 1
    rest = REST_SD**2
    user, seed = n_seeds * USER_SD**2 + rest, n_users * seed_sd**2 + rest
    draws = [
        expected * rng.chisquare(df, N_DRAWS) / df
        for expected, df in ((user, df_user), (seed, df_seed), (rest, df_user * df_seed))
    ]
    mean = rng.normal(0, math.sqrt((user + seed - rest) / (n_users * n_seeds)), N_DRAWS)
    return MeanSquares(mean, *draws, n_users, n_seeds)


def add_seeds(rng: np.random.Generator, users: np.ndarray, n_seeds: int, seed_sd: float) -> MeanSquares:
    """Layouts with the users' effects [n_draws, n_users], of true mean 0."""
    n_draws, n_users = users.shape
    df_seed, df_rest = n_seeds - 1, (n_users - 1) * (n_seeds - 1)
    by_user = users + rng.normal(0, REST_SD / math.sqrt(n_seeds), users.shape)
    mean = by_user.mean(1) + rng.normal(0, seed_sd / math.sqrt(n_seeds), n_draws)
    seed = (n_users * seed_sd**2 + REST_SD**2) * rng.chisquare(df_seed, n_draws) / df_seed
    rest = REST_SD**2 * rng.chisquare(df_rest, n_draws) / df_rest
    return MeanSquares(mean, n_seeds * by_user.var(1, ddof=1), seed, rest, n_users, n_seeds)


def false_positives(squares: MeanSquares, alpha: float = 0.05) -> float:
    statistic = np.abs(squares.mean) / standard_error(squares)
    return float((statistic > critical_value(squares, alpha)).mean())


@pytest.mark.parametrize("n_seeds", [3, 5, 10])
@pytest.mark.parametrize("n_users", [200, 943])
def test_intervals_cover_and_false_positives_are_as_many_as_promised(n_users: int, n_seeds: int) -> None:
    rng = np.random.default_rng(1)
    rates = [false_positives(draw_mean_squares(rng, n_users, n_seeds, sd)) for sd in SEED_SDS]
    assert min(rates) > 0.04 and max(rates) < 0.06


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_rare_false_positives_stay_rare(n_seeds: int) -> None:
    """For Holm's correction small p-values must hold, too. Satterthwaite's test has up to 16 times too many."""
    rng = np.random.default_rng(2)
    squares = [draw_mean_squares(rng, 943, n_seeds, sd) for sd in SEED_SDS]
    assert max(false_positives(draws, 0.01) for draws in squares) < 0.017
    assert max(false_positives(draws, 0.001) for draws in squares) < 0.0035


@pytest.mark.parametrize("kind", ["exponential", "mostly zero"])
def test_skewed_users_are_covered(kind: str) -> None:
    rng = np.random.default_rng(3)
    users = rng.exponential(1, (12_000, 200)).astype(np.float32)
    if kind == "mostly zero":  # mean 0.2, second moment 0.4
        users = (users * (rng.random(users.shape, np.float32) < 0.2) - 0.2) / math.sqrt(0.36)
    else:
        users = users - 1
    for n_seeds in (3, 10):
        for seed_sd in (0, 0.01, 0.1):
            squares = add_seeds(rng, USER_SD * users, n_seeds, seed_sd)
            assert 0.93 < 1 - false_positives(squares) < 0.97


def test_mean_squares_of_layouts_have_the_laws_that_the_simulations_draw_from() -> None:
    rng = np.random.default_rng(4)
    n_users, n_seeds, seed_sd = 40, 4, 0.1
    shape = (4000, n_users, n_seeds)
    values = rng.normal(0, REST_SD, shape) + rng.normal(0, USER_SD, (*shape[:2], 1))
    squares = mean_squares(values + rng.normal(0, seed_sd, (shape[0], 1, n_seeds)))
    drawn = draw_mean_squares(rng, n_users, n_seeds, seed_sd)
    for name in ("mean", "user", "seed", "rest"):
        assert stats.ks_2samp(getattr(squares, name), getattr(drawn, name)).pvalue > 0.01
    sizes = np.array([squares.mean, squares.user, squares.seed, squares.rest])
    assert np.abs(np.corrcoef(sizes) - np.eye(4)).max() < 0.06  # independent


def test_the_standard_error_agrees_with_owens_pigeonhole_bootstrap() -> None:
    """Owen (Annals of Applied Statistics 2007): users and seeds are resampled independently of one another.

    Its variance is ((U - 1)/U M_user + (S - 1)/S M_seed + (U - 1)(S - 1)/(US) M_rest) / US: it counts the rest three
    times, where ours counts it once, and is a little too small for few seeds.
    """
    rng = np.random.default_rng(5)
    n_users, n_seeds = 200, 10
    values = rng.normal(0, REST_SD, (n_users, n_seeds)) + rng.exponential(USER_SD, (n_users, 1))
    values += rng.normal(0, 0.05, n_seeds)
    user_counts, seed_counts = (rng.multinomial(n, np.full(n, 1 / n), 10_000) for n in (n_users, n_seeds))
    variance = (((user_counts @ values) * seed_counts).sum(1) / values.size).var()
    squares = mean_squares(values)
    parts = 199 / 200 * squares.user + 9 / 10 * squares.seed + 199 / 200 * 9 / 10 * squares.rest
    assert variance == pytest.approx(parts / values.size, rel=0.05)
    assert standard_error(squares) == pytest.approx(math.sqrt(variance), rel=0.1)


def test_mean_squares_by_hand() -> None:
    """Of [[1, 2], [3, 6]]: means of users 3/2, 9/2, of seeds 2, 4; rests ±1/2.

    M_user = 2 (9/4 + 9/4) / 1 = 9, M_seed = 2 (1 + 1) / 1 = 4, M_rest = 4 · 1/4 / 1 = 1; V = (9 + 4 - 1) / 4 = 3.
    """
    squares = mean_squares(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert [float(square) for square in squares[:4]] == [3, 9, 4, 1]
    assert standard_error(squares) == pytest.approx(math.sqrt(3))


@pytest.mark.parametrize("n_columns", [1, 3])
def test_one_seed_and_equal_seeds_speak_of_users(n_columns: int) -> None:
    """Student's interval and test over users, whatever the number of equal columns."""
    column = np.array([0.1, 0.4, -0.2, 0.3, 0.25])
    result = estimate(np.repeat(column[:, None], n_columns, 1))
    low, high = stats.t.interval(0.95, 4, column.mean(), stats.sem(column))
    assert (result.mean - result.half_width, result.mean + result.half_width) == pytest.approx((low, high))
    assert result.p == pytest.approx(stats.ttest_1samp(column, 0).pvalue)
    assert (result.covers, result.n_users, result.n_seeds) == ("users", 5, n_columns)


def test_where_all_users_agree_it_is_students_test_over_seeds() -> None:
    seeds = np.array([0.1, 0.4, -0.2, 0.35])
    result = estimate(np.repeat(seeds[None], 50, 0), "fold")
    expected = stats.ttest_1samp(seeds, 0)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-3)
    assert result.half_width == pytest.approx(stats.t.ppf(0.975, 3) * stats.sem(seeds), rel=1e-3)
    assert result.covers == "users and folds"
    assert estimate_over_seeds(seeds).p == pytest.approx(expected.pvalue)
    assert estimate_over_seeds(np.append(seeds, np.nan)).half_width == pytest.approx(result.half_width, rel=1e-3)


@pytest.mark.parametrize("scale", [0.3, 1, 3])
def test_p_is_5_percent_where_the_interval_ends_at_zero(scale: float) -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0, 1, (60, 1)) + scale * rng.normal(0, 0.1, (1, 3)) + rng.normal(0, 0.5, (60, 3))
    values += estimate(values).half_width - values.mean()
    assert estimate(values).p == pytest.approx(0.05)
    assert estimate(1.5 * values).p == pytest.approx(0.05)
    assert estimate(values + 0.1).p < 0.05 < estimate(values - 0.1).p


def layouts_without_variance() -> Iterator[np.ndarray]:
    yield np.full((5, 3), 0.5)
    yield np.zeros((5, 1))
    yield np.zeros((1, 1))
    yield np.zeros((0, 2))


@pytest.mark.parametrize("values", list(layouts_without_variance()))
def test_without_variance_there_is_no_interval(values: np.ndarray) -> None:
    result = estimate(values)
    assert math.isnan(result.half_width) and math.isnan(result.p) and result.covers == ""


@pytest.mark.parametrize(("n_seeds", "seed_sd"), [(1, 0), (3, 0.003), (5, 0.02), (10, 0.1)])
def test_the_detectable_difference_is_found_with_a_power_of_80_percent(n_seeds: int, seed_sd: float) -> None:
    """Layouts with the median of the detectable differences as their true mean; with few seeds it is a bit less."""
    rng = np.random.default_rng(7)
    shape = (1500, 100, n_seeds)
    values = rng.normal(0, REST_SD, shape) + rng.normal(0, USER_SD, (*shape[:2], 1))
    values += rng.normal(0, seed_sd, (shape[0], 1, n_seeds))
    results = [estimate(layout) for layout in values[:200]]
    shift = float(np.median([result.detectable for result in results]))
    squares = mean_squares(values + shift)
    assert 0.75 < false_positives(squares) < 0.86


def test_a_ratio_is_linearized_by_hand() -> None:
    """(2 + 4) / (1 + 3) = 3/2; influences (2 - 3/2) / 2 = 1/4 and (4 - 9/2) / 2 = -1/4; a user without rows: 0."""
    values = linearize_ratio(np.array([[2.0], [4.0]]), np.array([[1.0], [3.0]]))
    assert values.tolist() == [[1.75], [1.25]]
    with_third = linearize_ratio(np.array([[2.0], [4.0], [0.0]]), np.array([[1.0], [3.0], [0.0]]))
    assert with_third[2, 0] == 1.5 and with_third.mean() == pytest.approx(1.5)
    assert np.isnan(linearize_ratio(np.zeros((2, 1)), np.zeros((2, 1)))).all()


def test_the_linearized_root_has_the_variance_of_the_bootstrapped_rmse() -> None:
    rng = np.random.default_rng(8)
    n = rng.integers(1, 30, 400).astype(float)
    errors = n * rng.gamma(2, 0.5, 400)
    values = linearize_root(linearize_ratio(errors[:, None], n[:, None]))
    assert values.mean() == pytest.approx(math.sqrt(errors.sum() / n.sum()))
    counts = rng.multinomial(400, np.full(400, 1 / 400), 10_000)
    rmse = np.sqrt(counts @ errors / (counts @ n))
    assert float(standard_error(mean_squares(values))) == pytest.approx(rmse.std(), rel=0.05)
    assert linearize_root(np.zeros((3, 1))).tolist() == [[0], [0], [0]]
