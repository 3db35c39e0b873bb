"""Balances of two losses: by hand as fractions, against autograd of the papers' formulas, and step by step."""

from math import exp, log

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsweep.errors import UserError
from recsweep.losses.multitask import MIN_WEIGHT, Fixed, GradNorm, Uncertainty, confidence, gradnorm, uncertainty
from recsweep.losses.ranking import Sampled


def pair(first: float, second: float) -> Tensor:
    return torch.tensor([first, second], dtype=torch.float64)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)  # subnormal numbers are flushed, as in training


def pairs(low: float, high: float) -> st.SearchStrategy[Tensor]:
    return st.builds(pair, numbers(low, high), numbers(low, high))


def assert_equal(actual: Tensor, *expected: float, tolerance: float = 1e-6) -> None:
    assert actual.tolist() == pytest.approx(expected, rel=tolerance)


# ---- uncertainty


def test_uncertainty_by_hand() -> None:
    # σ² = 3 and 5: (3/4)/3 + log(3)/2 + (5/2)/(2·5) + log(5)/2
    loss = uncertainty(pair(3 / 4, 5 / 2), pair(log(3), log(5)))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(1 / 4 + 1 / 4 + log(15) / 2, abs=1e-15)


def test_confidence_by_hand() -> None:
    # σ² = 4 and 1/8: 1/4 and 1/(2/8)
    assert_equal(confidence(pair(log(4), log(1 / 8))), 1 / 4, 4, tolerance=1e-15)


@settings(deadline=None)  # the first call is slow
@given(losses=pairs(0.01, 100), offset=pairs(-3, 3))
def test_uncertainty_is_least_where_the_noise_equals_the_error(losses: Tensor, offset: Tensor) -> None:
    """L e^-s + s/2 is least at e^s = 2L, and L/2 e^-s + s/2 at e^s = L."""
    best = torch.stack([2 * losses[0], losses[1]]).log().requires_grad_()
    least = uncertainty(losses, best)
    least.backward()
    assert best.grad.abs().max() < 1e-12
    assert uncertainty(losses, best.detach() + offset) >= least - 1e-12
    # The minimum is 1/2 + log(2 L_F)/2 + 1/2 + log(L_R)/2.
    assert least.item() == pytest.approx(1 + log(2 * losses[0] * losses[1]) / 2, abs=1e-12)


def test_gradients_of_uncertainty_equal_finite_differences() -> None:
    assert torch.autograd.gradcheck(uncertainty, (pair(0.7, 2.0).requires_grad_(), pair(0.3, -1.2).requires_grad_()))


# ---- gradnorm


@pytest.mark.parametrize(("alpha", "signs"), [(0.0, (1, -1)), (1.0, (-1, 1)), (2.0, (-1, 1))])
def test_gradnorm_by_hand(alpha: float, signs: tuple[int, int]) -> None:
    """w n = (3, 2), so G = 5/2; the mean progress is 3/8, so r = (4/3, 2/3).

    α = 0 aims at 5/2 for both; α = 1 at 10/3 and 5/3; α = 2 at 40/9 and 10/9: the slower task gains weight.
    """
    gradient = gradnorm(pair(3 / 4, 1), pair(4, 2), pair(1 / 2, 1 / 4), alpha)
    assert gradient.tolist() == [signs[0] * 4, signs[1] * 2]


@settings(deadline=None)
@given(weight=pairs(0.01, 2), norm=pairs(0.01, 100), progress=pairs(0.01, 3), alpha=numbers(0, 3))
def test_gradnorm_is_the_gradient_of_the_papers_loss(
    weight: Tensor, norm: Tensor, progress: Tensor, alpha: float
) -> None:
    """Σ |w_i n_i - G r_i^α| with a constant target; its kinks have no gradient and are left out."""
    weight.requires_grad_()
    target = (weight[0] * norm[0] + weight[1] * norm[1]).detach() / 2 * (2 * progress / progress.sum()) ** alpha
    terms = (weight * norm - target).abs()
    assume(terms.min() > 1e-9)
    (expected,) = torch.autograd.grad(terms.sum(), weight)
    torch.testing.assert_close(gradnorm(weight.detach(), norm, progress, alpha), expected, rtol=1e-12, atol=0)


def test_arguments_are_not_changed() -> None:
    arguments = [pair(0.5, 1.5), pair(2, 3), pair(0.7, 0.9)]
    before = [values.clone() for values in arguments]
    gradnorm(*arguments, 1.5)
    uncertainty(*arguments[:2])
    confidence(arguments[0])
    assert all(torch.equal(x, y) for x, y in zip(arguments, before, strict=True))


# ---- balances of L_F = 3 x_0 + 4 x_1 and L_R = x_0; the gradients in x have the norms 5 and 1


def vector(*x: float) -> Tensor:
    return torch.tensor(x, requires_grad=True)


def losses_of(x: Tensor) -> Tensor:
    return torch.stack([3 * x[0] + 4 * x[1], x[0]])


X = vector(1.0, 2.0)  # L = (11, 1)
BPR = Sampled(function="bpr", n_negatives=1)


def test_fixed_is_a_weighted_sum() -> None:
    x, balance = vector(1.0, 2.0), Fixed(3 / 4, 1 / 4, BPR)
    total, weights = balance(losses_of(x), x)
    assert total.item() == 3 / 4 * 11 + 1 / 4 * 1
    assert weights.tolist() == [3 / 4, 1 / 4]
    total.backward()
    assert x.grad.tolist() == [3 / 4 * 3 + 1 / 4, 3 / 4 * 4]
    assert list(balance.parameters()) == [] and balance.state_dict() == {}


@pytest.mark.parametrize(("weights", "total"), [((1.0, 0.0), 11), ((0.0, 1.0), 1)])
def test_fixed_may_leave_one_task_out(weights: tuple[float, float], total: float) -> None:
    assert Fixed(*weights, BPR)(losses_of(X), X)[0].item() == total


def test_fixed_needs_a_task() -> None:
    message = "^loss.factorization_weight=0 and loss.regression_weight=0 leave nothing to learn: raise one of them$"
    with pytest.raises(UserError, match=message):
        Fixed(0.0, 0.0, BPR)


def test_uncertainty_starts_at_a_variance_of_one() -> None:
    total, weights = Uncertainty(BPR)(losses_of(X), X)
    assert total.item() == 11 + 1 / 2
    assert weights.tolist() == [1, 1 / 2] and not weights.requires_grad


def test_uncertainty_lowers_the_weight_of_the_larger_loss() -> None:
    """d/ds = 1/2 - L_F and 1/2 - L_R/2 at s = 0, so a step of 1 leads from L = (3/4, 1/4) to s = (1/4, -3/8)."""
    balance = Uncertainty(BPR)
    balance(torch.tensor([3 / 4, 1 / 4]), X)[0].backward()
    assert balance.log_variance.grad.tolist() == [1 / 2 - 3 / 4, 1 / 2 - 1 / 8]
    torch.optim.SGD(balance.parameters(), lr=1.0).step()
    total, weights = balance(torch.tensor([3 / 4, 1 / 4]), X)
    assert_equal(weights, exp(-1 / 4), exp(3 / 8) / 2)
    assert total.item() == pytest.approx(3 / 4 * exp(-1 / 4) + 1 / 8 * exp(3 / 8) + (1 / 4 - 3 / 8) / 2)


def test_gradients_of_uncertainty_reach_the_shared_vectors() -> None:
    x = vector(1.0, 2.0)
    Uncertainty(BPR)(losses_of(x), x)[0].backward()
    assert x.grad.tolist() == [3 + 1 / 2, 4]


def test_a_step_of_gradnorm_by_hand() -> None:
    """Weights (1, 1) with targets (3, 3) become (1, 1) - (5, -1)/100 = (95, 101)/100, scaled to a sum of 2."""
    x, balance = vector(1.0, 2.0), GradNorm(alpha=1.5, lr=0.01, ranking=BPR)
    total, weights = balance(losses_of(x), x)
    assert weights.tolist() == [1, 1] and total.item() == 11 + 1
    assert_equal(balance.weight, 2 * 95 / 196, 2 * 101 / 196)
    x.grad = None
    balance(losses_of(x), x)[0].backward()
    assert_equal(x.grad, (190 * 3 + 202) / 196, 190 * 4 / 196)  # the weights are constants for the model
    assert not balance.weight.requires_grad


def test_gradnorm_compares_with_the_first_losses() -> None:
    """L goes from (11, 1) to (11, 1/10): progress (1, 1/10), r = (20/11, 2/11).

    w n is (475, 101)/98 after the first step, G = 288/98, and 475 < 288 · 20/11, 101 > 288 · 2/11: the weights move
    back, to (95/98 + 5/100, 101/98 - 1/100) = (9990, 10002)/9800. Without L(0) they would move on.
    """
    balance = GradNorm(alpha=1.0, lr=0.01, ranking=BPR)
    for x in (vector(1.0, 2.0), vector(0.1, 2.675)):
        balance(losses_of(x), x)
        assert balance.first.tolist() == [11, 1]
    assert_equal(balance.weight, 2 * 9990 / 19992, 2 * 10002 / 19992)


@pytest.mark.parametrize(
    ("alpha", "x", "expected"),
    [
        (0.0, (1.0, 2.0), (1 / 3, 5 / 3)),  # 5 w_F = w_R
        (1.0, (1.0, 0.625), (2 / 11, 20 / 11)),  # L = (5.5, 1): r = (2/3, 4/3), so 2 · 5 w_F = w_R
    ],
)
def test_gradnorm_converges_to_its_targets(alpha: float, x: tuple[float, float], expected: tuple[float, float]) -> None:
    balance = GradNorm(alpha, lr=0.001, ranking=BPR)
    balance(losses_of(X), X)
    shared = vector(*x)
    for _ in range(400):
        _, weights = balance(losses_of(shared), shared)
        assert weights.sum().item() == pytest.approx(2, rel=1e-6)
    assert weights.tolist() == pytest.approx(expected, abs=0.01)


def test_gradnorm_switches_no_task_off() -> None:
    """A step of size 1 would lead from (1, 1) to (1 - 5, 1 + 1)."""
    balance = GradNorm(alpha=0.0, lr=1.0, ranking=BPR)
    balance(losses_of(X), X)
    assert_equal(balance.weight, 2 * MIN_WEIGHT / (MIN_WEIGHT + 2), 4 / (MIN_WEIGHT + 2))


def test_gradnorm_resumes_from_a_checkpoint() -> None:
    uninterrupted, interrupted, resumed = (GradNorm(alpha=1.5, lr=0.01, ranking=BPR) for _ in range(3))
    later = vector(0.25, 1.0)
    uninterrupted(losses_of(X), X)
    interrupted(losses_of(X), X)
    assert list(interrupted.state_dict()) == ["weight", "first"]
    resumed.load_state_dict(interrupted.state_dict())
    assert torch.equal(resumed(losses_of(later), later)[1], uninterrupted(losses_of(later), later)[1])


def test_gradnorm_does_not_change_weights_that_it_returned() -> None:
    balance, losses = GradNorm(alpha=1.5, lr=0.01, ranking=BPR), losses_of(X)
    _, weights = balance(losses, X)
    before = weights.clone()
    assert not torch.equal(balance(losses, X)[1], before)
    assert torch.equal(weights, before) and losses.tolist() == [11, 1] and balance.first.tolist() == [11, 1]
