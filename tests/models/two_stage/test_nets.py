"""The networks against their definitions."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from two_stage_data import rows_with_features

from recsweep.data.logged import BanditLog
from recsweep.data.schema import Features
from recsweep.models.two_stage import stages
from recsweep.models.two_stage.nets import Clock, Description, NominatorNet, RankerNet, SimulatorNet
from recsweep.seeding import generator

PAIRS = torch.cartesian_prod(torch.arange(30), torch.arange(20))

MIXED = Features(
    {
        "shares": torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]),
        "height": torch.tensor([1.5, 1.7, 1.6, 2.0]),
        "colour": torch.tensor([2, 0, 1, 2]),
        "weight": torch.tensor([50.0, 50.0, 50.0, 50.0]),  # constant
        "size": torch.tensor([0, 1, 1, 0]),
        "more": torch.tensor([[0.2, 0.6], [1.0, 0.0], [0.0, 0.0], [3.0, 1.0]]),
    },
    {"shares": ("a", "b", "c"), "colour": ("red", "green", "blue"), "size": ("S", "L"), "more": ("x", "y")},
)


def expected_vector(description: Description, features: Features | None, entity: int) -> list[float]:
    """A vector from its definition, number by number: id, categories, shares, numbers."""

    def image(layer: nn.Linear, values: list[float]) -> list[float]:
        rows = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        return [sum(w * x for w, x in zip(row, values, strict=True)) + bias for row, bias in rows]

    vector = description.own.weight[entity].tolist()
    columns = features.columns if features else {}
    table, start, layers = description.categories.weight.tolist(), 0, list(description.maps)
    for name, column in columns.items():
        if not column.is_floating_point():
            vector += table[start + int(column[entity])]
            start += len(features.labels[name])
    for column in columns.values():
        if column.dim() == 2:
            values = column[entity].tolist()
            total = sum(values) or 1.0
            vector += image(layers.pop(0), [value / total for value in values])
    numbers = []
    for column in columns.values():
        if column.is_floating_point() and column.dim() == 1:
            mean = sum(column.tolist()) / len(column)
            deviation = math.sqrt(sum((x - mean) ** 2 for x in column.tolist()) / len(column))
            numbers.append((float(column[entity]) - mean) / deviation if deviation else 0.0)
    return vector + (image(layers.pop(0), numbers) if numbers else [])


def select(*names: str) -> Features:
    """Some columns of MIXED."""
    return Features({name: MIXED.columns[name] for name in names}, MIXED.labels)


@pytest.mark.parametrize("embedding_dim", [0, 3])
@pytest.mark.parametrize(
    "features",
    [MIXED, None, select("colour", "size"), select("more"), select("height")],
    ids=["all kinds", "none", "categories", "shares", "a number"],
)
def test_descriptions(features: Features | None, embedding_dim: int) -> None:
    description = Description(4, features, embedding_dim, 2, 0.0, generator(0))
    vectors = description.all_vectors()
    expected = torch.tensor([expected_vector(description, features, entity) for entity in range(4)]).view(4, -1)
    assert vectors.shape == (4, description.dim)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)
    assert torch.equal(description(torch.arange(4)), vectors)
    assert torch.equal(description(torch.tensor([2, 2, 0])), vectors[[2, 2, 0]])


def test_dropout_covers_the_whole_description_in_training_only() -> None:
    description = Description(4, MIXED, 30, 30, 0.5, generator(0))
    plain = description.all_vectors()
    vectors = description.all_vectors(generator(1))
    mask = vectors != 0
    assert 0.4 < mask.float().mean() < 0.6
    assert all(0.2 < part.float().mean() < 0.8 for part in mask.split(30, 1))
    torch.testing.assert_close(vectors[mask], 2 * plain[mask])
    assert torch.equal(description.eval().all_vectors(generator(1)), plain)


def test_the_clock_runs_from_the_first_row_to_the_last() -> None:
    data = rows_with_features()
    first, last = int(data.timestamp.min()), int(data.timestamp.max())
    clock = Clock(data)
    seconds = torch.tensor([first, last, (first + last) // 2, 2 * last - first])
    torch.testing.assert_close(clock(seconds), torch.tensor([0.0, 1.0, 0.5, 2.0]), rtol=0, atol=1e-7)
    a_day = clock(torch.tensor([first + 86_400])) - clock(torch.tensor([first]))
    assert a_day.item() == pytest.approx(86_400 / (last - first), rel=1e-5)
    timeless = Clock(replace(data, timestamp=None))
    assert timeless(torch.zeros(3, dtype=torch.int64)).tolist() == [0, 0, 0]
    one_time = Clock(replace(data, timestamp=torch.full_like(data.timestamp, first)))
    assert one_time(torch.tensor([first])).tolist() == [0]


def test_sizes_are_those_of_the_paper() -> None:
    """Users 10 + 4 x 5 = 30, items 10 + 5 + 5 = 20; the simulator's input is 30 + 20 + 1 = 51."""
    net = SimulatorNet(rows_with_features(), 10, 5, [100, 50], 0.0, generator(0))
    assert (net.users.dim, net.items.dim) == (30, 20)
    assert [(layer.in_features, layer.out_features) for layer in net.layers] == [(51, 100), (100, 50), (50, 1)]
    assert net.items.maps[0].weight.shape == (5, 18)
    assert NominatorNet(rows_with_features(), 10, 5, 0.0, generator(0)).linear.weight.shape == (20, 30)
    assert RankerNet(rows_with_features(), 10, 5, 0.0, generator(0)).linear.weight.shape == (20, 31)


def test_contexts_that_do_not_recur_have_no_id_embedding() -> None:
    data = rows_with_features()
    fields = {name: getattr(data, name) for name in data.__dataclass_fields__}
    log = BanditLog(**fields, propensity=torch.ones(len(data)), recurring=False)
    net = NominatorNet(log, 10, 5, 0.0, generator(0))
    assert (net.users.dim, net.items.dim) == (20, 20)


@torch.inference_mode()
def test_the_simulators_item_logits_equal_those_of_pairs() -> None:
    data, (user, item) = rows_with_features(), PAIRS.T
    net = SimulatorNet(data, 10, 5, [12, 7, 5], 0.0, generator(0))
    times = stages.draw_times(data, 0)
    pairs = net(user, item, times[user, item]).view(30, 20)
    torch.testing.assert_close(net.item_logits(torch.arange(30), times), pairs, rtol=0, atol=1e-5)
    once = times[:, :1]
    pairs = net(user, item, once[user, 0]).view(30, 20)
    torch.testing.assert_close(net.item_logits(torch.arange(30), once), pairs, rtol=0, atol=1e-5)
    users = torch.tensor([7, 3])
    torch.testing.assert_close(net.item_logits(users, once[users]), pairs[users], rtol=0, atol=1e-5)
    inputs = torch.cat([net.users(user), net.items(item), net.clock(once[user, 0])[:, None]], 1).double()
    for depth, layer in enumerate(net.layers):
        inputs = (inputs.relu() if depth else inputs) @ layer.weight.double().T + layer.bias.double()
    torch.testing.assert_close(pairs.double(), inputs.view(30, 20), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_nominator_and_ranker_are_dot_products() -> None:
    data, (user, item) = rows_with_features(), PAIRS.T
    nominator = NominatorNet(data, 10, 5, 0.0, generator(0))
    users, items = nominator.users.all_vectors().relu(), nominator.items.all_vectors()
    expected = (users @ nominator.linear.weight.T + nominator.linear.bias) @ items.T
    torch.testing.assert_close(nominator.item_logits(torch.arange(30)), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(nominator(user, item).view(30, 20), expected, rtol=0, atol=1e-5)
    ranker = RankerNet(data, 10, 5, 0.0, generator(0))
    mean = stages.mean_times(data)[0].round().long()
    context = torch.cat([ranker.users.all_vectors(), ranker.clock(mean)[:, None]], 1)
    expected = (context @ ranker.linear.weight.T + ranker.linear.bias) @ ranker.items.all_vectors().T
    torch.testing.assert_close(ranker(user, item, mean[user]).view(30, 20), expected, rtol=0, atol=1e-5)
    vectors = stages.ranker_vectors(ranker, data)
    torch.testing.assert_close(vectors["users"] @ vectors["items"].T, expected, rtol=0, atol=1e-5)
