"""Retrieval models: what competes with what, what a row may know, and that scores follow from what was learned."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shell import TINY, recsweep, tiny
from torch import Tensor
from torch.nn.functional import cross_entropy, layer_norm

from recsweep.data.schema import Features, IdMap, Interactions
from recsweep.errors import UserError
from recsweep.losses.ranking import InBatch, Sampled
from recsweep.models import layers
from recsweep.models.base import Training
from recsweep.models.bpr_mf import BPRMF
from recsweep.models.retrieval import NO_COMPETITOR, Positives, Retrieval
from recsweep.models.two_tower import TwoTower
from recsweep.runs import build
from recsweep.seeding import generator

N_USERS, N_ITEMS = 5, 9
IN_ORDER = {0: [1, 3, 4, 5], 1: [2, 0, 3], 2: [5], 4: [3, 6]}
"""Items of each user, first to last. User 3 and items 7 and 8 have no row."""
FREQUENCY = Counter(item for items in IN_ORDER.values() for item in items)
N_ROWS = FREQUENCY.total()
HISTORIES = ["mean", "attention", "gru"]


def rows() -> Interactions:
    """`IN_ORDER`, written down in another order."""
    table = [(user, item, time) for user, items in IN_ORDER.items() for time, item in enumerate(items)]
    order = torch.randperm(len(table), generator=generator(0))
    user, item, time = torch.tensor(table)[order].T
    ids = IdMap(np.arange(N_USERS), "user"), IdMap(np.arange(N_ITEMS), "item")
    colours = Features({"colour": torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 2])}, {"colour": ("red", "blue", "green")})
    return Interactions("toy", user, item, torch.ones(len(user)), time, *ids, (0.0, 1.0), item_features=colours)


ROWS = rows()


@cache
def training(*words: str) -> Training:
    """Where no loss is chosen, one that needs no more items than the few here."""
    loss = [] if any(word.startswith("loss=") for word in words) else ["loss=full_softmax"]
    return build.training(tiny(*words, *loss))


def bpr_mf(*words: str, data: Interactions = ROWS) -> BPRMF:
    made = BPRMF(data, training("model=bpr_mf", "regularization.dropout=0", *words), embedding_dim=3, init_std=1.0)
    torch.nn.init.normal_(made.table.rows.weight, generator=generator(1))  # biases too
    return made


def two_tower(*words: str, data: Interactions = ROWS, **options: Any) -> TwoTower:
    chosen = {
        "embedding_dim": 4,
        "hidden": [16, 16],
        "user_ids": True,
        "history": "none",
        "max_history": 2,
        "item_features": [],
        "scale": 8.0,
        "learn_scale": False,
        "init_std": 1.0,
    }
    return TwoTower(data, training("model=two_tower", "regularization.dropout=0", *words), **(chosen | options))


def with_history(*words: str) -> TwoTower:
    return two_tower(*words, history="attention", item_features=["colour"], user_ids=False)


MODELS: dict[str, Callable[..., Retrieval]] = {
    "bpr_mf": bpr_mf,
    "two_tower": two_tower,
    "with history": with_history,
}


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def batch_of(model: Retrieval) -> Positives:
    return model.columns(ROWS)


@torch.no_grad()
def scores_of_rows(model: Retrieval, batch: Positives) -> Tensor:
    """[B, n_items] scores of the catalogue as they are before each row, pair by pair."""
    found = torch.zeros(len(batch.user), N_ITEMS)
    for row, (user, _, first, end) in enumerate(zip(*batch, strict=True)):
        vector = model.encode_users(user[None], first[None], end[None])[0]
        for item in range(N_ITEMS):
            found[row, item] = vector @ model.encode_items(torch.tensor([item]))[0]
    return found


# ---- what a row may know


def test_rows_know_what_came_before() -> None:
    model = bpr_mf()
    batch = batch_of(model)
    told = [
        (int(user), int(item), model.events[first:end].tolist()) for user, item, first, end in zip(*batch, strict=True)
    ]
    assert told == [(user, item, items[:place]) for user, items in IN_ORDER.items() for place, item in enumerate(items)]


def touched(model: TwoTower, vector: Tensor) -> set[int]:
    """Items whose embeddings a vector depends on."""
    weights = torch.arange(1.0, 1 + len(vector))
    (slope,) = torch.autograd.grad((vector * weights).sum(), model.items.weight, retain_graph=True)
    return set(slope.any(1).nonzero().flatten().tolist())


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("max_history", [2, 10])
def test_training_sees_earlier_items_and_evaluation_all_of_them(max_history: int, history: str) -> None:
    model = two_tower(history=history, max_history=max_history)
    batch = batch_of(model)
    before = model.encode_users(batch.user, batch.first, batch.end)
    expected = [items[:place] for items in IN_ORDER.values() for place in range(len(items))]
    assert [touched(model, vector) for vector in before] == [set(items[-max_history:]) for items in expected]
    users = torch.arange(N_USERS)
    expected = [set(IN_ORDER.get(user, [])[-max_history:]) for user in range(N_USERS)]
    assert [touched(model, vector) for vector in model.user_vectors(users)] == expected


@torch.no_grad()
def test_a_later_item_makes_no_difference_to_an_earlier_row() -> None:
    """User 0's row of item 4 has the history 1, 3: neither 4 nor 5 is in it."""
    model = two_tower(history="gru", user_ids=False)
    batch = batch_of(model)
    before = model.encode_users(batch.user, batch.first, batch.end)
    model.items.weight[[4, 5]] += 1
    after = model.encode_users(batch.user, batch.first, batch.end)
    assert torch.equal(after[:3], before[:3])
    assert not torch.equal(after[3], before[3])


# ---- what competes


@pytest.fixture
def competing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses give back the logits that they are given."""
    for kind in (Sampled, InBatch):
        monkeypatch.setattr(kind, "__call__", lambda _, positive, negative: (positive, negative))


def logits(model: Retrieval, batch: Positives, seed: int = 0) -> tuple[Tensor, Tensor]:
    model.generator = generator(seed)
    with torch.no_grad():
        return model.training_loss(batch)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_full_softmax_competes_with_the_catalogue(name: str) -> None:
    """Also in a batch that holds users and items more than once."""
    model = MODELS[name]("loss=full_softmax")
    batch = Positives(*(torch.cat([column, column[2:5]]) for column in batch_of(model)))
    expected = cross_entropy(scores_of_rows(model, batch), batch.item)
    assert_equal(model.training_loss(batch), expected)


@pytest.mark.usefixtures("competing")
@pytest.mark.parametrize("log_q", [True, False])
def test_in_batch_competes_with_the_positives_of_the_others(log_q: bool, name: str) -> None:
    """Item 3 stands three times in the batch and 5 twice: the same item is no competitor, nor one of the same user."""
    model = MODELS[name]("loss=in_batch", f"loss.log_q={log_q}")
    batch = batch_of(model)
    positive, negative = logits(model, batch)
    scores, items, users = scores_of_rows(model, batch), batch.item.tolist(), batch.user.tolist()
    for row, own in enumerate(items):
        expected = [scores[row, item] - (np.log(FREQUENCY[item] / N_ROWS) if log_q else 0) for item in items]
        assert_equal(positive[row], expected[row])
        rivals = [item != own and user != users[row] for item, user in zip(items, users, strict=True)]
        masked = [value if rival else NO_COMPETITOR for rival, value in zip(rivals, expected, strict=True)]
        assert_equal(negative[row], torch.tensor(masked))


@pytest.mark.usefixtures("competing")
@pytest.mark.parametrize("log_q", [True, False])
def test_mixed_adds_items_that_all_rows_share(log_q: bool, name: str) -> None:
    """A place holds item i with probability (B · frequency + S / n_items) / (B + S), where B = 10 and S = 300."""
    model = MODELS[name]("loss=mixed", f"loss.log_q={log_q}", "loss.n_shared=300")
    batch = batch_of(model)
    positive, negative = logits(model, batch)
    share = torch.tensor([(FREQUENCY[item] + 300 / N_ITEMS) / (N_ROWS + 300) for item in range(N_ITEMS)])
    expected = scores_of_rows(model, batch) - (share.log() if log_q else 0)
    every = torch.arange(N_ROWS)
    assert_equal(positive, expected[every, batch.item])
    expected[every, batch.item] = NO_COMPETITOR
    same_user = batch.user == batch.user[:, None]
    assert_equal(negative[:, :N_ROWS], expected[:, batch.item].masked_fill(same_user, NO_COMPETITOR))
    # A shared column is the catalogue's column of one item, and every item is drawn 300 / 9 times or so.
    gap = (negative[:, N_ROWS:, None] - expected[:, None]).abs().amax(0)
    drawn = torch.bincount(gap.argmin(1), minlength=N_ITEMS)
    assert negative.shape == (N_ROWS, N_ROWS + 300) and gap.amin(1).max() < 1e-4
    assert (drawn - 300 / N_ITEMS).abs().max() < 5 * (300 / N_ITEMS) ** 0.5


@pytest.mark.usefixtures("competing")
@pytest.mark.parametrize(("dense", "few"), [(1000, 8), (0, 8), (0, 0)])
def test_sampled_competitors_are_what_the_user_does_not_have(
    dense: int, few: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the positive nor any other training item, earlier or later; four distinct ones a row."""
    monkeypatch.setattr(layers, "DENSE", dense)
    monkeypatch.setattr(layers, "FEW", few)
    model = MODELS[name]("loss=sampled_softmax", "loss.n_negatives=4")
    batch = batch_of(model)
    scores, chosen = scores_of_rows(model, batch), torch.zeros(N_ROWS, N_ITEMS, dtype=torch.int64)
    for seed in range(30):
        positive, negative = logits(model, batch, seed)
        assert_equal(positive, scores[torch.arange(N_ROWS), batch.item])
        gap = (negative[:, :, None] - scores[:, None]).abs()
        assert negative.shape == (N_ROWS, 4) and gap.amin(2).max() < 1e-4
        once = torch.zeros_like(chosen).scatter_add_(1, gap.argmin(2), torch.ones(N_ROWS, 4, dtype=torch.int64))
        assert once.max() == 1
        chosen += once
    for user, mine in zip(batch.user.tolist(), chosen, strict=True):
        assert set(mine.nonzero().flatten().tolist()) == set(range(N_ITEMS)) - set(IN_ORDER[user])


@pytest.mark.parametrize("loss", ["bpr", "sampled_softmax", "in_batch", "mixed", "full_softmax"])
def test_all_losses_teach_all_parameters(loss: str, name: str) -> None:
    words = [f"loss={loss}", *(["loss.n_negatives=4"] if loss in ("bpr", "sampled_softmax") else [])]
    model = MODELS[name](*words)
    model.generator = generator(0)
    model.training_loss(batch_of(model)).backward()
    for parameter, values in model.named_parameters():
        assert values.grad.isfinite().all() and values.grad.any(), parameter


# ---- scores


@torch.no_grad()
def test_scores_are_products_of_vectors(name: str) -> None:
    model = MODELS[name]().eval()
    user, item = torch.cartesian_prod(torch.arange(N_USERS), torch.arange(N_ITEMS)).T
    products = model.user_vectors(torch.arange(N_USERS)) @ model.item_vectors().T
    assert_equal(model.score_all(torch.tensor([3, 0, 3])), products[[3, 0, 3]])
    assert_equal(model.score(user, item), products.flatten())


@torch.no_grad()
def test_bpr_mf_by_hand() -> None:
    model = bpr_mf()
    weight = model.table.rows.weight.tolist()
    for user in range(N_USERS):
        p = weight[user][:3]
        scores = [sum(a * b for a, b in zip(p, row, strict=False)) + row[3] for row in weight[N_USERS:]]
        assert_equal(model.score_all(torch.tensor([user]))[0], torch.tensor(scores))


def test_l2_of_bpr_mf_counts_a_vector_in_each_of_its_rows() -> None:
    """0.5 · mean over rows of |p_u|² + |q_i|²; biases go free."""
    plain, penalised = bpr_mf("loss=full_softmax"), bpr_mf("loss=full_softmax", "regularization.l2=0.5")
    batch, vectors = batch_of(plain), plain.table.rows.weight[:, :3].detach()
    expected = sum(
        vectors[user].square().sum() + vectors[N_USERS + item].square().sum()
        for user, item in zip(batch.user, batch.item, strict=True)
    )
    assert_equal(penalised.training_loss(batch) - plain.training_loss(batch), 0.5 * expected / N_ROWS)


def test_sparse_gradients_are_the_dense_ones() -> None:
    dense, sparse = bpr_mf("loss=in_batch"), bpr_mf("loss=in_batch", "optimizer=sparse_adam", "regularization=none")
    for model in (dense, sparse):
        model.training_loss(batch_of(model)).backward()
    found = sparse.table.rows.weight.grad
    assert found.is_sparse
    assert_equal(found.to_dense(), dense.table.rows.weight.grad)


def tower(x: Tensor, layers: Any) -> Tensor:
    """Linear, LayerNorm, ReLU, one after another."""
    for linear, norm in zip(layers.linear, layers.norm, strict=True):
        x = layer_norm(linear.weight @ x + linear.bias, linear.bias.shape, norm.weight, norm.bias)
        x = x.clamp(min=0)
    return x


@torch.no_grad()
@pytest.mark.parametrize("hidden", [[], [6], [6, 5]])
def test_two_tower_by_its_formula(hidden: list[int]) -> None:
    """User 1 has had 2, 0 and 3, of which the last two count: the mean layer divides their sum by √2."""
    model = two_tower(hidden=hidden, history="mean", item_features=["colour"])
    for norm in [*model.user_tower.norm, *model.item_tower.norm]:
        torch.nn.init.uniform_(norm.weight, 0.5, 2, generator=generator(1))
        torch.nn.init.uniform_(norm.bias, 0.5, 2, generator=generator(2))
    colours = model.features.vectors.weight
    items = torch.stack([model.items.weight[i] * (i not in (7, 8)) + colours[i % 2 if i < 8 else 2] for i in range(9)])
    user = tower(model.users.weight[1] + (items[0] + items[3]) / 2**0.5, model.user_tower)
    for item in range(N_ITEMS):
        other = tower(items[item], model.item_tower)
        cosine = (user @ other) / (user @ user).sqrt() / (other @ other).sqrt()
        assert_equal(model.score(torch.tensor([1]), torch.tensor([item])), 8 * cosine[None])


@torch.no_grad()
def test_two_tower_is_within_its_scale() -> None:
    model = two_tower(hidden=[], user_ids=False, history="mean", scale=2.5)
    lengths = model.user_vectors(torch.tensor([0, 1, 2, 4])).norm(dim=1), model.item_vectors().norm(dim=1)
    assert_equal(lengths[0], torch.full((4,), 2.5))
    assert_equal(lengths[1], torch.ones(N_ITEMS))
    alike = model.score(torch.tensor([2]), torch.tensor([5]))  # all that user 2 has had: cosine 1
    assert_equal(alike, torch.tensor([2.5]))
    assert model.score_all(torch.arange(N_USERS)).abs().max() <= 2.5 + 1e-5


def step(model: Retrieval) -> None:
    model.generator = generator(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.training_loss(batch_of(model)).backward()
    optimizer.step()


def test_the_scale_is_learned_where_it_should() -> None:
    fixed, learned = two_tower("loss=full_softmax"), two_tower("loss=full_softmax", learn_scale=True)
    users = torch.arange(N_USERS)
    assert_equal(learned.score_all(users), fixed.score_all(users))
    assert "log_scale" in dict(learned.named_parameters())
    assert "log_scale" not in {**dict(fixed.named_parameters()), **fixed.state_dict()}
    for model in (fixed, learned):
        step(model)
    assert fixed.log_scale.exp() == pytest.approx(8.0)
    assert abs(learned.log_scale.exp() - 8) > 1e-3
    assert_equal(learned.user_vectors(users).norm(dim=1), learned.log_scale.exp().expand(N_USERS))


# ---- what was encoded before is not used again once it is wrong


def test_scores_follow_a_training_step(name: str) -> None:
    model, users = MODELS[name]("loss=full_softmax"), torch.arange(N_USERS)
    before = model.eval().score_all(users)
    step(model.train())
    after = model.eval().score_all(users)
    assert not torch.allclose(after, before)
    fresh = MODELS[name]("loss=full_softmax")
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.eval().score_all(users), after)


def test_scores_follow_loaded_weights(name: str) -> None:
    model, other, users = MODELS[name](), MODELS[name]("seed=1"), torch.arange(N_USERS)
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, generator=generator(7))
    before = model.eval().score_all(users)
    model.load_state_dict(other.state_dict())
    after = model.score_all(users)
    assert torch.equal(after, other.eval().score_all(users))
    assert not torch.allclose(after, before)


@torch.no_grad()
def test_the_catalogue_is_encoded_in_parts_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    users, model = torch.arange(N_USERS), two_tower().eval()
    expected, encode, parts = model.score_all(users), TwoTower.encode_items, []

    def noting(self: TwoTower, item: Tensor) -> Tensor:
        parts.append(item.tolist())
        return encode(self, item)

    monkeypatch.setattr(TwoTower, "encode_items", noting)
    monkeypatch.setattr("recsweep.models.retrieval.ITEMS_AT_ONCE", 4)
    model.eval()
    assert_equal(model.score_all(users), expected)
    model.score(users, users)
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_an_encoded_catalogue_serves_neither_gradients_nor_another_type() -> None:
    users, model = torch.arange(N_USERS), two_tower().eval()
    with torch.inference_mode():
        model.score_all(users)
    model.score_all(users).sum().backward()
    assert model.items.weight.grad is not None and model.items.weight.grad.any()
    with torch.inference_mode():
        assert model.double().score_all(users).dtype == torch.float64


@pytest.mark.parametrize("history", ["none", "mean"])
def test_a_step_encodes_what_is_the_same_once(history: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's rows differ where the user has a history; items never do, and all are encoded where most would be."""
    encoded: dict[str, list[list[int]]] = {"encode_users": [], "encode_items": []}
    for name, noted in encoded.items():
        encode = getattr(TwoTower, name)

        def noting(self: TwoTower, ids: Tensor, *rest: Tensor, noted: Any = noted, encode: Any = encode) -> Tensor:
            noted.append(ids.tolist())
            return encode(self, ids, *rest)

        monkeypatch.setattr(TwoTower, name, noting)
    model = two_tower("loss=in_batch", history=history)
    batch = batch_of(model)
    model.training_loss(batch)
    model.training_loss(Positives(*(column[1:9] for column in batch)))
    users = [[0, 1, 2, 4], [0, 1, 2, 4]] if history == "none" else [batch.user.tolist(), batch.user[1:9].tolist()]
    assert encoded == {"encode_users": users, "encode_items": [list(range(N_ITEMS)), [0, 2, 3, 4, 5]]}


# ---- users and items without a row


@torch.no_grad()
@pytest.mark.parametrize("hidden", [[], [6]])
@pytest.mark.parametrize("history", HISTORIES)
def test_users_without_a_history_are_all_the_same(history: str, hidden: list[int]) -> None:
    model = two_tower(history=history, hidden=hidden, user_ids=False)
    nobody = torch.zeros(2, dtype=torch.int64)
    unknown = model.encode_users(torch.tensor([0, 3]), nobody, nobody)
    assert torch.equal(unknown[0], unknown[1])
    scores = model.score_all(torch.tensor([3]))
    assert scores.isfinite().all()
    assert bool(scores.any()) is bool(hidden)  # without towers, nothing is known and nothing said


@torch.no_grad()
def test_features_describe_items_without_a_row() -> None:
    """Item 8 is green, and nobody has had it: its own embedding says nothing."""
    users = torch.arange(N_USERS)
    by_id, by_colour = two_tower(), two_tower(item_features=["colour"])
    for model in (by_id, by_colour):
        before = model.score_all(users)
        model.items.weight[[6, 8]] += 1
        changed = (model.score_all(users) != before).any(0)
        assert changed.tolist() == [False] * 6 + [True, False, model is by_id]
    before = by_colour.score_all(users)
    by_colour.features.vectors.weight[2] += 1  # green
    assert (by_colour.score_all(users) != before).any(0).tolist() == [False] * 8 + [True]


# ---- mistakes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model=two_tower", "model.user_ids=false"],
            "model.user_ids=false and model.history=none leave nothing that describes a user",
        ),
        (
            ["model=two_tower", "model.item_features=[colour]"],
            "model.item_features=colour: no such categorical feature; the data has year, genres",
        ),
        (
            ["model=two_tower", "loss=in_batch", "trainer.shuffle=users"],
            "trainer.shuffle=users: a batch would hold few users, who compete with each other: shuffle=rows",
        ),
        (
            ["model=bpr_mf", "loss.n_negatives=100"],
            "n_negatives=100: user {busiest} has only {left} of the 100 items left without an interaction; "
            "lower it, or take full_softmax",
        ),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    train = build.data(tiny()).train
    count = torch.bincount(train.user)
    busiest, left = train.user_ids.raw[int(count.argmax())], 100 - int(count.max())
    found = recsweep(tmp_path, "train", *TINY, "trainer.batch_size=2000", *words)
    assert found == (2, "", f"recsweep: {message.format(busiest=busiest, left=left)}\n")


@pytest.mark.parametrize("history", ["attention", "gru"])
def test_what_follows_the_order_of_a_history_needs_one(history: str) -> None:
    timeless = replace(ROWS, timestamp=None)
    two_tower(data=timeless, history="mean")
    with pytest.raises(UserError, match=f"model.history={history} needs an order, and toy has no timestamps"):
        two_tower(data=timeless, history=history)


# ---- learning


def halves() -> Interactions:
    """User u has the items of the same parity in any order, but for item u + 2."""
    pairs = torch.cartesian_prod(torch.arange(20), torch.arange(20))
    user, item = pairs[torch.randperm(400, generator=generator(0))].T
    shown = (user % 2 == item % 2) & (item != (user + 2) % 20)
    ids = IdMap(np.arange(20), "user"), IdMap(np.arange(20), "item")
    user, item = user[shown], item[shown]
    return Interactions("halves", user, item, torch.ones(len(user)), torch.arange(len(user)), *ids, (0.0, 1.0))


HISTORY_ALONE = {"user_ids": False, "max_history": 10, "init_std": 0.1}
LEARNERS = [
    *((bpr_mf, [f"loss={loss}"], {}) for loss in ("in_batch", "mixed", "full_softmax")),
    *((bpr_mf, [f"loss={loss}", "loss.n_negatives=4"], {}) for loss in ("bpr", "sampled_softmax")),
    (two_tower, ["loss=sampled_softmax", "loss.n_negatives=4"], {"init_std": 0.1}),
    *(
        (two_tower, ["loss=sampled_softmax", "loss.n_negatives=4"], HISTORY_ALONE | {"history": history})
        for history in HISTORIES
    ),
]


@pytest.mark.parametrize(("make", "words", "options"), LEARNERS)
def test_it_learns_halves(make: Callable[..., Retrieval], words: list[str], options: dict[str, Any]) -> None:
    """What a user misses of their own half ends above everything of the other half."""
    model = make(*words, data=halves(), **options)
    model.generator = generator(0)
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=0.02), model.columns(halves())
    for _ in range(150):
        optimizer.zero_grad()
        model.training_loss(batch).backward()
        optimizer.step()
    user = torch.arange(20)
    scores = model.eval().score_all(user)
    other_half = scores.masked_fill(user[:, None] % 2 == user % 2, -torch.inf)
    assert (scores[user, (user + 2) % 20] > other_half.amax(1)).all()
