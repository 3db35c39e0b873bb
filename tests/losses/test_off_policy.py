"""Off-policy losses against fractions worked by hand, a slow twin, enumerated slates, and finite differences."""

from fractions import Fraction
from functools import partial
from itertools import product
from math import e, log

import pytest
import torch

from recsweep.errors import UserError
from recsweep.losses import off_policy
from recsweep.losses.binary import bce
from recsweep.losses.off_policy import ce, dr, ips_1, ips_2, snips, top_k
from recsweep.sampling import sample_slates

F = Fraction
POLICY = [[F(1, 2), F(1, 3), F(1, 6)], [F(1, 4), F(1, 2), F(1, 4)], [F(1, 6), F(1, 3), F(1, 2)]]
ACTION = torch.tensor([0, 2, 1])
PROBS = [F(1, 2), F(1, 4), F(1, 3)]  # of the logged items
PROPENSITY = torch.tensor([1 / 4, 1 / 8, 1 / 3], dtype=torch.float64)  # so the ratios are 2, 2, 1
REWARD = torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)
PREDICTED = torch.tensor([[1, 0, 6], [0, 1, 2], [3, 0, 2]], dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def logits_of(policy):
    """Logits whose softmax is the policy, shifted by another constant in each row."""
    shift = torch.arange(len(policy), dtype=torch.float64)[:, None]
    return (
        torch.tensor([[float(p) for p in row] for row in policy], dtype=torch.float64).log() + shift
    ).requires_grad_()


def gradient(loss, logits):
    (found,) = torch.autograd.grad(loss, logits)
    return found


def pulled_to_action(logits, weights):
    """-w (δ - π) / B: the gradient of the mean of -w log π(a) where no gradient flows through w, [B] fractions."""
    delta = torch.nn.functional.one_hot(ACTION, 3).double()
    weight = torch.tensor([float(w) for w in weights], dtype=torch.float64)[:, None]
    return -weight * (delta - logits.detach().softmax(1)) / len(ACTION)


def test_bce_by_hand():
    # σ(log 3) = 3/4: -log 3/4, and -log 1/4 where the label is 0.
    found = bce(torch.full((2,), log(3), dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert found.item() == pytest.approx((-log(3 / 4) - log(1 / 4)) / 2, rel=1e-12)


def test_ce_by_hand():
    assert ce(logits_of(POLICY), ACTION).item() == pytest.approx(log(2 * 4 * 3) / 3, rel=1e-12)


@pytest.mark.parametrize(
    ("max_weight", "min_weight", "weights"),
    [
        (10.0, 0.01, [F(6, 5), F(6, 5), F(3, 5)]),  # 2, 2, 1 over 5/3
        (1.5, 0.01, [F(9, 8), F(9, 8), F(3, 4)]),  # 3/2, 3/2, 1 over 4/3
        (10.0, 1.75, [F(24, 23), F(24, 23), F(21, 23)]),  # 2, 2, 7/4 over 23/12
    ],
)
def test_ips_1_by_hand(max_weight, min_weight, weights):
    logits = logits_of(POLICY)
    loss = ips_1(logits, ACTION, PROPENSITY, max_weight=max_weight, min_weight=min_weight)
    expected = -sum(float(w) * log(p) for w, p in zip(weights, PROBS, strict=True)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient(loss, logits), pulled_to_action(logits, weights), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_top_k_by_hand(k):
    # 2, 2, 1 clipped at 3/2 and divided by their mean 4/3, then k (1 - π)^(k - 1), which is not normalised.
    weights = [w * k * (1 - p) ** (k - 1) for w, p in zip([F(9, 8), F(9, 8), F(3, 4)], PROBS, strict=True)]
    logits = logits_of(POLICY)
    loss = top_k(logits, ACTION, PROPENSITY, k=k, max_weight=1.5, min_weight=0.01)
    expected = -sum(float(w) * log(p) for w, p in zip(weights, PROBS, strict=True)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient(loss, logits), pulled_to_action(logits, weights), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("max_weight", "expected"),
    [
        (100.0, -F(2 * 1 + 2 * 0 + 1 * 3, 2 + 2 + 1)),
        (1.5, -(F(3, 2) * 1 + 1 * 3) / (F(3, 2) + F(3, 2) + 1)),
    ],
)
def test_snips_by_hand(max_weight, expected):
    found = snips(logits_of(POLICY), ACTION, PROPENSITY, REWARD, max_weight=max_weight)
    assert found.item() == pytest.approx(float(expected), rel=1e-12)


def test_snips_moves_with_the_rewards_and_nothing_else():
    # Every reward 1 more, the value 1 more: what plain inverse propensity scoring lacks.
    one, more = (snips(logits_of(POLICY), ACTION, PROPENSITY, REWARD + c, max_weight=100.0).item() for c in (0, 1))
    assert one - more == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(("max_weight", "w"), [(100.0, [2, 2, 1]), (1.5, [F(3, 2), F(3, 2), 1])])
def test_dr_by_hand(max_weight, w):
    # Σ π q: 1/2 + 6/6 = 3/2; 1/2 + 2/4 = 1; 3/6 + 2/2 = 3/2. Reward - q(a): 1 - 1, 0 - 2, 3 - 0.
    expected = -(F(3, 2) + w[0] * 0 + 1 + w[1] * -2 + F(3, 2) + w[2] * 3) / 3
    found = dr(logits_of(POLICY), ACTION, PROPENSITY, REWARD, PREDICTED, max_weight=max_weight)
    assert found.item() == pytest.approx(float(expected), rel=1e-12)


def test_dr_with_true_predictions_is_the_true_value():
    # Where q is the reward, whatever the propensities: the policy's value, here Σ π q.
    reward = PREDICTED.gather(1, ACTION[:, None])[:, 0]
    found = dr(logits_of(POLICY), ACTION, PROPENSITY / 7, reward, PREDICTED, max_weight=100.0)
    assert found.item() == pytest.approx(-float(F(3, 2) + 1 + F(3, 2)) / 3, rel=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        partial(ce, action=ACTION),
        partial(snips, action=ACTION, propensity=PROPENSITY, reward=REWARD, max_weight=100.0),
        partial(snips, action=ACTION, propensity=PROPENSITY, reward=REWARD, max_weight=1.5),
        partial(dr, action=ACTION, propensity=PROPENSITY, reward=REWARD, predicted_reward=PREDICTED, max_weight=100.0),
        partial(dr, action=ACTION, propensity=PROPENSITY, reward=REWARD, predicted_reward=PREDICTED, max_weight=1.5),
    ],
    ids=["ce", "snips", "snips clipped", "dr", "dr clipped"],
)
def test_gradients_equal_finite_differences(loss):
    assert torch.autograd.gradcheck(loss, logits_of(POLICY))


def test_gradient_of_bce_equals_finite_differences():
    logits = torch.randn(5, generator=seeded(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bce, (logits, torch.tensor([0.0, 1.0, 1.0, 0.0, 0.3], dtype=torch.float64)))


def random_batch(n_rows, n_items, dtype=torch.float64):
    draws = seeded(1)
    logits = torch.randn(n_rows, n_items, generator=draws, dtype=dtype).mul(2).requires_grad_()
    action = torch.randint(n_items, (n_rows,), generator=draws)
    propensity = torch.rand(n_rows, generator=draws, dtype=dtype) * 0.9 + 0.01
    ranker_logits = torch.randn(n_rows, n_items, generator=draws, dtype=dtype)
    return logits, action, propensity, ranker_logits


SETTINGS = {
    "alpha": 0.3,
    "n_slates": 7,
    "slate_size": 5,
    "temperature": e,
    "max_weight": 2.0,
    "min_weight": 0.05,
}


def twin(logits, action, propensity, ranker_logits, slates, *, alpha, max_weight, min_weight, **_):
    """The formula, a row, a slate and an item at a time: value and gradient."""
    policy = logits.detach().softmax(1)
    pairs = list(zip(range(len(action)), action.tolist(), strict=True))
    weights = [min(max(policy[b, a].item() / propensity[b].item(), min_weight), max_weight) for b, a in pairs]
    mean = sum(weights) / len(weights)
    value, found = 0.0, torch.zeros_like(policy)
    for b, a in pairs:
        for slate in slates[b].tolist():
            items = {a, *slate}
            odds = {j: ranker_logits[b, j].exp().item() for j in items}
            share = weights[b] / mean * odds[a] / sum(odds.values()) / len(slates[b]) / len(pairs)
            for j in items:
                credit = share if j == a else alpha * share
                value -= credit * policy[b, j].log().item()
                found[b] += credit * policy[b]
                found[b, j] -= credit
    return value, found


@pytest.mark.parametrize("rows_at_once", [100, 4, 1])
def test_ips_2_equals_a_slow_twin_on_the_same_slates(monkeypatch, rows_at_once):
    # Few items, so that slates repeat them and hold the logged one. 35 draws a row are wider than the catalogue.
    logits, action, propensity, ranker_logits = random_batch(6, 8)
    monkeypatch.setattr(off_policy, "CACHED_NUMBERS", 35 * rows_at_once)
    draws = seeded(5)
    parts = (logits.detach() / e).softmax(1).split(rows_at_once)
    slates = torch.cat([sample_slates(part, 7, 5, draws) for part in parts])
    expected, expected_gradient = twin(logits, action, propensity, ranker_logits, slates, **SETTINGS)
    loss = ips_2(logits, action, propensity, ranker_logits, seeded(5), **SETTINGS)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradient(loss, logits), expected_gradient, rtol=1e-6, atol=1e-9)


def test_ips_2_of_a_large_catalogue_equals_the_twin():
    logits, action, propensity, ranker_logits = random_batch(3, 2000, torch.float32)
    settings = SETTINGS | {"n_slates": 20, "slate_size": 30}
    slates = sample_slates((logits.detach() / e).softmax(1), 20, 30, seeded(2))
    expected, expected_gradient = twin(logits, action, propensity, ranker_logits, slates, **settings)
    loss = ips_2(logits, action, propensity, ranker_logits, seeded(2), **settings)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradient(loss, logits), expected_gradient, rtol=1e-3, atol=1e-6)


def test_ips_2_with_a_ranker_that_always_picks_the_logged_item_is_ips_1():
    logits, action, propensity, ranker_logits = random_batch(9, 20)
    ranker_logits[torch.arange(9), action] = 1e4
    limits = {"max_weight": 2.0, "min_weight": 0.05}
    one = ips_1(logits, action, propensity, **limits)
    two = ips_2(logits, action, propensity, ranker_logits, seeded(), **SETTINGS | {"alpha": 0.0})
    assert two.item() == pytest.approx(one.item(), rel=1e-12)
    torch.testing.assert_close(gradient(two, logits), gradient(one, logits), rtol=1e-12, atol=1e-12)


def test_ips_2_learns_nothing_where_the_ranker_never_picks_the_logged_item():
    logits, action, propensity, ranker_logits = random_batch(9, 20)
    ranker_logits[torch.arange(9), action] = -1e4
    loss = ips_2(logits, action, propensity, ranker_logits, seeded(), **SETTINGS)
    # A slate might hold the logged item alone, though hardly among 20 items.
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient(loss, logits).abs().max() < 1e-12


def test_ips_2_is_right_on_average():
    # Three items and slates of two draws: all 9 slates with their probabilities, against the mean over 40,000.
    n, alpha = 40_000, 0.5
    policy, ranker = [F(1, 2), F(1, 3), F(1, 6)], [F(1), F(2), F(5)]  # exp of the ranker's logits
    a, drawn_with = 1, [float(p) ** 0.5 for p in policy]  # temperature 2
    draw = [x / sum(drawn_with) for x in drawn_with]
    outcomes = []  # (probability, [loss, its gradient])
    for i, j in product(range(3), repeat=2):
        slate = {i, j, a}
        share = float(ranker[a] / sum(ranker[m] for m in slate))
        credit = [share * (1 if m == a else alpha) if m in slate else 0.0 for m in range(3)]
        loss = -sum(c * log(p) for c, p in zip(credit, policy, strict=True))
        pull = [float(p) * sum(credit) - c for c, p in zip(credit, policy, strict=True)]
        outcomes.append((draw[i] * draw[j], torch.tensor([loss, *pull])))
    mean = sum(p * x for p, x in outcomes)
    deviation = (sum(p * (x - mean) ** 2 for p, x in outcomes) / n) ** 0.5

    logits = logits_of([policy])
    ranker_logits = torch.tensor([[log(x) for x in ranker]], dtype=torch.float64)
    settings = {"alpha": alpha, "n_slates": n, "slate_size": 2, "temperature": 2.0, "max_weight": 10.0}
    given = (logits, torch.tensor([a]), torch.tensor([0.4], dtype=torch.float64), ranker_logits, seeded(3))
    loss = ips_2(*given, **settings, min_weight=0.01)
    found = torch.cat([loss.detach()[None], gradient(loss, logits)[0]])
    assert (deviation > 1e-5).all()
    assert ((found - mean).abs() < 4 * deviation).all()


def test_ips_2_survives_a_ranker_sure_of_other_items():
    logits, action, propensity, ranker_logits = random_batch(4, 50, torch.float32)
    loss = ips_2(logits, action, propensity, ranker_logits * 1e4, seeded(), **SETTINGS)
    assert loss.isfinite() and gradient(loss, logits).isfinite().all()


def test_same_generator_same_ips_2():
    first, again, other = (ips_2(*random_batch(5, 30), seeded(seed), **SETTINGS).item() for seed in (3, 3, 4))
    assert first == again != other


def test_ips_2_of_a_diverged_policy_is_an_error():
    logits, *rest = random_batch(5, 30)
    with pytest.raises(UserError, match="did training diverge"):
        ips_2(logits * torch.nan, *rest, seeded(), **SETTINGS)


def test_numbers_may_be_tensors():
    logits, action, propensity, ranker_logits = random_batch(5, 30)
    tensors = {name: torch.tensor(value) for name, value in SETTINGS.items()}
    limits = {name: SETTINGS[name] for name in ("max_weight", "min_weight")}
    tensor_limits = {name: tensors[name] for name in limits}
    for plain, given in [
        (
            ips_2(logits, action, propensity, ranker_logits, seeded(), **SETTINGS),
            ips_2(logits, action, propensity, ranker_logits, seeded(), **tensors),
        ),
        (ips_1(logits, action, propensity, **limits), ips_1(logits, action, propensity, **tensor_limits)),
        (
            top_k(logits, action, propensity, k=3, **limits),
            top_k(logits, action, propensity, k=torch.tensor(3), **tensor_limits),
        ),
    ]:
        assert given.item() == pytest.approx(plain.item(), rel=1e-6)


def test_arguments_stay_as_they_are():
    logits, action, propensity, ranker_logits = random_batch(5, 30)
    reward, predicted = torch.rand(5, generator=seeded()), torch.rand(5, 30, generator=seeded())
    given = (logits, action, propensity, ranker_logits, reward, predicted)
    before = [x.detach().clone() for x in given]
    ce(logits, action)
    ips_1(logits, action, propensity, max_weight=10.0, min_weight=0.01)
    ips_2(logits, action, propensity, ranker_logits, seeded(), **SETTINGS)
    snips(logits, action, propensity, reward, max_weight=100.0)
    dr(logits, action, propensity, reward, predicted, max_weight=100.0)
    top_k(logits, action, propensity, k=3, max_weight=10.0, min_weight=0.01)
    assert all(torch.equal(x, y) for x, y in zip(given, before, strict=True))
