"""The liked rows of a data set: those above the threshold, with all users and items."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rows import interactions
from shell import fit_model, recsweep

from recsweep.config import compose_config
from recsweep.data.positives import Positives
from recsweep.data.schema import Interactions, Split
from recsweep.errors import UserError

ROWS = [(2, 0, 4.0), (0, 1, 3.0), (1, 2, 5.0), (0, 3, 1.0), (2, 2, 3.5), (1, 0, 3.0)]
"""Rows of 4 users and 5 items; item 4 and user 3 have none."""


@dataclass(frozen=True)
class Rows:
    """A source in memory."""

    name = "rows"
    ships = ("u1",)
    is_on_disk: bool = True

    def ready(self) -> bool:
        return self.is_on_disk

    def read(self) -> Interactions:
        return interactions(ROWS, 4, 5)

    def parts(self, name: str, data: Interactions) -> Split:
        raise AssertionError("the parts of the base refer to all of its rows")


@pytest.mark.parametrize(
    ("above", "liked"),
    [(3.0, [0, 2, 4]), (3.4, [0, 2, 4]), (4.0, [2]), (2.9, [0, 1, 2, 4, 5]), (0.0, [0, 1, 2, 3, 4, 5])],
)
def test_rows_above_the_threshold_stay_in_their_order(above: float, liked: list[int]) -> None:
    data = Positives(Rows(), above).read()
    rows = list(zip(data.user.tolist(), data.item.tolist(), data.rating.tolist(), strict=True))
    assert rows == [ROWS[row] for row in liked]


def test_users_and_items_stay() -> None:
    whole, liked = Rows().read(), Positives(Rows(), above=4.0).read()
    assert (liked.n_users, liked.n_items) == (4, 5)
    assert liked.user_ids.raw.tolist() == whole.user_ids.raw.tolist()
    assert liked.item_ids.raw.tolist() == whole.item_ids.raw.tolist()
    assert liked.rating_scale == whole.rating_scale


class RowsWithTimes(Rows):
    """The same source with timestamps."""

    def read(self) -> Interactions:
        return replace(super().read(), timestamp=torch.arange(100, 106))


def test_times_go_with_their_rows() -> None:
    assert Positives(RowsWithTimes(), above=3.0).read().timestamp.tolist() == [100, 102, 104]


@pytest.mark.parametrize("is_on_disk", [True, False])
def test_it_has_the_name_of_its_base_and_is_ready_when_its_base_is(is_on_disk: bool) -> None:
    source = Positives(Rows(is_on_disk), above=3.0)
    assert (source.name, source.ready(), source.ships) == ("rows", is_on_disk, ())


def test_the_split_of_the_base_does_not_apply_to_the_liked_rows() -> None:
    source = Positives(Rows(), above=3.0)
    with pytest.raises(UserError, match="the liked rows of rows ship no split u1: use split=random, temporal or rows"):
        source.parts("u1", source.read())


SMALL = ["data=positives", "data.base.n_users=60", "data.base.n_items=100", "data.base.n_interactions=1200"]


def test_no_liked_row_is_an_error_in_one_line(tmp_path: Path) -> None:
    outcome = recsweep(
        tmp_path, "train", *SMALL, "model=popularity", "data.above=5", "hydra.run.dir=run", "logger=none"
    )
    message = "data.above=5 keeps no row of synthetic: its ratings are between 1.0 and 5.0"
    assert outcome == (2, "", f"recsweep: {message}\n")


def test_the_command_refuses_a_split_that_the_base_ships(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "data=positives", "data/base=ml_100k", "split=u1", "model=popularity")
    message = "this data ships no split u1: split=global_time|k_fold|leave_last_out|random|rolling|rows|temporal"
    assert outcome == (2, "", f"recsweep: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_model_learns_from_the_liked_rows(tmp_path: Path) -> None:
    """A higher threshold leaves fewer rows to count."""
    overrides = ["model=popularity", *SMALL, "split.cold_users=keep"]
    counts = []
    for above in (2, 3):
        model = fit_model(compose_config([*overrides, f"data.above={above}"]), tmp_path / str(above))
        counts.append(model.state_dict()["count"].sum().item())
    assert counts[0] > counts[1] > 0
