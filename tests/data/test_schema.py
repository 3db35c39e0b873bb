"""Id maps and interactions: raw ids are found again, unknown ids are named, rows stay aligned."""

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rows import interactions

from recsweep.data.schema import IdMap
from recsweep.errors import UserError

INTEGERS = st.lists(st.integers(0, 10**12), min_size=1, max_size=20, unique=True)
WORDS = st.lists(st.text("abcdefgh019 é", min_size=1, max_size=4), min_size=1, max_size=20, unique=True)


@given(st.one_of(INTEGERS, WORDS), st.randoms())
def test_encode_finds_the_contiguous_id_of_each_raw_id(raw: list[int] | list[str], random: Random) -> None:
    id_map = IdMap(np.array(raw), "user")
    ids = [random.randrange(len(raw)) for _ in range(10)]
    raw_ids = [raw[id] for id in ids]
    assert id_map.encode(raw_ids).tolist() == ids
    assert id_map.encode([str(value) for value in raw_ids]).tolist() == ids  # as typed on a command line
    assert id_map.decode(torch.tensor([ids])).tolist() == [raw_ids]


@pytest.mark.parametrize(
    ("raw", "ids", "message"),
    [
        ([1, 2, 10], ["2", "3", "4"], "unknown user id 3: the data has 3 users, ids such as 1 and 10"),
        ([1, 2, 10], ["01"], "unknown user id 01: the data has 3 users, ids such as 1 and 10"),
        ([5], ["99"], "unknown user id 99: the data has 1 users, ids such as 5 and 5"),
        (["ann", "bob"], ["Ann"], "unknown user id Ann: the data has 2 users, ids such as ann and bob"),
        (["ann", "bob"], [""], "unknown user id : the data has 2 users, ids such as ann and bob"),
    ],
)
def test_an_unknown_id_is_named(raw: list[int] | list[str], ids: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        IdMap(np.array(raw), "user").encode(ids)
    assert str(error.value) == message


def test_take_keeps_columns_aligned_and_all_users_and_items() -> None:
    data = interactions([(0, 1, 5), (1, 0, 2), (2, 1, 3)], n_users=4, n_items=2)
    subset = data.take(torch.tensor([2, 0]))
    assert (subset.user.tolist(), subset.item.tolist(), subset.rating.tolist()) == ([2, 0], [1, 1], [3, 5])
    assert (len(subset), subset.n_users, subset.n_items) == (2, 4, 2)
    assert (len(data), data.user.tolist()) == (3, [0, 1, 2])
