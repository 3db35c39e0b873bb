"""Filters by rows counted by hand, and with the splits that a data set ships."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rows import interactions
from shell import recsweep

from recsweep.data.filters import Filter, Filtered, k_core
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Features, Interactions, Source, Split
from recsweep.data.sheet import note_once
from recsweep.data.splits import Canonical
from recsweep.data.synthetic import Synthetic
from recsweep.errors import UserError

ROWS = [(0, 0), (3, 2), (0, 1), (1, 1), (2, 2), (1, 0), (2, 1)]
"""Users 0 and 1 have items 0 and 1. User 2 has items 1 and 2; user 3 has item 2; user 4 and item 3 have no row."""
DATA = replace(
    interactions([(user, item, 1.0 + row % 5) for row, (user, item) in enumerate(ROWS)], n_users=5, n_items=4),
    timestamp=torch.tensor([1, 9, 7, 9, 3, 2, 4]),
    item_titles=("a", "b", "c", "d"),
    user_features=Features({"age": torch.tensor([20.0, 21.0, 22.0, 23.0, 24.0])}, {}),
)


SPLIT = Split(*(torch.tensor(rows) for rows in ([0, 1, 2], [3, 4], [6, 5])))


@dataclass(frozen=True)
class InMemory:
    """A source that ships one split: rows 0 to 2 train, 3 and 4 validation, 5 and 6 test, test in another order."""

    data: Interactions = DATA
    split: Split = SPLIT
    name = "rows"
    ships = ("given",)

    def ready(self) -> bool:
        return False

    def read(self) -> Interactions:
        return self.data

    def parts(self, name: str, data: Interactions) -> Split:
        assert data is self.data
        return self.split


def keep(source: Source | None = None, **steps: Any) -> Filtered:
    unset = {"user_fraction": None, "users": "random", "seed": 0}
    unset |= {"min_user_rows": None, "min_item_rows": None, "k_core": None}
    return Filtered(source or InMemory(), Filter(**(unset | steps)))


def rows_of(source: Filtered) -> list[tuple[int, int]]:
    """Raw ids of each row, numbered as in `ROWS`."""
    data = source.read()
    users, items = data.user_ids.decode(data.user) - 10, data.item_ids.decode(data.item) - 20
    return list(zip(users.tolist(), items.tolist(), strict=True))


def test_a_core_is_repeated_and_a_minimum_is_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Without user 3, item 2 has one row; without item 2, user 2 has one."""
    assert rows_of(keep(k_core=2)) == [(0, 0), (0, 1), (1, 1), (1, 0)]
    assert rows_of(keep(min_user_rows=2, min_item_rows=2)) == [row for row in ROWS if row != (3, 2)]
    assert rows_of(keep(min_item_rows=3)) == [(0, 1), (1, 1), (2, 1)]
    assert capsys.readouterr().err.splitlines() == [
        "rows, filter.k_core=2: 7 → 4 rows, 5 → 2 users, 4 → 2 items",
        "rows, filter.min_user_rows=2 filter.min_item_rows=2: 7 → 6 rows, 5 → 3 users, 4 → 3 items",
        "rows, filter.min_item_rows=3: 7 → 3 rows, 5 → 3 users, 4 → 1 items",
    ]


pairs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5)), min_size=1, max_size=60)


@given(pairs, st.integers(1, 4))
def test_a_core_equals_a_loop_that_drops_one_row_at_a_time(rows: list[tuple[int, int]], k: int) -> None:
    kept = list(range(len(rows)))
    while True:
        of_user, of_item = ([rows[row][column] for row in kept] for column in (0, 1))
        poor = [row for row in kept if min(of_user.count(rows[row][0]), of_item.count(rows[row][1])) < k]
        if not poor:
            break
        kept.remove(poor[0])
    assert k_core(*torch.tensor(rows).T, k).nonzero().flatten().tolist() == kept


def test_the_latest_users_keep_all_their_rows() -> None:
    """The last rows of users 0 to 3 are at 7, 9, 4 and 9."""
    assert rows_of(keep(user_fraction=0.5, users="latest")) == [(3, 2), (1, 1), (1, 0)]
    assert rows_of(keep(user_fraction=0.3, users="latest")) == [(1, 1), (1, 0)]
    assert rows_of(keep(user_fraction=0.01, users="latest")) == [(1, 1), (1, 0)]
    with pytest.raises(UserError, match=r"rows has no timestamps, which filter\.users=latest needs"):
        keep(InMemory(replace(DATA, timestamp=None)), user_fraction=0.5, users="latest").read()


def test_random_users_depend_on_the_seed_alone() -> None:
    many = InMemory(interactions([(user, 0, 1.0) for user in range(40)], n_users=40, n_items=1))
    torch.manual_seed(1)
    first = rows_of(keep(many, user_fraction=0.25))
    torch.manual_seed(2)
    assert rows_of(keep(many, user_fraction=0.25)) == first != rows_of(keep(many, user_fraction=0.25, seed=1))
    assert len(first) == 10


def test_steps_follow_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Users 0, 1 and 3 are the latest; then item 2 has one row; then user 3 is gone."""
    source = keep(InMemory(replace(DATA, name="chain")), user_fraction=0.75, users="latest", min_item_rows=2, k_core=2)
    assert rows_of(source) == [(0, 0), (0, 1), (1, 1), (1, 0)]
    assert capsys.readouterr().err.splitlines() == [
        "chain, filter.user_fraction=0.75 filter.users=latest: 7 → 5 rows, 5 → 3 users, 4 → 3 items",
        "chain, filter.min_item_rows=2: 5 → 4 rows, 3 → 2 users, 3 → 2 items",
        "chain, filter.k_core=2: 4 → 4 rows, 2 → 2 users, 2 → 2 items",
    ]


def test_titles_features_and_times_go_with_what_is_kept() -> None:
    data = keep(user_fraction=0.5, users="latest").read()
    assert data.user.tolist() == [1, 0, 0] and data.item.tolist() == [2, 1, 0]
    assert data.user_ids.raw.tolist() == [11, 13]
    assert data.item_titles == ("a", "b", "c")
    assert data.user_features is not None
    assert data.user_features.columns["age"].tolist() == [21, 23]
    assert data.timestamp is not None
    assert (data.timestamp.tolist(), data.rating.tolist()) == ([9, 9, 2], [2, 4, 1])


def test_the_truth_is_that_of_the_users_and_items_kept() -> None:
    synthetic = Synthetic(n_users=30, n_items=40, n_interactions=300, noise=0.9, seed=0)
    whole, data = synthetic.read(), keep(synthetic, min_item_rows=8).read()
    assert whole.truth is not None and data.truth is not None
    assert 0 < data.n_items < 40
    users = torch.from_numpy(data.user_ids.raw)[data.user]
    whole_users, whole_items = whole.user_ids.encode(users.tolist()), whole.item_ids.encode(data.item_ids.raw)
    expected = whole.truth.score_all(whole_users)[:, whole_items]
    assert torch.allclose(data.truth.score_all(data.user), expected, atol=1e-6)


def test_a_shipped_split_loses_the_rows_that_are_dropped() -> None:
    """Rows 0, 2, 3 and 5 stay, and become 0 to 3."""
    source = keep(k_core=2)
    split = Canonical("given", 0.1, 0, "keep")(source.read(), source)
    assert [part.tolist() for part in split[:3]] == [[0, 1], [2], [3]]
    assert (source.ships, source.name, source.ready()) == (("given",), "rows", False)


def test_what_a_filter_would_make_wrong_is_refused() -> None:
    candidates = keep(InMemory(split=SPLIT._replace(candidates=torch.zeros(2, 9))), k_core=1)
    with pytest.raises(UserError, match=r"^split=given of rows names items to rank, .*: filter=null$"):
        candidates.parts("given", candidates.read())
    log = BanditLog(**vars(DATA), propensity=torch.ones(7), recurring=True)
    with pytest.raises(UserError, match=r"^rows is a log with propensities, .*: filter=null$"):
        keep(InMemory(log), k_core=1).read()
    with pytest.raises(UserError, match=r"^filter\.k_core=3 leaves no row of rows \(7 rows\)$"):
        keep(k_core=3).read()


SMALL = ("data=synthetic", "data.n_users=60", "data.n_items=100", "data.n_interactions=1200")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("filter.k_core=5", "filter: nothing is chosen, so it has no keys; choose filter=k_core|min_rows|users first"),
        ("filter=k_core filter.k_core=null", "filter: none of its steps is set; set one, or leave it out: filter=null"),
        ("filter=users filter.users=new", "filter.users=new: it should be 'random' or 'latest'"),
        ("filter=users filter.user_fraction=1.0", "filter.user_fraction=1.0: it should be less than 1"),
        (
            "filter=k_core data=bandit model=nominator",
            "data.rows=log has a row for each pair or event of its own making: filter=null",
        ),
    ],
)
def test_mistakes_are_one_line(words: str, message: str, tmp_path: Path) -> None:
    assert recsweep(tmp_path, "data", "prepare", *words.split()) == (2, "", f"recsweep: {message}\n")


@pytest.mark.parametrize("model", ["means", "popularity"])
def test_a_run_and_its_evaluation_on_filtered_data(model: str, tmp_path: Path) -> None:
    """Ratings and rankings; the run records the sizes that are left."""
    note_once.cache_clear()
    words = (f"model={model}", "filter=k_core", "filter.k_core=12", "hydra.run.dir=run", "logger=none")
    trained = recsweep(tmp_path, "train", *SMALL, *words)
    assert trained.status == 0
    assert "synthetic, filter.k_core=12: 1,200 → " in trained.err
    assert recsweep(tmp_path, "evaluate", "run=run").status == 0
