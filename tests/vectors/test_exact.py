"""Exact search by hand."""

import pytest
import torch
from random_vectors import N_ITEMS, SCORES, K, seen_best_items

from recsweep.errors import UserError
from recsweep.vectors.exact import top_k


def score_all(user: torch.Tensor) -> torch.Tensor:
    """Looked up rather than computed: products of different batches differ in the last bit."""
    return SCORES[user]


def test_exact_search_leaves_out_seen_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all items by descending score, user u gets those from position u on, whatever the size of chunks."""
    monkeypatch.setattr("recsweep.vectors.exact.MAX_SCORES", 7 * N_ITEMS)
    users = torch.tensor([5, 140, 0, 5, 77, 3, 8, 9, 10])
    items, scores = top_k(score_all, users, seen_best_items(), N_ITEMS, K)
    order = SCORES[users].sort(1, descending=True)
    for row, user in enumerate(users.tolist()):
        assert items[row].tolist() == order.indices[row, user : user + K].tolist()
        assert scores[row].tolist() == order.values[row, user : user + K].tolist()


def test_too_few_unseen_items_are_an_error() -> None:
    seen = seen_best_items()
    assert top_k(score_all, torch.tensor([149]), seen, N_ITEMS, 151)[0].shape == (1, 151)
    with pytest.raises(UserError, match=r"^k=152: a user has only 151 unseen items of 300$"):
        top_k(score_all, torch.tensor([0, 149]), seen, N_ITEMS, 152)
