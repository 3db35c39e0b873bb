"""Ranking losses against hand-worked fractions, torch's cross entropy, and finite differences."""

from collections.abc import Callable
from math import log

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from recsweep.losses.ranking import (
    Calibrated,
    CatalogueVectors,
    Full,
    InBatch,
    RankingLoss,
    Sampled,
    bpr,
    full_softmax,
    full_softmax_of_products,
    gbce,
    softmax,
)
from recsweep.paths import conf_dir

Loss = Callable[[Tensor, Tensor], Tensor]
LOW = torch.finfo(torch.float32).min
POSITIVE = torch.tensor([log(2), log(3)], dtype=torch.float64)
NEGATIVE = torch.tensor([[0.0, log(4), log(6)], [log(3), log(6), log(1 / 3)]], dtype=torch.float64)


def random_logits(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def test_bpr_by_hand() -> None:
    """σ(log a - log b) = a / (a + b): 2/3, 2/6, 2/8 in the first row; 3/6, 3/9, 9/10 in the second."""
    product = 2 / 3 * 1 / 3 * 1 / 4 * 1 / 2 * 1 / 3 * 9 / 10  # 1/120
    assert product == pytest.approx(1 / 120)
    loss = bpr(POSITIVE, NEGATIVE)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(log(120) / 6, abs=1e-15)


def test_softmax_by_hand() -> None:
    """2 / (2 + 1 + 4 + 6) = 2/13, and 3 / (3 + 3 + 6 + 1/3) = 9/37."""
    loss = softmax(POSITIVE, NEGATIVE)
    assert loss.shape == ()
    assert loss.item() == pytest.approx((log(13 / 2) + log(37 / 9)) / 2, abs=1e-15)


def test_gbce_by_hand() -> None:
    """β = ¼ (½ (1 - 4) + 4) = ⅝; σ(s⁺) = 2/3 and 3/4; 1 - σ(s⁻) = 1/2, 1/5, 1/7, and 1/4, 1/7, 3/4."""
    loss = gbce(POSITIVE, NEGATIVE, 1 / 4, 1 / 2)
    rows = (5 / 8 * log(3 / 2) + log(70), 5 / 8 * log(4 / 3) + log(112 / 3))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(sum(rows) / 2 / 4, abs=1e-15)


@pytest.mark.parametrize("sampling_rate", [0.01, 0.5, 1.0])
def test_gbce_without_calibration_is_binary_cross_entropy(sampling_rate: float) -> None:
    positive, negative = random_logits(7), random_logits(7, 5, seed=1)
    logits, labels = torch.cat([positive[:, None], negative], 1), torch.zeros(7, 6, dtype=torch.float64)
    labels[:, 0] = 1
    expected = binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(gbce(positive, negative, sampling_rate, 0), expected)


def test_with_full_calibration_the_best_logit_gives_the_true_probability() -> None:
    """An item is the positive in a fifth of the draws, and otherwise negative at the sampling rate α.

    At its best logit, β (1 - σ) / 5 = α σ 4/5 with β = α: σ = 1/5, whatever α is.
    """
    logit = torch.tensor([log(1 / 4)], dtype=torch.float64, requires_grad=True)
    none = torch.full((1, 1), -1e9, dtype=torch.float64)  # a negative without loss
    rate = 0.1
    loss = gbce(logit, none, rate, 1) / 5 + rate * 4 / 5 * gbce(-none[0], logit[:, None], rate, 1)
    (gradient,) = torch.autograd.grad(loss, logit)
    assert gradient.item() == pytest.approx(0, abs=1e-12)


def test_softmax_is_cross_entropy_with_the_positive_first() -> None:
    positive, negative = random_logits(7), random_logits(7, 5, seed=1)
    logits = torch.cat([positive[:, None], negative], 1)
    expected = cross_entropy(logits, torch.zeros(7, dtype=torch.int64))
    loss = softmax(positive, negative)
    torch.testing.assert_close(loss, expected)
    gradients, expected_gradients = (torch.autograd.grad(x, (positive, negative)) for x in (loss, expected))
    torch.testing.assert_close(gradients, expected_gradients)


LOGITS = torch.tensor([[0.0, log(2), log(3)], [log(5), 0.0, 0.0]], dtype=torch.float64)
USER_INDEX, ITEM = torch.tensor([0, 1, 0, 0]), torch.tensor([1, 0, 2, 1])


def test_full_softmax_by_hand() -> None:
    """The probabilities 2/6, 5/7, 3/6 and 2/6 again: their product is 5/126."""
    loss = full_softmax(LOGITS, USER_INDEX, ITEM)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(log(126 / 5) / 4, abs=1e-15)


def test_full_softmax_is_cross_entropy_and_softmax_of_all_other_items() -> None:
    logits, user_index, item = random_logits(3, 6), torch.tensor([2, 0, 2, 2]), torch.tensor([5, 0, 1, 5])
    loss, expected = full_softmax(logits, user_index, item), cross_entropy(logits[user_index], item)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (loss, expected)))
    negatives = torch.stack([logits[u, torch.arange(6) != i] for u, i in zip(user_index, item, strict=True)])
    torch.testing.assert_close(loss, softmax(logits[user_index, item], negatives))


def test_full_softmax_of_products_is_cross_entropy() -> None:
    """Of more rows than it computes at once, in value and gradients; once more with logits far apart."""
    for std in (1.0, 40.0):
        vectors, items = random_logits(300, 4).float().mul(std).detach(), random_logits(7, 4, seed=1).float().detach()
        item = torch.arange(300) % 7
        inputs = vectors.requires_grad_(), items.requires_grad_()
        loss, expected = full_softmax_of_products(vectors, items, item), cross_entropy(vectors @ items.T, item)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(*(torch.autograd.grad(3 * x, inputs) for x in (loss, expected)))


def test_softmax_of_one_negative_is_bpr() -> None:
    positive, negative = random_logits(7), random_logits(7, 1, seed=1)
    torch.testing.assert_close(softmax(positive, negative), bpr(positive, negative))


@pytest.mark.parametrize("loss", [bpr, softmax])
def test_gradients_equal_finite_differences(loss: Loss) -> None:
    assert torch.autograd.gradcheck(loss, (random_logits(4), random_logits(4, 3, seed=1)))


@pytest.mark.parametrize("loss", [bpr, softmax])
@pytest.mark.parametrize("gap", [-1e4, 1e4])
def test_logits_far_apart_do_not_overflow(gap: float, loss: Loss) -> None:
    positive, negative = torch.tensor([gap], requires_grad=True), torch.tensor([[0.0, 0.0]], requires_grad=True)
    value = loss(positive, negative)
    value.backward()
    # -log σ(s) is 0 for a large s and -s for a low one; softmax adds log 2 for two equal negatives
    assert value.item() == pytest.approx(max(0.0, -gap) + (log(2) if loss is softmax and gap < 0 else 0), rel=1e-6)
    assert positive.grad.tolist() == [0.0 if gap > 0 else -1.0]
    assert negative.grad.tolist() == [[0.0, 0.0] if gap > 0 else [0.5, 0.5]]


def test_a_masked_competitor_does_not_compete() -> None:
    """Neither in the value nor in the gradient. A row with only masked competitors has loss 0."""
    positive = torch.tensor([0.5, -1.0], requires_grad=True)
    negative = torch.tensor([[1.0, LOW, 2.0], [LOW, LOW, LOW]], requires_grad=True)
    loss = softmax(positive, negative)
    first_row = softmax(torch.tensor([0.5]), torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(loss, first_row / 2)  # the second row's loss is 0
    loss.backward()
    assert (negative.grad != 0).tolist() == [[True, False, True], [False, False, False]]
    assert (positive.grad != 0).tolist() == [True, False]


class Batch:
    """Fixed logits; records the requests of a loss."""

    n_items = 13

    def __init__(self) -> None:
        self.requests: list[tuple[object, ...]] = []

    def against_negatives(self, n: int) -> tuple[Tensor, Tensor]:
        self.requests.append(("negatives", n))
        return POSITIVE, NEGATIVE

    def against_shared(self, n: int) -> tuple[Tensor, Tensor]:
        self.requests.append(("shared", n))
        return POSITIVE, NEGATIVE

    def against_batch(self, n_shared: int, log_q: bool) -> tuple[Tensor, Tensor]:
        self.requests.append(("batch", n_shared, log_q))
        return POSITIVE, NEGATIVE

    def against_catalogue(self) -> CatalogueVectors:
        self.requests.append(("catalogue",))
        return CatalogueVectors(LOGITS, torch.eye(3, dtype=torch.float64), USER_INDEX, ITEM)


@pytest.mark.parametrize(
    ("loss", "expected_request", "expected_loss"),
    [
        (Sampled(function="softmax", n_negatives=3), ("negatives", 3), softmax(POSITIVE, NEGATIVE)),
        (Sampled(function="bpr", n_negatives=5), ("negatives", 5), bpr(POSITIVE, NEGATIVE)),
        (Sampled(function="softmax", n_negatives=3, shared=True), ("shared", 3), softmax(POSITIVE, NEGATIVE)),
        (Calibrated(n_negatives=3, calibration=0.5), ("negatives", 3), gbce(POSITIVE, NEGATIVE, 1 / 4, 1 / 2)),
        (InBatch(n_shared=2, log_q=True), ("batch", 2, True), softmax(POSITIVE, NEGATIVE)),
        (InBatch(n_shared=0, log_q=False), ("batch", 0, False), softmax(POSITIVE, NEGATIVE)),
        (Full(), ("catalogue",), full_softmax(LOGITS, USER_INDEX, ITEM)),
    ],
)
def test_a_loss_requests_its_competitors(
    loss: RankingLoss, expected_request: tuple[object, ...], expected_loss: Tensor
) -> None:
    batch = Batch()
    assert torch.equal(loss(batch), expected_loss)
    assert batch.requests == [expected_request]


@pytest.mark.parametrize(
    ("choice", "loss"),
    [
        ("bpr", Sampled(function="bpr", n_negatives=1)),
        ("sampled_softmax", Sampled(function="softmax", n_negatives=50)),
        ("gbce", Calibrated(n_negatives=256, calibration=0.75)),
        ("in_batch", InBatch(n_shared=0, log_q=True)),
        ("mixed", InBatch(n_shared=512, log_q=True)),
        ("full_softmax", Full()),
    ],
)
def test_a_choice_is_the_loss_of_its_name(choice: str, loss: RankingLoss) -> None:
    assert instantiate(OmegaConf.load(conf_dir() / "loss" / f"{choice}.yaml")) == loss


def test_only_in_batch_losses_compare_rows() -> None:
    assert [loss for loss in (Sampled, InBatch, Full) if loss.compares_rows] == [InBatch]


def test_arguments_are_not_changed() -> None:
    positive, negative = torch.tensor([1.0]), torch.tensor([[2.0, 3.0]])
    bpr(positive, negative)
    softmax(positive, negative)
    full_softmax(negative, torch.tensor([0]), torch.tensor([1]))
    assert (positive.tolist(), negative.tolist()) == ([1.0], [[2.0, 3.0]])
