"""Id maps and interactions: raw ids come back, unknown ones are named, rows are taken together."""

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
def test_encode_finds_the_place_of_every_raw_id(raw: list[int] | list[str], random) -> None:
    ids = IdMap(np.array(raw), "user")
    places = [random.randrange(len(raw)) for _ in range(10)]
    wanted = [raw[place] for place in places]
    assert ids.encode(wanted).tolist() == places
    assert ids.encode([str(value) for value in wanted]).tolist() == places  # as typed on a command line
    assert ids.decode(torch.tensor([places])).tolist() == [wanted]


@pytest.mark.parametrize(
    ("raw", "wanted", "message"),
    [
        ([1, 2, 10], ["2", "3", "4"], "unknown user id 3: the data has 3 users, ids such as 1 and 10"),
        ([1, 2, 10], ["01"], "unknown user id 01: the data has 3 users, ids such as 1 and 10"),
        ([5], ["99"], "unknown user id 99: the data has 1 users, ids such as 5 and 5"),
        (["ann", "bob"], ["Ann"], "unknown user id Ann: the data has 2 users, ids such as ann and bob"),
        (["ann", "bob"], [""], "unknown user id : the data has 2 users, ids such as ann and bob"),
    ],
)
def test_an_unknown_id_is_named(raw: list[int] | list[str], wanted: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        IdMap(np.array(raw), "user").encode(wanted)
    assert str(error.value) == message


def test_take_keeps_rows_together_and_everyone_known() -> None:
    data = interactions([(0, 1, 5), (1, 0, 2), (2, 1, 3)], n_users=4, n_items=2)
    taken = data.take(torch.tensor([2, 0]))
    assert (taken.user.tolist(), taken.item.tolist(), taken.rating.tolist()) == ([2, 0], [1, 1], [3, 5])
    assert (len(taken), taken.n_users, taken.n_items) == (2, 4, 2)
    assert (len(data), data.user.tolist()) == (3, [0, 1, 2])
