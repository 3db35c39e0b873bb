"""Small runs of DRR: what they log, and how mistakes and divergence end them."""

from pathlib import Path

import pytest
import torch
from drr_agents import FEW_UPDATES, SMALL
from shell import equal_weights, fit_model, read_metrics, recsweep
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from recsweep.config import compose_config
from recsweep.models.drr import agent
from recsweep.models.drr.agent import DRR
from recsweep.runs import build
from recsweep.runs.folder import BEST, judge, load_weights

LOSSES = {"train/loss", "train/policy_loss"}
ALL_LIKED = "data.above=0"
"""Every row is a positive, so all users have sessions."""
QUICK = [*SMALL, FEW_UPDATES, ALL_LIKED]


@pytest.mark.parametrize("loss", ["ddpg", "td3"])
def test_an_epoch_notes_its_reward_and_losses(loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "AGE_INTERVAL", 10)
    model = fit_model(compose_config([*SMALL, FEW_UPDATES, f"loss={loss}", "model.exploration=ou"]), tmp_path)
    assert isinstance(model, DRR)
    assert len(model.epochs) == 2
    for epoch in model.epochs:
        assert epoch.keys() == {*LOSSES, "train/replay_age", "train/reward", "train/session_reward"}
        assert 0 < epoch["train/reward"] < 1
        assert 0 < epoch["train/replay_age"] < 300  # the size of the replay


def test_too_few_positives_are_one_line(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *SMALL, "model.min_positives=99", "hydra.run.dir=run")
    assert outcome == (2, "", "recsweep: model.min_positives=99: no user of synthetic has that many; lower it\n")


def test_a_batch_larger_than_an_epoch_is_one_line(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *SMALL, "trainer.batch_size=5000", "model.buffer_size=9000")
    warning, error = outcome.err.splitlines()
    assert outcome.status == 2 and warning.endswith("users have fewer than 2 positives, and no sessions")
    assert "no update in an epoch of" in error and "lower trainer.batch_size=5000" in error


def test_more_environments_than_the_replay_holds_is_one_line(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *SMALL, "model.buffer_size=7")
    message = "a replay of capacity=7 cannot hold the 8 transitions of a step; raise it"
    assert (outcome.status, outcome.err.splitlines()[1:]) == (2, [f"recsweep: {message}"])


HISTOGRAMS = {"value": 64, "target_value": 64, "expected_value": 64, "td_error": 64}
"""Values in each histogram of an epoch, from its last batch."""


@pytest.mark.parametrize("loss", ["ddpg", "td3"])
def test_a_run_reports_users_without_sessions_and_writes_tensorboard(loss: str, tmp_path: Path) -> None:
    """The warning is the only line on the terminal, and is in the log once."""
    overrides = [*SMALL, FEW_UPDATES, f"loss={loss}", "logger=tensorboard", "loss.max_value=0.01"]
    outcome = recsweep(tmp_path, "train", *overrides, "hydra.run.dir=run")
    rows = build.data(compose_config(SMALL)).train.user
    n_without = sum(int((rows == user).sum()) < 2 for user in range(60))
    line = f"{n_without} of 60 users have fewer than 2 positives, and no sessions"
    assert (outcome.status, outcome.err) == (0, f"{line}\n") and n_without > 0
    assert (tmp_path / "run" / "run.log").read_text().count(f"WARNING recsweep.models.drr.agent: {line}\n") == 1

    events = EventAccumulator(str(tmp_path / "run" / "tb"), {"histograms": 0}).Reload()
    assert set(events.Tags()["histograms"]) == {*HISTOGRAMS, "policy_loss"}
    for tag, n in HISTOGRAMS.items():
        assert [event.histogram_value.num for event in events.Histograms(tag)] == [n, n]
    assert all(event.histogram_value.max <= 0.01 for event in events.Histograms("expected_value"))
    scalars = {name: [event.value for event in events.Scalars(name)] for name in (*LOSSES, "train/session_reward")}
    for histogram, mean in zip(events.Histograms("policy_loss"), scalars["train/policy_loss"], strict=True):
        assert histogram.histogram_value.sum / histogram.histogram_value.num == pytest.approx(mean, rel=1e-4)
    assert all(len(values) == 2 for values in scalars.values())


def test_an_epoch_without_a_policy_update(tmp_path: Path) -> None:
    """TD3's only update in the epoch does not move the policy, so its histogram is missing. All users have sessions,
    so nothing is printed."""
    overrides = ["loss=td3", "model.updates_per_step=0.002", "trainer.max_epochs=1", "logger=tensorboard", ALL_LIKED]
    outcome = recsweep(tmp_path, "train", *SMALL, *overrides, "hydra.run.dir=run")
    assert (outcome.status, outcome.err) == (0, "")
    assert "train/policy_loss" not in read_metrics(tmp_path / "run")["training"]
    assert set(EventAccumulator(str(tmp_path / "run" / "tb")).Reload().Tags()["histograms"]) == set(HISTOGRAMS)


@pytest.fixture(scope="module")
def first_epoch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights after the first epoch of a run."""
    cfg = compose_config([*QUICK, "trainer.max_epochs=1"])
    return fit_model(cfg, tmp_path_factory.mktemp("first_epoch")).state_dict()


@pytest.mark.xdist_group("drr_first_epoch")
@pytest.mark.parametrize("network", ["critics", "actor", "target_actor"])
def test_a_network_that_diverges_in_the_second_epoch(
    network: str, first_epoch: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends with one line; the weights of the first epoch are kept and can be judged."""
    start_epoch = DRR._start_epoch

    def start_and_break(self: DRR) -> None:
        start_epoch(self)
        if self.current_epoch == 1:
            next(getattr(self, network).parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(DRR, "_start_epoch", start_and_break)
    outcome = recsweep(tmp_path, "train", *QUICK, "hydra.run.dir=run")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err == "recsweep: training diverged: a TD error is not finite; lower optimizer.lr\n"
    assert read_metrics(tmp_path / "run")["status"] == "failed"
    cfg = compose_config(QUICK)
    data = build.data(cfg)
    model = build.model(cfg, data)
    load_weights(tmp_path / "run" / "checkpoints" / BEST, model, data)
    assert all(values.isfinite().all() for values in model.state_dict().values())
    assert equal_weights(model.state_dict(), first_epoch)
    metrics = judge(cfg, data, tmp_path / "run")
    assert all(0 <= value <= 1 for name, value in metrics.items() if "/beyond/" not in name)


def test_a_learning_rate_that_is_far_too_high_is_one_line(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *SMALL, ALL_LIKED, "optimizer.lr=1e38", "hydra.run.dir=run")
    assert outcome == (2, "", "recsweep: training diverged: a TD error is not finite; lower optimizer.lr\n")
    assert not (tmp_path / "run" / "checkpoints" / BEST).exists()
