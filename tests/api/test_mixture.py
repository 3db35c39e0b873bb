"""Several models as one scorer, and weights by greedy selection, worked out by hand."""

import pytest
import torch
from torch import Tensor

from recsweep.api import mixture
from recsweep.api.mixture import Mixture, Standardized, average, choose_weights


class Fixed:
    """A scorer of three users and four items."""

    table = torch.tensor([[0.0, 0, 2, 2], [5, 5, 5, 5], [9, 3, 3, 9]])

    def score_all(self, user: Tensor) -> Tensor:
        return self.table[user]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.table[user, item]


def test_a_user_s_scores_have_mean_0_and_deviation_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users 0 and 2: means 1 and 6, deviations 1 and 3; user 1 tells items not apart."""
    expected = torch.tensor([[-1.0, -1, 1, 1], [0, 0, 0, 0], [1, -1, -1, 1]])
    scorer = Standardized(Fixed())
    assert torch.equal(scorer.score_all(torch.arange(3)), expected)
    user, item = torch.tensor([2, 0, 2, 1, 0]), torch.tensor([0, 3, 1, 2, 0])
    for limit in (4, 2**24):  # one user at once, and all
        monkeypatch.setattr(mixture, "MAX_SCORES", limit)
        assert torch.equal(scorer.score(user, item), torch.tensor([1.0, 1, -1, 0, -1]))


def test_a_mixture_is_the_weighted_sum() -> None:
    both = Mixture([(Fixed(), 0.75), (Standardized(Fixed()), 0.25)])
    user, item = torch.tensor([0, 2]), torch.tensor([0, 3])
    assert both.score(user, item).tolist() == [-0.25, 7.0]  # 3/4 · 0 - 1/4, and 3/4 · 9 + 1/4
    assert both.score_all(user)[[0, 1], item].tolist() == [-0.25, 7.0]


def test_the_mean_of_models_that_count_alike() -> None:
    means = average(
        iter([[torch.tensor([1.0, 2]), torch.tensor([3.0])], [torch.tensor([3.0, 8]), torch.tensor([4.0])]])
    )
    assert [mean.tolist() for mean in means] == [[2.0, 5.0], [3.5]]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_greedy_selection_with_replacement(mode: str) -> None:
    """Predictions 1, 5 and 41 of a rating of 2: the ensembles are A (error 1), AA (1), AAB (1/9), AAAB (0)."""
    sign = 1 if mode == "min" else -1
    scores = [[torch.tensor([1.0])], [torch.tensor([5.0])], [torch.tensor([41.0])]]
    weights = choose_weights(scores, lambda batches: sign * sum(float((b - 2).square().sum()) for b in batches), mode)  # type: ignore[arg-type]
    assert weights == [0.75, 0.25, 0.0]


def test_selection_ends_when_it_no_longer_improves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above: AA is no better than A, so a patience of one round does not come to AAB."""
    monkeypatch.setattr(mixture, "PATIENCE", 1)
    scores = [[torch.tensor([1.0])], [torch.tensor([5.0])]]
    assert choose_weights(scores, lambda batches: sum(float((b - 2).square().sum()) for b in batches), "min") == [1, 0]
