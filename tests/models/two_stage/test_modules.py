"""The two-stage pipeline: networks against naive twins, stages, the log and its cache, and what learns from it."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from interruptions import Interrupted, assert_same, run
from scipy import stats
from shell import QUIET, TINY_BANDIT, fit_model, read_metrics, recsweep, same, train_run, weights
from torch import Tensor, nn

from recsweep.config import compose_config, conf_dir
from recsweep.data.logged import BanditLog, Relevance
from recsweep.data.schema import Features, IdMap, Interactions, Split
from recsweep.data.truth import SyntheticTruth
from recsweep.errors import UserError
from recsweep.models.two_stage import stages
from recsweep.models.two_stage.bandit import Bandit
from recsweep.models.two_stage.modules import Nominator, Simulator
from recsweep.models.two_stage.nets import Clock, Description, NominatorNet, RankerNet, SimulatorNet
from recsweep.runs import build
from recsweep.runs.callbacks import ResumePoint
from recsweep.seeding import generator

STAGES = ["simulator", "labels", "logging_policy", "log", "ranker"]
LOSSES = ["ce", "dr", "ips_1", "ips_2", "snips", "top_k"]
# MovieLens 1M has 2 genders, 7 ages, 21 occupations and 3439 zip codes, 81 years and 18 genres.
USERS = {"gender": 2, "age": 7, "occupation": 21, "zip": 50}


def made(n_users: int = 30, n_items: int = 20, n_rows: int = 200) -> Interactions:
    """Random rows with the features of MovieLens; the last user has none."""
    draws = torch.Generator().manual_seed(0)
    codes = {name: torch.randint(n, (n_users,), generator=draws) for name, n in USERS.items()}
    genres = (torch.rand(n_items, 18, generator=draws) < 0.2).float()
    genres[0] = 0  # a film without a genre
    return Interactions(
        name="made",
        user=torch.randint(n_users - 1, (n_rows,), generator=draws),
        item=torch.randint(n_items, (n_rows,), generator=draws),
        rating=torch.randint(2, (n_rows,), generator=draws).float(),
        timestamp=torch.randint(956_703_932, 1_046_454_590, (n_rows,), generator=draws),
        user_ids=IdMap(np.arange(n_users), "user"),
        item_ids=IdMap(np.arange(n_items), "item"),
        rating_scale=(0.0, 1.0),
        user_features=Features(codes, {name: tuple(map(str, range(n))) for name, n in USERS.items()}),
        item_features=Features(
            {"year": torch.randint(81, (n_items,), generator=draws), "genres": genres},
            {"year": tuple(map(str, range(81))), "genres": tuple(map(str, range(18)))},
        ),
    )


MIXED = Features(
    {
        "shares": torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]),
        "height": torch.tensor([1.5, 1.7, 1.6, 2.0]),
        "colour": torch.tensor([2, 0, 1, 2]),
        "weight": torch.tensor([50.0, 50.0, 50.0, 50.0]),  # says nothing
        "size": torch.tensor([0, 1, 1, 0]),
        "more": torch.tensor([[0.2, 0.6], [1.0, 0.0], [0.0, 0.0], [3.0, 1.0]]),
    },
    {"shares": ("a", "b", "c"), "colour": ("red", "green", "blue"), "size": ("S", "L"), "more": ("x", "y")},
)


def described(description: Description, features: Features | None, entity: int) -> list[float]:
    """A vector by its definition, number by number: own, categories, shares, numbers."""

    def image(layer: nn.Linear, values: list[float]) -> list[float]:
        rows = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        return [sum(w * x for w, x in zip(row, values, strict=True)) + bias for row, bias in rows]

    found = description.own.weight[entity].tolist()
    columns = features.columns if features else {}
    table, before, layers = description.categories.weight.tolist(), 0, list(description.maps)
    for name, column in columns.items():
        if not column.is_floating_point():
            found += table[before + int(column[entity])]
            before += len(features.labels[name])
    for column in columns.values():
        if column.dim() == 2:
            values = column[entity].tolist()
            total = sum(values) or 1.0
            found += image(layers.pop(0), [value / total for value in values])
    numbers = []
    for column in columns.values():
        if column.is_floating_point() and column.dim() == 1:
            mean = sum(column.tolist()) / len(column)
            deviation = math.sqrt(sum((x - mean) ** 2 for x in column.tolist()) / len(column))
            numbers.append((float(column[entity]) - mean) / deviation if deviation else 0.0)
    return found + (image(layers.pop(0), numbers) if numbers else [])


def only(*names: str) -> Features:
    return Features({name: MIXED.columns[name] for name in names}, MIXED.labels)


@pytest.mark.parametrize("embedding_dim", [0, 3])
@pytest.mark.parametrize(
    "features",
    [MIXED, None, only("colour", "size"), only("more"), only("height")],
    ids=["all kinds", "none", "categories", "shares", "a number"],
)
def test_descriptions(features: Features | None, embedding_dim: int) -> None:
    description = Description(4, features, embedding_dim, 2, 0.0, generator(0))
    found = description.all()
    expected = torch.tensor([described(description, features, entity) for entity in range(4)]).view(4, -1)
    assert found.shape == (4, description.dim)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(description(torch.arange(4)), found)
    assert torch.equal(description(torch.tensor([2, 2, 0])), found[[2, 2, 0]])


def test_dropout_falls_on_the_whole_description_while_training_only() -> None:
    description = Description(4, MIXED, 30, 30, 0.5, generator(0))
    plain = description.all()
    dropped = description.all(generator(1))
    kept = dropped != 0
    assert 0.4 < kept.float().mean() < 0.6
    assert all(0.2 < part.float().mean() < 0.8 for part in kept.split(30, 1))
    torch.testing.assert_close(dropped[kept], 2 * plain[kept])
    assert torch.equal(description.eval().all(generator(1)), plain)


def test_the_clock_runs_from_the_first_row_to_the_last() -> None:
    data = made()
    first, last = int(data.timestamp.min()), int(data.timestamp.max())
    clock = Clock(data)
    asked = torch.tensor([first, last, (first + last) // 2, 2 * last - first])
    torch.testing.assert_close(clock(asked), torch.tensor([0.0, 1.0, 0.5, 2.0]), rtol=0, atol=1e-7)
    a_day = clock(torch.tensor([first + 86_400])) - clock(torch.tensor([first]))
    assert a_day.item() == pytest.approx(86_400 / (last - first), rel=1e-5)
    timeless = Clock(replace(data, timestamp=None))
    assert timeless(torch.zeros(3, dtype=torch.int64)).tolist() == [0, 0, 0]
    standing = Clock(replace(data, timestamp=torch.full_like(data.timestamp, first)))
    assert standing(torch.tensor([first])).tolist() == [0]


def test_sizes_are_the_papers() -> None:
    """Users 10 + 4 x 5 = 30, items 10 + 5 + 5 = 20; the simulator's input is 30 + 20 + 1 = 51."""
    net = SimulatorNet(made(), 10, 5, [100, 50], 0.0, generator(0))
    assert (net.users.dim, net.items.dim) == (30, 20)
    assert [(layer.in_features, layer.out_features) for layer in net.layers] == [(51, 100), (100, 50), (50, 1)]
    assert net.items.maps[0].weight.shape == (5, 18)
    assert NominatorNet(made(), 10, 5, 0.0, generator(0)).linear.weight.shape == (20, 30)
    assert RankerNet(made(), 10, 5, 0.0, generator(0)).linear.weight.shape == (20, 31)


def test_contexts_that_do_not_recur_have_no_vector_of_their_own() -> None:
    data = made()
    fields = {name: getattr(data, name) for name in data.__dataclass_fields__}
    log = BanditLog(**fields, propensity=torch.ones(len(data)), recurring=False)
    net = NominatorNet(log, 10, 5, 0.0, generator(0))
    assert (net.users.dim, net.items.dim) == (20, 20)


PAIRS = torch.cartesian_prod(torch.arange(30), torch.arange(20))


@torch.inference_mode()
def test_the_simulator_of_every_item_is_that_of_pairs() -> None:
    data, (user, item) = made(), PAIRS.T
    net = SimulatorNet(data, 10, 5, [12, 7, 5], 0.0, generator(0))
    times = stages.draw_times(data, 0)
    pairs = net(user, item, times[user, item]).view(30, 20)
    torch.testing.assert_close(net.of_every_item(torch.arange(30), times), pairs, rtol=0, atol=1e-5)
    once = times[:, :1]
    pairs = net(user, item, once[user, 0]).view(30, 20)
    torch.testing.assert_close(net.of_every_item(torch.arange(30), once), pairs, rtol=0, atol=1e-5)
    some = torch.tensor([7, 3])
    torch.testing.assert_close(net.of_every_item(some, once[some]), pairs[some], rtol=0, atol=1e-5)
    inputs = torch.cat([net.users(user), net.items(item), net.clock(once[user, 0])[:, None]], 1).double()
    for number, layer in enumerate(net.layers):
        inputs = (inputs.relu() if number else inputs) @ layer.weight.double().T + layer.bias.double()
    torch.testing.assert_close(pairs.double(), inputs.view(30, 20), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_nominator_and_ranker_are_products() -> None:
    data, (user, item) = made(), PAIRS.T
    nominator = NominatorNet(data, 10, 5, 0.0, generator(0))
    users, items = nominator.users.all().relu(), nominator.items.all()
    expected = (users @ nominator.linear.weight.T + nominator.linear.bias) @ items.T
    torch.testing.assert_close(nominator.of_every_item(torch.arange(30)), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(nominator(user, item).view(30, 20), expected, rtol=0, atol=1e-5)
    ranker = RankerNet(data, 10, 5, 0.0, generator(0))
    mean = stages.mean_times(data)[0].round().long()
    context = torch.cat([ranker.users.all(), ranker.clock(mean)[:, None]], 1)
    expected = (context @ ranker.linear.weight.T + ranker.linear.bias) @ ranker.items.all().T
    torch.testing.assert_close(ranker(user, item, mean[user]).view(30, 20), expected, rtol=0, atol=1e-5)
    vectors = stages.ranker_vectors(ranker, data)
    torch.testing.assert_close(vectors["users"] @ vectors["items"].T, expected, rtol=0, atol=1e-5)


def test_mean_times_against_numpy() -> None:
    data = made()
    mean, deviation = stages.mean_times(data)
    user, time = data.user.numpy(), data.timestamp.numpy()
    for u in range(29):
        assert mean[u].item() == pytest.approx(time[user == u].mean(), rel=1e-12)
        assert deviation[u].item() == pytest.approx(time[user == u].std(), rel=1e-9)
    assert mean[29].item() == pytest.approx(time.mean(), rel=1e-12)
    assert deviation[29].item() == 0


def test_drawn_times_have_their_users_moments() -> None:
    """20,000 draws a user: the mean is off by less than 5/√20,000 deviations, the deviation by 5/√40,000 of itself."""
    data, n = made(n_items=20_000), 20_000
    times = stages.draw_times(data, 3).double()
    mean, deviation = stages.mean_times(data)
    assert ((times.mean(1) - mean).abs() <= 5 / math.sqrt(n) * deviation + 1).all()
    assert ((times.std(1) - deviation).abs() <= 5 / math.sqrt(2 * n) * deviation + 1).all()
    assert torch.equal(times, stages.draw_times(data, 3).double())
    assert not torch.equal(times, stages.draw_times(data, 4).double())
    assert not stages.draw_times(replace(data, timestamp=None), 3).any()


@torch.inference_mode()
def test_labels_against_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "PAIRS_AT_ONCE", 70)  # 3 users at a time
    data = made()
    net = SimulatorNet(data, 10, 5, [12], 0.0, generator(0))
    found = stages.label_pairs(net, data, 0.52, 5)
    times, mean = stages.draw_times(data, 5), stages.mean_times(data)[0].round().long()
    for u, i in PAIRS.tolist():
        user, item = torch.tensor([u]), torch.tensor([i])
        assert found["reward"][u, i] == (net(user, item, times[u, i].view(1)).sigmoid().item() >= 0.52)
        assert found["relevant"][u, i] == (net(user, item, mean[u].view(1)).sigmoid().item() >= 0.52)
    assert (found["reward"] != found["relevant"]).any()
    assert 0.1 < found["reward"].float().mean() < 0.9


@pytest.mark.parametrize(("n_pairs", "n_test"), [(10, 100), (200, 200), (60, 480)])
def test_pairs_are_distinct_and_labelled(n_pairs: int, n_test: int) -> None:
    """Of 30 x 20 = 600 pairs, at most 600 - 2 n are left to test."""
    data = made()
    reward = torch.rand(30, 20, generator=generator(1)) < 0.3
    pairs = stages.sample_pairs(reward, data, n_pairs, 0)
    assert len(pairs) == 2 * n_pairs + n_test
    drawn = list(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))
    assert len(set(drawn)) == len(drawn)
    assert pairs.rating.tolist() == [float(reward[pair]) for pair in drawn]
    assert drawn != sorted(drawn)
    again, other = (stages.sample_pairs(reward, data, n_pairs, seed) for seed in (0, 1))
    assert torch.equal(again.item, pairs.item)
    assert not torch.equal(other.item, pairs.item)


def probabilities(net: NominatorNet) -> Tensor:
    """Of every user's every item, pair by pair."""
    user, item = torch.cartesian_prod(torch.arange(len(net.users.codes)), torch.arange(len(net.items.codes))).T
    return net(user, item).view(len(net.users.codes), -1).softmax(1)


@torch.inference_mode()
@pytest.mark.parametrize("replacement", [True, False])
def test_a_log_holds_draws_and_their_propensities(replacement: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "PAIRS_AT_ONCE", 70)
    data = made()
    net = NominatorNet(data, 10, 5, 0.0, generator(0))
    log = stages.draw_log(net, data, 6, replacement, generator(2))
    assert log["user"].tolist() == [u for u in range(30) for _ in range(6)]
    expected = probabilities(net)[log["user"], log["item"]]
    torch.testing.assert_close(log["propensity"], expected, rtol=1e-4, atol=0)
    fewest = min(len(set(items)) for items in log["item"].view(30, 6).tolist())
    assert fewest < 6 if replacement else fewest == 6


@torch.inference_mode()
def test_draws_with_replacement_have_the_propensities() -> None:
    """Chi-square of 50,000 draws for each of two users, as they are and against those of the other user."""
    data = made()
    net = NominatorNet(data, 2, 1, 0.0, generator(0))
    n = 50_000
    log = stages.draw_log(net, data, n, True, generator(2))
    expected = n * probabilities(net).double()
    for user, other in ((0, 1), (1, 0)):
        count = torch.bincount(log["item"][user * n : (user + 1) * n], minlength=20)
        scale = n / expected[user].sum()
        assert stats.chisquare(count, expected[user] * scale).pvalue > 1e-3
        assert stats.chisquare(count, expected[other] * n / expected[other].sum()).pvalue < 1e-9


@torch.inference_mode()
def test_without_replacement_nothing_impossible_is_drawn() -> None:
    data = made()
    net = NominatorNet(data, 10, 5, 0.0, generator(0))
    net.linear.weight.mul_(1000)
    message = "the logging policy gives some users fewer than 6 items a probability above 0: lower data.items_per_user"
    with pytest.raises(UserError, match=message):
        stages.draw_log(net, data, 6, False, generator(2))
    assert stages.draw_log(net, data, 6, True, generator(2))["propensity"].min() > 0


def of_config(folder: Path, *words: str) -> Any:
    """The configuration of a run whose stages are stored in `folder`."""
    return compose_config([*TINY_BANDIT, f"paths.cache_dir={folder}/cache", *words])


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Bandit:
    return build.source(of_config(tmp_path_factory.mktemp("bandit"), "model=nominator"))


@pytest.fixture(scope="module")
def log(bandit: Bandit) -> BanditLog:
    return bandit.read()


def stored(bandit: Bandit, stage: str) -> dict[str, Tensor]:
    """The one entry of a stage in the cache."""
    (path,) = Path(bandit.cache).glob(f"{stage}-*.pt")
    return torch.load(path, weights_only=True)


@pytest.fixture
def anew(bandit: Bandit, tmp_path: Path) -> Bandit:
    """The same, with nothing stored yet."""
    return replace(bandit, cache=str(tmp_path / "anew"))


def test_the_given_split(bandit: Bandit, log: BanditLog) -> None:
    """60 users x 5 items, twice: 300 rows to learn from, of the others 20 x 5 validate."""
    split = bandit.parts("given", log)
    assert isinstance(split, Split)
    assert split.train.tolist() == list(range(300))
    assert split.val.tolist() == list(range(300, 400))
    assert split.test.tolist() == list(range(400, 600))
    assert set(log.user[split.val].tolist()) == set(range(20))
    assert set(log.user[split.test].tolist()) == set(range(20, 60))
    pairs = replace(bandit, rows="pairs").read()
    split = bandit.__class__.parts(replace(bandit, rows="pairs"), "given", pairs)
    assert [len(part) for part in (split.train, split.val, split.test)] == [200, 200, 2000]
    assert torch.cat(split[:3]).tolist() == list(range(2400))


def test_every_row_has_the_reward_of_its_pair(bandit: Bandit, log: BanditLog) -> None:
    base = bandit.base.read()
    labels = stored(bandit, "labels")
    assert torch.equal(log.reward, labels["reward"])
    assert torch.equal(log.relevant, labels["relevant"])
    assert log.rating.tolist() == [float(labels["reward"][u, i]) for u, i in zip(log.user, log.item, strict=True)]
    assert 0 < log.rating.mean() < 1
    times = stages.draw_times(base, bandit.seed)
    assert torch.equal(log.timestamp, times[log.user, log.item])
    assert (log.n_users, log.n_items) == (60, 100)


@torch.inference_mode()
def test_held_out_rows_are_other_draws_of_the_same_policy(bandit: Bandit, log: BanditLog) -> None:
    net = NominatorNet(log, bandit.embedding_dim, bandit.feature_dim, 0.0, generator(9))
    net.load_state_dict(stored(bandit, "logging_policy"))
    torch.testing.assert_close(log.propensity, probabilities(net)[log.user, log.item], rtol=1e-4, atol=0)
    train, held_out = log.item.view(2, 60, 5)
    assert (train != held_out).float().mean() > 0.9
    assert all(len(set(items)) == 5 for items in train.tolist())


def test_the_exact_protocol_draws_with_replacement(anew: Bandit) -> None:
    """One item for all: a policy that is sure of itself shows it again and again."""
    sure = replace(anew, protocol="exact", logging_policy={"n_pairs": 200, "epochs": 40}, lr=0.3)
    train = sure.read().item[:300].view(60, 5)
    assert min(len(set(items)) for items in train.tolist()) < 5


def test_stages_are_the_models(bandit: Bandit, log: BanditLog, tmp_path: Path) -> None:
    """A stage and the model trained alone end at the same weights, bit for bit."""
    for name in ("simulator", "logging_policy"):
        words = [f"model={name}", f"data.cache={bandit.cache}"]
        alone = fit_model(of_config(tmp_path, *words), tmp_path / name)
        assert same(alone.net.state_dict(), stored(bandit, name)), name
    alone = fit_model(of_config(tmp_path, "model=ranker", f"data.cache={bandit.cache}"), tmp_path / "ranker")
    vectors = stages.ranker_vectors(alone.net, bandit.base.read())
    assert same(vectors, stored(bandit, "ranker"))
    assert torch.equal(log.ranker.score_all(torch.arange(60)), vectors["users"] @ vectors["items"].T)


def test_the_simulator_alone_learns_ratings_above_the_line(bandit: Bandit) -> None:
    base, ratings = bandit.base.read(), replace(bandit, rows="ratings").read()
    assert ratings.rating.tolist() == [float(stars > 3) for stars in base.rating.tolist()]
    above = replace(bandit, rows="ratings", positive_above=4).read()
    assert above.rating.tolist() == [float(stars > 4) for stars in base.rating.tolist()]


def test_labels_of_the_truth(anew: Bandit) -> None:
    known = replace(anew, labels="truth", threshold=0.4).read()
    truth = anew.base.read().truth
    assert isinstance(truth, SyntheticTruth)
    expected = truth.chance_above(torch.arange(60), 3) >= 0.4
    assert torch.equal(known.reward, expected)
    assert torch.equal(known.relevant, expected)
    assert 0.05 < expected.float().mean() < 0.95


def test_real_data_has_no_truth(blocks: Path, tmp_path: Path) -> None:
    words = ["model=nominator", "data/base=table", f"data.base.path={blocks}", "data.labels=truth", *QUIET]
    source = build.source(compose_config([*words, f"paths.cache_dir={tmp_path}", *TINY_BANDIT[3:8]]))
    with pytest.raises(UserError, match=r"^data.labels=truth: nobody knows the truth of .*; take data.labels=simulat"):
        source.read()


def reused(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The stages that the one line on stderr calls reused."""
    lines = [line for line in capsys.readouterr().err.splitlines() if " reused from " in line]
    assert len(lines) <= 1
    return lines[0].split(": ")[1].split(" reused from ")[0].split(", ") if lines else []


CHANGES: dict[str, tuple[dict[str, Any], int]] = {
    "nothing": ({}, 5),
    "validation users": ({"val_users": 30}, 5),
    "ranker": ({"ranker": {"epochs": 2}}, 4),
    "protocol": ({"protocol": "exact"}, 3),
    "items a user": ({"items_per_user": 4}, 3),
    "logging policy": ({"logging_policy": {"n_pairs": 201, "epochs": 2}}, 2),
    "threshold": ({"threshold": 0.55}, 1),
    "simulator": ({"simulator": {"hidden": [7], "epochs": 1, "split": "rows"}}, 0),
    "rows of the simulator": ({"simulator": {"hidden": [100, 50], "epochs": 1, "split": "random"}}, 0),
    "positives": ({"positive_above": 2}, 0),
    "size": ({"embedding_dim": 9}, 0),
    "learning rate": ({"lr": 0.04}, 0),
    "seed": ({"seed": 1}, 0),
}


@pytest.mark.parametrize(("change", "n_reused"), CHANGES.values(), ids=CHANGES.keys())
def test_only_what_follows_from_a_change_is_built_anew(
    bandit: Bandit, log: BanditLog, change: dict[str, Any], n_reused: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in Path(bandit.cache).glob("*.pt")}
    replace(bandit, **change).read()
    assert reused(capsys) == STAGES[:n_reused]
    after = {path: path.read_bytes() for path in Path(bandit.cache).glob("*.pt")}
    assert before.items() <= after.items()
    made_anew = sorted(after.keys() - before.keys())
    assert sorted(path.stem.rpartition("-")[0] for path in made_anew) == sorted(STAGES[n_reused:])
    for path in made_anew:  # for the tests to come
        path.unlink()


def test_another_base_builds_all_anew(bandit: Bandit, log: BanditLog, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(bandit, base=replace(bandit.base, seed=1), cache=bandit.cache + "_other")
    other.read()
    assert reused(capsys) == []
    other.read()
    assert reused(capsys) == STAGES


def test_what_is_reused_is_what_was_built(anew: Bandit) -> None:
    built, found = anew.read(), anew.read()
    for name in ("user", "item", "rating", "timestamp", "propensity", "reward", "relevant"):
        assert torch.equal(getattr(built, name), getattr(found, name)), name
    assert same(built.ranker.state_dict(), found.ranker.state_dict())
    assert torch.equal(built.ranker.score_all(torch.arange(60)), found.ranker.score_all(torch.arange(60)))


def test_seeds_of_runs_share_the_stages(tmp_path: Path) -> None:
    short = ["model=nominator", *TINY_BANDIT, "trainer.max_epochs=2"]
    first, other = (recsweep(tmp_path, "train", *short, f"seed={seed}") for seed in (0, 1))
    assert (first.status, other.status) == (0, 0)
    assert "reused" not in first.err
    assert other.err == f"synthetic: {', '.join(STAGES)} reused from outputs/cache\n"
    policy = recsweep(tmp_path, "train", "model=logging_policy", *TINY_BANDIT, "trainer.max_epochs=1")
    assert policy.err == f"synthetic: {', '.join(STAGES[:2])} reused from outputs/cache\n"


WRONG = {
    "model=nominator data.val_users=60": "data.val_users=60 leaves none of 60 users to test",
    "model=nominator data.items_per_user=101": "data.items_per_user=101 exceeds the 100 items of synthetic",
    "model=nominator data.logging_policy.n_pairs=2001": "data.logging_policy.n_pairs=2001: 3 x as many exceed the 6000 "
    "pairs of synthetic",
    "model=nominator data.threshold=0.9999": "the log of synthetic holds no positive: lower data.threshold=0.9999, "
    "or raise data.items_per_user=5",
    "model=nominator data.lr=1e30": "training of the simulator diverged: lower data.lr=1e+30",
    "model=nominator data.base=synthetic": "data.base=synthetic: choose a group by data/base=synthetic",
    "model=nominator evaluation.slate_size=101": "evaluation.slate_size=101: a user has only 9",
    "model=nominator evaluation.ks=[10,31]": "evaluation.ks=[10, 31]: k=31 exceeds evaluation.slate_size=30",
    "model=nominator evaluation.objective=two_stage/precision@3": "evaluation.objective=two_stage/precision@3 is not "
    "computed: choose from one_stage/hit_rate@1,",
    "model=nominator data.positive_above=5": "data.positive_above=5 makes all ratings of synthetic alike: they",
    "model=nominator data.simulator=null": "data.simulator=None: it should hold keys of its own",
    "model=nominator loss=top_k loss.k=101": "loss.k=101 exceeds the 100 items",
    "model=nominator loss=ips_2 loss.slate_size=101": "loss.slate_size=101 exceeds the 100 items",
    "model=nominator loss=ips_2 loss.n_slates=9999": "loss.n_slates=9999: it should be less than or equal to 4096",
    "model=nominator loss=ips_1 loss.min_weight=20": "loss.min_weight=20 exceeds loss.max_weight=10.0",
    "model=popularity data=bandit": "what synthetic_log showed is not what users like: use evaluation=two_stage or ",
    "model=nominator evaluation=off_policy evaluation.max_weight=1e-300": "val/off_policy/snips is NaN, nothing to ",
    "model=nominator data.labels=guess": "data.labels=guess: it should be 'simulator' or 'truth'",
    "model=nominator data.simulator.epochs=0": "data.simulator.epochs=0: it should be greater than or equal to 1",
    "model=nominator data.simulator.more=0": "data.simulator.more: no such key; there are hidden, epochs, split",
    "model=nominator data.rows=ratings": "model Nominator learns from data.rows=log, not from ratings",
    "model=simulator split=given": "data.rows=ratings ships no split 'given': use split=rows or split=random",
    "model=nominator loss=bce": "model Nominator cannot be trained with recsweep.losses.binary.bce: loss=ce|",
    "model=simulator data=ml_100k": "trainer.max_epochs follows data.simulator.epochs, which there is not: use "
    "data=bandit",
    "model=simulator data=synthetic": "trainer.max_epochs follows data.simulator.epochs, which there is not: use "
    "data=bandit",
    "model=ranker data=synthetic": "trainer.max_epochs follows data.ranker.epochs, which there is not: use data=bandit",
    "model=logging_policy data=synthetic": "trainer.max_epochs follows data.logging_policy.epochs, which there is not: "
    "use data=bandit",
    "model=nominator data=synthetic": "synthetic is no bandit log, it has no propensities: use data=bandit or ",
    "model=popularity data=synthetic evaluation=two_stage": "synthetic is no bandit log, it has no propensities: use ",
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose cache the tests of one worker share."""
    return tmp_path_factory.mktemp("wrong")


@pytest.mark.parametrize(("words", "message"), WRONG.items(), ids=WRONG.keys())
def test_mistakes_are_one_line(words: str, message: str, workplace: Path) -> None:
    """Before the line, only stages that were built or reused may have said so."""
    given = words.split()
    tiny = QUIET if any(word in given for word in ("data=synthetic", "data=ml_100k")) else TINY_BANDIT
    outcome = recsweep(workplace, "train", *tiny, *given)
    *before, line = outcome.err.splitlines()
    assert (outcome.status, outcome.out) == (2, "")
    assert line.startswith(f"recsweep: {message}")
    assert all(word.startswith("simulator: AUC ") or " reused from " in word for word in before)
    early = ("val_users", "items_per_user=1", "n_pairs")
    assert not (before and any(word in words for word in early)), "found only after a stage was built"


def test_ratings_models_learn_rewards(workplace: Path) -> None:
    """Any model of ratings takes the log for a data set whose ratings are rewards."""
    outcome = recsweep(workplace, "train", *TINY_BANDIT, "model=biased_mf", "data=bandit", "trainer.max_epochs=1")
    assert outcome.status == 0, outcome.err
    assert "val/mse" in outcome.out


CHECKERBOARD = [
    "model=nominator",
    "model.embedding_dim=8",
    "optimizer.lr=0.1",
    "trainer.batch_size=32",
    "trainer.max_epochs=20",
    "data/base=table",
    "data.threshold=0.5",
    "data.simulator.split=random",
    "data.simulator.epochs=10",
    "data.logging_policy.n_pairs=400",
    "data.logging_policy.epochs=2",
    "data.items_per_user=10",
    "data.val_users=50",
    "evaluation.slate_size=20",
    "evaluation.ks=[5]",
    "evaluation.objective=one_stage/precision@5",
    *QUIET,
]
SLATES = ["loss.slate_size=5", "loss.n_slates=20"]  # slates of 30 of the 40 items would say little


@pytest.fixture(scope="module")
def checkerboard(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Ratings of 200 users and 40 items: 5 where both are odd or both even, else 1."""
    path = tmp_path_factory.mktemp("checkerboard") / "ratings.csv"
    table = pd.MultiIndex.from_product([range(200), range(40)], names=["user", "item"]).to_frame(index=False)
    alike = (table.user + table.item) % 2 == 0
    table.assign(rating=alike.map({True: 5, False: 1})).sample(frac=1, random_state=0).to_csv(path, index=False)
    return [*CHECKERBOARD, f"data.base.path={path}"]


def test_every_loss_has_a_row() -> None:
    shown = {path.stem for path in (conf_dir() / "loss").glob("*.yaml") if ".off_policy." in path.read_text()}
    assert shown == set(LOSSES)


@pytest.fixture(params=LOSSES)
def of_loss(request: pytest.FixtureRequest, checkerboard: list[str]) -> list[str]:
    return [*checkerboard, f"loss={request.param}", *(SLATES if request.param == "ips_2" else [])]


def test_a_nominator_learns_the_checkerboard(of_loss: list[str], tmp_path: Path) -> None:
    """Half of the items are relevant, before those that the log shows are left out; stages are built on the way.

    One that learns of other users' items ends at 0.49 or below.
    """
    folder = train_run(tmp_path, *of_loss)
    metrics, oracle = read_metrics(folder)["metrics"], read_metrics(folder)["oracle"]
    assert metrics["test/one_stage/precision@5"] > 0.6
    assert metrics["test/two_stage/precision@5"] > 0.8
    assert metrics["test/two_stage/precision@5"] < oracle["test/two_stage/precision@5"] <= 1


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"paths.cache_dir={tmp_path_factory.mktemp('shared')}"


def test_the_simulator_knows_the_checkerboard(checkerboard: list[str], shared: str) -> None:
    log = build.source(compose_config([*checkerboard, shared])).read()
    alike = (torch.arange(200)[:, None] + torch.arange(40)) % 2 == 0
    assert (log.relevant == alike).float().mean() > 0.95


def test_a_nominator_goes_on(of_loss: list[str], shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after its second epoch of three, with dropout: what the generator draws goes on as it would have."""
    more = ["trainer.max_epochs=3", "regularization.dropout=0.2", "callbacks.checkpoint.every_seconds=0"]
    cfg = compose_config([*of_loss, shared, *more])
    save, n_saves = ResumePoint._save, 0

    def save_and_go_down(self: ResumePoint, trainer: Any) -> None:
        nonlocal n_saves
        n_saves += 1
        save(self, trainer)
        if n_saves == 2:
            raise Interrupted

    undisturbed = run(cfg, tmp_path / "undisturbed")
    with monkeypatch.context() as patched:
        patched.setattr(ResumePoint, "_save", save_and_go_down)
        with pytest.raises(Interrupted):
            run(cfg, tmp_path / "down")
    assert_same(run(cfg, tmp_path / "down"), undisturbed)


def test_what_a_loss_is_told(of_loss: list[str], shared: str, tmp_path: Path) -> None:
    """Its numbers are buffers that no checkpoint holds; one that takes no reward sees the rewarded rows only."""
    cfg = compose_config([*of_loss, shared, "trainer.max_epochs=1"])
    model = fit_model(cfg, tmp_path)
    assert isinstance(model, Nominator)
    given = {name: value for name, value in cfg.loss.items() if isinstance(value, float)}
    buffers = {name: value.item() for name, value in model.named_buffers() if name.startswith("loss_")}
    assert buffers == pytest.approx({f"loss_{name}": value for name, value in given.items()})
    assert model.counts == {name: value for name, value in cfg.loss.items() if type(value) is int}
    assert not any(name.startswith("loss_") for name in model.state_dict())
    assert not any("loss_" in name for name in weights(tmp_path / "best.ckpt"))
    train = build.data(cfg).train
    columns = model.columns(train)
    rows = train if "reward" in model.wanted else train.take(train.rating.nonzero()[:, 0])
    assert 0 < train.rating.mean() < 1
    assert torch.equal(torch.stack([columns.user, columns.item]), torch.stack([rows.user, rows.item]))
    assert torch.equal(columns.reward, rows.rating)
    assert torch.equal(columns.propensity, rows.propensity)


def test_which_losses_see_rewards(checkerboard: list[str], shared: str) -> None:
    told = {}
    for loss in LOSSES:
        cfg = compose_config([*checkerboard, shared, f"loss={loss}"])
        told[loss] = "reward" in build.model(cfg, build.data(cfg)).wanted
    assert told == {"ce": False, "dr": True, "ips_1": False, "ips_2": False, "snips": True, "top_k": False}


def test_histograms_are_of_the_training_rows(checkerboard: list[str], shared: str, tmp_path: Path) -> None:
    cfg = compose_config([*checkerboard, shared, "loss=ips_1", "trainer.max_epochs=2"])
    model, train = fit_model(cfg, tmp_path), build.data(cfg).train
    policy = model.score_all(torch.arange(200)).detach().double().softmax(1)
    weight = (policy[train.user, train.item] / train.propensity).log10()
    found = model.histograms()
    assert found.keys() == {"log10_weight", "confidence"}
    torch.testing.assert_close(found["log10_weight"].double(), weight, rtol=0, atol=1e-5)
    torch.testing.assert_close(found["confidence"].double(), policy.amax(1)[train.user], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_scores_without_a_time_are_those_at_the_mean_time(bandit: Bandit, log: BanditLog, tmp_path: Path) -> None:
    data = build.data(of_config(tmp_path, "model=simulator"))
    model = build.model(of_config(tmp_path, "model=simulator"), data)
    assert isinstance(model, Simulator)
    user, item = torch.cartesian_prod(torch.arange(60), torch.arange(100)).T
    mean = stages.mean_times(data.train)[0].round().long()
    expected = model.net(user, item, mean[user]).view(60, 100)
    torch.testing.assert_close(model.score(user, item).view(60, 100), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.score_all(torch.arange(60)), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.score_at(user, item, mean[user]).view(60, 100), expected, rtol=0, atol=1e-5)


def test_the_truth_as_a_policy_shows_what_is_rewarded() -> None:
    rewarded = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    truth = Relevance(~rewarded, rewarded)
    expected = torch.tensor([[1 / 2, 0, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [0, 1, 0]])
    torch.testing.assert_close(truth.log_policy(torch.arange(3)).exp(), expected)
