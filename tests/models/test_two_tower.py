"""Two towers: the formula, what a user's vector depends on, the scale, and users and items without a row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from retrieval_models import ITEMS_OF_USER, N_ITEMS, N_USERS, ROWS, assert_equal, take_step, training_batch, two_tower
from shell import TINY, recsweep
from torch import Tensor
from torch.nn.functional import layer_norm

from recsweep.errors import UserError
from recsweep.models.two_tower import TwoTower
from recsweep.seeding import generator

HISTORIES = ["mean", "attention", "gru"]
USERS = torch.arange(N_USERS)


# ---- the formula


def tower(x: Tensor, layers: Any) -> Tensor:
    """Blocks of Linear, LayerNorm and ReLU."""
    for linear, norm in zip(layers.linear, layers.norm, strict=True):
        x = layer_norm(linear.weight @ x + linear.bias, linear.bias.shape, norm.weight, norm.bias)
        x = x.clamp(min=0)
    return x


@torch.no_grad()
@pytest.mark.parametrize("hidden", [[], [6], [6, 5]])
def test_scores_by_the_formula(hidden: list[int]) -> None:
    """User 1 has had 2, 0 and 3, of which the last two count: mean pooling divides their sum by √2."""
    model = two_tower(hidden=hidden, history="mean", item_features=["colour"])
    for norm in [*model.user_tower.norm, *model.item_tower.norm]:
        torch.nn.init.uniform_(norm.weight, 0.5, 2, generator=generator(1))
        torch.nn.init.uniform_(norm.bias, 0.5, 2, generator=generator(2))
    colours = model.features.vectors.weight
    items = torch.stack([model.items.weight[i] * (i not in (7, 8)) + colours[i % 2 if i < 8 else 2] for i in range(9)])
    user_vector = tower(model.users.weight[1] + (items[0] + items[3]) / 2**0.5, model.user_tower)
    for item in range(N_ITEMS):
        item_vector = tower(items[item], model.item_tower)
        norms = (user_vector @ user_vector).sqrt() * (item_vector @ item_vector).sqrt()
        cosine = user_vector @ item_vector / norms
        assert_equal(model.score(torch.tensor([1]), torch.tensor([item])), 8 * cosine[None])


# ---- histories


def input_items(model: TwoTower, vector: Tensor) -> set[int]:
    """Items whose embeddings a vector depends on."""
    weights = torch.arange(1.0, 1 + len(vector))
    (gradient,) = torch.autograd.grad((vector * weights).sum(), model.items.weight, retain_graph=True)
    return set(gradient.any(1).nonzero().flatten().tolist())


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("max_history", [2, 10])
def test_training_sees_earlier_items_and_evaluation_all_items(max_history: int, history: str) -> None:
    model = two_tower(history=history, max_history=max_history)
    batch = training_batch(model)
    vectors = model.encode_users(batch.user, batch.first, batch.end)
    earlier_items = [items[:rank] for items in ITEMS_OF_USER.values() for rank in range(len(items))]
    assert [input_items(model, vector) for vector in vectors] == [set(items[-max_history:]) for items in earlier_items]
    expected = [set(ITEMS_OF_USER.get(user, [])[-max_history:]) for user in range(N_USERS)]
    assert [input_items(model, vector) for vector in model.user_vectors(USERS)] == expected


@torch.no_grad()
def test_a_later_item_does_not_change_an_earlier_row() -> None:
    """User 0's row of item 4 has the history 1, 3: neither 4 nor 5 is in it."""
    model = two_tower(history="gru", user_ids=False)
    batch = training_batch(model)
    before = model.encode_users(batch.user, batch.first, batch.end)
    model.items.weight[[4, 5]] += 1
    after = model.encode_users(batch.user, batch.first, batch.end)
    assert torch.equal(after[:3], before[:3])
    assert not torch.equal(after[3], before[3])


@pytest.mark.parametrize("history", ["attention", "gru"])
def test_an_ordered_history_needs_timestamps(history: str) -> None:
    timeless = replace(ROWS, timestamp=None)
    two_tower(data=timeless, history="mean")
    with pytest.raises(UserError, match=f"model.history={history} needs an order, and toy has no timestamps"):
        two_tower(data=timeless, history=history)


# ---- the scale


@torch.no_grad()
def test_scores_are_within_the_scale() -> None:
    model = two_tower(hidden=[], user_ids=False, history="mean", scale=2.5)
    user_norms, item_norms = (
        model.user_vectors(torch.tensor([0, 1, 2, 4])).norm(dim=1),
        model.item_vectors().norm(dim=1),
    )
    assert_equal(user_norms, torch.full((4,), 2.5))
    assert_equal(item_norms, torch.ones(N_ITEMS))
    same_vector = model.score(torch.tensor([2]), torch.tensor([5]))  # item 5 is user 2's whole history: cosine 1
    assert_equal(same_vector, torch.tensor([2.5]))
    assert model.score_all(USERS).abs().max() <= 2.5 + 1e-5


def test_the_scale_changes_only_with_learn_scale() -> None:
    fixed, learnable = two_tower(), two_tower(learn_scale=True)
    assert_equal(learnable.score_all(USERS), fixed.score_all(USERS))
    assert "log_scale" in dict(learnable.named_parameters())
    assert "log_scale" not in {**dict(fixed.named_parameters()), **fixed.state_dict()}
    for model in (fixed, learnable):
        take_step(model)
    assert fixed.log_scale.exp() == pytest.approx(8.0)
    assert abs(learnable.log_scale.exp() - 8) > 1e-3
    assert_equal(learnable.user_vectors(USERS).norm(dim=1), learnable.log_scale.exp().expand(N_USERS))


# ---- users and items without a row


@torch.no_grad()
@pytest.mark.parametrize("hidden", [[], [6]])
@pytest.mark.parametrize("history", HISTORIES)
def test_users_without_a_history_have_the_same_vector(history: str, hidden: list[int]) -> None:
    model = two_tower(history=history, hidden=hidden, user_ids=False)
    zero = torch.zeros(2, dtype=torch.int64)
    vectors = model.encode_users(torch.tensor([0, 3]), zero, zero)
    assert torch.equal(vectors[0], vectors[1])
    scores = model.score_all(torch.tensor([3]))
    assert scores.isfinite().all()
    assert bool(scores.any()) is bool(hidden)  # without blocks, the vector is zero


@torch.no_grad()
def test_features_describe_items_without_a_row() -> None:
    """Item 8 is green and has no row, so its own embedding does not count."""
    by_id, by_colour = two_tower(), two_tower(item_features=["colour"])
    for model in (by_id, by_colour):
        before = model.score_all(USERS)
        model.items.weight[[6, 8]] += 1
        is_changed = (model.score_all(USERS) != before).any(0)
        assert is_changed.tolist() == [False] * 6 + [True, False, model is by_id]
    before = by_colour.score_all(USERS)
    by_colour.features.vectors.weight[2] += 1  # green
    assert (by_colour.score_all(USERS) != before).any(0).tolist() == [False] * 8 + [True]


# ---- errors


def test_a_user_tower_needs_an_input() -> None:
    message = "^model.user_ids=false and model.history=none leave the user tower without an input$"
    with pytest.raises(UserError, match=message):
        two_tower(user_ids=False)


def test_an_unknown_feature_is_one_line(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *TINY, "model=two_tower", "model.item_features=[colour]")
    message = "model.item_features=colour: no such categorical feature; the data has year, genres"
    assert outcome == (2, "", f"recsweep: {message}\n")
