"""Retrieval models: the history of a row, its competitors, what is encoded once, and what is cached."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from retrieval_models import (
    FREQUENCY,
    ITEMS_OF_USER,
    MODELS,
    N_ITEMS,
    N_ROWS,
    N_USERS,
    assert_equal,
    bpr_mf,
    take_step,
    training_batch,
    two_tower,
)
from shell import TINY, recsweep, tiny_config
from torch import Tensor
from torch.nn.functional import cross_entropy

from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError
from recsweep.losses.ranking import Full, InBatch, RankingLoss, Sampled
from recsweep.models import layers
from recsweep.models.retrieval import MASKED, PositiveLogits, Positives, Retrieval
from recsweep.models.two_tower import TwoTower
from recsweep.runs import build
from recsweep.seeding import generator

USERS = torch.arange(N_USERS)
SAMPLED = Sampled(function="softmax", n_negatives=4)
BPR = Sampled(function="bpr", n_negatives=4)
IN_BATCH = InBatch(n_shared=0, log_q=True)
MIXED = InBatch(n_shared=300, log_q=True)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_row_has_the_earlier_items_as_its_history() -> None:
    model = bpr_mf()
    rows = [
        (int(user), int(item), model.events[first:end].tolist())
        for user, item, first, end in zip(*training_batch(model), strict=True)
    ]
    assert rows == [
        (user, item, items[:rank]) for user, items in ITEMS_OF_USER.items() for rank, item in enumerate(items)
    ]


# ---- competitors


@torch.no_grad()
def row_scores(model: Retrieval, batch: Positives) -> Tensor:
    """[B, n_items] scores of the catalogue given each row's history, each user and item encoded alone."""
    items = [model.encode_items(torch.tensor([item]))[0] for item in range(N_ITEMS)]
    scores = torch.zeros(len(batch.user), N_ITEMS)
    for row, (user, _, first, end) in enumerate(zip(*batch, strict=True)):
        vector = model.encode_users(user[None], first[None], end[None])[0]
        for item in range(N_ITEMS):
            scores[row, item] = vector @ items[item]
    return scores


def positive_logits(model: Retrieval, batch: Positives) -> PositiveLogits:
    return PositiveLogits(model, batch.user, batch.item, *model.encode_distinct_users(batch))


def test_full_softmax_competes_with_the_catalogue(name: str) -> None:
    """Also in a batch that holds users and items more than once."""
    model = MODELS[name](loss=Full())
    batch = Positives(*(torch.cat([column, column[2:5]]) for column in training_batch(model)))
    expected = cross_entropy(row_scores(model, batch), batch.item)
    assert_equal(model.training_loss(batch), expected)


@torch.no_grad()
@pytest.mark.parametrize("log_q", [True, False])
def test_in_batch_competes_with_the_positives_of_other_users(log_q: bool, name: str) -> None:
    """Item 3 is in three rows and 5 in two: the same item is no competitor, nor is an item of the same user."""
    model = MODELS[name]()
    batch = training_batch(model)
    positive, negative = positive_logits(model, batch).against_batch(0, log_q)
    scores, items, users = row_scores(model, batch), batch.item.tolist(), batch.user.tolist()
    for row, row_item in enumerate(items):
        expected = [scores[row, item] - (np.log(FREQUENCY[item] / N_ROWS) if log_q else 0) for item in items]
        assert_equal(positive[row], expected[row])
        competes = [item != row_item and user != users[row] for item, user in zip(items, users, strict=True)]
        masked = [logit if flag else MASKED for flag, logit in zip(competes, expected, strict=True)]
        assert_equal(negative[row], torch.tensor(masked))


@torch.no_grad()
@pytest.mark.parametrize("log_q", [True, False])
def test_mixed_adds_items_that_all_rows_share(log_q: bool, name: str) -> None:
    """A competitor is item i with probability (B · frequency + S / n_items) / (B + S), where B = 10 and S = 300."""
    model = MODELS[name]()
    model.generator = generator(0)
    batch = training_batch(model)
    positive, negative = positive_logits(model, batch).against_batch(300, log_q)
    q = torch.tensor([(FREQUENCY[item] + 300 / N_ITEMS) / (N_ROWS + 300) for item in range(N_ITEMS)])
    expected = row_scores(model, batch) - (q.log() if log_q else 0)
    rows = torch.arange(N_ROWS)
    assert_equal(positive, expected[rows, batch.item])
    expected[rows, batch.item] = MASKED
    same_user = batch.user == batch.user[:, None]
    assert_equal(negative[:, :N_ROWS], expected[:, batch.item].masked_fill(same_user, MASKED))
    # A shared column is the catalogue's column of one item, and each item is drawn about 300 / 9 times.
    gap = (negative[:, N_ROWS:, None] - expected[:, None]).abs().amax(0)
    count = torch.bincount(gap.argmin(1), minlength=N_ITEMS)
    assert negative.shape == (N_ROWS, N_ROWS + 300) and gap.amin(1).max() < 1e-4
    assert (count - 300 / N_ITEMS).abs().max() < 5 * (300 / N_ITEMS) ** 0.5


@torch.no_grad()
@pytest.mark.parametrize(("dense", "few"), [(1000, 8), (0, 8), (0, 0)])
def test_sampled_competitors_are_items_that_the_user_does_not_have(
    dense: int, few: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the positive nor any other training item, earlier or later; four distinct ones a row."""
    monkeypatch.setattr(layers, "DENSE", dense)
    monkeypatch.setattr(layers, "FEW", few)
    model = MODELS[name]()
    batch = training_batch(model)
    scores, count = row_scores(model, batch), torch.zeros(N_ROWS, N_ITEMS, dtype=torch.int64)
    for seed in range(30):
        model.generator = generator(seed)
        positive, negative = positive_logits(model, batch).against_negatives(4)
        assert_equal(positive, scores[torch.arange(N_ROWS), batch.item])
        gap = (negative[:, :, None] - scores[:, None]).abs()
        assert negative.shape == (N_ROWS, 4) and gap.amin(2).max() < 1e-4
        draw_count = torch.zeros_like(count).scatter_add_(1, gap.argmin(2), torch.ones(N_ROWS, 4, dtype=torch.int64))
        assert draw_count.max() == 1
        count += draw_count
    for user, row_count in zip(batch.user.tolist(), count, strict=True):
        assert set(row_count.nonzero().flatten().tolist()) == set(range(N_ITEMS)) - set(ITEMS_OF_USER[user])


@pytest.mark.parametrize("loss", [BPR, SAMPLED, IN_BATCH, MIXED, Full()], ids=str)
def test_each_loss_trains_all_parameters(loss: RankingLoss, name: str) -> None:
    model = MODELS[name](loss=loss)
    model.generator = generator(0)
    model.training_loss(training_batch(model)).backward()
    for parameter, values in model.named_parameters():
        assert values.grad.isfinite().all() and values.grad.any(), parameter


def test_rows_that_compete_need_batches_of_many_users() -> None:
    message = "^trainer.shuffle=users: a batch would hold few users, and its rows compete: shuffle=rows$"
    with pytest.raises(UserError, match=message):
        tiny_config("model=two_tower", "loss=in_batch", "trainer.shuffle=users")


def test_too_many_negatives_are_one_line(tmp_path: Path) -> None:
    train = build.data(tiny_config()).train
    count = torch.bincount(train.user)
    busiest, left = train.user_ids.raw[int(count.argmax())], 100 - int(count.max())
    overrides = ["trainer.batch_size=2000", "model=bpr_mf", "loss.n_negatives=100"]
    message = (
        f"n_negatives=100: user {busiest} has interacted with all but {left} of the 100 items; "
        "lower it, or use loss=full_softmax"
    )
    assert recsweep(tmp_path, "train", *TINY, *overrides) == (2, "", f"recsweep: {message}\n")


# ---- scores, and the cached catalogue


@torch.no_grad()
def test_scores_are_products_of_vectors(name: str) -> None:
    model = MODELS[name]().eval()
    user, item = torch.cartesian_prod(USERS, torch.arange(N_ITEMS)).T
    products = model.user_vectors(USERS) @ model.item_vectors().T
    assert_equal(model.score_all(torch.tensor([3, 0, 3])), products[[3, 0, 3]])
    assert_equal(model.score(user, item), products.flatten())


def eval_scores(model: Retrieval) -> Tensor:
    """Scores of all users in eval mode; without gradients, so that the catalogue is cached."""
    with torch.no_grad():
        return model.eval().score_all(USERS)


def test_scores_follow_a_training_step(name: str) -> None:
    model = MODELS[name]()
    before = eval_scores(model)
    take_step(model.train())
    after = eval_scores(model)
    assert not torch.allclose(after, before)
    fresh = MODELS[name]()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(eval_scores(fresh), after)


def test_scores_follow_loaded_weights(name: str) -> None:
    model, source = MODELS[name](), MODELS[name]()
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter, generator=generator(7))
    before = eval_scores(model)
    model.load_state_dict(source.state_dict())
    with torch.no_grad():
        after = model.score_all(USERS)
    assert torch.equal(after, eval_scores(source))
    assert not torch.allclose(after, before)


@torch.no_grad()
def test_the_catalogue_is_encoded_in_chunks_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_tower().eval()
    expected, encode, chunks = model.score_all(USERS), TwoTower.encode_items, []

    def record(self: TwoTower, item: Tensor) -> Tensor:
        chunks.append(item.tolist())
        return encode(self, item)

    monkeypatch.setattr(TwoTower, "encode_items", record)
    monkeypatch.setattr("recsweep.models.retrieval.ITEMS_AT_ONCE", 4)
    model.eval()
    assert_equal(model.score_all(USERS), expected)
    model.score(USERS, USERS)
    assert chunks == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_the_cached_catalogue_is_not_used_for_gradients_or_another_type() -> None:
    model = two_tower().eval()
    with torch.inference_mode():
        model.score_all(USERS)
    model.score_all(USERS).sum().backward()
    assert model.items.weight.grad is not None and model.items.weight.grad.any()
    with torch.inference_mode():
        assert model.double().score_all(USERS).dtype == torch.float64


@pytest.mark.parametrize("history", ["none", "mean"])
def test_a_step_encodes_distinct_users_and_items_once(history: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With histories, a user's rows differ. A batch with more items than the catalogue encodes the catalogue."""
    calls: dict[str, list[list[int]]] = {"encode_users": [], "encode_items": []}
    for name, ids_by_call in calls.items():
        encode = getattr(TwoTower, name)

        def record(
            self: TwoTower, ids: Tensor, *rest: Tensor, ids_by_call: Any = ids_by_call, encode: Any = encode
        ) -> Tensor:
            ids_by_call.append(ids.tolist())
            return encode(self, ids, *rest)

        monkeypatch.setattr(TwoTower, name, record)
    model = two_tower(loss=IN_BATCH, history=history)
    batch = training_batch(model)
    model.training_loss(batch)
    model.training_loss(Positives(*(column[1:9] for column in batch)))
    users = [[0, 1, 2, 4], [0, 1, 2, 4]] if history == "none" else [batch.user.tolist(), batch.user[1:9].tolist()]
    assert calls == {"encode_users": users, "encode_items": [list(range(N_ITEMS)), [0, 2, 3, 4, 5]]}


# ---- learning


def halves() -> Interactions:
    """User u has the items of the same parity in any order, except item u + 2."""
    pairs = torch.cartesian_prod(torch.arange(20), torch.arange(20))
    user, item = pairs[torch.randperm(400, generator=generator(0))].T
    has_row = (user % 2 == item % 2) & (item != (user + 2) % 20)
    ids = IdMap(np.arange(20), "user"), IdMap(np.arange(20), "item")
    user, item = user[has_row], item[has_row]
    return Interactions("halves", user, item, torch.ones(len(user)), torch.arange(len(user)), *ids, (0.0, 1.0))


HALVES = halves()
HISTORY_ALONE = {"user_ids": False, "max_history": 10, "init_std": 0.1}
LEARNERS = {
    "bpr_mf in_batch": lambda: bpr_mf(loss=IN_BATCH, data=HALVES),
    "bpr_mf mixed": lambda: bpr_mf(loss=InBatch(n_shared=50, log_q=True), data=HALVES),
    "bpr_mf full": lambda: bpr_mf(loss=Full(), data=HALVES),
    "bpr_mf bpr": lambda: bpr_mf(loss=BPR, data=HALVES),
    "bpr_mf sampled": lambda: bpr_mf(loss=SAMPLED, data=HALVES),
    "two_tower": lambda: two_tower(SAMPLED, HALVES, init_std=0.1),
    "two_tower mean": lambda: two_tower(SAMPLED, HALVES, **HISTORY_ALONE, history="mean"),
    "two_tower attention": lambda: two_tower(SAMPLED, HALVES, **HISTORY_ALONE, history="attention"),
    "two_tower gru": lambda: two_tower(SAMPLED, HALVES, **HISTORY_ALONE, history="gru"),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_it_learns_halves(learner: str) -> None:
    """The missing item of a user's half ends above all items of the other half."""
    model = LEARNERS[learner]()
    model.generator = generator(0)
    learning_rate = 0.05 if learner.startswith("bpr_mf") else 0.02
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=learning_rate), model.columns(HALVES)
    for _ in range(70):
        optimizer.zero_grad()
        model.training_loss(batch).backward()
        optimizer.step()
    user = torch.arange(20)
    scores = model.eval().score_all(user)
    other_half = scores.masked_fill(user[:, None] % 2 == user % 2, -torch.inf)
    assert (scores[user, (user + 2) % 20] > other_half.amax(1)).all()
