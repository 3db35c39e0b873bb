"""Off-policy estimators: by hand, by enumeration of a small bandit's logs, and over many simulated logs."""

from fractions import Fraction
from itertools import product
from math import isnan, sqrt
from statistics import fmean
from warnings import catch_warnings, simplefilter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from recsweep.metrics.off_policy import (
    direct_method,
    doubly_robust,
    effective_sample_size,
    estimates,
    ips,
    max_weight_share,
    mean_weight,
    on_policy,
    second_moment,
    snips,
    unsupported_mass,
    value_bounds,
)

Z = norm.ppf(0.975)

# Four rows by hand.
WEIGHT = torch.tensor([2.0, 0.5, 0.0, 1.5])
REWARD = torch.tensor([1.0, 0.0, 1.0, 1.0])
PREDICTED = torch.tensor([0.5, 0.25, 1.0, 0.5])
EXPECTED = torch.tensor([0.75, 0.25, 0.5, 0.5])

# A bandit of two contexts and three items: frequency of contexts, both policies, mean reward of each pair.
CONTEXT = torch.tensor([0.25, 0.75], dtype=torch.float64)
LOGGING = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.3, 0.6]], dtype=torch.float64)
TARGET = torch.tensor([[0.1, 0.1, 0.8], [0.7, 0.3, 0.0]], dtype=torch.float64)
MEAN = torch.tensor([[0.2, 0.9, 0.5], [0.4, 0.1, 0.8]], dtype=torch.float64)
TRUE = (CONTEXT[:, None] * TARGET * MEAN).sum()


def assert_estimate(estimate, value, standard_error):
    expected = (value, value - Z * standard_error, value + Z * standard_error)
    assert [part.item() for part in estimate] == pytest.approx([float(part) for part in expected], abs=1e-12)
    assert all(part.dtype == torch.float64 and part.shape == () for part in estimate)


def one_row_logs():
    """All logs of one row with a reward of 0 or 1: their probability, and the arguments of the estimators."""
    model = torch.tensor([[0.3, 0.3, 0.9], [0.1, 0.9, 0.5]], dtype=torch.float64)  # wrong everywhere
    for x, a, r in product(range(2), range(3), (0.0, 1.0)):
        chance = CONTEXT[x] * LOGGING[x, a] * (MEAN[x, a] if r else 1 - MEAN[x, a])
        weight, reward = (TARGET / LOGGING)[x, a].reshape(1), torch.tensor([r])
        yield chance, weight, reward, model[x, a].reshape(1), (TARGET[x] * model[x]).sum().reshape(1)


def random_logs(n_logs, n_rows):
    """Weights and rewards, [n_logs, n_rows] each, of random logs of the bandit."""
    generator = torch.Generator().manual_seed(3)
    x = torch.multinomial(CONTEXT, n_logs * n_rows, replacement=True, generator=generator)
    a = torch.multinomial(LOGGING[x], 1, generator=generator).squeeze(1)
    reward = torch.bernoulli(MEAN[x, a], generator=generator)
    return (TARGET / LOGGING)[x, a].reshape(n_logs, n_rows), reward.reshape(n_logs, n_rows)


def test_ips_is_the_mean_of_weighted_rewards():
    # w r = 2, 0, 0, 3/2: mean 7/8; deviations 9/8, -7/8, -7/8, 5/8, squares (81 + 49 + 49 + 25) / 64 = 204/64.
    assert_estimate(ips(WEIGHT, REWARD), Fraction(7, 8), sqrt(Fraction(204, 64) / 3 / 4))


def test_snips_divides_by_the_weights():
    # Σ w r / Σ w = (7/2) / 4 = 7/8; w (r - v) = 2/8, -7/16, 0, 3/16 over a mean weight of 1, mean 0.
    squares = Fraction(16 + 49 + 0 + 9, 256)
    assert_estimate(snips(WEIGHT, REWARD), Fraction(7, 8), sqrt(squares / 3 / 4))


def test_the_snips_interval_does_not_depend_on_the_scale_of_weights():
    # Weights three times as large give the same estimate.
    assert_estimate(snips(3 * WEIGHT, REWARD), Fraction(7, 8), sqrt(Fraction(74, 256) / 3 / 4))


def test_direct_method_is_the_mean_of_the_models_expectation():
    # 3/4, 1/4, 2/4, 2/4: mean 1/2; deviations 1/4, -1/4, 0, 0.
    assert_estimate(direct_method(EXPECTED), Fraction(1, 2), sqrt(Fraction(2, 16) / 3 / 4))


def test_doubly_robust_corrects_the_model_by_the_log():
    # 3/4 + 2 · 1/2 = 7/4; 1/4 - 1/2 · 1/4 = 1/8; 1/2 + 0; 1/2 + 3/2 · 1/2 = 5/4: mean 29/32.
    rows = [Fraction(7, 4), Fraction(1, 8), Fraction(1, 2), Fraction(5, 4)]
    squares = sum((row - Fraction(29, 32)) ** 2 for row in rows)
    estimate = doubly_robust(WEIGHT, REWARD, PREDICTED, EXPECTED)
    assert_estimate(estimate, Fraction(29, 32), sqrt(squares / 3 / 4))


def test_the_mean_weight_by_hand():
    # 4/4; deviations 1, -1/2, -1, 1/2: squares 10/4. The largest weight is half of their sum.
    assert_estimate(mean_weight(WEIGHT), 1, sqrt(Fraction(10, 4) / 3 / 4))
    assert max_weight_share(WEIGHT).item() == 0.5


def test_support_where_the_logging_policy_is_known():
    # 1/100 / 1/2 + 1/100 / 1/4 + 64/100 / 1/4 = 131/50; 49/100 / 1/10 + 9/100 / 3/10 + 0 = 26/5.
    assert second_moment(TARGET, LOGGING).tolist() == pytest.approx([131 / 50, 26 / 5], abs=1e-12)
    # Weights are 1/5, 2/5, 16/5 and 7, 1, 0; those above 10/10 are unsupported.
    assert unsupported_mass(TARGET, LOGGING, 10).tolist() == [0.8, 0.7]
    # An item that neither policy shows adds nothing.
    assert unsupported_mass(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 10).tolist() == [0]
    assert second_moment(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]])).tolist() == [1]


def test_on_policy_is_the_mean_reward():
    # 3/4; deviations 1/4 three times, -3/4: squares 12/16.
    assert_estimate(on_policy(REWARD), Fraction(3, 4), sqrt(Fraction(12, 16) / 3 / 4))


def test_effective_sample_size_by_hand():
    # 4² / (4 + 1/4 + 9/4) = 16 / (13/2) = 32/13.
    assert effective_sample_size(WEIGHT).item() == pytest.approx(32 / 13, abs=1e-12)


def test_ips_and_doubly_robust_are_unbiased():
    logs = list(one_row_logs())
    assert sum(chance for chance, *_ in logs).item() == pytest.approx(1, abs=1e-12)
    by_ips = sum(chance * ips(weight, reward).value for chance, weight, reward, *_ in logs)
    by_dr = sum(chance * doubly_robust(*arguments).value for chance, *arguments in logs)
    assert by_ips.item() == pytest.approx(TRUE.item(), abs=1e-12)
    assert by_dr.item() == pytest.approx(TRUE.item(), abs=1e-12)


def test_the_direct_method_is_off_by_the_models_error():
    by_dm = sum(chance * direct_method(expected).value for chance, *_, expected in one_row_logs())
    # Errors of the model, context by context: weighted by the target policy, 1/4 and 3/4.
    first = 0.1 * (0.3 - 0.2) + 0.1 * (0.3 - 0.9) + 0.8 * (0.9 - 0.5)
    second = 0.7 * (0.1 - 0.4) + 0.3 * (0.9 - 0.1)
    assert (by_dm - TRUE).item() == pytest.approx(0.25 * first + 0.75 * second, abs=1e-12)


def test_doubly_robust_with_a_perfect_model_has_no_noise():
    # One context, deterministic rewards: for any shown items the estimate is Σ π r, with an empty interval.
    reward = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    truth = (TARGET[0] * reward).sum()  # 0.1 · 1 + 0.8 · 3 = 2.5
    shown = torch.tensor([2, 0, 0, 1, 2])
    estimate = doubly_robust((TARGET / LOGGING)[0, shown], reward[shown], reward[shown], truth.expand(5))
    assert_estimate(estimate, 2.5, 0)


def test_doubly_robust_without_a_model_is_ips():
    zeros = torch.zeros(4)
    assert doubly_robust(WEIGHT, REWARD, zeros, zeros) == ips(WEIGHT, REWARD)


def test_snips_of_a_constant_reward_is_that_reward():
    assert_estimate(snips(WEIGHT, torch.full((4,), 0.3, dtype=torch.float64)), 0.3, 0)


def test_weights_of_zero_give_no_estimate():
    zeros = torch.zeros(4)
    assert_estimate(ips(zeros, REWARD), 0, 0)
    assert all(isnan(part) for part in snips(zeros, REWARD))
    assert effective_sample_size(zeros).item() == 0
    assert doubly_robust(zeros, REWARD, PREDICTED, EXPECTED) == direct_method(EXPECTED)


def test_a_single_row_has_a_value_and_no_interval():
    with catch_warnings():
        simplefilter("error")
        by_name = estimates(WEIGHT[:1], REWARD[:1], PREDICTED[:1], EXPECTED[:1])
    # 2 · 1; 2 / 2; 3/4; 3/4 + 2 · 1/2; 1; 2² / 2²; 2; 2 / 2. A bet on one row refutes no value.
    values = {"ips": 2, "snips": 1, "dm": 0.75, "dr": 1.75, "logged": 1, "ess": 1}
    values |= {"mean_weight": 2, "max_weight_share": 1, "bounds_low": 0, "bounds_high": 1}
    assert {name: by_name[name].item() for name in values} == values
    assert all(isnan(value) for name, value in by_name.items() if name not in values)


def test_estimates_have_all_estimators_by_name():
    by_name = estimates(WEIGHT, REWARD, PREDICTED, EXPECTED)
    expected = {
        "ips": ips(WEIGHT, REWARD),
        "snips": snips(WEIGHT, REWARD),
        "dm": direct_method(EXPECTED),
        "dr": doubly_robust(WEIGHT, REWARD, PREDICTED, EXPECTED),
        "logged": on_policy(REWARD),
        "mean_weight": mean_weight(WEIGHT),
    }
    assert len(by_name) == 3 * len(expected) + 4
    assert by_name["ess"] == effective_sample_size(WEIGHT)
    assert by_name["max_weight_share"] == max_weight_share(WEIGHT)
    assert (by_name["bounds_low"], by_name["bounds_high"]) == value_bounds(WEIGHT, REWARD, 1.0)
    for name, estimate in expected.items():
        assert (by_name[name], by_name[f"{name}_low"], by_name[f"{name}_high"]) == estimate


@pytest.mark.parametrize("estimator", [ips, snips])
def test_the_interval_has_its_nominal_coverage(estimator):
    weight, reward = random_logs(n_logs=4000, n_rows=500)
    _, low, high = torch.vmap(estimator)(weight, reward)
    coverage = ((low <= TRUE) & (high >= TRUE)).double().mean().item()
    # ± 3 standard errors of 4,000 logs are √(0.95 · 0.05 / 4000) · 3 = 0.01; another 0.01 for the normal approximation.
    assert 0.93 <= coverage <= 0.97


@pytest.mark.parametrize(("weight", "n_rows"), [(1.0, 500), (0.25, 2000), (1.5, 300)])
def test_bounds_of_rows_that_are_all_alike(weight, n_rows):
    # All bets win alike: the smallest mean that is not refuted solves mean of (1 + λ (w - m))^n over the stakes = 40.
    def capital(mean):
        return fmean((1 + 0.75 / 2**number * (weight - mean)) ** n_rows for number in range(10)) - 40

    low, high = value_bounds(torch.full((n_rows,), weight), torch.full((n_rows,), 4.0), 4.0)
    assert low.item() == pytest.approx(4 * min(1, brentq(capital, 0, weight)), abs=1e-6)
    assert high.item() == 4
    low, high = value_bounds(torch.full((n_rows,), weight), torch.zeros(n_rows), 4.0)
    assert (low.item(), high.item()) == (0, pytest.approx(4 - 4 * min(1, brentq(capital, 0, weight)), abs=1e-6))


def test_bounds_are_unknown_for_rewards_below_zero_or_without_rewards():
    by_name = estimates(WEIGHT, REWARD - 1, PREDICTED, EXPECTED)
    assert isnan(by_name["bounds_low"]) and isnan(by_name["bounds_high"])
    assert isnan(estimates(WEIGHT, 0 * REWARD, PREDICTED, EXPECTED)["bounds_low"])


@pytest.mark.parametrize("spread", [0.5, 2.0, 3.5])
def test_bounds_cover_the_value_where_weights_have_heavy_tails(spread):
    # Fresh logs of policies over 300 items whose logits agree in part; the larger the spread, the heavier the tail.
    n_logs, n_rows = 200, 1000
    random = torch.Generator().manual_seed(5)
    noise = torch.randn(2, 300, generator=random, dtype=torch.float64)
    logging, target = (spread * noise[0]).softmax(0), (spread * (0.5 * noise[0] + 0.8 * noise[1])).softmax(0)
    liked = (torch.rand(300, generator=random) < 0.7).double()
    true = (target * liked).sum()
    shown = torch.multinomial(logging, n_logs * n_rows, replacement=True, generator=random).view(n_logs, n_rows)
    weight, reward = (target / logging)[shown], liked[shown]
    low, high = torch.vmap(value_bounds, (0, 0, None))(weight, reward, 1.0)
    # At least 95 %, less 3 standard errors of 200 logs.
    assert ((low <= true) & (high >= true)).double().mean() >= 0.95 - 3 * sqrt(0.05 * 0.95 / n_logs)
    assert (high - low).mean() < {0.5: 0.15, 2.0: 0.5, 3.5: 0.9}[spread]
    if spread == 3.5:  # where SNIPS says too much, a single row and the missing support show it
        _, snips_low, snips_high = torch.vmap(snips)(weight, reward)
        missed = (snips_low > true) | (snips_high < true)
        assert missed.double().mean() > 0.1  # twice what it says
        assert torch.vmap(max_weight_share)(weight).median() > 0.1
        assert unsupported_mass(target[None], logging[None], n_rows) > 0.02


def test_single_precision_is_summed_in_double():
    # float32 can represent 2²⁴ but not 2²⁴ + 1, so adding the ones would lose them.
    reward = torch.tensor([2.0**24, 1.0, 1.0])
    assert on_policy(reward).value.item() == ips(torch.ones(3), reward).value.item() == (2**24 + 2) / 3


ROWS = st.lists(
    st.tuples(st.floats(0, 100, width=32, allow_subnormal=False), st.floats(-10, 10, width=32, allow_subnormal=False)),
    min_size=1,
    max_size=20,
)
WEIGHTED_ROWS = ROWS.filter(lambda rows: any(weight > 1e-3 for weight, _ in rows))


@given(rows=WEIGHTED_ROWS, factor=st.sampled_from([0.25, 3.0, 100.0]))
def test_rewards_in_another_unit_give_values_in_that_unit(rows, factor):
    weight, reward = torch.tensor(rows).double().T
    arguments = weight, reward, reward.roll(1), reward.roll(2)
    scaled = estimates(weight, *(factor * argument for argument in arguments[1:]))
    for name, value in estimates(*arguments).items():
        unit = 1 if name == "ess" or "weight" in name else factor
        assert scaled[name].item() == pytest.approx(unit * value.item(), rel=1e-6, abs=1e-6, nan_ok=True)


@given(rows=WEIGHTED_ROWS)
def test_snips_stays_within_the_rewards(rows):
    weight, reward = torch.tensor(rows).double().T
    assert reward.min() - 1e-6 <= snips(weight, reward).value <= reward.max() + 1e-6


@given(rows=WEIGHTED_ROWS)
def test_effective_sample_size_lies_between_one_and_all(rows):
    weight = torch.tensor(rows)[:, 0]
    assert 1 - 1e-9 <= effective_sample_size(weight).item() <= len(rows) + 1e-9


@given(weight=st.floats(1e-6, 1e6), n=st.integers(1, 50))
def test_effective_sample_size_of_equal_weights_is_their_number(weight, n):
    assert effective_sample_size(torch.full((n,), weight)).item() == pytest.approx(n)
