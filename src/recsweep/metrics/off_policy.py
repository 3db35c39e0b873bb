"""Off-policy evaluation: the value of a target policy π, estimated from rows that a logging policy β showed.

Arguments of all functions, one logged row (context x, shown item a, reward r) a row of the tensors, N ≥ 1:
    weight: [N] importance weight π(a|x) / β(a|x), at least 0; the estimators are unbiased if it is not clipped.
    reward: [N] r, in the reward's own unit.
    predicted: [N] q(x, a), a model's reward of the shown item.
    expected: [N] Σ_b π(b|x) q(x, b) over all items b, that model's reward of the target policy.

Everything is computed in float64. Every `Estimate` carries the 95 % interval of the normal approximation for
independent rows; it is somewhat too narrow for a log that shows several items to one user. A single row has no
interval: `low` and `high` are NaN.

Sources: Dudík, Langford and Li, Doubly robust policy evaluation and learning, ICML 2011, section 2 (IPS, DM, DR; here
for stochastic policies); Swaminathan and Joachims, The self-normalized estimator for counterfactual learning, NIPS
2015 (SNIPS); Owen, Monte Carlo theory, methods and examples, 2013, chapter 9 (the interval of SNIPS, 9.2; ESS, 9.3).
"""

from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

QUANTILE = NormalDist().inv_cdf(0.975)
"""Half width of a 95 % interval in standard errors."""


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


def estimates(weight: Tensor, reward: Tensor, predicted: Tensor, expected: Tensor) -> dict[str, Tensor]:
    """Every estimate by its name in reports, 0-dim float64 each.

    Returns:
        "ips", "ips_low", "ips_high", the same for "snips", "dm", "dr" and "logged", and "ess".
    """
    by_name = {
        "ips": ips(weight, reward),
        "snips": snips(weight, reward),
        "dm": direct_method(expected),
        "dr": doubly_robust(weight, reward, predicted, expected),
        "logged": on_policy(reward),
    }
    values = {"ess": effective_sample_size(weight)}
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
