"""A run that is interrupted anywhere and resumed ends like one without interruption: bit for bit."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from interruptions import NOISE, Interrupted, assert_same, train_and_judge
from shell import (
    TINY,
    equal_weights,
    modification_times,
    read_metrics,
    recsweep,
    start_program,
    tiny_config,
    train_run,
    wait_for,
    weights,
)

from recsweep.runs import build
from recsweep.runs.callbacks import ResumePoint
from recsweep.runs.folder import BEST, LAST, REFIT

SESSIONS = [
    "model=drr",
    "data=synthetic",
    "evaluation=full_ranking",
    "model.n_envs=8",
    "model.updates_per_step=0.2",
    "model.buffer_size=300",
    "trainer.limit_batches=2",
]

PLATEAU = ["scheduler=plateau", "scheduler.patience=0", "optimizer.lr=0.1"]
EARLY_STOP = ["callbacks.early_stopping.patience=1", "optimizer.lr=0.3", "trainer.max_epochs=8"]
REFIT_AFTER_EARLY_STOP = ["trainer.refit=true", *EARLY_STOP, "scheduler=one_cycle", *NOISE]

VARIANTS = {
    "momentum, cosine": ["optimizer=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true", "scheduler=cosine"],
    "adagrad, step": ["optimizer=adagrad", "scheduler=step", "scheduler.step_size=2"],
    "sparse": ["optimizer=sparse_adam", "regularization=none"],
    "refit, plateau": ["trainer.refit=true", *PLATEAU],
    "refit after an early stop": REFIT_AFTER_EARLY_STOP,
    "svdpp": ["model=svdpp", *NOISE],
    "mlp": ["model=mlp", *NOISE],
    "gradnorm": ["model=multitask", "loss=gradnorm", "loss.alpha=10", "model.embedding_dim=4", *NOISE],
    "accumulated": ["trainer.accumulate=4", "scheduler=one_cycle", *NOISE],
    "two_tower": ["model=two_tower", "model.embedding_dim=8", "model.hidden=[8]", "model.history=attention"],
    "drr": [*SESSIONS, "scheduler=plateau"],
    "td3": [*SESSIONS, "loss=td3", "model.exploration=ou", "trainer.refit=true", "optimizer.lr=0.1"],
}
"""Each optimizer, scheduler, noise, and state of a model once, some of them together."""


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_run_that_is_interrupted_at_every_epoch(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run goes down at the end of every epoch right after saving, another one right before saving.

    Each resumes from where it went down before, so that a difference anywhere reaches the end. The second also goes
    down after the save that ends a training; before that save is where the first goes down last.
    """
    cfg = tiny_config("trainer.max_epochs=3", "callbacks.checkpoint.every_seconds=0", *overrides)
    save = ResumePoint._save
    points: list[tuple[str, int]] = []

    def record(self: ResumePoint, trainer: Any) -> None:
        points.append((self.path.name, trainer.current_epoch))
        save(self, trainer)

    monkeypatch.setattr(ResumePoint, "_save", record)
    undisturbed = train_and_judge(cfg, tmp_path / "undisturbed")
    ends = set({name: (name, epoch) for name, epoch in points}.values())
    epochs = [point for point in points if point not in ends]
    assert len(set(points)) == len(points) and len(epochs) >= len(undisturbed["objectives"])

    def check_interruptions(folder: Path, remaining: list[tuple[str, int]], saves_first: set[tuple[str, int]]) -> None:
        def go_down_once(self: ResumePoint, trainer: Any) -> None:
            point = (self.path.name, trainer.current_epoch)
            goes_down = point in remaining
            if point in saves_first or not goes_down:
                save(self, trainer)
            if goes_down:
                remaining.remove(point)
                raise Interrupted

        monkeypatch.setattr(ResumePoint, "_save", go_down_once)
        for _ in tuple(remaining):
            with pytest.raises(Interrupted):
                train_and_judge(cfg, folder)
        assert not remaining
        assert_same(train_and_judge(cfg, folder), undisturbed)

    check_interruptions(tmp_path / "after saving", [*epochs], {*epochs})
    check_interruptions(tmp_path / "before saving", [*points], ends)


def test_the_variants_stop_early_and_lower_the_learning_rate(tmp_path: Path) -> None:
    """Early stopping stops, the best epoch is judged, and the plateau lowers the rate."""
    stopped = train_and_judge(tiny_config(*EARLY_STOP), tmp_path / "stopped")
    objectives = stopped["objectives"]
    assert len(objectives) < 8
    assert min(objectives) < objectives[-1]
    assert stopped["metrics"]["val/mse"] == min(objectives)
    chosen_epoch = 1 + objectives.index(min(objectives))
    expected = {"epochs": len(objectives), "chosen_epoch": chosen_epoch, "ended_by": "early stopping"}
    assert stopped["epochs"] == expected
    train_and_judge(tiny_config("trainer.max_epochs=4", *PLATEAU), tmp_path / "plateau")
    last = torch.load(tmp_path / "plateau" / "checkpoints" / LAST, weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] < 0.1


def test_a_refit_trains_on_validation_too_for_as_many_epochs_as_were_best(tmp_path: Path) -> None:
    cfg = tiny_config(*REFIT_AFTER_EARLY_STOP)
    data = build.data(cfg)
    outcome = train_and_judge(cfg, tmp_path)
    refit = torch.load(tmp_path / "checkpoints" / "refit_last.ckpt", weights_only=True)
    assert refit["epoch"] == 1 + outcome["objectives"].index(min(outcome["objectives"]))
    train_and_val = torch.cat([data.split.train, data.split.val])
    means = {name: tensors["mean"].item() for name, tensors in outcome["checkpoints"].items()}
    assert means[BEST] == pytest.approx(data.data.rating[data.split.train].mean().item())
    assert means[REFIT] == pytest.approx(data.data.rating[train_and_val].mean().item())
    assert means[BEST] != means[REFIT]


KILLED = [
    *TINY,
    "trainer.max_epochs=80",
    "callbacks.early_stopping.patience=null",
    "callbacks.checkpoint.every_seconds=0",
    "regularization.dropout=0.2",
]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("undisturbed"), *KILLED)


@pytest.mark.xdist_group("killed")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
def test_a_killed_process_is_resumed(how: signal.Signals, whole_run: Path, tmp_path: Path) -> None:
    killed = tmp_path / "run"
    process = start_program(tmp_path, "train", *KILLED, "hydra.run.dir=run")
    wait_for((killed / "checkpoints" / LAST).is_file, process)
    os.kill(process.pid, how)
    process.join(60)
    assert not (killed / "metrics.json").exists()
    if how is signal.SIGINT:
        assert process.exitcode == 130
        advice = f"go on with `recsweep train run={killed} resume=true`"
        assert (tmp_path / "output").read_text().endswith(f"\nrecsweep: interrupted; {advice}\n")
    outcome = recsweep(tmp_path, "train", "run=run", "resume=true")
    assert outcome.status == 0, outcome.err
    resumed, whole = read_metrics(killed), read_metrics(whole_run)
    for key in ("metrics", "training", "data", "epochs", "chosen_epoch", "ended_by"):
        assert resumed[key] == whole[key]
    assert (resumed["epochs"], resumed["ended_by"]) == (80, "max_epochs")
    assert resumed["command"] == "recsweep train run=run resume=true"
    for name in (BEST, LAST):
        assert equal_weights(weights(killed / "checkpoints" / name), weights(whole_run / "checkpoints" / name))
    assert not list(killed.rglob("*.part"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run of two epochs."""
    return train_run(tmp_path_factory.mktemp("completed"), *TINY, "seed=3")


@pytest.fixture
def run_to_resume(run: Path, tmp_path: Path) -> Path:
    """The same, as if it had been interrupted after its last epoch."""
    run = shutil.copytree(run, tmp_path / "unfinished")
    (run / "metrics.json").unlink()
    return run


@pytest.mark.xdist_group("completed")
def test_a_resumed_run_keeps_its_overrides(run_to_resume: Path) -> None:
    """They come from its record, and stay there once."""
    outcome = recsweep(run_to_resume.parent, "train", f"run={run_to_resume}", "resume=true")
    assert outcome.status == 0, outcome.err
    assert (run_to_resume / ".hydra" / "overrides.yaml").read_text().count("- seed=3") == 1


@pytest.mark.xdist_group("completed")
def test_a_resumed_run_cannot_be_changed(run_to_resume: Path) -> None:
    """Its optimizer would come back from the checkpoint with the old learning rate, whatever the record says."""
    before = (run_to_resume / ".hydra" / "config.yaml").read_text()
    outcome = recsweep(run_to_resume.parent, "train", f"run={run_to_resume}", "resume=true", "optimizer.lr=0.5")
    message = "optimizer.lr=0.5: a resumed run keeps its settings; start another one to change something"
    assert outcome == (2, "", f"recsweep: {message}\n")
    assert (run_to_resume / ".hydra" / "config.yaml").read_text() == before


@pytest.mark.xdist_group("completed")
def test_a_completed_run_is_not_resumed(run: Path) -> None:
    before = modification_times(run)
    outcome = recsweep(run.parent, "train", f"run={run}", "resume=true")
    expected = f"recsweep: run={run}: already completed; `recsweep evaluate run={run}` shows its metrics\n"
    assert outcome == (2, "", expected)
    assert modification_times(run) == before


@pytest.mark.xdist_group("completed")
def test_a_folder_with_a_run_takes_no_other_run(run: Path, tmp_path: Path) -> None:
    """Else the new run would resume from the checkpoint of the other."""
    before = modification_times(run)
    outcome = recsweep(tmp_path, "train", *TINY, "seed=1", f"hydra.run.dir={run}")
    advice = f"name another hydra.run.dir, or go on with it: recsweep train run={run} resume=true"
    assert outcome == (2, "", f"recsweep: {run}: holds a run already; {advice}\n")
    assert modification_times(run) == before
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_a_config_dir_is_resumed_with_it(tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "own.yaml").write_text("# @package _global_\nname: own\n")
    arguments = ["--config-dir", "mine", *TINY, "model=means", "experiment=own", "hydra.run.dir=run"]
    assert recsweep(tmp_path, "train", *arguments).status == 0
    (tmp_path / "run" / "metrics.json").unlink()
    (tmp_path / "elsewhere").mkdir()
    run = f"run={tmp_path / 'run'}"
    outcome = recsweep(tmp_path / "elsewhere", "evaluate", run)
    assert outcome.status == 0 and outcome.err.startswith(f"{run} did not complete: ")
    outcome = recsweep(tmp_path / "elsewhere", "train", run, "resume=true")
    assert (outcome.status, outcome.err) == (0, "")
    assert recsweep(tmp_path / "elsewhere", "evaluate", run).err == ""
