"""A training on two processes ends like that on one: the same steps, the same metrics, the same messages."""

import re
from pathlib import Path

import pytest
import torch
from interruptions import NOISE
from shell import TINY, equal_weights, fit_model, read_metrics, recsweep, tiny_config, train_run, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recsweep.models.base import RecModule
from recsweep.runs import build
from recsweep.runs.folder import BEST, LAST, judge

pytestmark = [pytest.mark.xdist_group("forkserver"), pytest.mark.usefixtures("forkserver")]

UNEVEN = ["data.n_interactions=1300", "trainer.max_epochs=3"]
"""1040 training rows: 17 batches of 64, the last of 16 rows and alone in its step, which only one process works on."""

TWO = ["trainer=ddp", *UNEVEN]
ONE = [*TWO, "trainer.processes=1"]

MODELS = {
    "biased_mf": [*NOISE, "scheduler=one_cycle"],
    "sparse": ["optimizer=sparse_adam", "regularization=none"],
    "svdpp": ["model=svdpp", "regularization.dropout=0.2", "trainer.limit_batches=6"],
    "bpr": ["model=bpr_mf", "loss=bpr", "regularization.dropout=0.2"],
    "in_batch": ["model=two_tower", "loss=in_batch", "model.hidden=[8]", "model.history=mean"],
    "uncertainty": ["model=multitask", "loss=uncertainty", "model.embedding_dim=4", "trainer.refit=true"],
}


def fit_and_judge(folder: Path, *overrides: str) -> tuple[RecModule, dict[str, float]]:
    """The model when training ends, and the metrics of its best checkpoint."""
    cfg = tiny_config(*overrides)
    model = fit_model(cfg, folder / "checkpoints")
    assert isinstance(model, RecModule)
    return model, judge(cfg, build.data(cfg), folder)


def assert_close(model: RecModule, expected: RecModule, tolerance: float) -> None:
    """Weights, loss curves and validation curves."""
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=tolerance, atol=tolerance)
    assert model.objectives == pytest.approx(expected.objectives, rel=tolerance)
    assert [epoch.keys() for epoch in model.epochs] == [epoch.keys() for epoch in expected.epochs]
    for epoch, expected_epoch in zip(model.epochs, expected.epochs, strict=True):
        assert epoch == pytest.approx(expected_epoch, rel=tolerance)


@pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS.keys())
def test_two_processes_train_like_one(overrides: list[str], tmp_path: Path) -> None:
    """With everything that is random, and also if the rows of a batch compete with each other."""
    model, metrics = fit_and_judge(tmp_path / "two", *TWO, *overrides)
    expected, expected_metrics = fit_and_judge(tmp_path / "one", *ONE, *overrides)
    assert_close(model, expected, 1e-5)
    assert metrics == pytest.approx(expected_metrics, rel=1e-5)


def test_batches_of_one_step_weigh_by_their_rows(tmp_path: Path) -> None:
    """2 x 64 rows are a step of 128, also at the end: 1104 = 8 x 128 + 80 rows, and 8 x (64 + 64) + (64 + 16)."""
    overrides = ["model=bpr_mf", "loss=full_softmax", "regularization=none", "optimizer=sgd", "optimizer.lr=0.5"]
    overrides += ["data.n_interactions=1380", "trainer.max_epochs=3"]
    model, _ = fit_and_judge(tmp_path / "two", "trainer=ddp", *overrides, "trainer.batch_size=64")
    expected, _ = fit_and_judge(tmp_path / "one", *overrides, "trainer.batch_size=128")
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=1e-4, atol=1e-6)
    assert model.objectives == pytest.approx(expected.objectives, rel=1e-4)


def test_a_resumed_training_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    """Bit for bit; the first two epochs do not know that there will be a third."""
    overrides = [*TWO, *NOISE, "optimizer.lr=0.1", "scheduler.patience=0"]
    fit_model(tiny_config(*overrides, "trainer.max_epochs=2"), tmp_path / "resumed")
    model = fit_model(tiny_config(*overrides), tmp_path / "resumed")
    expected = fit_model(tiny_config(*overrides), tmp_path / "undisturbed")
    assert isinstance(model, RecModule) and isinstance(expected, RecModule)
    assert equal_weights(model.state_dict(), expected.state_dict())
    assert (model.objectives, model.epochs) == (expected.objectives, expected.epochs)


def test_the_command(tmp_path: Path) -> None:
    """Everything is written once, by the first process, and only the result is printed."""
    overrides = [*TINY, *UNEVEN, "trainer=ddp", "logger=tensorboard", "callbacks.checkpoint.every_seconds=0"]
    outcome = recsweep(tmp_path, "train", *overrides, "hydra.run.dir=two")
    two = tmp_path / "two"
    assert (outcome.status, outcome.err, outcome.out.count("\n")) == (0, "", 3)
    assert outcome.out.startswith("biased_mf seed 0, ")
    one = train_run(tmp_path, *overrides, "trainer.processes=1")
    assert read_metrics(two)["metrics"] == pytest.approx(read_metrics(one)["metrics"], rel=1e-6)
    assert read_metrics(two)["training"] == pytest.approx(read_metrics(one)["training"], rel=1e-6)
    for name in (BEST, LAST):
        torch.testing.assert_close(weights(two / "checkpoints" / name), weights(one / "checkpoints" / name))
    assert sorted(path.name for path in two.rglob("*.*pt*")) == [BEST, LAST]
    events = EventAccumulator(str(two / "tb")).Reload()
    assert [event.step for event in events.Scalars("val/mse")] == [1, 2, 3]
    assert re.findall(r"epoch (\d)/3", (two / "run.log").read_text()) == ["1", "2", "3"]  # one process logs


def test_a_baseline_needs_one_process(tmp_path: Path) -> None:
    run = train_run(tmp_path, *TINY, "model=means", "trainer=ddp")
    assert "trainer.processes=2: means has no gradient steps, one process fits it" in (run / "run.log").read_text()


REFUSED = {
    "model=drr data=synthetic evaluation=full_ranking": (
        "trainer.processes=2: model DRR continues from the state that the last batch left, so one process must see "
        "all batches"
    ),
    "model=multitask loss=gradnorm": (
        "trainer.processes=2: GradNorm continues from the state that the last batch left, so one process must see "
        "all batches"
    ),
    "trainer.processes=3": (
        "trainer.accumulate=2: the processes divide the batches of a step, so there must be at least "
        "trainer.processes=3; a smaller trainer.batch_size keeps the step as it was"
    ),
    "trainer.processes=0": "trainer.processes=0: it should be greater than or equal to 1",
    "optimizer=sgd optimizer.lr=1e20": (
        "training diverged: the loss of epoch 1 is nan; lower optimizer.lr, or raise the regularisation"
    ),
}


@pytest.mark.parametrize("overrides", REFUSED)
def test_a_mistake_is_one_line(overrides: str, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *TINY, "trainer=ddp", "hydra.run.dir=run", *overrides.split())
    assert outcome == (2, "", f"recsweep: {REFUSED[overrides]}\n")
