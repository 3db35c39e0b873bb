"""Random folds: every row is test in exactly one of them."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rows import interactions

from recsweep.data.schema import Interactions, Split
from recsweep.data.splits import KFold
from recsweep.errors import UserError

NO_SOURCE: Any = None


def rows(n: int) -> Interactions:
    return interactions([(0, item, 1.0) for item in range(n)], n_users=1, n_items=n)


def split(n: int, fold: int, folds: int = 5, val_fraction: float = 0.25, seed: int = 0) -> Split:
    return KFold(fold, folds, val_fraction, seed, "error")(rows(n), NO_SOURCE)


def test_sizes() -> None:
    """Of 23 rows, five folds cut after rows 4.6, 9.2, 13.8, 18.4; a quarter of the 18 or 19 others is validation."""
    sizes = [[len(part) for part in split(23, fold)[:3]] for fold in range(5)]
    assert sizes == [[14, 4, 5], [14, 5, 4], [14, 4, 5], [14, 5, 4], [14, 4, 5]]


@given(st.integers(20, 60), st.integers(2, 6), st.integers(0, 3))
def test_each_row_is_test_once_and_in_one_part_of_each_fold(n: int, folds: int, seed: int) -> None:
    splits = [split(n, fold, folds, seed=seed) for fold in range(folds)]
    assert torch.cat([parts.test for parts in splits]).sort().values.tolist() == list(range(n))
    for parts in splits:
        assert torch.cat(parts[:3]).sort().values.tolist() == list(range(n))
        assert all(part.tolist() == sorted(part.tolist()) for part in parts[:3])


def test_the_folds_depend_on_their_seed_alone() -> None:
    torch.manual_seed(1)
    first = split(60, 0)
    torch.manual_seed(2)
    assert [part.tolist() for part in split(60, 0)[:3]] == [part.tolist() for part in first[:3]]
    other = split(60, 0, seed=1)
    assert other.test.tolist() != first.test.tolist()
    assert split(60, 0, val_fraction=0.5).test.tolist() == first.test.tolist()


def test_cold_users_and_folds_that_are_none() -> None:
    single = interactions([(user, 0, 1.0) for user in range(10)], n_users=10, n_items=1)
    with pytest.raises(UserError, match="of 10 users of rows have no row left in train"):
        KFold(0, 5, 0.25, 0, "error")(single, NO_SOURCE)
    assert len(KFold(0, 5, 0.25, 0, "keep")(single, NO_SOURCE).train) == 6
    with pytest.raises(UserError, match=r"^split\.fold=3: with split\.folds=3, folds are 0 to 2$"):
        KFold(3, 3, 0.25, 0, "keep")
