"""Exact search by hand."""

import pytest
import torch
from random_vectors import MODEL, N_ITEMS, SCORES, K, seen_best_items

from recsweep.errors import UserError
from recsweep.vectors.exact import BLOCK, best_items, copy_scores, multiply_vectors, take_best, top_k


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


def test_the_best_of_a_row_that_has_blocks_ties_and_a_rest() -> None:
    """Row 0: all distinct. 1: many ties. 2: the best are in one block. 3: in the rest. 4: all but one are -inf."""
    n = 9 * BLOCK + 7  # more than four blocks for each of two best
    scores = torch.rand(5, n, generator=torch.Generator().manual_seed(0))
    scores[1] = (4 * scores[1]).round()
    scores[2, 3 * BLOCK : 4 * BLOCK] += 1
    scores[3, -7:] += 1
    scores[4] = scores[4].where(torch.arange(n) == 300, -torch.inf)
    values, column = take_best(scores, 2)
    assert values.equal(scores.sort(1, descending=True).values[:, :2])
    assert values.equal(scores.gather(1, column)) and all(len(row.unique()) == 2 for row in column)


def test_products_of_vectors_give_the_lists_of_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsweep.vectors.exact.MAX_SCORES", 7 * N_ITEMS)
    monkeypatch.setattr("recsweep.vectors.exact.CPU_SCORES", 3 * N_ITEMS)
    users, seen = torch.tensor([5, 140, 0, 5, 77, 3, 8, 9, 10]), seen_best_items()
    by_scores = best_items(copy_scores(MODEL.score_all), users, seen, N_ITEMS, K)
    by_vectors = best_items(multiply_vectors(MODEL), users, seen, N_ITEMS, K)
    assert by_scores[0].equal(by_vectors[0])
    assert by_scores[1].allclose(by_vectors[1], atol=1e-5)


def test_nan_is_an_error() -> None:
    broken = MODEL._replace(user=MODEL.user.index_fill(0, torch.tensor([3]), torch.nan))
    with pytest.raises(UserError, match="the model returned NaN scores"):
        best_items(multiply_vectors(broken), torch.tensor([5, 3]), seen_best_items(), N_ITEMS, K)
