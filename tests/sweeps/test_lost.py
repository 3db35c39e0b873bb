"""What a sweep loses through no fault of its jobs: deleted files, a disk or memory that fails."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from searches import EASE, read_study, search, states
from shell import TINY, read_metrics, recsweep

from recsweep.commands import job, report

SEARCH = (*EASE, "model.l2=interval(1,100)", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=random")
DISK_IS_FULL = OSError(28, "No space left on device", "best.ckpt")


def before_fit(monkeypatch: pytest.MonkeyPatch, action: Callable[[Path], None]) -> None:
    """Has each training do something first; the action gets the folder of the job."""
    fit = job.fit

    def act_and_fit(cfg: Any, data: Any, model: Any, checkpoints: Path, *rest: Any) -> None:
        action(checkpoints.parent)
        fit(cfg, data, model, checkpoints, *rest)

    monkeypatch.setattr(job, "fit", act_and_fit)


def test_a_search_takes_a_lost_trial_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(tmp_path, *SEARCH, into="undisturbed").status == 0

    def fail(job: Path) -> None:
        if job.name == "1":
            raise DISK_IS_FULL

    with monkeypatch.context() as during:
        before_fit(during, fail)
        outcome = search(tmp_path, *SEARCH)
    reason = "OSError: [Errno 28] No space left on device: 'best.ckpt'"
    line = f"trial 1 of the search ended through no fault of its own ({reason}); recsweep train sweep.resume="
    assert (outcome.status, outcome.err) == (2, f"recsweep: {line}{tmp_path}/sweep takes it up again\n")
    assert read_metrics(tmp_path / "sweep" / "1") == {"status": "failed", "error": reason, "lost_to": "disk"}
    assert states(tmp_path / "sweep" / "study.db") == ["COMPLETE", "RUNNING"]

    assert recsweep(tmp_path, "train", "sweep.resume=sweep").status == 0
    studies = [read_study(tmp_path / name / "study.db") for name in ("sweep", "undisturbed")]
    resumed, undisturbed = ([(trial.params, trial.values) for trial in study.trials] for study in studies)
    assert resumed == undisturbed and len(resumed) == 2


def test_a_resumed_search_runs_a_deleted_trial_again(tmp_path: Path) -> None:
    """The best one, on whose numbers the report and the search must agree; the study does not change."""
    assert search(tmp_path, *SEARCH).status == 0
    study = read_study(tmp_path / "sweep" / "study.db")
    job = tmp_path / "sweep" / str(study.best_trial.number)
    trials, metrics = [(trial.params, trial.values) for trial in study.trials], read_metrics(job)["metrics"]
    shutil.rmtree(job)
    resumed = recsweep(tmp_path, "train", "sweep.resume=sweep")
    assert resumed.status == 0, resumed.err
    assert read_metrics(job)["metrics"] == metrics
    again = read_study(tmp_path / "sweep" / "study.db").trials
    assert [(trial.params, trial.values) for trial in again] == trials


def test_a_search_gives_up_a_trial_that_exhausts_memory_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: Path) -> None:
        if job.name == "0":
            raise MemoryError

    before_fit(monkeypatch, fail)
    assert search(tmp_path, *SEARCH).status == 2
    for _ in range(3):
        assert recsweep(tmp_path, "train", "sweep.resume=sweep").status == 2
    assert states(tmp_path / "sweep" / "study.db") == ["FAIL", "COMPLETE"]


@pytest.mark.parametrize("gone", ["0", "1", ""])
def test_a_folder_that_is_deleted_while_its_sweep_runs(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that has ended, the one that runs, or the whole sweep."""
    before_fit(monkeypatch, lambda job: shutil.rmtree(tmp_path / "sweep" / gone) if job.name == "1" else None)
    outcome = recsweep(tmp_path, "train", "-m", "model=means", "seed=0,1,2", *TINY, "hydra.sweep.dir=sweep")
    line = f"1 of 3 jobs have no result ({gone}): the disk is full, or somebody deleted them; "
    line += "recsweep train sweep.resume=sweep runs them"
    if not gone:
        line = "sweep: sweep.json is gone, somebody deleted it while the sweep ran; start it again"
    assert (outcome.status, outcome.err) == (2, f"recsweep: {line}\n")


@pytest.mark.parametrize("gone", ["0", "1", ""])
def test_a_folder_that_is_deleted_while_its_search_runs(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_fit(monkeypatch, lambda job: shutil.rmtree(tmp_path / "sweep" / gone) if job.name == "1" else None)
    outcome = search(tmp_path, *SEARCH)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)


def test_ctrl_c_while_the_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", interrupt)
    outcome = recsweep(tmp_path, "train", "-m", "model=means", "seed=0,1", *TINY, "hydra.sweep.dir=sweep")
    advice = "go on with `recsweep train sweep.resume=sweep`"
    assert (outcome.status, outcome.err) == (130, f"recsweep: interrupted; {advice}\n")


def test_the_request_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DISK_IS_FULL

    monkeypatch.setattr(Path, "write_text", fail)
    outcome = recsweep(tmp_path, "train", "-m", "model=means", "seed=0,1", *TINY, "hydra.sweep.dir=sweep")
    assert outcome.status == 2 and not list((tmp_path / "sweep").iterdir())
