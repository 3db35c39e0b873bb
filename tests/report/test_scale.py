"""Positions of values along an axis, and its ticks."""

import math

import pytest

from recsweep.report.scale import scale


@pytest.mark.parametrize(
    ("values", "positions"),
    [
        ([10, 20, 40], [0, 1 / 3, 1]),
        ([1, 10, 100], [0, 1 / 2, 1]),
        ([0, 1, 10, 100], [0, 1 / 3, 2 / 3, 1]),
        ([0.0, 0.3, 0.6, 0.9], [0, 1 / 3, 2 / 3, 1]),
        ([-1, 0, 99], [0, 0.01, 1]),
        ([1, 40, 60, 100], [0, 39 / 99, 59 / 99, 1]),
        ([5, None, 5], [0, math.nan, 0]),
        (["b", "a", None, "b"], [0, 1, math.nan, 0]),
    ],
    ids=["steps", "factors", "factors and zero", "steps and zero", "negative", "wide steps", "one", "words"],
)
def test_values_are_drawn_to_scale(values: list[str | float | None], positions: list[float]) -> None:
    assert scale(values).positions.tolist() == pytest.approx(positions, nan_ok=True)


def test_few_numbers_have_a_tick_each_and_many_have_round_ticks() -> None:
    assert scale([8, 64, 16]).ticks == pytest.approx({0.0: "8", 1 / 7: "16", 1.0: "64"})
    many = scale([1.13 * 1.5**step for step in range(20)])  # up to 2505
    assert list(many.ticks.values()) == ["10", "100", "1000"]
    assert list(many.ticks) == pytest.approx([math.log(n / 1.13) / (19 * math.log(1.5)) for n in (10, 100, 1000)])
    assert list(scale([0.011 * 1.4**step for step in range(12)]).ticks.values()) == ["0.02", "0.05", "0.1", "0.2"]
    assert list(scale([step / 7 for step in range(9)]).ticks.values()) == ["0", "0.5", "1"]
    assert list(scale([100, 101, 200]).ticks.values()) == ["100", "200"]  # 101 would touch 100
    assert list(scale([0.0018, 0.00715, 0.0131]).ticks.values()) == ["0.005", "0.01"]  # nobody typed 0.00715


def test_what_was_searched_in_logarithms_is_drawn_so_and_nothing_else() -> None:
    """Whatever few values say: 1, 2, 4 lie at 0, 1/3, 1, their logarithms at 0, 1/2, 1."""
    assert scale([1, 2, 4], is_log=True).positions.tolist() == pytest.approx([0, 1 / 2, 1])
    assert scale([1, 10, 100], is_log=False).positions.tolist() == pytest.approx([0, 9 / 99, 1])
