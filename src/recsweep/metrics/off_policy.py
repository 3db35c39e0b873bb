"""Off-policy evaluation: the value of a target policy π, estimated from rows that a logging policy β showed.

Arguments of all functions, one logged row (context x, shown item a, reward r) a row of the tensors, N ≥ 1:
    weight: [N] importance weight π(a|x) / β(a|x), at least 0; the estimators are unbiased if it is not clipped.
    reward: [N] r, in the reward's own unit.
    predicted: [N] q(x, a), a model's reward of the shown item.
    expected: [N] Σ_b π(b|x) q(x, b) over all items b, that model's reward of the target policy.

Everything is computed in float64. Every `Estimate` carries the 95 % interval of the normal approximation for
independent rows, which fails where weights have heavy tails: rows that the logging policy hardly ever shows carry most
of the target policy's value, and the log has none of them. `mean_weight` and `max_weight_share` can show it, the second
moment and the mass without support do show it, where the logging policy is known, and `value_bounds` hold all the same.
A single row has no interval: `low` and `high` are NaN.

Sources: Dudík, Langford and Li, Doubly robust policy evaluation and learning, ICML 2011, section 2 (IPS, DM, DR; here
for stochastic policies); Swaminathan and Joachims, The self-normalized estimator for counterfactual learning, NIPS
2015 (SNIPS); Owen, Monte Carlo theory, methods and examples, 2013, chapter 9 (the interval of SNIPS, 9.2; ESS, 9.3);
Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024 (`value_bounds`).
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

QUANTILE = NormalDist().inv_cdf(0.975)
"""Half width of a 95 % interval in standard errors."""

BETS = 0.75 * 0.5 ** torch.arange(10, dtype=torch.float64)
"""Stakes of `value_bounds`, per unit of the largest reward: from bold to cautious, none can lose everything."""

HALVINGS = 40
"""Steps of the bisection in `value_bounds`."""


class Estimate(NamedTuple):
    """A policy's value and its 95 % interval, 0-dim float64 each; NaN if the log does not determine them."""

    value: Tensor
    low: Tensor
    high: Tensor


def ips(weight: Tensor, reward: Tensor) -> Estimate:
    """Inverse propensity scoring, the mean of w r: unbiased, but large weights make it noisy.

    >>> ips(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])).value
    tensor(1., dtype=torch.float64)
    """
    return _mean_estimate(weight.double() * reward.double())


def snips(weight: Tensor, reward: Tensor) -> Estimate:
    """Self-normalised IPS, v = Σ w r / Σ w: stays within the rewards' range; its bias vanishes with N.

    The interval is that of the delta method, from the variance of w (r - v) / mean(w). If all weights are 0, the log
    shows nothing that the target policy does: value and interval are NaN, since 0 would say that it earns nothing.

    >>> snips(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.0])).value
    tensor(0.6667, dtype=torch.float64)
    """
    share = weight.double() / weight.double().mean()
    value = (share * reward.double()).mean()
    return _mean_estimate(value + share * (reward.double() - value))  # the linearised estimator; its mean is `value`


def direct_method(expected: Tensor) -> Estimate:
    """The reward model's value of the target policy: little noise, but the model's whole error.

    The interval covers the sampling of contexts only, not the model's error.

    >>> direct_method(torch.tensor([0.25, 0.75])).value
    tensor(0.5000, dtype=torch.float64)
    """
    return _mean_estimate(expected.double())


def doubly_robust(weight: Tensor, reward: Tensor, predicted: Tensor, expected: Tensor) -> Estimate:
    """The direct method, with its error on the logged rows corrected by IPS: mean of expected + w (r - predicted).

    Unbiased if either the propensities or the reward model are right; the better the model, the less noise.

    >>> half = torch.tensor([0.5, 0.5])
    >>> doubly_robust(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0]), half, half).value
    tensor(1., dtype=torch.float64)
    """
    return _mean_estimate(expected.double() + weight.double() * (reward.double() - predicted.double()))


def on_policy(reward: Tensor) -> Estimate:
    """The log's own mean reward: the value of the logging policy.

    >>> on_policy(torch.tensor([1.0, 0.0, 0.0, 1.0])).value
    tensor(0.5000, dtype=torch.float64)
    """
    return _mean_estimate(reward.double())


def effective_sample_size(weight: Tensor) -> Tensor:
    """(Σ w)² / Σ w², 0-dim float64: how many equal weights are as informative, 1 to N; 0 if all weights are 0.

    >>> effective_sample_size(torch.tensor([2.0, 1.0, 1.0]))
    tensor(2.6667, dtype=torch.float64)
    """
    squares = weight.double().square().sum()
    return torch.where(squares > 0, weight.double().sum().square() / squares, 0.0)


def mean_weight(weight: Tensor) -> Estimate:
    """Mean of the weights, which is 1 in expectation if nothing is clipped and every item can be shown.

    A mean far from 1, by its interval, shows that the log misses a part of the target policy.

    >>> mean_weight(torch.tensor([2.0, 0.5, 0.5])).value
    tensor(1., dtype=torch.float64)
    """
    return _mean_estimate(weight.double())


def max_weight_share(weight: Tensor) -> Tensor:
    """Largest weight as a share of their sum, 0-dim float64, 1 / N to 1; NaN if all weights are 0.

    >>> max_weight_share(torch.tensor([2.0, 1.0, 1.0]))
    tensor(0.5000, dtype=torch.float64)
    """
    return weight.double().max() / weight.double().sum()


def second_moment(target: Tensor, logging: Tensor) -> Tensor:
    """E_β[w²] = Σ_a π(a)² / β(a) of each context, [B]: N divided by it is the number of rows that the log is worth.

    Args:
        target, logging: [B, n_items] probabilities of both policies.

    >>> second_moment(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]]))
    tensor([1.3333])
    """
    return torch.where(target > 0, target.square() / logging, 0.0).sum(1)


def unsupported_mass(target: Tensor, logging: Tensor, n_rows: Tensor | int) -> Tensor:
    """Probability [B] that the target policy shows an item which a log of N rows can hardly hold: π(a) / β(a) > N / 10.

    One row with such an item would have a tenth of all weight, and the log is expected to hold fewer than ten of them.

    >>> unsupported_mass(torch.tensor([[0.75, 0.25]]), torch.tensor([[0.001, 0.999]]), 100)
    tensor([0.7500])
    """
    return torch.where(target / logging > n_rows / 10, target, 0.0).sum(1)


def value_bounds(weight: Tensor, reward: Tensor, max_reward: Tensor | float) -> tuple[Tensor, Tensor]:
    """Bounds on the policy's value that hold with 95 % confidence for any weights, however heavy their tail.

    Neither needs a variance: w r ≥ 0, and so is w (max_reward - r), whose mean is at most max_reward minus the value,
    since weights are 1 on average, or less where the log has no support. Both means are bounded from below: somebody
    who bets on each row that the mean is larger than m multiplies their capital by Π (1 + λ (x_i - m)) and has 40 times
    of it with a chance of at most 1/40 if m is the mean (Markov). `BETS` share the capital equally. Fixed stakes need
    no order of the rows, nor that they have the same mean. Clipped weights leave the bounds valid.

    Args:
        weight, reward: as above; rewards in [0, max_reward].
        max_reward: the largest possible reward, above 0.

    Returns:
        low and high, 0-dim float64, in [0, max_reward].

    >>> low, high = value_bounds(torch.ones(1000), torch.ones(1000), 1.0)
    >>> bool(low > 0.98), high
    (True, tensor(1., dtype=torch.float64))
    """
    share = reward.double() / max_reward
    gained, lost = (_lower_bound(weight.double() * rows) for rows in (share, 1 - share))
    return gained * max_reward, (1 - lost) * max_reward


def _lower_bound(rows: Tensor) -> Tensor:
    """A lower bound of the mean of float64 [N] ≥ 0, for means in [0, 1], that fails with a chance of at most 1/40."""
    threshold = math.log(40 * len(BETS))
    bets = BETS.to(rows.device)[:, None]
    low, high = rows.new_zeros(()), rows.new_ones(())
    for _ in range(HALVINGS):
        mean = (low + high) / 2
        is_refuted = (bets * (rows - mean)).log1p().sum(1).logsumexp(0) >= threshold
        low, high = torch.where(is_refuted, mean, low), torch.where(is_refuted, high, mean)
    return low


def estimates(weight: Tensor, reward: Tensor, predicted: Tensor, expected: Tensor) -> dict[str, Tensor]:
    """Every estimate by its name in reports, 0-dim float64 each.

    The largest logged reward counts as the largest possible one; without a reward above 0, or with one below 0, there
    are no bounds of the value: NaN.

    Returns:
        "ips", "ips_low", "ips_high", the same for "snips", "dm", "dr", "logged" and "mean_weight", the "bounds_low" and
        "bounds_high" of the value, "ess", and "max_weight_share".
    """
    by_name = {
        "ips": ips(weight, reward),
        "snips": snips(weight, reward),
        "dm": direct_method(expected),
        "dr": doubly_robust(weight, reward, predicted, expected),
        "logged": on_policy(reward),
        "mean_weight": mean_weight(weight),
    }
    max_reward = reward.double().max()
    has_bounds = (max_reward > 0) & (reward >= 0).all()
    bounds = [torch.where(has_bounds, bound, torch.nan) for bound in value_bounds(weight, reward, max_reward)]
    values = {
        "ess": effective_sample_size(weight),
        "max_weight_share": max_weight_share(weight),
        "bounds_low": bounds[0],
        "bounds_high": bounds[1],
    }
    for name, estimate in by_name.items():
        values |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return values


def _mean_estimate(rows: Tensor) -> Estimate:
    """Mean of float64 [N], with its interval."""
    n, mean = len(rows), rows.mean()
    # `Tensor.var` warns about a single row; 0 / 0 gives the same NaN silently.
    variance = (rows - mean).square().sum() / (n - 1)
    half_width = QUANTILE * (variance / n).sqrt()
    return Estimate(mean, mean - half_width, mean + half_width)
