"""The Markov chain by hand, on sequences with a repeated item."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from rows import interactions

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.models.markov_chain import MarkovChain


def sequences() -> Interactions:
    """1 2 and 0 1 0 2, in shuffled rows, and a user without any."""
    rows = [(0, 2, 1.0), (1, 2, 1.0), (1, 0, 1.0), (1, 1, 1.0), (0, 1, 1.0), (1, 0, 1.0)]
    return replace(interactions(rows, n_users=3, n_items=3), timestamp=torch.tensor([2, 4, 1, 2, 1, 3]))


CHAIN = {"reach": 1, "step_decay": 1, "popularity_exponent": 0, "shrinkage": 0, "max_history": 1, "history_decay": 1}


def fit(**settings: Any) -> MarkovChain:
    model = MarkovChain(sequences(), **{**CHAIN, **settings})
    model.fit(sequences())
    return model


def test_a_markov_chain_has_the_shares_of_transitions() -> None:
    """Single steps: 0→1, 1→0, 0→2 and 1→2; nothing follows 2, the last item of both."""
    model = fit()
    assert model.weights.tolist() == [[0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [0, 0, 0]]
    assert model.score_all(torch.arange(3)).tolist() == [[0, 0, 0]] * 3


def test_reach_popularity_and_shrinkage_by_hand() -> None:
    """Two steps count half: 0→0, 1→2. Sums of rows: 0 has 1 + 1 + 1/2, 1 has 1 + 1 + 1/2; of columns 3/2, 1, 5/2."""
    weights = fit(reach=2, step_decay=0.5, popularity_exponent=0.5, shrinkage=1.0).weights
    counts = torch.tensor([[1 / 2, 1, 1], [1, 0, 3 / 2], [0, 0, 0]])
    norms = torch.tensor([[3.75, 2.5, 6.25]]).sqrt() + 1
    torch.testing.assert_close(weights[:2], counts[:2] / norms)
    assert weights[2].tolist() == [0, 0, 0]


def test_a_history_counts_its_latest_items_and_repeats() -> None:
    """User 1 has 2, 0, 1, 0 from the latest on, with weights 1, 1/2, 1/4, 1/8; user 0 has 2 and 1."""
    chain = fit().weights
    scores = fit(max_history=9, history_decay=0.5).score_all(torch.tensor([0, 2, 1]))
    torch.testing.assert_close(scores, torch.stack([chain[1] / 2, chain[2], chain[0] * 5 / 8 + chain[1] / 4]))
    two = fit(max_history=2, history_decay=0.5)
    torch.testing.assert_close(two.score_all(torch.tensor([1]))[0], chain[0] / 2)
    torch.testing.assert_close(two.score(torch.tensor([1, 0]), torch.tensor([2, 0])), torch.tensor([1 / 4, 1 / 4]))


def test_without_an_order_there_is_no_chain() -> None:
    data = interactions([(0, 0, 1.0)], 1, 1)
    with pytest.raises(UserError, match=r"^model markov_chain needs an order, and rows has no timestamps: take "):
        MarkovChain(data, **CHAIN)
