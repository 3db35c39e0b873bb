"""Building blocks: what they do to numbers, and that every draw comes from the generator they are given."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recsweep.models.layers import Dropout, GaussianNoise, NeighbourSum, embedding, mlp
from recsweep.seeding import generator

N = 200_000


def test_dropout_keeps_the_mean_and_scales_what_it_keeps() -> None:
    dropped = Dropout(0.25)(torch.full((N,), 3.0), generator(0))
    assert set(dropped.tolist()) == {0.0, 4.0}  # 3 / (1 - 1/4)
    spread = (0.25 * 0.75 / N) ** 0.5
    assert abs((dropped == 0).double().mean() - 0.25) < 4 * spread
    assert abs(dropped.double().mean() - 3) < 4 * 4 * spread


def test_noise_has_the_stated_spread() -> None:
    noise = (GaussianNoise(0.5)(torch.full((N,), 3.0), generator(0)) - 3).double()
    assert abs(noise.mean()) < 4 * 0.5 / N**0.5
    assert abs(noise.std() - 0.5) < 4 * 0.5 / (2 * N) ** 0.5


@pytest.mark.parametrize("kind", [Dropout, GaussianNoise])
def test_dropout_and_noise_apply_in_training_alone(kind: Callable[[float], nn.Module]) -> None:
    x = torch.arange(6.0)
    assert torch.equal(kind(0.5).eval()(x, generator(0)), x)
    assert torch.equal(kind(0.0)(x, generator(0)), x)
    assert not torch.equal(kind(0.5)(x, generator(0)), x)
    assert x.tolist() == [0, 1, 2, 3, 4, 5]


def apply_with_noise(kind: Callable[[float], nn.Module], *key: int) -> Tensor:
    return kind(0.5)(torch.ones(50), generator(*key))


@pytest.mark.parametrize("kind", [Dropout, GaussianNoise])
def test_draws_depend_on_the_generator_alone(kind: Callable[[float], nn.Module]) -> None:
    before = torch.get_rng_state()
    first = apply_with_noise(kind, 0, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert torch.equal(apply_with_noise(kind, 0, 1), first)
    assert not torch.equal(apply_with_noise(kind, 1, 0), first)


def test_embedding_starts_from_the_stated_spread() -> None:
    weight = embedding(1000, 50, 0.1, generator(0)).weight
    assert weight.shape == (1000, 50) and weight.requires_grad
    assert abs(weight.mean()) < 4 * 0.1 / 50_000**0.5
    assert abs(weight.std() - 0.1) < 4 * 0.1 / 100_000**0.5
    assert torch.equal(embedding(1000, 50, 0.1, generator(0)).weight, weight)
    assert not embedding(3, 2, 0.0, generator(0)).weight.any()


def test_mlp_by_hand() -> None:
    layers = mlp([2, 2, 1], generator(0))
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Linear]
    with torch.no_grad():
        layers[0].weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 1.0]]))
        layers[2].weight.copy_(torch.tensor([[3.0, 0.5]]))
        layers[2].bias.fill_(0.25)
    # (1·1 - 1·2, 2·1 + 1·2) = (-1, 4), ReLU (0, 4), 3·0 + 0.5·4 + 0.25
    assert layers(torch.tensor([[1.0, 2.0]])).tolist() == [[2.25]]


def test_mlp_starts_as_he_et_al_do() -> None:
    first = mlp([600, 300, 1], generator(0))[0]
    bound = (6 / 600) ** 0.5
    assert not first.bias.any()
    assert 0.99 * bound < first.weight.abs().max() <= bound
    assert abs(first.weight.var() - 2 / 600) < 0.02 * 2 / 600
    assert torch.equal(mlp([600, 300, 1], generator(0))[0].weight, first.weight)


SOURCE, NEIGHBOUR = torch.tensor([0, 0, 1, 0]), torch.tensor([2, 0, 1, 3])


def neighbour_sum() -> NeighbourSum:
    """Entity 0 has neighbours 0, 2, 3; entity 1 has 1; entity 2 has none. Vectors y_b = (b + 1, 10)."""
    layer = NeighbourSum(SOURCE, NEIGHBOUR, 3, 4, 2, 0.1, generator(0))
    with torch.no_grad():
        layer.vectors.weight.copy_(torch.tensor([[1.0, 10], [2, 10], [3, 10], [4, 10]]))
    return layer


def test_neighbour_sum_by_hand() -> None:
    actual = neighbour_sum()(torch.tensor([0, 1, 2, 0]))
    first = [(1 + 3 + 4) / 3**0.5, 30 / 3**0.5]
    torch.testing.assert_close(actual, torch.tensor([first, [2, 10], [0, 0], first]))


def test_neighbour_sum_leaves_out_the_pair_itself_where_it_was_rated() -> None:
    layer = neighbour_sum()
    own = layer.vectors(torch.tensor([2, 2, 1]))
    actual = layer(torch.tensor([0, 0, 1]), torch.tensor([1.0, 0.0, 1.0]), own)
    without, whole = [(1 + 4) / 2**0.5, 20 / 2**0.5], [8 / 3**0.5, 30 / 3**0.5]
    torch.testing.assert_close(actual, torch.tensor([without, whole, [0, 0]]))


def test_gradient_of_a_neighbour_sum_by_hand() -> None:
    layer = neighbour_sum()
    layer(torch.tensor([0, 0, 1])).sum().backward()
    twice = 2 / 3**0.5  # entity 0 stands twice in the batch, and weighs each of its neighbours 1/√3
    torch.testing.assert_close(layer.vectors.weight.grad[:, 0], torch.tensor([twice, 1, twice, twice]))


def test_dropout_just_below_one() -> None:
    """2^-16 of the entries stay, each 2^16 times as large."""
    kept = Dropout(0.9999999)(torch.ones(1 << 20), generator(0))
    assert set(kept.tolist()) == {0.0, 2.0**16}
    assert 2 <= int((kept > 0).sum()) <= 40  # 16 expected, standard deviation 4
