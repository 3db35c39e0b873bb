"""The transformer: blocks against a twin that sees one sequence, what a position depends on, windows, and losses."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from retrieval_models import ITEMS_OF_USER, N_ITEMS, N_USERS, ROWS, assert_equal, take_step, two_tower
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recsweep.errors import UserError
from recsweep.losses.ranking import Calibrated, InBatch, Sampled, gbce, softmax
from recsweep.models.histories import cut_windows, number_events
from recsweep.models.retrieval import MASKED, PositiveLogits
from recsweep.models.transformer import GAPS, Transformer
from recsweep.models.two_tower import TwoTower
from recsweep.seeding import generator

DIM, HEADS, LENGTH = 6, 2, 5
USERS = torch.arange(N_USERS)


def random_transformer(positions: Any, has_gaps: bool) -> Transformer:
    """Two blocks with random parameters everywhere."""
    model = Transformer(DIM, 2, HEADS, LENGTH, positions, has_gaps, 0.0, generator(0))
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.5, generator=generator(1, *parameter.shape))
    return model


def bucket(gap: int) -> int:
    """0 for no gap, 1 for a second, 2 for two and three, 3 for four to seven, …"""
    return gap.bit_length()


def attend(block: Any, x: Tensor, seconds: list[int]) -> Tensor:
    """Attention of one sequence [L, d], a head and a pair of positions at a time."""
    size = DIM // HEADS
    query, key, value = (block.queries_keys_values.weight @ x.T).T.add(block.queries_keys_values.bias).split(DIM, 1)
    rows = []
    for i in range(len(x)):
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            scores = []
            for j in range(i + 1):
                score = query[i, part] @ key[j, part] / math.sqrt(size)
                if block.distance_bias is not None:
                    score = score + block.distance_bias[h, i - j]
                if block.gap_bias is not None:
                    score = score + block.gap_bias[h, bucket(seconds[i] - seconds[j])]
                scores.append(score)
            heads.append(torch.stack(scores).softmax(0) @ value[: i + 1, part])
        rows.append(torch.cat(heads))
    return torch.stack(rows)


def encode_alone(model: Transformer, x: Tensor, seconds: list[int]) -> Tensor:
    """One sequence by the formulas of the blocks."""
    x = x * math.sqrt(DIM)
    if model.positions is not None:
        x = x + model.positions[: len(x)].flip(0)
    for block in model.blocks:
        x = x + block.merge(attend(block, block.norm(x), seconds))
        x = x + block.outer(block.inner(block.inner_norm(x)).relu())
    return model.norm(x)


@torch.no_grad()
@pytest.mark.parametrize(("positions", "has_gaps"), [("learned", False), ("relative", False), ("relative", True)])
def test_sequences_of_a_batch_are_encoded_as_alone(positions: str, has_gaps: bool) -> None:
    """40 sequences, so three groups of attention, of 1 to 5 items, in no order of length; gaps up to 100 seconds."""
    model = random_transformer(positions, has_gaps)
    count = 1 + torch.arange(40) * 7 % LENGTH
    x = torch.randn(int(count.sum()), DIM, generator=generator(2))
    seconds = torch.randint(100, (len(x),), generator=generator(3)).sort().values
    encoded = model(x, count, seconds, generator(4))
    start = 0
    for n in count.tolist():
        rows = slice(start, start + n)
        assert_equal(encoded[rows], encode_alone(model, x[rows], seconds[rows].tolist()))
        start += n


def test_the_longest_gap_has_a_bucket() -> None:
    assert bucket(68 * 365 * 86_400) < GAPS


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(1, 6))
def test_windows_have_every_event_but_the_first_as_a_target_once(n_events: list[int], length: int) -> None:
    start = torch.tensor([0, *torch.tensor(n_events).cumsum(0).tolist()])
    user, first, end = cut_windows(start, length)
    assert ((end - first) <= length).all()
    assert ((end - first) >= 1).all()
    assert (start[user] <= first).all()
    targets = (number_events(first, end - first) + 1).tolist()
    bounds = zip(start[:-1].tolist(), start[1:].tolist(), strict=True)
    assert targets == [event for low, high in bounds for event in range(low + 1, high)]


# ---- in a two tower


def sequential(loss: Any = None, **options: Any) -> TwoTower:
    """A tower of a transformer without user ids, in which a position in training has the vector of the same history."""
    defaults = {"history": "transformer", "positions": "relative", "user_ids": False, "hidden": [], "max_history": 9}
    model = two_tower(**({"loss": loss} if loss else {}), **(defaults | options))
    assert model.transformer is not None
    for block in model.transformer.blocks:
        if block.distance_bias is not None:
            nn.init.normal_(block.distance_bias, generator=generator(5))
    return model


def pairs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """User, item, and the history's bounds of every row but each user's first."""
    columns = super(TwoTower, two_tower()).columns(ROWS)
    has_history = columns.end > columns.first
    return tuple(column[has_history] for column in columns)


@pytest.mark.parametrize("options", [{}, {"similarity": "dot"}, {"user_ids": True, "hidden": [5]}, {"time_gaps": True}])
def test_every_event_is_a_positive_after_the_events_before_it(options: dict[str, Any]) -> None:
    model = sequential(**options)
    user, item, first, end = pairs()
    logits = model.encode_users(user, first, end) @ model.item_vectors().T
    assert_equal(model.training_loss(model.columns(ROWS)), cross_entropy(logits, item))


def test_windows_of_the_last_items_only() -> None:
    """User 0 has four events, so a window of two targets and one before it; users 1 and 4 have one window."""
    every, last = (sequential(max_history=2, windows=windows).columns(ROWS) for windows in ("all", "last"))
    assert every.user.tolist() == [0, 0, 1, 4]
    assert (every.end - every.first).tolist() == [1, 2, 2, 1]
    assert [column.tolist() for column in last] == [column[1:].tolist() for column in every]


@torch.no_grad()
def test_shared_negatives_and_the_batch_compete_with_every_position() -> None:
    model = sequential()
    user, item, first, end = pairs()
    logits = model.encode_users(user, first, end) @ model.item_vectors().T
    positive = logits.gather(1, item[:, None])[:, 0]
    all_others = logits.scatter(1, item[:, None], MASKED)
    model.generator = generator(0)
    batch = model.columns(ROWS)
    for loss, expected in (
        (Sampled("softmax", N_ITEMS, shared=True), softmax(positive, all_others)),
        (Calibrated(N_ITEMS, 0.5, shared=True), gbce(positive, all_others, 1.0, 0.5)),
    ):
        model.training_setup = replace(model.training_setup, loss=loss)
        assert_equal(model.training_loss(batch), expected)
    for log_q in (False, True):
        model.training_setup = replace(model.training_setup, loss=InBatch(0, log_q))
        own = PositiveLogits(model, user, item, model.encode_users(user, first, end), torch.arange(len(user)))
        assert_equal(model.training_loss(batch), softmax(*own.against_batch(0, log_q)))


@torch.no_grad()
def test_vectors_follow_what_the_model_remembers() -> None:
    model = sequential()
    before = model.user_vectors(USERS)
    without_last = torch.ones(len(ROWS.user), dtype=torch.bool)
    without_last[((ROWS.user == 0) & (ROWS.item == ITEMS_OF_USER[0][-1])).nonzero()[0]] = False
    model.remember(ROWS.take(without_last.nonzero().flatten()))
    assert (model.user_vectors(USERS) != before).any(1).tolist() == [True, False, False, False, False]
    shortened = model.encode_users(torch.tensor([0]), model.start[:1], model.start[1:2])
    assert_equal(model.user_vectors(USERS)[:1], shortened)
    model.remember(ROWS)
    assert torch.equal(model.user_vectors(USERS), before)


def test_it_learns_and_refuses_what_it_cannot_use() -> None:
    model = sequential(max_history=2, positions="learned", user_ids=True)
    loss = float(model.training_loss(model.columns(ROWS)))
    for _ in range(3):
        take_step(model)
    assert float(model.training_loss(model.columns(ROWS))) < loss
    alone = ROWS.take(torch.tensor([int((ROWS.user == 2).nonzero()[0])]))
    with pytest.raises(UserError, match="learns from pairs of a user's rows"):
        sequential(data=alone).columns(alone)
    for options, message in (
        ({"heads": 3}, "model.embedding_dim=4 must be a multiple of model.heads=3"),
        ({"time_gaps": True, "data": replace(ROWS, has_seconds=False)}, "toy only orders each user's rows"),
        ({"time_gaps": True, "history": "gru"}, "needs model.history=transformer"),
        ({"data": replace(ROWS, timestamp=None)}, "needs an order"),
    ):
        with pytest.raises(UserError, match=message):
            sequential(**options)
