"""Off-policy evaluation against a twin in plain Python."""

from dataclasses import replace
from math import exp, inf, log, prod, sqrt
from statistics import NormalDist, fmean, stdev

import pytest
import torch
from evaluation_cases import HELD_OUT, POLICY, RANKER, REWARD, SEEN, PolicyTable, log_target, off_policy
from scipy.optimize import brentq

from recsweep.data.logged import DotScorer
from recsweep.evaluation import evaluate

Z = NormalDist().inv_cdf(0.975)


def with_interval(rows: list[float]) -> tuple[float, float, float]:
    """Mean of the rows, and the ends of its 95 % interval."""
    half_width = Z * stdev(rows) / sqrt(len(rows))
    return fmean(rows), fmean(rows) - half_width, fmean(rows) + half_width


def lower_bound(rows: list[float]) -> float:
    """The smallest mean at which the bets 3/4, 3/8, … on the rows, an equal share on each, win less than 40 times."""

    def gain(mean: float) -> float:
        return fmean(prod(1 + 0.75 / 2**number * (row - mean) for row in rows) for number in range(10)) - 40

    if gain(0) < 0:
        return 0.0
    return 1.0 if gain(1) > 0 else brentq(gain, 0, 1)


def expected_metrics(predicted, max_weight, reward=None) -> dict[str, float]:
    """Every metric of POLICY on HELD_OUT, from the definitions; `predicted` and `reward` [n_users][n_items]."""
    weight = [min(POLICY[user][item] / propensity, max_weight) for user, item, _, propensity in HELD_OUT]
    earned = [row[2] for row in HELD_OUT]
    total = [sum(map(float.__mul__, POLICY[user], predicted[user])) for user, *_ in HELD_OUT]
    shown = [predicted[user][item] for user, item, *_ in HELD_OUT]
    snips = sum(map(float.__mul__, weight, earned)) / sum(weight)
    linear = [snips + w * (r - snips) / fmean(weight) for w, r in zip(weight, earned, strict=True)]
    by_name = {
        "ips": [w * r for w, r in zip(weight, earned, strict=True)],
        "snips": linear,
        "dm": total,
        "dr": [m + w * (r - q) for m, w, r, q in zip(total, weight, earned, shown, strict=True)],
        "logged": earned,
        "mean_weight": weight,
    }
    metrics = {"off_policy/ess": sum(weight) ** 2 / sum(w * w for w in weight)}
    metrics["off_policy/max_weight_share"] = max(weight) / sum(weight)
    metrics["off_policy/bounds_low"] = lower_bound([w * r for w, r in zip(weight, earned, strict=True)])
    metrics["off_policy/bounds_high"] = 1 - lower_bound([w * (1 - r) for w, r in zip(weight, earned, strict=True)])
    for name, rows in by_name.items():
        for suffix, value in zip(("", "_low", "_high"), with_interval(rows), strict=True):
            metrics[f"off_policy/{name}{suffix}"] = value
    if reward is not None:
        metrics["off_policy/true"] = fmean(
            sum(map(float.__mul__, POLICY[u], map(float, reward[u]))) for u, *_ in HELD_OUT
        )
    return metrics


@pytest.mark.parametrize("batch_size", [1, 2, 100])
@pytest.mark.parametrize("max_weight", [None, 1.5])
def test_estimates_equal_the_twin(batch_size, max_weight):
    # Weights: 4, 1, 2/3, 8, 5/4.
    target = log_target(SEEN, HELD_OUT, 4, 4, RANKER, reward=REWARD)
    got = evaluate(PolicyTable(POLICY), off_policy(max_weight, batch_size), target)
    predicted = [[1 / (1 + exp(-logit)) for logit in row] for row in RANKER]
    assert got == pytest.approx(expected_metrics(predicted, max_weight or inf, REWARD), abs=1e-6)


def test_without_a_ranker_items_mean_rewards_predict():
    # The seen rows' mean is 2/4; item 0 was seen once with 1, item 1 with 1 and 0, item 2 once with 0, item 3 never.
    means = [(1 + 5) / 11, (1 + 5) / 12, (0 + 5) / 11, 5 / 10]
    got = evaluate(PolicyTable(POLICY), off_policy(), log_target(SEEN, HELD_OUT, 4, 4))
    assert got == pytest.approx(expected_metrics([means] * 4, inf), abs=1e-6)


def test_support_by_a_known_logging_policy():
    # Logits of 0 give every item 1/4; those of user 2 are ln 7, 0, 0, 0: 7/10, then 1/10 each, below 1/5.
    scores = [[0.0] * 4, [0.0] * 4, [log(7), 0.0, 0.0, 0.0], [0.0] * 4]
    target = log_target(SEEN, HELD_OUT, 4, 4)
    policy = DotScorer(torch.tensor(scores), torch.eye(4))
    target = target._replace(data=replace(target.data, logging_policy=policy))
    got = evaluate(PolicyTable(POLICY), off_policy(), target)
    # Users 2, 0, 2, 1, 0: Σ π²/β is 2 · 1/4 · 10, 4 · 3/8 and 4 · 3/10.
    assert got["off_policy/second_moment"] == pytest.approx((2 * 5 + 2 * 1.5 + 1.2) / 5, abs=1e-6)
    # Of five rows, weights above 1/2 count: all but user 1's first item, 0.1 / 0.25.
    assert got["off_policy/unsupported_mass"] == pytest.approx((2 + 2 + 0.9) / 5, abs=1e-6)


def test_the_reward_model_does_not_see_what_is_held_out():
    changed = [(user, item, 1 - reward, propensity) for user, item, reward, propensity in HELD_OUT]
    before, after = (
        evaluate(PolicyTable(POLICY), off_policy(), log_target(SEEN, rows, 4, 4)) for rows in (HELD_OUT, changed)
    )
    assert before["off_policy/dm"] == after["off_policy/dm"]
    assert before["off_policy/ips"] != after["off_policy/ips"]


def test_the_order_of_rows_does_not_matter():
    target = log_target(SEEN, HELD_OUT, 4, 4, RANKER, reward=REWARD)
    reverse = target._replace(held_out=target.held_out.flip(0))
    expected = evaluate(PolicyTable(POLICY), off_policy(), target)
    assert evaluate(PolicyTable(POLICY), off_policy(batch_size=2), reverse) == pytest.approx(expected, abs=1e-12)
