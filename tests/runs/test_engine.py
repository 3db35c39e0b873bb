"""Lightning's own settings, callbacks of the user's own and the presets for debugging."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from shell import SYNTHETIC, equal_weights, fit_model, read_metrics, recsweep, tiny_config, train_run

from recsweep.config import compose_config
from recsweep.errors import UserError
from recsweep.models.base import RecModule
from recsweep.runs import build

SWA = "lightning.pytorch.callbacks.StochasticWeightAveraging"
REFUSED = {
    "trainer.precision=16-mixed": "Lightning scales the loss in every optimizer step that it makes itself",
    "trainer.precision=64-true": "data, evaluation and checkpoints hold 32-bit numbers: take bf16-mixed or 32-true",
    "trainer.precision=bf16-mixed model=svdpp": "model SVDpp computes with 32-bit numbers only: take 32-true",
    "trainer.precision=bf16-mixed model=drr": "model DRR computes with 32-bit numbers only: take 32-true",
    "trainer.overfit_batches=2 model=drr": "model DRR has no batches that could be repeated",
    "trainer.gradient_clip=1 optimizer=sparse_adam regularization.weight_decay=0": "SparseAdam hold some rows only",
    "trainer.gradient_clip=0": "trainer.gradient_clip=0: it should be greater than 0",
    "trainer.profiler=fast": "trainer.profiler=fast: it should be 'simple', 'advanced' or 'pytorch'",
    f"callbacks.extra=[{{_target_:{SWA},swa_lrs:0.1}}]": r"extra\[0\]: StochasticWeightAveraging must see every optim",
    "callbacks.extra=[{_target_:torch.nn.Identity}]": r"extra\[0\]._target_=torch.nn.Identity: give a subclass of",
    "callbacks.extra=[{_target_:nope.Callback}]": r"extra\[0\]._target_=nope.Callback: nothing of that name",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_work_is_refused_with_the_reason(words: str) -> None:
    with pytest.raises(UserError, match=REFUSED[words]):
        compose_config(words.split())


@pytest.mark.parametrize(
    "words",
    [
        ["model=mlp", "trainer.precision=bf16-mixed"],
        ["trainer.gradient_clip=0.01"],
        ["trainer.gradient_clip=0.001", "trainer.gradient_clip_by=value"],
    ],
)
def test_the_grouping_of_steps_does_not_change_the_result(words: list[str], tmp_path: Path) -> None:
    """Precision and clipping act on every step, also on those that Lightning does not see."""
    plain, grouped, single = (
        fit_model(tiny_config("trainer.max_epochs=1", *more), tmp_path / str(number)).state_dict()
        for number, more in enumerate(([*words[:-1]], words, [*words, "trainer.steps_per_call=1"]))
    )
    assert equal_weights(grouped, single)
    assert not equal_weights(grouped, plain)


@pytest.mark.parametrize(("by", "expected"), [("norm", [0.6, 0.8]), ("value", [1.0, 1.0])])
def test_the_gradient_is_clipped_to_a_norm_or_value_of_1(by: str, expected: list[float]) -> None:
    cfg = tiny_config("trainer.gradient_clip=1", f"trainer.gradient_clip_by={by}")
    model = build.model(cfg, build.data(cfg))
    assert isinstance(model, RecModule)
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])  # of norm 5
    model._clip_gradients([parameter])
    assert parameter.grad.tolist() == pytest.approx(expected)


def test_a_profile_lies_in_the_folder_of_the_run(tmp_path: Path) -> None:
    run = train_run(tmp_path, *SYNTHETIC, "debug=profile", "trainer.max_epochs=1", "logger=none")
    assert "run_training_epoch" in (run / "fit-profile.txt").read_text()


def test_debug_fast_is_one_short_epoch_that_is_judged(tmp_path: Path) -> None:
    words = (*SYNTHETIC, "debug=fast", "trainer.batch_size=8", "trainer.refit=true", "callbacks.progress=false")
    outcome = recsweep(tmp_path, "train", *words, "hydra.run.dir=run")
    assert outcome.status == 0 and outcome.out.splitlines()[0].endswith("  (a dry run, no result)")
    run = tmp_path / "run"
    record = read_metrics(run)
    assert (record["status"], record["epochs"], record["ended_by"]) == ("completed", 1, "max_epochs")
    assert {"test/mse", "val/mse"} <= record["metrics"].keys() and not (run / "tb").exists()
    cfg = compose_config([*SYNTHETIC, "debug=fast", "trainer.batch_size=8"])
    assert build.data(cfg).batching[3] == 4  # batches


def test_debug_overfit_repeats_the_same_rows_and_learns_them(tmp_path: Path) -> None:
    words = (
        "debug=overfit",
        "trainer.overfit_batches=1",
        "trainer.batch_size=8",
        "optimizer.lr=0.05",
        "scheduler=none",
    )
    model = fit_model(
        compose_config([*SYNTHETIC, *words, "trainer.max_epochs=60", "callbacks.progress=false"]), tmp_path
    )
    assert isinstance(model, RecModule)
    batches = model.data.batches
    assert torch.equal(batches.group(0, 0)[0].user, batches.group(7, 0)[0].user)
    assert len(batches.group(0, 0)) == 1
    assert model.epochs[-1]["train/loss"] < 0.01 < model.epochs[0]["train/loss"]


def test_a_run_that_overfits_is_no_result(tmp_path: Path) -> None:
    words = (*SYNTHETIC, "debug=overfit", "trainer.max_epochs=1", "callbacks.progress=false", "logger=none")
    outcome = recsweep(tmp_path, "train", *words, "hydra.run.dir=run")
    assert outcome.status == 0
    assert outcome.out.splitlines()[0].endswith("  (no result; train/loss says whether it learned)")


class Epochs(Callback):
    """Counts the epochs that it sees."""

    seen: list[int] = []  # noqa: RUF012

    def __init__(self, first: int) -> None:
        self.first = first

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the epoch."""
        self.seen.append(self.first + trainer.current_epoch)


def test_a_callback_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "Epochs", Epochs, raising=False)  # a place that can be imported
    Epochs.seen.clear()
    fit_model(tiny_config("callbacks.extra=[{_target_:torch.Epochs,first:5}]"), tmp_path)
    assert Epochs.seen == [5, 6]
    with pytest.raises(UserError, match=r"callbacks.extra\[0\].second: no such key"):
        tiny_config("callbacks.extra=[{_target_:torch.Epochs,first:5,second:6}]")
