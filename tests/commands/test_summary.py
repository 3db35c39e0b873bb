"""What the terminal and run.log say about one run."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from shell import TINY, read_metrics, recsweep

from recsweep.commands.summary import print_outcome
from recsweep.config import compose_config
from recsweep.models.base import RecModule
from recsweep.runs.callbacks import EpochLines
from recsweep.terminal import format_number

pytestmark = pytest.mark.xdist_group("commands")


def test_a_run_says_where_it_goes_how_it_goes_and_how_it_went(tmp_path: Path) -> None:
    overrides = [*TINY, "model=bpr_mf", "logger=csv", "callbacks.compare_with=[{model: popularity}]"]
    outcome = recsweep(tmp_path, "train", *overrides, "optimizer.lr=0.01", "hydra.run.dir=run", with_progress=True)
    run = tmp_path / "run"
    metrics, log = read_metrics(run), (run / "run.log").read_text()
    where, *epochs = outcome.err.splitlines()
    assert where == "run:    run/"
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert f"train/loss {format_number(metrics['training']['train/loss'])}" in epochs[metrics["chosen_epoch"] - 1]
    assert epochs[-1].endswith(f"best {metrics['objective']['value']:.4f}")
    assert all(line in log for line in epochs)
    assert "Tip" not in log and "GPU" not in log
    how, values, baselines, folder = outcome.out.splitlines()
    chosen = metrics["chosen_epoch"]
    assert f"s: epoch {chosen} of 2 chosen, " in how and how.startswith("bpr_mf seed 0, ")
    assert values == "  ".join(f"{p}/ndcg@10 {metrics['metrics'][f'{p}/ndcg@10']:.4f}" for p in ("val", "test"))
    assert baselines.startswith("baselines on test/ndcg@10: popularity 0.")
    assert folder == "run: run"


def test_the_command_for_the_curves_is_said_where_there_are_any(tmp_path: Path) -> None:
    overrides = [*TINY, "model=means", "logger=tensorboard"]
    lines = recsweep(tmp_path, "train", *overrides, "hydra.run.dir=a b", with_progress=True).err.splitlines()
    assert lines == ["run:    a b/", "curves: tensorboard --logdir 'a b'"]
    silent = recsweep(tmp_path, "train", *overrides, "callbacks.progress=false", with_progress=True)
    assert (silent.status, silent.err) == (0, "")


@pytest.mark.parametrize(
    ("epochs", "chosen", "ended_by", "expected"),
    [
        (12, 12, "max_epochs", "epoch 12 of 12 chosen, still improving at max_epochs"),
        (12, 9, "max_epochs", "epoch 9 of 12 chosen, ended by max_epochs"),
        (12, 5, "early stopping", "epoch 5 of 12 chosen, ended by early stopping"),
        (None, None, "no epochs", "no epochs"),
    ],
)
def test_why_a_run_ended(
    epochs: int | None, chosen: int | None, ended_by: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {"val/mse": 0.84, "test/mse": 0.82}
    outcome = {"epochs": epochs, "chosen_epoch": chosen, "ended_by": ended_by, "metrics": metrics}
    outcome["objective"] = {"name": "val/mse", "value": 0.84}
    print_outcome(compose_config([]), Path("run"), {**outcome, "seconds": {"total": 1.0}})
    assert capsys.readouterr().out.splitlines()[0] == f"biased_mf seed 0, 1.0 s: {expected}"


@pytest.mark.parametrize(
    ("n_epochs", "written"), [(50, range(1, 51)), (120, range(3, 121, 3)), (101, [*range(3, 100, 3), 101])]
)
def test_long_trainings_have_at_most_fifty_lines(
    n_epochs: int, written: range | list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 120 epochs every third: 120 / 50 = 2.4, and two would make 60 lines. The last one is always told."""
    trainer, module = SimpleNamespace(max_epochs=n_epochs, current_epoch=0), Mock(spec=RecModule)
    module.epochs, module.objectives = [], []
    module.evaluation, module.data = SimpleNamespace(objective="mse"), SimpleNamespace(split=SimpleNamespace(val=[0]))
    lines = EpochLines("min", is_shown=True)
    lines.on_train_start(trainer, module)
    for epoch in range(n_epochs):
        trainer.current_epoch = epoch
        lines.on_train_epoch_start(trainer, module)
        module.epochs.append({"train/loss": 1.0})
        module.objectives.append(1.0)
    trainer.current_epoch = n_epochs
    lines.on_train_end(trainer, module)
    told = [int(line.split()[1].split("/")[0]) for line in capsys.readouterr().err.splitlines()]
    assert told == list(written)
