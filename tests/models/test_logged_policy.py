"""Item frequencies of a log as a policy: small logs as fractions, and a twin that counts."""

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsweep.data.bandit_table import BanditTable
from recsweep.errors import UserError
from recsweep.models.logged_policy import LoggedPolicy

ROWS = [("a", "left"), ("b", "right"), ("a", "left"), ("b", "left"), ("c", "right")]
HALF = 0.5


def write_log(path: Path, rows: list[tuple[str, str]], position: str | None = "slot") -> BanditTable:
    pd.DataFrame(rows, columns=["item", "slot"]).assign(prob=0.5, click=1).to_csv(path, index=False)
    return BanditTable(
        str(path), item="item", propensity="prob", reward="click", position=position, context=[], items=None,
        separator=None, encoding=None, decimal_comma=None,
    )  # fmt: skip


def check(log_probabilities: Tensor, expected: list[list[Fraction]]) -> None:
    torch.testing.assert_close(log_probabilities.exp().double(), torch.tensor(expected, dtype=torch.float64))


def test_frequencies_of_each_position(tmp_path: Path) -> None:
    """On the left a, a, b; on the right b, c; and half a row more of each of the three items at either place."""
    data = write_log(tmp_path / "log.csv", ROWS).read()
    model = LoggedPolicy(data, source=None, smoothing=HALF)
    model.fit(data)
    left = [Fraction(5, 2) / Fraction(9, 2), Fraction(3, 2) / Fraction(9, 2), Fraction(1, 2) / Fraction(9, 2)]
    right = [Fraction(1, 2) / Fraction(7, 2), Fraction(3, 2) / Fraction(7, 2), Fraction(3, 2) / Fraction(7, 2)]
    check(model.score_all(torch.arange(5)), [left, right, left, left, right])
    assert torch.equal(model.log_policy(torch.tensor([1, 0])), model.score_all(torch.tensor([1, 0])))
    check(model.score(torch.tensor([4, 0, 2]), torch.tensor([0, 0, 2]))[None], [[right[0], left[0], left[2]]])


def test_only_training_rows_count(tmp_path: Path) -> None:
    """Of the left rows a, a and b, one a and b are kept; contexts that are held out are scored all the same."""
    data = write_log(tmp_path / "log.csv", ROWS).read()
    train = data.take(torch.tensor([2, 3]))
    model = LoggedPolicy(train, source=None, smoothing=1.0)
    model.fit(train)
    left, right = [Fraction(2, 5), Fraction(2, 5), Fraction(1, 5)], [Fraction(1, 3)] * 3
    check(model.score_all(torch.tensor([0, 1])), [left, right])


def test_a_log_without_positions_has_one(tmp_path: Path) -> None:
    """a, b, a, b, c and one row more of each: 3, 3 and 2 of 8."""
    data = write_log(tmp_path / "log.csv", ROWS, position=None).read()
    model = LoggedPolicy(data, source=None, smoothing=1.0)
    model.fit(data)
    check(model.score_all(torch.tensor([4, 0])), [[Fraction(3, 8), Fraction(3, 8), Fraction(2, 8)]] * 2)


def test_the_policy_of_another_log(tmp_path: Path) -> None:
    """The other log knows c alone, on the right alone: its code 0 of both is not that of `data`."""
    data = write_log(tmp_path / "log.csv", ROWS).read()
    model = LoggedPolicy(data, source=write_log(tmp_path / "other.csv", [("c", "right")] * 3), smoothing=1.0)
    model.fit(data)
    right = [Fraction(1, 6), Fraction(1, 6), Fraction(4, 6)]
    check(model.score_all(torch.tensor([0, 1])), [[Fraction(1, 3)] * 3, right])


@pytest.mark.parametrize(
    ("other", "position", "message"),
    [
        ([("a", "left"), ("d", "left")], "slot", "unknown item id d: the data has 3 items, ids such as a and c$"),
        ([("a", "top")], "slot", "unknown position id top: the data has 2 positions, ids such as left and right$"),
        ([("a", "left")], None, "unknown position id everywhere: the data has 2 positions, ids such as left and"),
    ],
)
def test_logs_that_do_not_fit(tmp_path: Path, other: list[tuple[str, str]], position: str | None, message: str) -> None:
    data = write_log(tmp_path / "log.csv", ROWS).read()
    model = LoggedPolicy(data, source=write_log(tmp_path / "other.csv", other, position), smoothing=1.0)
    with pytest.raises(UserError, match="^model.source, whose items and positions must be among .* data: " + message):
        model.fit(data)


def test_a_checkpoint_restores_it(tmp_path: Path) -> None:
    data = write_log(tmp_path / "log.csv", ROWS).read()
    model, restored = (LoggedPolicy(data, source=None, smoothing=HALF) for _ in range(2))
    model.fit(data)
    torch.save(model.state_dict(), tmp_path / "model.ckpt")
    restored.load_state_dict(torch.load(tmp_path / "model.ckpt", weights_only=True))
    assert torch.equal(restored.score_all(torch.arange(5)), model.score_all(torch.arange(5)))


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("LMR")), min_size=1),
    st.floats(0.01, 10),
)
def test_probabilities_are_smoothed_counts(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], smoothing: float
) -> None:
    data = write_log(tmp_path_factory.mktemp("log") / "log.csv", rows).read()
    model = LoggedPolicy(data, source=None, smoothing=smoothing)
    model.fit(data)
    cells, positions, items = Counter(rows), Counter(slot for _, slot in rows), sorted({item for item, _ in rows})
    expected = [
        [(cells[item, slot] + smoothing) / (positions[slot] + len(items) * smoothing) for item in items]
        for _, slot in rows
    ]
    actual = model.log_policy(torch.arange(len(rows))).exp().double()
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=0)
    torch.testing.assert_close(actual.sum(1), torch.ones(len(rows), dtype=torch.float64), rtol=1e-5, atol=0)
