"""Ranking losses against fractions worked by hand, torch's cross entropy, and finite differences."""

from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from recsweep.losses.ranking import Full, InBatch, Sampled, bpr, full_softmax, softmax

Loss = Callable[[Tensor, Tensor], Tensor]
LOW = torch.finfo(torch.float32).min
POSITIVE = torch.tensor([log(2), log(3)], dtype=torch.float64)
NEGATIVE = torch.tensor([[0.0, log(4), log(6)], [log(3), log(6), log(1 / 3)]], dtype=torch.float64)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def test_bpr_by_hand() -> None:
    """σ(log a - log b) = a / (a + b): 2/3, 2/6, 2/8 in the first row; 3/6, 3/9, 9/10 in the second."""
    product = 2 / 3 * 1 / 3 * 1 / 4 * 1 / 2 * 1 / 3 * 9 / 10  # 1/120
    assert product == pytest.approx(1 / 120)
    found = bpr(POSITIVE, NEGATIVE)
    assert found.shape == ()
    assert found.item() == pytest.approx(log(120) / 6, abs=1e-15)


def test_softmax_by_hand() -> None:
    """2 / (2 + 1 + 4 + 6) = 2/13, and 3 / (3 + 3 + 6 + 1/3) = 9/37."""
    found = softmax(POSITIVE, NEGATIVE)
    assert found.shape == ()
    assert found.item() == pytest.approx((log(13 / 2) + log(37 / 9)) / 2, abs=1e-15)


def test_softmax_is_cross_entropy_with_the_positive_first() -> None:
    positive, negative = drawn(7), drawn(7, 5, seed=1)
    logits = torch.cat([positive[:, None], negative], 1)
    expected = cross_entropy(logits, torch.zeros(7, dtype=torch.int64))
    found = softmax(positive, negative)
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(*(torch.autograd.grad(x, (positive, negative)) for x in (found, expected)), strict=True):
        torch.testing.assert_close(mine, theirs)


LOGITS = torch.tensor([[0.0, log(2), log(3)], [log(5), 0.0, 0.0]], dtype=torch.float64)
ROW, ITEM = torch.tensor([0, 1, 0, 0]), torch.tensor([1, 0, 2, 1])


@pytest.mark.parametrize("loss", [full_softmax, Full()])
def test_full_softmax_by_hand(loss: Callable[..., Tensor]) -> None:
    """2/6, 5/7, 3/6 and 2/6 once more: their product is 5/126."""
    found = loss(LOGITS, ROW, ITEM)
    assert found.shape == ()
    assert found.item() == pytest.approx(log(126 / 5) / 4, abs=1e-15)


def test_full_softmax_is_cross_entropy_and_softmax_of_all_others() -> None:
    logits, row, item = drawn(3, 6), torch.tensor([2, 0, 2, 2]), torch.tensor([5, 0, 1, 5])
    found, expected = full_softmax(logits, row, item), cross_entropy(logits[row], item)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, logits)[0] for x in (found, expected)))
    others = torch.stack([logits[r, torch.arange(6) != i] for r, i in zip(row, item, strict=True)])
    torch.testing.assert_close(found, softmax(logits[row, item], others))


def test_softmax_of_one_negative_is_bpr() -> None:
    positive, negative = drawn(7), drawn(7, 1, seed=1)
    torch.testing.assert_close(softmax(positive, negative), bpr(positive, negative))


@pytest.mark.parametrize("loss", [bpr, softmax])
def test_gradients_equal_finite_differences(loss: Loss) -> None:
    assert torch.autograd.gradcheck(loss, (drawn(4), drawn(4, 3, seed=1)))


@pytest.mark.parametrize("loss", [bpr, softmax])
@pytest.mark.parametrize("gap", [-1e4, 1e4])
def test_far_apart_logits_overflow_nowhere(gap: float, loss: Loss) -> None:
    positive, negative = torch.tensor([gap], requires_grad=True), torch.tensor([[0.0, 0.0]], requires_grad=True)
    found = loss(positive, negative)
    found.backward()
    # -log σ(s) is 0 far above and -s far below; of two equal negatives, softmax adds log 2
    assert found.item() == pytest.approx(max(0.0, -gap) + (log(2) if loss is softmax and gap < 0 else 0), rel=1e-6)
    assert positive.grad.tolist() == [0.0 if gap > 0 else -1.0]
    assert negative.grad.tolist() == [[0.0, 0.0] if gap > 0 else [0.5, 0.5]]


def test_a_masked_competitor_does_not_compete() -> None:
    """Neither in the value nor in the gradient, and where all are masked nothing is left to learn."""
    positive = torch.tensor([0.5, -1.0], requires_grad=True)
    negative = torch.tensor([[1.0, LOW, 2.0], [LOW, LOW, LOW]], requires_grad=True)
    found = softmax(positive, negative)
    alone = softmax(torch.tensor([0.5]), torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(found, alone / 2)  # the second row's loss is 0
    found.backward()
    assert (negative.grad != 0).tolist() == [[True, False, True], [False, False, False]]
    assert (positive.grad != 0).tolist() == [True, False]


@pytest.mark.parametrize(
    ("made", "function"),
    [
        (Sampled(function="softmax", n_negatives=3), softmax),
        (Sampled(function="bpr", n_negatives=3), bpr),
        (InBatch(n_shared=2, log_q=True), softmax),
    ],
)
def test_every_choice_of_competitors_has_its_loss(made: Sampled | InBatch, function: Loss) -> None:
    assert torch.equal(made(POSITIVE, NEGATIVE), function(POSITIVE, NEGATIVE))


def test_arguments_stay_as_they_are() -> None:
    positive, negative = torch.tensor([1.0]), torch.tensor([[2.0, 3.0]])
    bpr(positive, negative)
    softmax(positive, negative)
    full_softmax(negative, torch.tensor([0]), torch.tensor([1]))
    assert (positive.tolist(), negative.tolist()) == ([1.0], [[2.0, 3.0]])
