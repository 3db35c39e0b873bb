"""Off-policy losses against hand-worked fractions, a slow twin, enumerated slates, and finite differences."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import product
from math import e, log
from typing import Any

import pytest
import torch
from torch import Tensor

from recsweep.errors import UserError
from recsweep.losses import off_policy
from recsweep.losses.off_policy import ce, dr, ips_1, ips_2, snips, top_k
from recsweep.sampling import sample_slates

F = Fraction
POLICY = [[F(1, 2), F(1, 3), F(1, 6)], [F(1, 4), F(1, 2), F(1, 4)], [F(1, 6), F(1, 3), F(1, 2)]]
ACTION = torch.tensor([0, 2, 1])
PROBS = [F(1, 2), F(1, 4), F(1, 3)]  # π of the logged items
PROPENSITY = torch.tensor([1 / 4, 1 / 8, 1 / 3], dtype=torch.float64)  # so the ratios are 2, 2, 1
REWARD = torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)
PREDICTED = torch.tensor([[1, 0, 6], [0, 1, 2], [3, 0, 2]], dtype=torch.float64)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_of(policy: Sequence[Sequence[Fraction]]) -> Tensor:
    """Logits whose softmax is the policy, shifted by another constant in each row."""
    shift = torch.arange(len(policy), dtype=torch.float64)[:, None]
    return (
        torch.tensor([[float(p) for p in row] for row in policy], dtype=torch.float64).log() + shift
    ).requires_grad_()


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits)[0]


def policy_gradient(logits: Tensor, weights: Sequence[Fraction]) -> Tensor:
    """-w (δ - π) / B: the gradient of the mean of -w log π(a) for constant weights w [B]."""
    delta = torch.nn.functional.one_hot(ACTION, 3).double()
    weight = torch.tensor([float(w) for w in weights], dtype=torch.float64)[:, None]
    return -weight * (delta - logits.detach().softmax(1)) / len(ACTION)


def test_ce_by_hand() -> None:
    assert ce(logits_of(POLICY), ACTION).item() == pytest.approx(log(2 * 4 * 3) / 3, rel=1e-12)


@pytest.mark.parametrize(
    ("max_weight", "min_weight", "weights"),
    [
        (10.0, 0.01, [F(6, 5), F(6, 5), F(3, 5)]),  # 2, 2, 1 over 5/3
        (1.5, 0.01, [F(9, 8), F(9, 8), F(3, 4)]),  # 3/2, 3/2, 1 over 4/3
        (10.0, 1.75, [F(24, 23), F(24, 23), F(21, 23)]),  # 2, 2, 7/4 over 23/12
    ],
)
def test_ips_1_by_hand(max_weight: float, min_weight: float, weights: list[Fraction]) -> None:
    logits = logits_of(POLICY)
    loss = ips_1(logits, ACTION, PROPENSITY, max_weight=max_weight, min_weight=min_weight)
    expected = -sum(float(w) * log(p) for w, p in zip(weights, PROBS, strict=True)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient(loss, logits), policy_gradient(logits, weights), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_top_k_by_hand(k: int) -> None:
    # 2, 2, 1 clipped at 3/2 and divided by their mean 4/3, then k (1 - π)^(k - 1), which is not normalised.
    weights = [w * k * (1 - p) ** (k - 1) for w, p in zip([F(9, 8), F(9, 8), F(3, 4)], PROBS, strict=True)]
    logits = logits_of(POLICY)
    loss = top_k(logits, ACTION, PROPENSITY, k=k, max_weight=1.5, min_weight=0.01)
    expected = -sum(float(w) * log(p) for w, p in zip(weights, PROBS, strict=True)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient(loss, logits), policy_gradient(logits, weights), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("max_weight", "expected"),
    [
        (100.0, -F(2 * 1 + 2 * 0 + 1 * 3, 2 + 2 + 1)),
        (1.5, -(F(3, 2) * 1 + 1 * 3) / (F(3, 2) + F(3, 2) + 1)),
    ],
)
def test_snips_by_hand(max_weight: float, expected: Fraction) -> None:
    loss = snips(logits_of(POLICY), ACTION, PROPENSITY, REWARD, max_weight=max_weight)
    assert loss.item() == pytest.approx(float(expected), rel=1e-12)


def test_snips_of_a_policy_that_shows_nothing_of_the_batch() -> None:
    """π of the logged items is e^-200 and e^-200 / 3, which are 0 in float32; their shares are 3/4 and 1/4."""
    logits, even = torch.tensor([[-200.0, 0.0], [-200.0, log(3)]], requires_grad=True), torch.tensor([0.5, 0.5])
    loss = snips(logits, torch.tensor([0, 0]), even, torch.tensor([1.0, 5.0]), max_weight=100.0)
    assert loss.item() == pytest.approx(-(3 / 4 * 1 + 1 / 4 * 5), rel=1e-5)
    # Share · (reward - value), 3/4 (1 - 2) and 1/4 (5 - 2), times 1 at the logged item and -1 at the other one.
    expected = torch.tensor([[3 / 4, -3 / 4], [-3 / 4, 3 / 4]])
    torch.testing.assert_close(gradient(loss, logits), expected, rtol=1e-4, atol=0)


def test_weights_that_are_all_zero_teach_nothing() -> None:
    logits = torch.tensor([[-200.0, 0.0]], requires_grad=True)
    value = ips_1(logits, torch.tensor([0]), torch.tensor([0.5]), max_weight=10.0, min_weight=0.0)
    assert value.item() == 0 and not gradient(value, logits).any()


def test_snips_shifts_by_as_much_as_the_rewards() -> None:
    # Rewards higher by 1 make the value higher by 1, unlike in plain inverse propensity scoring.
    loss, shifted_loss = (
        snips(logits_of(POLICY), ACTION, PROPENSITY, REWARD + c, max_weight=100.0).item() for c in (0, 1)
    )
    assert loss - shifted_loss == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(("max_weight", "w"), [(100.0, [2, 2, 1]), (1.5, [F(3, 2), F(3, 2), 1])])
def test_dr_by_hand(max_weight: float, w: list[Fraction]) -> None:
    # Σ π q: 1/2 + 6/6 = 3/2; 1/2 + 2/4 = 1; 3/6 + 2/2 = 3/2. Reward - q(a): 1 - 1, 0 - 2, 3 - 0.
    expected = -(F(3, 2) + w[0] * 0 + 1 + w[1] * -2 + F(3, 2) + w[2] * 3) / 3
    loss = dr(logits_of(POLICY), ACTION, PROPENSITY, REWARD, PREDICTED, max_weight=max_weight)
    assert loss.item() == pytest.approx(float(expected), rel=1e-12)


def test_dr_with_true_predictions_is_the_true_value() -> None:
    # If q equals the reward, the propensities do not matter: the loss is -Σ π q.
    reward = PREDICTED.gather(1, ACTION[:, None])[:, 0]
    loss = dr(logits_of(POLICY), ACTION, PROPENSITY / 7, reward, PREDICTED, max_weight=100.0)
    assert loss.item() == pytest.approx(-float(F(3, 2) + 1 + F(3, 2)) / 3, rel=1e-12)


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
def test_gradients_equal_finite_differences(loss: Callable[[Tensor], Tensor]) -> None:
    assert torch.autograd.gradcheck(loss, logits_of(POLICY))


def random_batch(
    n_rows: int, n_items: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, logged items, propensities and the ranker's logits."""
    generator = rng(1)
    logits = torch.randn(n_rows, n_items, generator=generator, dtype=dtype).mul(2).requires_grad_()
    action = torch.randint(n_items, (n_rows,), generator=generator)
    propensity = torch.rand(n_rows, generator=generator, dtype=dtype) * 0.9 + 0.01
    ranker_logits = torch.randn(n_rows, n_items, generator=generator, dtype=dtype)
    return logits, action, propensity, ranker_logits


SETTINGS = {
    "alpha": 0.3,
    "n_slates": 7,
    "slate_size": 5,
    "temperature": e,
    "max_weight": 2.0,
    "min_weight": 0.05,
}


def twin(
    logits: Tensor,
    action: Tensor,
    propensity: Tensor,
    ranker_logits: Tensor,
    slates: Tensor,
    *,
    alpha: float,
    max_weight: float,
    min_weight: float,
    **_: Any,
) -> tuple[float, Tensor]:
    """Loss and gradient by the formula, one row, slate and item at a time."""
    policy = logits.detach().softmax(1)
    pairs = list(zip(range(len(action)), action.tolist(), strict=True))
    weights = [min(max(policy[b, a].item() / propensity[b].item(), min_weight), max_weight) for b, a in pairs]
    mean = sum(weights) / len(weights)
    value, slope = 0.0, torch.zeros_like(policy)
    for b, a in pairs:
        for slate in slates[b].tolist():
            items = {a, *slate}
            odds = {j: ranker_logits[b, j].exp().item() for j in items}
            share = weights[b] / mean * odds[a] / sum(odds.values()) / len(slates[b]) / len(pairs)
            for j in items:
                credit = share if j == a else alpha * share
                value -= credit * policy[b, j].log().item()
                slope[b] += credit * policy[b]
                slope[b, j] -= credit
    return value, slope


@pytest.mark.parametrize("rows_at_once", [100, 4, 1])
def test_ips_2_equals_a_slow_twin_on_the_same_slates(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    # Few items, so that slates repeat them and hold the logged one. The 35 draws of a row exceed the catalogue.
    logits, action, propensity, ranker_logits = random_batch(6, 8)
    monkeypatch.setattr(off_policy, "CACHED_NUMBERS", 35 * rows_at_once)
    generator = rng(5)
    parts = (logits.detach() / e).softmax(1).split(rows_at_once)
    slates = torch.cat([sample_slates(part, 7, 5, generator) for part in parts])
    expected, expected_gradient = twin(logits, action, propensity, ranker_logits, slates, **SETTINGS)
    loss = ips_2(logits, action, propensity, ranker_logits, rng(5), **SETTINGS)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradient(loss, logits), expected_gradient, rtol=1e-6, atol=1e-9)


def test_ips_2_takes_logits_in_bfloat16() -> None:
    """As of a ranker in mixed precision: these numbers are the same in 16 and in 32 bits."""
    logits, ranker_logits = torch.zeros(3, 3), torch.tensor([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0], [0.5, 0.0, 1.0]])
    losses = [
        ips_2(logits, ACTION, PROPENSITY.float(), x, rng(2), **SETTINGS)
        for x in (ranker_logits, ranker_logits.bfloat16())
    ]
    assert losses[0] == losses[1]


def test_ips_2_of_a_large_catalogue_equals_the_twin() -> None:
    logits, action, propensity, ranker_logits = random_batch(3, 2000, torch.float32)
    settings = SETTINGS | {"n_slates": 20, "slate_size": 30}
    slates = sample_slates((logits.detach() / e).softmax(1), 20, 30, rng(2))
    expected, expected_gradient = twin(logits, action, propensity, ranker_logits, slates, **settings)
    loss = ips_2(logits, action, propensity, ranker_logits, rng(2), **settings)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradient(loss, logits), expected_gradient, rtol=1e-3, atol=1e-6)


def test_ips_2_with_a_ranker_that_always_picks_the_logged_item_is_ips_1() -> None:
    logits, action, propensity, ranker_logits = random_batch(9, 20)
    ranker_logits[torch.arange(9), action] = 1e4
    limits = {"max_weight": 2.0, "min_weight": 0.05}
    loss_1 = ips_1(logits, action, propensity, **limits)
    loss_2 = ips_2(logits, action, propensity, ranker_logits, rng(), **SETTINGS | {"alpha": 0.0})
    assert loss_2.item() == pytest.approx(loss_1.item(), rel=1e-12)
    torch.testing.assert_close(gradient(loss_2, logits), gradient(loss_1, logits), rtol=1e-12, atol=1e-12)


def test_ips_2_is_zero_if_the_ranker_never_picks_the_logged_item() -> None:
    logits, action, propensity, ranker_logits = random_batch(9, 20)
    ranker_logits[torch.arange(9), action] = -1e4
    loss = ips_2(logits, action, propensity, ranker_logits, rng(), **SETTINGS)
    # A slate of the logged item alone would count, but is unlikely among 20 items.
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient(loss, logits).abs().max() < 1e-12


def test_ips_2_is_right_on_average() -> None:
    # Three items and slates of two draws: the expectation over all 9 slates, against the mean of 40,000 draws.
    n, alpha = 40_000, 0.5
    policy, ranker = [F(1, 2), F(1, 3), F(1, 6)], [F(1), F(2), F(5)]  # exp of the ranker's logits
    a, root = 1, [float(p) ** 0.5 for p in policy]  # temperature 2
    proposal = [x / sum(root) for x in root]
    outcomes = []  # (probability, [loss, its gradient])
    for i, j in product(range(3), repeat=2):
        slate = {i, j, a}
        share = float(ranker[a] / sum(ranker[m] for m in slate))
        credit = [share * (1 if m == a else alpha) if m in slate else 0.0 for m in range(3)]
        loss = -sum(c * log(p) for c, p in zip(credit, policy, strict=True))
        slope = [float(p) * sum(credit) - c for c, p in zip(credit, policy, strict=True)]
        outcomes.append((proposal[i] * proposal[j], torch.tensor([loss, *slope])))
    mean = sum(p * x for p, x in outcomes)
    deviation = (sum(p * (x - mean) ** 2 for p, x in outcomes) / n) ** 0.5

    logits = logits_of([policy])
    ranker_logits = torch.tensor([[log(x) for x in ranker]], dtype=torch.float64)
    settings = {"alpha": alpha, "n_slates": n, "slate_size": 2, "temperature": 2.0, "max_weight": 10.0}
    arguments = (logits, torch.tensor([a]), torch.tensor([0.4], dtype=torch.float64), ranker_logits, rng(3))
    loss = ips_2(*arguments, **settings, min_weight=0.01)
    actual = torch.cat([loss.detach()[None], gradient(loss, logits)[0]])
    assert (deviation > 1e-5).all()
    assert ((actual - mean).abs() < 4 * deviation).all()


def test_ips_2_is_finite_for_a_ranker_sure_of_other_items() -> None:
    logits, action, propensity, ranker_logits = random_batch(4, 50, torch.float32)
    loss = ips_2(logits, action, propensity, ranker_logits * 1e4, rng(), **SETTINGS)
    assert loss.isfinite() and gradient(loss, logits).isfinite().all()


def test_the_same_seed_gives_the_same_ips_2() -> None:
    first, second, different = (ips_2(*random_batch(5, 30), rng(seed), **SETTINGS).item() for seed in (3, 3, 4))
    assert first == second != different


def test_ips_2_of_a_diverged_policy_is_an_error() -> None:
    logits, *rest = random_batch(5, 30)
    with pytest.raises(UserError, match="did training diverge"):
        ips_2(logits * torch.nan, *rest, rng(), **SETTINGS)


def test_numbers_may_be_tensors() -> None:
    logits, action, propensity, ranker_logits = random_batch(5, 30)
    tensors = {name: torch.tensor(value) for name, value in SETTINGS.items()}
    limits = {name: SETTINGS[name] for name in ("max_weight", "min_weight")}
    tensor_limits = {name: tensors[name] for name in limits}
    for number_loss, tensor_loss in [
        (
            ips_2(logits, action, propensity, ranker_logits, rng(), **SETTINGS),
            ips_2(logits, action, propensity, ranker_logits, rng(), **tensors),
        ),
        (ips_1(logits, action, propensity, **limits), ips_1(logits, action, propensity, **tensor_limits)),
        [snips(logits, action, propensity, torch.arange(5.0), max_weight=n) for n in (1.5, torch.tensor(1.5))],
        (
            top_k(logits, action, propensity, k=3, **limits),
            top_k(logits, action, propensity, k=torch.tensor(3), **tensor_limits),
        ),
    ]:
        assert tensor_loss.item() == pytest.approx(number_loss.item(), rel=1e-6)


def test_arguments_are_not_changed() -> None:
    logits, action, propensity, ranker_logits = random_batch(5, 30)
    reward, predicted = torch.rand(5, generator=rng()), torch.rand(5, 30, generator=rng())
    arguments = (logits, action, propensity, ranker_logits, reward, predicted)
    before = [x.detach().clone() for x in arguments]
    ce(logits, action)
    ips_1(logits, action, propensity, max_weight=10.0, min_weight=0.01)
    ips_2(logits, action, propensity, ranker_logits, rng(), **SETTINGS)
    snips(logits, action, propensity, reward, max_weight=100.0)
    dr(logits, action, propensity, reward, predicted, max_weight=100.0)
    top_k(logits, action, propensity, k=3, max_weight=10.0, min_weight=0.01)
    assert all(torch.equal(x, y) for x, y in zip(arguments, before, strict=True))
