"""Histories: windows against slices of Python lists, layers against twins that see one row alone."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from recsweep.data.schema import IdMap, Interactions
from recsweep.models.histories import GRU, Attention, Mean, Pooling, events, windows
from recsweep.seeding import generator

DIM, LENGTH, HEADS = 6, 5, 2
COUNTS = [3, 0, 5, 1]


def interactions(user: list[int], item: list[int], seconds: list[int] | None, n_users: int) -> Interactions:
    times = None if seconds is None else torch.tensor(seconds)
    ids = IdMap(np.arange(n_users), "user"), IdMap(np.arange(100), "item")
    rows = torch.tensor(user, dtype=torch.int64), torch.tensor(item, dtype=torch.int64)
    return Interactions("toy", *rows, torch.ones(len(user)), times, *ids, (0.0, 1.0))


def test_events_by_hand() -> None:
    """User 2 has items 14, 10 and 12 at times 1, 5, 5; user 1 has none; user 0 has 11 at 3, 13 at 7."""
    actual = events(interactions([2, 0, 2, 0, 2], [10, 13, 12, 11, 14], [5, 7, 5, 3, 1], n_users=4))
    assert actual.item.tolist() == [11, 13, 14, 10, 12]
    assert actual.start.tolist() == [0, 2, 2, 5, 5]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=40), st.booleans())
def test_events_are_each_users_rows_in_order_of_time(rows: list[tuple[int, int]], has_times: bool) -> None:
    """Item r is the one of row r, so that ties and data without times show their order."""
    user, seconds = ([*column] for column in zip(*rows, strict=True))
    actual = events(interactions(user, list(range(len(rows))), seconds if has_times else None, n_users=4))
    for one in range(4):
        expected = [row for row in range(len(rows)) if user[row] == one]
        if has_times:
            expected.sort(key=lambda row: (seconds[row], row))
        mine = slice(actual.start[one], actual.start[one + 1])
        assert actual.item[mine].tolist() == expected


@st.composite
def stretches(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]], int]:
    """Items, some stretches of them (empty ones too, at either end), and how long a window may be."""
    item = draw(st.lists(st.integers(0, 9), min_size=1, max_size=12))
    bounds = st.tuples(st.integers(0, len(item)), st.integers(0, len(item))).map(lambda pair: tuple(sorted(pair)))
    return item, draw(st.lists(bounds, min_size=1, max_size=6)), draw(st.integers(1, 15))


@given(stretches())
def test_windows_are_the_last_items_oldest_first(case: tuple[list[int], list[tuple[int, int]], int]) -> None:
    item, bounds, length = case
    first, end = torch.tensor(bounds).T
    actual, count = windows(torch.tensor(item), first, end, length)
    expected = [item[start:stop][-length:] for start, stop in bounds]
    assert count.tolist() == [len(window) for window in expected]
    assert actual.shape == (len(bounds), max(1, *(len(window) for window in expected), 1))
    assert [row[: len(window)].tolist() for row, window in zip(actual, expected, strict=True)] == expected


class Histories(NamedTuple):
    """Vectors [B, L, d] of windows whose first `count` [B] places are filled."""

    x: Tensor
    count: Tensor


@pytest.fixture
def histories() -> Histories:
    x = torch.randn(len(COUNTS), LENGTH, DIM, generator=generator(0), dtype=torch.float64)
    return Histories(x, torch.tensor(COUNTS))


def new_layers() -> dict[str, nn.Module]:
    """All pooling layers, with parameters other than zero."""
    layers = {
        "mean": Mean(),
        "attention": Attention(DIM, HEADS, LENGTH, 0.0, generator(1)),
        "gru": GRU(DIM, generator(1)),
    }
    for layer in layers.values():
        for parameter in layer.double().parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator(2, parameter.numel()))
    return layers


@pytest.fixture(params=["mean", "attention", "gru"])
def pooling(request: pytest.FixtureRequest) -> Pooling:
    return new_layers()[request.param]


def pool(pooling: Pooling, x: Tensor, count: Tensor) -> Tensor:
    return pooling(x, count, generator(0))


def test_mean_by_hand() -> None:
    x = torch.tensor([[[1.0, 2], [3, 4], [5, 6], [7, 8]], [[1, 2], [3, 4], [5, 6], [7, 8]]])
    actual = pool(Mean(), x, torch.tensor([4, 2]))
    torch.testing.assert_close(actual, torch.tensor([[16 / 2, 20 / 2], [4 / 2**0.5, 6 / 2**0.5]]))


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def apply_linear(layer: nn.Linear, x: list[float]) -> list[float]:
    return [dot(row, x) + b for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)]


def attention_of_one(layer: Attention, x: list[list[float]]) -> list[float]:
    """The docstring's formula for one history, oldest first: places j = 1, 2, … count from its end."""
    backwards = x[::-1]
    matched, together = apply_linear(layer.match, backwards[0]), []
    for head in range(HEADS):
        query = matched[head * DIM : (head + 1) * DIM]  # A_h x_1
        scores = [
            dot(vector, query) / math.sqrt(DIM) + layer.recency[j, head].item() for j, vector in enumerate(backwards)
        ]
        total = sum(math.exp(score) for score in scores)
        weights = [math.exp(score) / total for score in scores]
        together += [dot(weights, [vector[k] for vector in backwards]) for k in range(DIM)]
    # Σ_h V_h Σ_j a_hj x_j is one product with the V_h side by side.
    y = [a + b for a, b in zip(backwards[0], apply_linear(layer.value, together), strict=True)]
    normed = layer_norm(torch.tensor(y, dtype=torch.float64), (DIM,), layer.norm.weight, layer.norm.bias).tolist()
    hidden = [max(0.0, value) for value in apply_linear(layer.inner, normed)]
    return [a + b for a, b in zip(y, apply_linear(layer.outer, hidden), strict=True)]


@torch.no_grad()
def test_attention_equals_a_loop_over_rows_heads_and_places(histories: Histories) -> None:
    layer = new_layers()["attention"]
    actual = pool(layer, *histories)
    for row, (x, count) in enumerate(zip(histories.x, COUNTS, strict=True)):
        expected = attention_of_one(layer, x[:count].tolist()) if count else [0.0] * DIM
        torch.testing.assert_close(actual[row], torch.tensor(expected, dtype=torch.float64))


@torch.no_grad()
def test_attention_starts_without_a_bias_for_recent_items(histories: Histories) -> None:
    """As long as r is 0, only the last item has a place of its own: the others may change theirs."""
    layer = Attention(DIM, HEADS, LENGTH, 0.0, generator(1)).double()
    x, count = histories.x[2:3], histories.count[2:3]
    torch.testing.assert_close(pool(layer, x[:, [2, 0, 3, 1, 4]], count), pool(layer, x, count))
    assert not torch.allclose(pool(layer, x[:, [0, 1, 2, 4, 3]], count), pool(layer, x, count))


@torch.no_grad()
def test_gru_is_the_last_state_of_each_row_run_alone(histories: Histories) -> None:
    layer = new_layers()["gru"]
    twin = nn.GRU(DIM, DIM).double()  # places first, no batch
    twin.load_state_dict(layer.cell.state_dict())
    actual = pool(layer, *histories)
    for row, (x, count) in enumerate(zip(histories.x, COUNTS, strict=True)):
        expected = twin(x[:count])[1][0] if count else torch.zeros(DIM).double()
        torch.testing.assert_close(actual[row], expected)


def test_an_empty_history_is_zero_and_has_no_gradient(pooling: Pooling) -> None:
    x = torch.randn(2, 3, DIM, generator=generator(0), dtype=torch.float64, requires_grad=True)
    actual = pool(pooling, x, torch.tensor([0, 0]))
    assert actual.shape == (2, DIM) and not actual.any()
    actual.sum().backward()
    assert not x.grad.any()


@torch.no_grad()
def test_a_row_depends_on_no_other_row(pooling: Pooling, histories: Histories) -> None:
    """Alone it is the same, although its window is then as short as its own history."""
    together = pool(pooling, *histories)
    for row, count in enumerate(COUNTS):
        own = histories.x[row : row + 1, : max(1, count)]
        torch.testing.assert_close(pool(pooling, own, torch.tensor([count])), together[row : row + 1])


def test_padding_has_no_influence(pooling: Pooling, histories: Histories) -> None:
    padding = torch.arange(LENGTH) >= histories.count[:, None]
    x = histories.x.masked_fill(padding[..., None], 1e6).requires_grad_()
    actual = pool(pooling, x, histories.count)
    torch.testing.assert_close(actual, pool(pooling, *histories))
    (actual * torch.arange(1.0, DIM + 1)).sum().backward()
    assert not x.grad[padding].any()
    assert x.grad[~padding].abs().sum(-1).min() > 0


def test_order_matters_to_attention_and_gru_alone(pooling: Pooling, histories: Histories) -> None:
    x, count = histories.x[2:3], histories.count[2:3]
    assert torch.allclose(pool(pooling, x, count), pool(pooling, x.flip(1), count)) is isinstance(pooling, Mean)


def test_dropout_on_the_weights_is_drawn_by_the_generator(histories: Histories) -> None:
    layer = Attention(DIM, HEADS, LENGTH, 0.5, generator(1)).double()
    first, again, other = (layer(*histories, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(layer.eval()(*histories, generator(0)), layer(*histories, generator(1)))


@pytest.mark.parametrize("name", ["attention", "gru"])
def test_first_values_come_from_the_generator_alone(name: str) -> None:
    def initial_values(seed: int) -> Tensor:
        draws = generator(seed)
        layers = GRU(DIM, draws) if name == "gru" else Attention(DIM, HEADS, LENGTH, 0.0, draws)
        return nn.utils.parameters_to_vector(layers.parameters())

    before = torch.get_rng_state()
    first = initial_values(0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(initial_values(0), first)
    assert not torch.equal(initial_values(1), first)
