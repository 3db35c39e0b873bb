"""Fingerprints of data and splits: equal for equal rows in any order, different for any other value."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rows import interactions

from recsweep.data.fingerprint import fingerprint_rows
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Features, IdMap, Interactions, Split

ROWS = [(0, 0, 5.0), (0, 1, 3.0), (1, 0, 4.0), (1, 2, 1.5), (2, 2, 2.0), (2, 0, 3.0)]
SPLIT = Split(torch.tensor([0, 1, 2, 3]), torch.tensor([4]), torch.tensor([5]))
COLORS = Features({"color": torch.tensor([0, 1, 0])}, {"color": ("red", "blue")})


def data() -> Interactions:
    times = torch.tensor([10, 20, 30, 40, 50, 60])
    return replace(interactions(ROWS, 3, 3), timestamp=times, item_features=COLORS)


def changed(column: str, row: int) -> Interactions:
    values = getattr(data(), column).clone()
    values[row] = (values[row] + 1) % 3
    return replace(data(), **{column: values})


@pytest.mark.parametrize("row", range(len(ROWS)))  # of train, val and test
@pytest.mark.parametrize("column", ["user", "item", "rating", "timestamp"])
def test_any_other_value_gives_other_fingerprints(column: str, row: int) -> None:
    before, after = fingerprint_rows(data(), SPLIT), fingerprint_rows(changed(column, row), SPLIT)
    assert before.data != after.data and before.split != after.split


@pytest.mark.parametrize(
    "other",
    [
        replace(data(), user_ids=IdMap(np.arange(3) + 11, "user")),
        replace(data(), item_ids=IdMap(np.array(["20", "21", "22"]), "item")),
        replace(data(), item_ids=IdMap(np.arange(4) + 20, "item")),
        replace(data(), timestamp=None),
        replace(data(), item_features=None),
        replace(data(), item_features=replace(COLORS, columns={"color": torch.tensor([0, 1, 1])})),
        replace(data(), user=data().item, item=data().user),
        replace(data(), rating=data().rating[torch.tensor([1, 0, 2, 3, 4, 5])]),
    ],
    ids=["users", "ids as text", "an item more", "no times", "no features", "features", "exchanged columns", "ratings"],
)
def test_other_ids_features_and_columns_give_other_fingerprints(other: Interactions) -> None:
    before, after = fingerprint_rows(data(), SPLIT), fingerprint_rows(other, SPLIT)
    assert before.data != after.data and before.split != after.split


def test_propensities_count() -> None:
    def log(last: float) -> BanditLog:
        return BanditLog(**vars(data()), propensity=torch.tensor([0.5] * 5 + [last]), recurring=True)

    assert fingerprint_rows(log(0.5), SPLIT) == fingerprint_rows(log(0.5), SPLIT)
    assert fingerprint_rows(log(0.5), SPLIT).data != fingerprint_rows(log(0.25), SPLIT).data


@pytest.mark.parametrize(
    "other",
    [
        Split(SPLIT.train, SPLIT.test, SPLIT.val),
        Split(torch.tensor([0, 1, 2]), torch.tensor([3, 4]), SPLIT.test),
        Split(SPLIT.train, SPLIT.val, SPLIT.test[:0]),
        SPLIT._replace(candidates=torch.tensor([[1]])),
    ],
)
def test_another_split_of_the_same_data(other: Split) -> None:
    before, after = fingerprint_rows(data(), SPLIT), fingerprint_rows(data(), other)
    assert before.data == after.data and before.split != after.split


def test_each_test_row_has_its_own_negative_items() -> None:
    two = Split(SPLIT.train, SPLIT.val[:0], torch.tensor([4, 5]), torch.tensor([[1, 0], [2, 1]]))
    same = two._replace(candidates=torch.tensor([[0, 1], [1, 2]]))
    exchanged = two._replace(candidates=torch.tensor([[2, 1], [1, 0]]))
    assert fingerprint_rows(data(), two) == fingerprint_rows(data(), same) != fingerprint_rows(data(), exchanged)


def test_the_order_of_the_rows_does_not_count() -> None:
    order = torch.tensor([3, 5, 0, 4, 2, 1])
    position = order.argsort()
    shuffled_split = Split(*(position[part].flip(0) for part in SPLIT[:3]))
    assert fingerprint_rows(data().take(order), shuffled_split) == fingerprint_rows(data(), SPLIT)


def test_the_fingerprint_depends_on_numbers_alone() -> None:
    """A twin in Python's own integers: the same text in any process, on any machine."""

    def mix(bits: int) -> int:
        bits ^= bits >> 30
        bits = bits * 0xBF58476D1CE4E5B9 % 2**64
        bits ^= bits >> 27
        bits = bits * 0x94D049BB133111EB % 2**64
        return bits ^ bits >> 31

    golden = 0x9E3779B97F4A7C15
    float_bits = {5.0: 0x40A00000, 3.0: 0x40400000, 4.0: 0x40800000, 1.5: 0x3FC00000, 2.0: 0x40000000}
    hashes = []
    for user, item, rating in ROWS:
        total = 0
        for bits in (user, item, float_bits[rating], 0):  # without times
            total = mix((total + golden + bits) % 2**64)
        hashes.append(total)

    def sums(rows: list[int]) -> list[int]:
        return [len(rows), sum(rows) % 2**64, sum(mix((row + golden) % 2**64) for row in rows) % 2**64]

    def digest(*content: object) -> str:
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def hash_ids(first: int) -> str:
        return hashlib.sha256(b"".join(number.to_bytes(8, "little") for number in range(first, first + 3))).hexdigest()

    whole = digest([hash_ids(10), hash_ids(20)], [None, None], False, sums(hashes))
    parts = digest(whole, sums(hashes[:4]), sums(hashes[4:5]), sums(hashes[5:]))
    assert fingerprint_rows(interactions(ROWS, 3, 3), SPLIT) == (whole, parts)


def test_minus_zero_is_zero() -> None:
    zero, minus = interactions([(0, 0, 0.0)], 1, 1), interactions([(0, 0, -0.0)], 1, 1)
    split = Split(*(torch.arange(1) for _ in range(3)))
    assert fingerprint_rows(zero, split) == fingerprint_rows(minus, split)
