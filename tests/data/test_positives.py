"""The liked rows of a data set: which they are, and that everything else stays."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rows import interactions
from shell import recsweep, train_run, weights

from recsweep.data.positives import Positives
from recsweep.data.schema import Interactions, Split
from recsweep.errors import UserError
from recsweep.runs.folder import BEST

ROWS = [(2, 0, 4.0), (0, 1, 3.0), (1, 2, 5.0), (0, 3, 1.0), (2, 2, 3.5), (1, 0, 3.0)]
"""Of 4 users and 5 items; nobody has item 4, and user 3 has nothing."""


@dataclass(frozen=True)
class Rows:
    """A source in memory."""

    name = "rows"
    ships = ("u1",)
    there: bool = True

    def ready(self) -> bool:
        return self.there

    def read(self) -> Interactions:
        return interactions(ROWS, 4, 5)

    def parts(self, name: str, data: Interactions) -> Split:
        raise AssertionError("the base's parts are of all its rows")


@pytest.mark.parametrize(
    ("above", "kept"),
    [(3.0, [0, 2, 4]), (3.4, [0, 2, 4]), (4.0, [2]), (2.9, [0, 1, 2, 4, 5]), (0.0, [0, 1, 2, 3, 4, 5])],
)
def test_rows_above_the_threshold_stay_in_their_order(above: float, kept: list[int]) -> None:
    found = Positives(Rows(), above).read()
    assert list(zip(found.user.tolist(), found.item.tolist(), found.rating.tolist(), strict=True)) == [
        ROWS[row] for row in kept
    ]


def test_users_and_items_stay() -> None:
    whole, liked = Rows().read(), Positives(Rows(), above=4.0).read()
    assert (liked.n_users, liked.n_items) == (4, 5)
    assert liked.user_ids.raw.tolist() == whole.user_ids.raw.tolist()
    assert liked.item_ids.raw.tolist() == whole.item_ids.raw.tolist()
    assert liked.rating_scale == whole.rating_scale


class Timed(Rows):
    def read(self) -> Interactions:
        return replace(super().read(), timestamp=torch.arange(100, 106))


def test_times_go_with_their_rows() -> None:
    assert Positives(Timed(), above=3.0).read().timestamp.tolist() == [100, 102, 104]


@pytest.mark.parametrize("there", [True, False])
def test_it_is_called_and_ready_as_its_base(there: bool) -> None:
    source = Positives(Rows(there), above=3.0)
    assert (source.name, source.ready(), source.ships) == ("rows", there, ())


def test_the_bases_own_split_is_of_other_rows() -> None:
    source = Positives(Rows(), above=3.0)
    with pytest.raises(UserError, match="the liked rows of rows ship no split u1: use split=random, temporal or rows"):
        source.parts("u1", source.read())


SMALL = ["data=positives", "data.base.n_users=60", "data.base.n_items=100", "data.base.n_interactions=1200"]


def test_nothing_left_is_one_line(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", *SMALL, "model=popularity", "data.above=5", "hydra.run.dir=run", "logger=none")
    message = "data.above=5 leaves no row of synthetic, whose ratings are from 1.0 to 5.0"
    assert found == (2, "", f"recsweep: {message}\n")


def test_no_split_that_the_base_ships(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "data=positives", "data/base=ml_100k", "split=u1", "model=popularity")
    message = "this data ships no split u1: split=leave_last_out|random|rows|temporal"
    assert found == (2, "", f"recsweep: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_model_learns_from_the_liked_rows(tmp_path: Path) -> None:
    """Another threshold, other rows, other counts of them."""
    words = ["model=popularity", *SMALL, "split.cold_users=keep"]
    runs = [train_run(tmp_path, *words, f"data.above={above}", "logger=none") for above in (2, 3)]
    counts = [weights(run / "checkpoints" / BEST)["count"].sum().item() for run in runs]
    assert counts[0] > counts[1] > 0
