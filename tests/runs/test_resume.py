"""A run that was interrupted anywhere, and goes on, ends like one that was not: bit for bit."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from interruptions import DISTURBED, Interrupted, assert_same, run
from shell import TINY, read_metrics, recsweep, same, start_program, tiny, train_run, wait_for, weights

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
    "trainer.limit_batches=5",
]

VARIANTS = {
    "plateau": ["scheduler=plateau", "scheduler.patience=0", "optimizer.lr=0.1"],
    "one_cycle": ["scheduler=one_cycle", "optimizer.lr=0.05"],
    "cosine": ["scheduler=cosine"],
    "step": ["scheduler=step", "scheduler.step_size=2", "optimizer=adagrad"],
    "momentum": ["optimizer=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true"],
    "sparse": ["optimizer=sparse_adam", "regularization=none"],
    "disturbed": DISTURBED,
    "stopped early": ["callbacks.early_stopping.patience=1", "optimizer.lr=0.3", "trainer.max_epochs=8"],
    "refit": ["trainer.refit=true", "optimizer.lr=0.1", "scheduler.patience=0"],
    "refit of a stopped one": [
        "trainer.refit=true",
        "callbacks.early_stopping.patience=1",
        "optimizer.lr=0.3",
        "trainer.max_epochs=8",
        "scheduler=one_cycle",
        *DISTURBED,
    ],
    "svdpp": ["model=svdpp", *DISTURBED],
    "mlp": ["model=mlp", *DISTURBED],
    "gradnorm": ["model=multitask", "loss=gradnorm", "loss.alpha=10", "model.embedding_dim=4", *DISTURBED],
    "accumulated": ["trainer.accumulate=4", "scheduler=one_cycle", *DISTURBED],
    "two_tower": ["model=two_tower", "model.embedding_dim=8", "model.hidden=[8]", "model.history=attention"],
    "drr": [*SESSIONS, "scheduler=plateau"],
    "td3": [*SESSIONS, "loss=td3", "model.exploration=ou", "trainer.refit=true", "optimizer.lr=0.1"],
}


@pytest.mark.parametrize("after", [True, False], ids=["after saving", "before saving"])
@pytest.mark.parametrize("words", VARIANTS.values(), ids=VARIANTS.keys())
def test_resuming_after_any_epoch(
    words: list[str], after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny("trainer.max_epochs=3", "callbacks.checkpoint.every_seconds=0", *words)
    save, count, down_at = ResumePoint._save, 0, -1

    def save_or_go_down(self: ResumePoint, trainer: Any) -> None:
        nonlocal count
        count += 1
        if after or count != down_at:
            save(self, trainer)
        if count == down_at:
            raise Interrupted

    monkeypatch.setattr(ResumePoint, "_save", save_or_go_down)
    undisturbed = run(cfg, tmp_path / "undisturbed")
    n_saves = count
    assert n_saves > len(undisturbed["objectives"])  # every epoch, and the end
    for down_at in range(1, n_saves + 1):
        count, folder = 0, tmp_path / str(down_at)
        with pytest.raises(Interrupted):
            run(cfg, folder)
        count = down_at  # from here on nothing goes down
        assert_same(run(cfg, folder), undisturbed)


def test_the_variants_do_what_they_are_here_for(tmp_path: Path) -> None:
    """Early stopping stops, the best epoch is what is judged, and the plateau lowers the rate."""
    stopped = run(tiny(*VARIANTS["stopped early"]), tmp_path / "stopped")
    objectives = stopped["objectives"]
    assert len(objectives) < 8
    assert min(objectives) < objectives[-1]
    assert stopped["metrics"]["val/mse"] == min(objectives)
    run(tiny("trainer.max_epochs=4", *VARIANTS["plateau"]), tmp_path / "plateau")
    last = torch.load(tmp_path / "plateau" / "checkpoints" / LAST, weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] < 0.1


def test_a_refit_trains_on_validation_too_for_as_many_epochs_as_were_best(tmp_path: Path) -> None:
    cfg = tiny(*VARIANTS["refit of a stopped one"])
    data = build.data(cfg)
    found = run(cfg, tmp_path)
    again = torch.load(tmp_path / "checkpoints" / "refit_last.ckpt", weights_only=True)
    assert again["epoch"] == 1 + found["objectives"].index(min(found["objectives"]))
    known = torch.cat([data.split.train, data.split.val])
    means = {name: tensors["mean"].item() for name, tensors in found["checkpoints"].items()}
    assert means[BEST] == pytest.approx(data.data.rating[data.split.train].mean().item())
    assert means[REFIT] == pytest.approx(data.data.rating[known].mean().item())
    assert means[BEST] != means[REFIT]


KILLED = [
    *TINY,
    "trainer.max_epochs=150",
    "callbacks.early_stopping.patience=null",
    "callbacks.checkpoint.every_seconds=0",
    "regularization.dropout=0.2",
]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
def test_a_killed_process_goes_on(how: signal.Signals, tmp_path: Path) -> None:
    killed = tmp_path / "run"
    process = start_program(tmp_path, "train", *KILLED, "hydra.run.dir=run")
    wait_for((killed / "checkpoints" / LAST).is_file, process)
    os.kill(process.pid, how)
    process.join(60)
    assert not (killed / "metrics.json").exists()
    if how is signal.SIGINT:
        assert process.exitcode == 130
        advice = f"go on with `recsweep train run={killed} resume=true`"
        assert (tmp_path / "said").read_text() == f"recsweep: interrupted; {advice}\n"
    resumed = recsweep(tmp_path, "train", "run=run", "resume=true")
    assert resumed.status == 0, resumed.err
    undisturbed = train_run(tmp_path, *KILLED)
    assert read_metrics(killed)["metrics"] == read_metrics(undisturbed)["metrics"]
    for name in (BEST, LAST):
        assert same(weights(killed / "checkpoints" / name), weights(undisturbed / "checkpoints" / name))
    assert not list(killed.rglob("*.part"))


def test_resuming_keeps_what_was_asked(tmp_path: Path) -> None:
    """The run's own words come again, and its record says them once."""
    first = train_run(tmp_path, *TINY, "seed=3")
    (first / "metrics.json").unlink()
    resumed = recsweep(tmp_path, "train", f"run={first}", "resume=true")
    assert resumed.status == 0, resumed.err
    assert (first / ".hydra" / "overrides.yaml").read_text().count("- seed=3") == 1


def test_a_resumed_run_is_not_changed(tmp_path: Path) -> None:
    """Its optimizer comes back from the checkpoint with the rate it had, whatever the record would say."""
    first = train_run(tmp_path, *TINY)
    (first / "metrics.json").unlink()
    before = (first / ".hydra" / "config.yaml").read_text()
    resumed = recsweep(tmp_path, "train", f"run={first}", "resume=true", "optimizer.lr=0.5")
    message = "optimizer.lr=0.5: a resumed run goes on as it was asked for; start another one to change something"
    assert resumed == (2, "", f"recsweep: {message}\n")
    assert (first / ".hydra" / "config.yaml").read_text() == before


def test_a_completed_run_is_not_resumed(tmp_path: Path) -> None:
    first = train_run(tmp_path, *TINY, "model=means")
    before = sorted((path, path.stat().st_mtime_ns) for path in first.rglob("*"))
    resumed = recsweep(tmp_path, "train", f"run={first}", "resume=true")
    expected = f"recsweep: run={first}: already completed; `recsweep evaluate run={first}` shows its metrics\n"
    assert resumed == (2, "", expected)
    assert sorted((path, path.stat().st_mtime_ns) for path in first.rglob("*")) == before


def test_a_run_is_resumed_only_when_told_to(tmp_path: Path) -> None:
    first = train_run(tmp_path, *TINY, "model=means")
    assert recsweep(tmp_path, "train", f"run={first}") == (
        2,
        "",
        f"recsweep: run={first}: say what to change, such as seed=1, or add resume=true to go on with it\n",
    )


def test_a_folder_that_holds_a_run_is_left_alone(tmp_path: Path) -> None:
    """Else the new run would go on from the other's checkpoint."""
    words = ["train", *TINY, "model=means", "hydra.run.dir=run"]
    assert recsweep(tmp_path, *words).status == 0
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    advice = "name another hydra.run.dir, or go on with it: recsweep train run=run resume=true"
    assert recsweep(tmp_path, *words, "seed=1") == (2, "", f"recsweep: run: holds a run already; {advice}\n")
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_a_run_with_a_configuration_of_its_own_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "own.yaml").write_text("# @package _global_\nname: own\n")
    words = ["--config-dir", "mine", *TINY, "experiment=own", "hydra.run.dir=run"]
    assert recsweep(tmp_path, "train", *words).status == 0
    (tmp_path / "run" / "metrics.json").unlink()
    (tmp_path / "elsewhere").mkdir()
    run = f"run={tmp_path / 'run'}"
    judged = recsweep(tmp_path / "elsewhere", "evaluate", run)
    assert judged.status == 0 and judged.err.startswith(f"{run} did not complete: ")
    resumed = recsweep(tmp_path / "elsewhere", "train", run, "resume=true")
    assert (resumed.status, resumed.err) == (0, "")
    assert recsweep(tmp_path / "elsewhere", "evaluate", run).err == ""
