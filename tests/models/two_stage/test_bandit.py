"""The bandit log: its rows, its split, and the cache of its stages."""

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from interruptions import train_and_judge
from omegaconf import DictConfig
from shell import TINY_BANDIT, equal_weights, fit_model, recsweep
from torch import Tensor
from two_stage_data import item_probabilities

from recsweep.config import compose_config
from recsweep.data import batches, datamodules
from recsweep.data.batches import Batches
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Split
from recsweep.data.truth import SyntheticTruth
from recsweep.errors import UserError
from recsweep.models import base
from recsweep.models.two_stage import bandit as bandit_module
from recsweep.models.two_stage import modules, stages
from recsweep.models.two_stage.bandit import Bandit
from recsweep.models.two_stage.modules import Simulator
from recsweep.models.two_stage.nets import NominatorNet
from recsweep.runs import build
from recsweep.seeding import generator

pytestmark = pytest.mark.xdist_group("two_stage_bandit")  # tests share one cache of stages

STAGES = ["simulator", "labels", "logging_policy", "log", "ranker"]


@pytest.fixture(scope="module")
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Bandit:
    cache = tmp_path_factory.mktemp("bandit") / "cache"
    return build.source(compose_config([*TINY_BANDIT, f"paths.cache_dir={cache}", "model=nominator"]))


@pytest.fixture(scope="module")
def log(bandit: Bandit) -> BanditLog:
    """The log, with all stages in the cache of `bandit`."""
    return bandit.read()


@pytest.fixture
def new_bandit(bandit: Bandit, tmp_path: Path) -> Bandit:
    """The same bandit with an empty cache."""
    return replace(bandit, cache=str(tmp_path / "empty"))


def config(bandit: Bandit, *overrides: str) -> DictConfig:
    """The configuration of a run that shares the cache of `bandit`."""
    return compose_config([*TINY_BANDIT, f"data.cache={bandit.cache}", *overrides])


def cache_entry(bandit: Bandit, stage: str) -> dict[str, Tensor]:
    """The single entry of a stage in the cache."""
    (path,) = Path(bandit.cache).glob(f"{stage}-*.pt")
    return torch.load(path, weights_only=True)


def test_the_given_split(bandit: Bandit, log: BanditLog) -> None:
    """60 users x 5 items, twice: 300 rows to train on; of the held-out ones, 20 x 5 are for validation."""
    split = bandit.parts("given", log)
    assert isinstance(split, Split)
    assert split.train.tolist() == list(range(300))
    assert split.val.tolist() == list(range(300, 400))
    assert split.test.tolist() == list(range(400, 600))
    assert set(log.user[split.val].tolist()) == set(range(20))
    assert set(log.user[split.test].tolist()) == set(range(20, 60))
    of_pairs = replace(bandit, rows="pairs")
    split = of_pairs.parts("given", of_pairs.read())
    assert [len(part) for part in (split.train, split.val, split.test)] == [200, 200, 2000]
    assert torch.cat(split[:3]).tolist() == list(range(2400))


def test_each_row_has_the_reward_of_its_pair(bandit: Bandit, log: BanditLog) -> None:
    base = bandit.base.read()
    labels = cache_entry(bandit, "labels")
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
    net.load_state_dict(cache_entry(bandit, "logging_policy"))
    torch.testing.assert_close(log.propensity, item_probabilities(net)[log.user, log.item], rtol=1e-4, atol=0)
    train, held_out = log.item.view(2, 60, 5)
    assert (train != held_out).float().mean() > 0.9
    assert all(len(set(items)) == 5 for items in train.tolist())


def test_the_exact_protocol_draws_with_replacement(new_bandit: Bandit) -> None:
    """A confident policy shows a user the same item again."""
    confident = replace(new_bandit, protocol="exact", logging_policy={"n_pairs": 200, "epochs": 40}, lr=0.3)
    train = confident.read().item[:300].view(60, 5)
    assert min(len(set(items)) for items in train.tolist()) < 5


def fit_with_streams(name: str, cfg: DictConfig, folder: Path) -> Any:
    """A trained model that takes its initial weights and its batches from the random streams `name`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules, "generator", lambda seed: generator(name, seed))
        patch.setattr(datamodules, "Batches", partial(Batches, stream=name))
        return fit_model(cfg, folder)


def test_a_stage_equals_its_model_trained_alone(bandit: Bandit, log: BanditLog, tmp_path: Path) -> None:
    """Bit for bit, with the same initial weights and batches."""
    for name in ("simulator", "logging_policy"):
        model = fit_with_streams(name.replace("_", " "), config(bandit, f"model={name}"), tmp_path / name)
        assert equal_weights(model.net.state_dict(), cache_entry(bandit, name)), name
    model = fit_with_streams("ranker", config(bandit, "model=ranker"), tmp_path / "ranker")
    vectors = stages.ranker_vectors(model.net, bandit.base.read())
    assert equal_weights(vectors, cache_entry(bandit, "ranker"))
    assert torch.equal(log.ranker.score_all(torch.arange(60)), vectors["users"] @ vectors["items"].T)


def test_stages_and_a_run_of_the_same_seed_have_streams_of_their_own(
    new_bandit: Bandit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the random time of each pair is drawn twice, for its reward and for its row in the log."""
    keys: Counter[tuple[int | str, ...]] = Counter()

    def count_and_generate(*key: int | str, device: str = "cpu") -> torch.Generator:
        keys[key] += 1
        return generator(*key, device=device)

    for module in (bandit_module, stages, modules, batches, base):
        monkeypatch.setattr(module, "generator", count_and_generate)
    cfg = config(new_bandit, "model=nominator", "trainer.max_epochs=2")
    assert cfg.seed == cfg.data.seed == 0
    fit_model(cfg, tmp_path)
    assert keys.pop(("times", 0)) == 2
    assert len(keys) > 10 and set(keys.values()) == {1}


def test_stages_and_a_run_of_the_same_seed_start_from_different_weights(
    new_bandit: Bandit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user vectors are those that every net has, in the same shape."""
    first, train = {}, stages.train

    def note_and_train(name: str, net: Any, *rest: Any) -> None:
        first[name] = net.users.own.weight.detach().clone()
        train(name, net, *rest)

    monkeypatch.setattr(stages, "train", note_and_train)
    cfg = config(new_bandit, "model=nominator")
    first["nominator"] = build.model(cfg, build.data(cfg)).net.users.own.weight.detach()
    assert first.keys() == {"simulator", "logging policy", "ranker", "nominator"}
    assert {weight.shape for weight in first.values()} == {first["nominator"].shape}
    for one, other in combinations(first.values(), 2):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].abs() < 0.2


def test_ratings_above_the_threshold_are_positive(bandit: Bandit) -> None:
    base, ratings = bandit.base.read(), replace(bandit, rows="ratings").read()
    assert ratings.rating.tolist() == [float(stars > 3) for stars in base.rating.tolist()]
    above_4 = replace(bandit, rows="ratings", positive_above=4).read()
    assert above_4.rating.tolist() == [float(stars > 4) for stars in base.rating.tolist()]


def test_labels_of_the_truth(new_bandit: Bandit) -> None:
    log = replace(new_bandit, labels="truth", threshold=0.4).read()
    truth = new_bandit.base.read().truth
    assert isinstance(truth, SyntheticTruth)
    expected = truth.chance_above(torch.arange(60), 3) >= 0.4
    assert torch.equal(log.reward, expected)
    assert torch.equal(log.relevant, expected)
    assert 0.05 < expected.float().mean() < 0.95


def test_data_of_a_table_has_no_truth(blocks: Path, tmp_path: Path) -> None:
    overrides = ["model=nominator", "data/base=table", f"data.base.path={blocks}", "data.labels=truth"]
    source = build.source(compose_config([*TINY_BANDIT[3:], *overrides, f"paths.cache_dir={tmp_path}"]))
    with pytest.raises(
        UserError, match=r"^data.labels=truth: .* is not synthetic, its truth is unknown; use data.labels=simulator$"
    ):
        source.read()


# ---- the cache


def stages_from_cache(stderr: str) -> list[str]:
    """The stages that the single line on stderr reports as reused."""
    lines = [line for line in stderr.splitlines() if " reused from " in line]
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
def test_a_change_rebuilds_only_the_stages_after_it(
    bandit: Bandit, log: BanditLog, change: dict[str, Any], n_reused: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in Path(bandit.cache).glob("*.pt")}
    replace(bandit, **change).read()
    assert stages_from_cache(capsys.readouterr().err) == STAGES[:n_reused]
    after = {path: path.read_bytes() for path in Path(bandit.cache).glob("*.pt")}
    assert before.items() <= after.items()
    new_paths = sorted(after.keys() - before.keys())
    assert sorted(path.stem.rpartition("-")[0] for path in new_paths) == sorted(STAGES[n_reused:])
    for path in new_paths:  # the next tests start from the same cache
        path.unlink()


def test_another_base_rebuilds_all_stages(bandit: Bandit, log: BanditLog, capsys: pytest.CaptureFixture[str]) -> None:
    changed = replace(bandit, base=replace(bandit.base, seed=1), cache=bandit.cache + "_of_seed_1")
    changed.read()
    assert re.fullmatch(r"simulator: AUC 0\.\d{4} on 240 held-out ratings\n", capsys.readouterr().err)
    changed.read()
    assert stages_from_cache(capsys.readouterr().err) == STAGES


def test_a_log_from_the_cache_equals_the_log_when_it_was_built(new_bandit: Bandit) -> None:
    first, second = new_bandit.read(), new_bandit.read()
    for name in ("user", "item", "rating", "timestamp", "propensity", "reward", "relevant"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert equal_weights(first.ranker.state_dict(), second.ranker.state_dict())
    assert torch.equal(first.ranker.score_all(torch.arange(60)), second.ranker.score_all(torch.arange(60)))


@pytest.mark.parametrize(("model", "n_stages"), [("nominator", 5), ("logging_policy", 2)])
def test_runs_of_any_seed_share_the_stages(
    model: str, n_stages: int, bandit: Bandit, log: BanditLog, tmp_path: Path
) -> None:
    overrides = [f"model={model}", *TINY_BANDIT, f"data.cache={bandit.cache}", "trainer.max_epochs=1", "seed=1"]
    outcome = recsweep(tmp_path, "train", *overrides)
    assert outcome.status == 0
    assert outcome.err == f"synthetic: {', '.join(STAGES[:n_stages])} reused from {bandit.cache}\n"


# ---- models of the rows


def test_a_rating_model_learns_rewards(bandit: Bandit, log: BanditLog, tmp_path: Path) -> None:
    """Rating models take the rewards of a log as ratings."""
    cfg = config(bandit, "model=biased_mf", "data=bandit", "trainer.max_epochs=1")
    assert 0 < train_and_judge(cfg, tmp_path)["metrics"]["val/mse"] < 1


@torch.inference_mode()
def test_scores_without_a_time_are_those_at_the_mean_time(bandit: Bandit) -> None:
    cfg = config(bandit, "model=simulator")
    data = build.data(cfg)
    model = build.model(cfg, data)
    assert isinstance(model, Simulator)
    user, item = torch.cartesian_prod(torch.arange(60), torch.arange(100)).T
    mean = stages.mean_times(data.train)[0].round().long()
    expected = model.net(user, item, mean[user]).view(60, 100)
    torch.testing.assert_close(model.score(user, item).view(60, 100), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.score_all(torch.arange(60)), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.score_at(user, item, mean[user]).view(60, 100), expected, rtol=0, atol=1e-5)
