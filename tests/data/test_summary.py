"""What `data prepare` tells of a data set, against rows counted by hand."""

from dataclasses import replace

import torch
from rows import interactions

from recsweep.data.schema import Split
from recsweep.data.summary import (
    count_items_only_in_test,
    count_users_split_within_a_time,
    count_users_unseen_in_train,
    count_users_with_one_row,
    format_time,
    rating_histogram,
    share_of_the_future,
    share_of_ties,
)

ROWS = replace(
    interactions([(0, 0, 1), (1, 1, 2), (0, 1, 3), (0, 2, 4), (1, 3, 5), (2, 0, 5)], n_users=4, n_items=4),
    timestamp=torch.tensor([7, 9, 5, 7, 8, 7]),
)
"""User 0 at times 7, 5, 7; user 1 at 9, 8; user 2 once, at 7, which ties with no row of its own; user 3 never."""


def split(train: list[int], val: list[int], test: list[int]) -> Split:
    return Split(torch.tensor(train), torch.tensor(val), torch.tensor(test))


def test_ties_are_within_users() -> None:
    assert share_of_ties(ROWS) == 2 / 6
    assert share_of_ties(replace(ROWS, timestamp=torch.arange(6))) == 0


def test_users_with_one_row() -> None:
    assert count_users_with_one_row(ROWS) == 1


def test_items_only_in_test() -> None:
    """Items 2 and 3 are only in test; item 1 is also in validation; item 0 only in train."""
    assert count_items_only_in_test(ROWS, split([0, 5], [1], [2, 3, 4])) == 2


def test_users_whose_rows_of_one_time_are_in_several_parts() -> None:
    assert count_users_split_within_a_time(ROWS, split([2, 0], [4], [3, 1])) == 1  # rows 0 and 3, both at 7
    assert count_users_split_within_a_time(ROWS, split([2, 4], [5], [0, 3, 1])) == 0
    assert count_users_split_within_a_time(ROWS, split([2, 0], [4], [1])) == 0  # row 3 is in no part


def test_users_unseen_in_train() -> None:
    assert count_users_unseen_in_train(ROWS, split([0, 5], [1], [2, 3, 4])) == 1  # user 1
    assert count_users_unseen_in_train(ROWS, split([0, 4], [1], [2, 3])) == 0  # user 2 is in no part


def test_train_rows_later_than_the_first_test_row() -> None:
    assert share_of_the_future(ROWS, split([0, 1, 2, 4], [5], [3])) == 2 / 4  # rows 1 and 4; row 0 has its time
    assert share_of_the_future(ROWS, split([2, 5], [0], [1, 3])) == 0


def test_histogram_of_few_and_of_many_ratings() -> None:
    assert rating_histogram(torch.tensor([5.0, 0.5, 5.0, 3.0])) == [("0.5", 1), ("3", 1), ("5", 2)]
    bars = rating_histogram(torch.arange(21.0))  # intervals of 2; the last one holds 18, 19 and 20
    assert [count for _, count in bars] == [2] * 9 + [3]
    assert bars[0][0] == "0 to 2" and bars[-1][0] == "18 to 20"


def test_a_time_beyond_the_calendar() -> None:
    assert format_time(10**15) == "1000000000000000 s"
