"""State modules of DRR against hand-worked vectors, a convolution, a loop and finite differences."""

from fractions import Fraction
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recsweep.models.drr.state import DRRP, DRRU, DRRAve

MODULES = [DRRAve, DRRP, DRRU]
# A user and a memory of three items, two numbers each; the positions have the weights 1/2, 1/4 and 3/4.
USER = [[2.0, -1.0]]
ITEMS = [[[4.0, 0.0], [2.0, 8.0], [-4.0, 1.0]]]
WEIGHT = [0.5, 0.25, 0.75]


def torch_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def with_weights(module):
    """The module with the weights above, in float64, which is exact for all numbers below."""
    state = module(dim=2, memory_size=3, generator=torch_generator()).double()
    state.weight.data = torch.tensor(WEIGHT, dtype=torch.float64)
    return state


def example_state(state):
    return state(torch.tensor(USER, dtype=torch.float64), torch.tensor(ITEMS, dtype=torch.float64))[0].tolist()


def numbers(*fractions):
    return [float(Fraction(fraction)) for fraction in fractions]


def test_drr_ave_by_hand():
    state = with_weights(DRRAve)
    state.bias.data.fill_(1.0)
    # g = (4/2 + 2/4 - 4 · 3/4 + 1, 0/2 + 8/4 + 3/4 + 1) = (1/2, 15/4); u ⊙ g = (2 · 1/2, -15/4)
    assert example_state(state) == numbers(2, -1, 1, "-15/4", "1/2", "15/4")


# Weighted items: (4/2, 0/2) = (2, 0), (2/4, 8/4) = (1/2, 2), (-4 · 3/4, 3/4) = (-3, 3/4).
# Their products: 1 ⊙ 2 = (1, 0); 1 ⊙ 3 = (-6, 0); 2 ⊙ 3 = (-3/2, 3/2).
PRODUCTS = [1, 0, -6, 0, "-3/2", "3/2"]


def test_drr_p_by_hand():
    assert example_state(with_weights(DRRP)) == numbers(4, 0, 2, 8, -4, 1, *PRODUCTS)


def test_drr_u_by_hand():
    # u ⊙ weighted items: (2 · 2, 0), (2 · 1/2, -2), (2 · -3, -3/4)
    assert example_state(with_weights(DRRU)) == numbers(4, 0, 1, -2, -6, "-3/4", *PRODUCTS)


def test_drr_ave_is_a_convolution_over_the_memory():
    state, convolution = DRRAve(8, 5, torch_generator()), nn.Conv1d(in_channels=5, out_channels=1, kernel_size=1)
    state.bias.data.fill_(0.3)
    convolution.load_state_dict({"weight": state.weight.detach()[None, :, None], "bias": state.bias.detach()})
    user, items = torch.randn(7, 8, generator=torch_generator(1)), torch.randn(7, 5, 8, generator=torch_generator(2))
    average = convolution(items).squeeze(1)
    expected = torch.cat((user, user * average, average), 1)
    torch.testing.assert_close(state(user, items), expected, rtol=0, atol=1e-6)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 2**31))
def test_pairs_equal_those_of_a_loop(dim, n, batch, seed):
    draws = torch_generator(seed)
    user, items = torch.randn(batch, dim, generator=draws), torch.randn(batch, n, dim, generator=draws)
    for module in (DRRP, DRRU):
        state = module(dim, n, draws)
        scaled = [state.weight[a] * items[:, a] for a in range(n)]
        first_order = [items[:, a] if module is DRRP else user * scaled[a] for a in range(n)]
        expected = torch.cat([*first_order, *(left * right for left, right in combinations(scaled, 2))], 1)
        torch.testing.assert_close(state(user, items), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(("dim", "n"), [(1, 1), (8, 5), (3, 2)])
def test_size_is_that_of_the_states(module, dim, n):
    state = module(dim, n, torch_generator())
    assert state(torch.ones(4, dim), torch.ones(4, n, dim)).shape == (4, state.size)


@pytest.mark.parametrize("module", MODULES)
def test_gradients_are_those_of_finite_differences(module):
    state = module(2, 3, torch_generator()).double()
    names, parameters = zip(*state.named_parameters(), strict=True)
    user = torch.randn(2, 2, dtype=torch.float64, generator=torch_generator(1), requires_grad=True)
    items = torch.randn(2, 3, 2, dtype=torch.float64, generator=torch_generator(2), requires_grad=True)

    def states(user, items, *values):
        return torch.func.functional_call(state, dict(zip(names, values, strict=True)), (user, items))

    assert torch.autograd.gradcheck(states, (user, items, *parameters))


@pytest.mark.parametrize("module", MODULES)
def test_weights_start_uniform_from_the_generator(module):
    before = torch.get_rng_state()
    state, again, other = (module(2, 5000, torch_generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(state.weight, again.weight) and not torch.equal(state.weight, other.weight)
    assert 0 <= state.weight.min() < 0.01 and 0.99 < state.weight.max() < 1
    # The mean of 5,000 uniform numbers has the standard deviation 1 / √(12 · 5,000) = 0.004.
    assert abs(state.weight.mean() - 1 / 2) < 0.02


def test_the_bias_starts_at_zero_so_an_empty_memory_gives_zeros():
    state = DRRAve(2, 3, torch_generator())
    assert state(torch.tensor([[2.0, -1.0]]), torch.zeros(1, 3, 2))[0].tolist() == [2, -1, 0, 0, 0, 0]
