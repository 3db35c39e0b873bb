"""`recsweep evaluate`: the numbers of the run again, or those of another protocol."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
from shell import TINY, modification_times, read_metrics, recsweep, table_cells, train_run

from recsweep.runs.folder import BEST

pytestmark = pytest.mark.xdist_group("commands")


def read_values(output: str) -> dict[str, float]:
    return {name: float(value) for name, value in table_cells(output)}


def test_evaluate_prints_what_the_run_measured_and_writes_nothing(run: Path, tmp_path: Path) -> None:
    before = modification_times(run)
    outcome = recsweep(tmp_path, "evaluate", f"run={run}")
    assert outcome.status == 0
    assert read_values(outcome.out) == read_metrics(run)["metrics"]
    assert modification_times(run) == before
    assert list(tmp_path.iterdir()) == []


def test_evaluate_after_a_refit(tmp_path: Path) -> None:
    refit = train_run(tmp_path, *TINY, "trainer.refit=true")
    outcome = recsweep(tmp_path, "evaluate", f"run={refit}")
    assert read_values(outcome.out) == read_metrics(refit)["metrics"]


def test_evaluate_under_another_protocol_equals_a_run_under_it(means_run: Path, tmp_path: Path) -> None:
    ranking_run = train_run(tmp_path, *TINY, "model=means", "evaluation=full_ranking")
    outcome = recsweep(tmp_path, "evaluate", f"run={means_run}", "evaluation=full_ranking")
    assert outcome.status == 0
    assert read_values(outcome.out) == read_metrics(ranking_run)["metrics"]
    assert "test/ndcg@10" in read_metrics(ranking_run)["metrics"]


def test_a_checkpoint_of_other_data_is_refused(run: Path, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "evaluate", f"run={run}", "data.n_users=61")
    best = run / "checkpoints" / BEST
    message = f"recsweep: {best}: trained on other users or items than the data has now; train again\n"
    assert outcome == (2, "", message)


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_a_foreign_checkpoint_is_not_unpickled(means_run: Path, tmp_path: Path) -> None:
    victim = shutil.copytree(means_run, tmp_path / "run")
    best = victim / "checkpoints" / BEST
    best.write_bytes(pickle.dumps(Bomb()))
    outcome = recsweep(tmp_path, "evaluate", f"run={victim}")
    assert outcome.status == 2
    start = f"recsweep: {best}: not a checkpoint of recsweep ("
    assert outcome.err.startswith(start) and outcome.err.count("\n") == 1
    assert not (tmp_path / "exploded").exists()
    best.unlink()
    outcome = recsweep(tmp_path, "evaluate", f"run={victim}")
    assert outcome == (2, "", f"recsweep: {best}: no such checkpoint: the run did not finish, or somebody deleted it\n")
    outcome = recsweep(tmp_path, "train", f"run={victim}", "resume=true")
    again = f"completed, but best.ckpt is gone; `recsweep train run={victim} seed=0` trains it again"
    assert outcome == (2, "", f"recsweep: run={victim}: {again}\n")
