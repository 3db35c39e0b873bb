"""Rating losses against hand-worked fractions, and their gradients against finite differences."""

from fractions import Fraction

import torch

from recsweep.losses.rating import l2, mse


def test_mse_by_hand() -> None:
    # errors 3 - 4, 5 - 3, 1/2 - 1/4: (1 + 4 + 1/16) / 3
    expected = (1 + 4 + Fraction(1, 16)) / 3
    loss = mse(torch.tensor([3.0, 5.0, 0.5], dtype=torch.float64), torch.tensor([4.0, 3.0, 0.25], dtype=torch.float64))
    assert loss.shape == ()
    assert abs(loss.item() - float(expected)) < 1e-15


def test_gradient_of_mse_by_hand() -> None:
    prediction = torch.tensor([3.0, 5.0], requires_grad=True)
    mse(prediction, torch.tensor([4.0, 3.0])).backward()
    assert prediction.grad.tolist() == [2 * (3 - 4) / 2, 2 * (5 - 3) / 2]


def test_l2_sums_tables_and_averages_rows() -> None:
    # tables [2, 2], [2]: (1 + 4 + 9 + 16) / 2 + (1/4 + 1) / 2
    expected = Fraction(1 + 4 + 9 + 16, 2) + (Fraction(1, 4) + 1) / 2
    assert l2(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0.5, -1.0])).item() == float(expected)


def test_l2_counts_an_entity_once_per_row() -> None:
    table = torch.tensor([[3.0], [5.0]], requires_grad=True)
    l2(table[torch.tensor([0, 0, 1, 0])]).backward()  # d/dx of (3·3² + 5²) / 4
    assert table.grad.flatten().tolist() == [2 * 3 * 3 / 4, 2 * 5 / 4]


def test_gradients_equal_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, rating = (
        torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)
    )
    table = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mse, (prediction, rating))
    assert torch.autograd.gradcheck(l2, (table, prediction))


def test_arguments_are_not_changed() -> None:
    prediction, rating = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    mse(prediction, rating)
    l2(prediction, rating)
    assert (prediction.tolist(), rating.tolist()) == ([1.0, 2.0], [3.0, 4.0])
