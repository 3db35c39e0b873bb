"""The stages of a bandit log: times, labels, pairs, draws."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from scipy.stats import chisquare
from two_stage_data import item_probabilities, rows_with_features

from recsweep.errors import UserError
from recsweep.models.two_stage import stages
from recsweep.models.two_stage.nets import NominatorNet, SimulatorNet
from recsweep.seeding import generator


def test_mean_times_against_numpy() -> None:
    data = rows_with_features()
    mean, deviation = stages.mean_times(data)
    user, time = data.user.numpy(), data.timestamp.numpy()
    for u in range(29):
        assert mean[u].item() == pytest.approx(time[user == u].mean(), rel=1e-12)
        assert deviation[u].item() == pytest.approx(time[user == u].std(), rel=1e-9)
    assert mean[29].item() == pytest.approx(time.mean(), rel=1e-12)
    assert deviation[29].item() == 0


def test_random_times_have_the_moments_of_their_user() -> None:
    """20,000 draws a user: the mean is off by less than 5/√20,000 deviations, the deviation by 5/√40,000 of itself."""
    data, n = rows_with_features(n_items=20_000), 20_000
    times = stages.draw_times(data, 3).double()
    mean, deviation = stages.mean_times(data)
    assert ((times.mean(1) - mean).abs() <= 5 / math.sqrt(n) * deviation + 1).all()
    assert ((times.std(1) - deviation).abs() <= 5 / math.sqrt(2 * n) * deviation + 1).all()
    assert torch.equal(times, stages.draw_times(data, 3).double())
    assert not torch.equal(times, stages.draw_times(data, 4).double())
    assert not stages.draw_times(replace(data, timestamp=None), 3).any()


@torch.inference_mode()
def test_labels_against_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "PAIRS_AT_ONCE", 70)  # 3 users at a time
    data = rows_with_features()
    net = SimulatorNet(data, 10, 5, [12], 0.0, generator(0))
    labels = stages.label_pairs(net, data, 0.52, 5)
    times, mean = stages.draw_times(data, 5), stages.mean_times(data)[0].round().long()
    for u, i in product(range(30), range(20)):
        user, item = torch.tensor([u]), torch.tensor([i])
        assert labels["reward"][u, i] == (net(user, item, times[u, i].view(1)).sigmoid().item() >= 0.52)
        assert labels["relevant"][u, i] == (net(user, item, mean[u].view(1)).sigmoid().item() >= 0.52)
    assert (labels["reward"] != labels["relevant"]).any()
    assert 0.1 < labels["reward"].float().mean() < 0.9


@pytest.mark.parametrize(("n_pairs", "n_test"), [(10, 100), (200, 200), (60, 480)])
def test_pairs_are_distinct_and_have_labels(n_pairs: int, n_test: int) -> None:
    """Of 30 x 20 = 600 pairs, at most 600 - 2 n are left to test."""
    data = rows_with_features()
    reward = torch.rand(30, 20, generator=generator(1)) < 0.3
    pairs = stages.sample_pairs(reward, data, n_pairs, 0)
    assert len(pairs) == 2 * n_pairs + n_test
    sample = list(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))
    assert len(set(sample)) == len(sample)
    assert pairs.rating.tolist() == [float(reward[pair]) for pair in sample]
    assert sample != sorted(sample)
    same_seed, new_seed = (stages.sample_pairs(reward, data, n_pairs, seed) for seed in (0, 1))
    assert torch.equal(same_seed.item, pairs.item)
    assert not torch.equal(new_seed.item, pairs.item)


@torch.inference_mode()
@pytest.mark.parametrize("replacement", [True, False])
def test_a_log_holds_draws_and_their_propensities(replacement: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "PAIRS_AT_ONCE", 70)
    data = rows_with_features()
    net = NominatorNet(data, 10, 5, 0.0, generator(0))
    log = stages.draw_log(net, data, 6, replacement, generator(2))
    assert log["user"].tolist() == [u for u in range(30) for _ in range(6)]
    expected = item_probabilities(net)[log["user"], log["item"]]
    torch.testing.assert_close(log["propensity"], expected, rtol=1e-4, atol=0)
    fewest = min(len(set(items)) for items in log["item"].view(30, 6).tolist())
    assert fewest < 6 if replacement else fewest == 6


@torch.inference_mode()
def test_draws_with_replacement_have_the_propensities() -> None:
    """Chi-square of 50,000 draws for each of two users, against the propensities of both."""
    data = rows_with_features()
    net = NominatorNet(data, 2, 1, 0.0, generator(0))
    n = 50_000
    log = stages.draw_log(net, data, n, True, generator(2))
    expected = n * item_probabilities(net).double()
    for user, other in ((0, 1), (1, 0)):
        count = torch.bincount(log["item"][user * n : (user + 1) * n], minlength=20)
        scale = n / expected[user].sum()
        assert chisquare(count, expected[user] * scale).pvalue > 1e-3
        assert chisquare(count, expected[other] * n / expected[other].sum()).pvalue < 1e-9


@torch.inference_mode()
def test_without_replacement_nothing_impossible_is_drawn() -> None:
    data = rows_with_features()
    net = NominatorNet(data, 10, 5, 0.0, generator(0))
    net.linear.weight.mul_(1000)
    message = "the logging policy gives some users fewer than 6 items a probability above 0: lower data.items_per_user"
    with pytest.raises(UserError, match=message):
        stages.draw_log(net, data, 6, False, generator(2))
    assert stages.draw_log(net, data, 6, True, generator(2))["propensity"].min() > 0
