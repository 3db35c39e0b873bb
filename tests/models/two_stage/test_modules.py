"""Nominators: every off-policy loss learns a checkerboard, sees what it should, and resumes."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
from interruptions import Interrupted, assert_same, train_and_judge
from omegaconf import DictConfig
from shell import QUIET, fit_model, weights

from recsweep.config import compose_config, conf_dir
from recsweep.models.two_stage.modules import Nominator
from recsweep.runs import build
from recsweep.runs.callbacks import ResumePoint
from recsweep.runs.folder import judge, oracle_metrics

pytestmark = pytest.mark.xdist_group("two_stage_modules")  # tests share stages and trained models

TAKES_REWARD = {"ce": False, "dr": True, "ips_1": False, "ips_2": False, "snips": True, "top_k": False}
CHECKERBOARD = [
    "model=nominator",
    "model.embedding_dim=8",
    "optimizer.lr=0.2",
    "trainer.batch_size=32",
    "trainer.max_epochs=6",
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
SLATES = ["loss.slate_size=5", "loss.n_slates=20"]  # the default slates hold 30 of the 40 items


@pytest.fixture(scope="module")
def checkerboard(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Ratings of 200 users and 40 items: 5 if both are odd or both even, else 1; with a cache of stages."""
    folder = tmp_path_factory.mktemp("checkerboard")
    table = pd.MultiIndex.from_product([range(200), range(40)], names=["user", "item"]).to_frame(index=False)
    is_alike = (table.user + table.item) % 2 == 0
    ratings = table.assign(rating=is_alike.map({True: 5, False: 1})).sample(frac=1, random_state=0)
    ratings.to_csv(folder / "ratings.csv", index=False)
    return [*CHECKERBOARD, f"data.base.path={folder}/ratings.csv", f"paths.cache_dir={folder}/cache"]


def with_loss(checkerboard: list[str], loss: str, *overrides: str) -> DictConfig:
    return compose_config([*checkerboard, f"loss={loss}", *(SLATES if loss == "ips_2" else []), *overrides])


class Fit(NamedTuple):
    """A model after training: its configuration, its folder, and itself."""

    loss: str
    cfg: DictConfig
    folder: Path
    model: Nominator


@pytest.fixture(scope="module", params=TAKES_REWARD)
def fit(request: pytest.FixtureRequest, checkerboard: list[str], tmp_path_factory: pytest.TempPathFactory) -> Fit:
    cfg, folder = with_loss(checkerboard, request.param), tmp_path_factory.mktemp(request.param)
    model = fit_model(cfg, folder / "checkpoints")
    assert isinstance(model, Nominator)
    return Fit(request.param, cfg, folder, model)


def test_every_off_policy_loss_is_tested() -> None:
    losses = {path.stem for path in (conf_dir() / "loss").glob("*.yaml") if ".off_policy." in path.read_text()}
    assert losses == TAKES_REWARD.keys()


def test_the_simulator_learns_the_checkerboard(checkerboard: list[str]) -> None:
    log = build.source(compose_config(checkerboard)).read()
    is_alike = (torch.arange(200)[:, None] + torch.arange(40)) % 2 == 0
    assert (log.relevant == is_alike).float().mean() > 0.95


def test_a_nominator_learns_the_checkerboard(fit: Fit) -> None:
    """Half of the items are relevant, before the rewarded ones of the log are masked.

    A nominator that learns from other users' items reaches 0.49 at most.
    """
    data = build.data(fit.cfg)
    metrics, oracle = judge(fit.cfg, data, fit.folder), oracle_metrics(fit.cfg, data)
    assert metrics["test/one_stage/precision@5"] > 0.6
    assert metrics["test/two_stage/precision@5"] > 0.8
    assert metrics["test/two_stage/precision@5"] < oracle["test/two_stage/precision@5"] <= 1


def test_what_a_loss_gets(fit: Fit) -> None:
    """Float settings are buffers outside the checkpoint; a loss without `reward` gets only rows with a reward."""
    model, settings = fit.model, fit.cfg.loss
    floats = {f"loss_{name}": value for name, value in settings.items() if isinstance(value, float)}
    buffers = {name: value.item() for name, value in model.named_buffers() if name.startswith("loss_")}
    assert buffers == pytest.approx(floats)
    assert model.integer_settings == {name: value for name, value in settings.items() if type(value) is int}
    assert not any(name.startswith("loss_") for name in model.state_dict())
    assert not any("loss_" in name for name in weights(fit.folder / "checkpoints" / "best.ckpt"))
    train = build.data(fit.cfg).train
    columns = model.columns(train)
    rows = train if TAKES_REWARD[fit.loss] else train.take(train.rating.nonzero()[:, 0])
    assert 0 < train.rating.mean() < 1
    assert torch.equal(torch.stack([columns.user, columns.item]), torch.stack([rows.user, rows.item]))
    assert torch.equal(columns.reward, rows.rating)
    assert torch.equal(columns.propensity, rows.propensity)


def test_histograms_are_of_the_training_rows(fit: Fit) -> None:
    train = build.data(fit.cfg).train
    policy = fit.model.score_all(torch.arange(200)).detach().double().softmax(1)
    weight = (policy[train.user, train.item] / train.propensity).log10()
    histograms = fit.model.histograms()
    assert histograms.keys() == {"log10_weight", "confidence"}
    torch.testing.assert_close(histograms["log10_weight"].double(), weight, rtol=0, atol=1e-5)
    torch.testing.assert_close(histograms["confidence"].double(), policy.amax(1)[train.user], rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss", ["dr", "ips_2"])
def test_a_nominator_resumes(
    loss: str, checkerboard: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after the second of three epochs: dropout, and the slates of ips_2, continue the random stream."""
    short = ["trainer.max_epochs=3", "trainer.batch_size=128", "callbacks.checkpoint.every_seconds=0"]
    cfg = with_loss(checkerboard, loss, *short, "regularization.dropout=0.2")
    save, n_saves = ResumePoint._save, 0

    def save_and_interrupt(self: ResumePoint, trainer: Any) -> None:
        nonlocal n_saves
        n_saves += 1
        save(self, trainer)
        if n_saves == 2:
            raise Interrupted

    expected = train_and_judge(cfg, tmp_path / "uninterrupted")
    with monkeypatch.context() as patches:
        patches.setattr(ResumePoint, "_save", save_and_interrupt)
        with pytest.raises(Interrupted):
            train_and_judge(cfg, tmp_path / "interrupted")
    assert_same(train_and_judge(cfg, tmp_path / "interrupted"), expected)
