"""Means and popularity: a 2 × 2 example as fractions, and an independent twin on random rows."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rows import interactions

from recsweep.errors import UserError
from recsweep.models.baselines import Means, Popularity, RecentPopularity, shrunk_means

ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from([1.0, 2.5, 3.0, 5.0])),
    min_size=1,
    unique_by=lambda row: row[:2],
)
STRENGTH = st.sampled_from([5.0, 10.0, 25.0])


def test_means_by_hand() -> None:
    """The mean of 5, 1, 3 is 3; what is left over is 2, -2, 0. With both shrinkages 1 the four offsets solve:

    u0 = (2 - i0 - 2 - i1) / 3, u1 = (0 - i0) / 2, i0 = (2 - u0 + 0 - u1) / 3, i1 = (-2 - u0) / 2.
    """
    user, item = [Fraction(2, 21), Fraction(-8, 21)], [Fraction(16, 21), Fraction(-22, 21)]
    assert user == [-(item[0] + item[1]) / 3, -item[0] / 2]
    assert item == [(2 - user[0] - user[1]) / 3, (-2 - user[0]) / 2]
    data = interactions([(0, 0, 5), (0, 1, 1), (1, 0, 3)], n_users=2, n_items=2)
    model = Means(data, user_shrinkage=1.0, item_shrinkage=1.0)
    model.fit(data)
    expected = [[float(3 + u + i) for i in item] for u in user]
    actual = model.score_all(torch.tensor([0, 1])).tolist()
    assert actual == [pytest.approx(row, abs=1e-4) for row in expected]
    pairs = model.score(torch.tensor([1, 0]), torch.tensor([1, 0])).tolist()
    assert pairs == pytest.approx([float(3 + user[1] + item[1]), float(3 + user[0] + item[0])], abs=1e-4)


@given(ROWS, STRENGTH, STRENGTH)
def test_means_solve_the_least_squares_problem(
    rows: list[tuple[int, int, float]], user_shrinkage: float, item_shrinkage: float
) -> None:
    """Ridge regression of the ratings, less their mean, on who and what; solved by its normal equations."""
    rating = np.array([rating for *_, rating in rows])
    design = np.zeros((len(rows), 5 + 4))
    for row, (user, item, _) in enumerate(rows):
        design[row, [user, 5 + item]] = 1
    ridge = np.diag([user_shrinkage] * 5 + [item_shrinkage] * 4)
    offsets = np.linalg.solve(design.T @ design + ridge, design.T @ (rating - rating.mean()))
    mean, user_offset, item_offset = shrunk_means(interactions(rows, 5, 4), user_shrinkage, item_shrinkage)
    np.testing.assert_allclose(mean, rating.mean(), rtol=1e-6)
    np.testing.assert_allclose(user_offset, offsets[:5], atol=1e-5)
    np.testing.assert_allclose(item_offset, offsets[5:], atol=1e-5)


@given(ROWS)
def test_popularity_counts_rows(rows: list[tuple[int, int, float]]) -> None:
    data = interactions(rows, 5, 4)
    model = Popularity(data)
    model.fit(data)
    expected = [float(sum(other == i for _, other, _ in rows)) for i in range(4)]
    assert model.score_all(torch.tensor([3, 0])).tolist() == [expected, expected]
    assert model.score(torch.tensor([1, 1]), torch.tensor([2, 0])).tolist() == [expected[2], expected[0]]


def test_recent_rows_count_more() -> None:
    """Rows of item 0 are 0 and 6 days old, that of item 1 is 3: with a half-life of 3 days, 1 + 1/4 and 1/2."""
    times = torch.tensor([6, 0, 3]) * 86400 + 10**9
    data = replace(interactions([(0, 0, 1), (1, 0, 1), (1, 1, 1)], n_users=2, n_items=3), timestamp=times)
    model = RecentPopularity(data, half_life=3.0)
    model.fit(data)
    assert model.score_all(torch.tensor([1])).tolist() == [[1.25, 0.5, 0]]
    for untimed in (replace(data, timestamp=None), replace(data, has_seconds=False)):
        with pytest.raises(UserError, match=r"^model recent_popularity needs times, and rows has none: take model=pop"):
            RecentPopularity(untimed, half_life=3.0)
