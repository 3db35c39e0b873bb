"""`recsweep evaluate`: the numbers of the run again, or those of another protocol."""

import csv
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
from shell import TINY, modification_times, read_metrics, recsweep, train_run

from recsweep.atomic import write_json
from recsweep.runs.folder import BEST

pytestmark = pytest.mark.xdist_group("commands")


def evaluate(folder: Path, *arguments: str) -> dict[str, float]:
    """The metrics that `recsweep evaluate ARGUMENTS --json` prints."""
    outcome = recsweep(folder, "evaluate", *arguments, "--json")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs of three sizes, of which the second one counts as failed."""
    folder = tmp_path_factory.mktemp("sweep")
    overrides = [*TINY, "model=biased_mf", "model.embedding_dim=2,4,8", "hydra.sweep.dir=sweep"]
    assert recsweep(folder, "train", "-m", *overrides).status == 0
    write_json(folder / "sweep" / "1" / "metrics.json", {"status": "failed", "error": "it went wrong"})
    return folder / "sweep"


def test_evaluate_prints_what_the_run_measured_and_writes_nothing(run: Path, tmp_path: Path) -> None:
    before = modification_times(run)
    metrics = read_metrics(run)["metrics"]
    assert evaluate(tmp_path, f"run={run}") == metrics
    outcome = recsweep(tmp_path, "evaluate", f"run={run}")
    head, *rows = (line.split() for line in outcome.out.splitlines())
    assert head == ["val", "test"]
    names = ("mse", "rmse", "mae", "calibration/bias", "calibration/slope")
    assert rows == [[name, *(f"{metrics[f'{part}/{name}']:.4f}" for part in head)] for name in names]
    assert outcome.out.splitlines()[0].endswith("  test")  # numbers stand under each other, to the right
    assert len({len(line) for line in outcome.out.splitlines()}) == 1
    assert modification_times(run) == before
    assert list(tmp_path.iterdir()) == []


def test_evaluate_after_a_refit(tmp_path: Path) -> None:
    refit = train_run(tmp_path, *TINY, "trainer.refit=true")
    assert evaluate(tmp_path, f"run={refit}") == read_metrics(refit)["metrics"]


def test_evaluate_under_another_protocol_equals_a_run_under_it(means_run: Path, tmp_path: Path) -> None:
    ranking_run = train_run(tmp_path, *TINY, "model=means", "evaluation=full_ranking")
    assert evaluate(tmp_path, f"run={means_run}", "evaluation=full_ranking") == read_metrics(ranking_run)["metrics"]
    assert "test/ndcg@10" in read_metrics(ranking_run)["metrics"]


def test_a_sweep_is_a_table_with_a_row_a_completed_job(sweep: Path, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "evaluate", f"sweep={sweep}")
    assert outcome.err == "1 of 3 jobs are not completed: left out\n"
    head, *rows = (line.split() for line in outcome.out.splitlines())
    assert head == ["job", "val/mse", "test/mse", "configuration"]
    for (job, on_val, on_test, name), number, size in zip(rows, (0, 2), (2, 8), strict=True):
        metrics = read_metrics(sweep / str(number))["metrics"]
        assert (job, name) == (str(number), f"embedding_dim={size}")
        assert (on_val, on_test) == (f"{metrics['val/mse']:.4f}", f"{metrics['test/mse']:.4f}")


def test_a_sweep_under_another_protocol_as_json_and_csv(sweep: Path, tmp_path: Path) -> None:
    words = (f"sweep={sweep}", "evaluation=full_ranking")
    metrics = evaluate(tmp_path, *words)
    assert list(metrics) == [str(sweep / "0"), str(sweep / "2")]
    alone = evaluate(tmp_path, f"run={sweep / '2'}", "evaluation=full_ranking")
    assert metrics[str(sweep / "2")] == alone and "test/ndcg@10" in alone
    table = list(csv.DictReader(recsweep(tmp_path, "evaluate", *words, "--csv").out.splitlines()))
    assert [row.pop("run") for row in table] == list(metrics)
    assert {name: float(value) for name, value in table[1].items()} == alone


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=run", "sweep=sweep"], "run= and sweep=: choose one of them"),
        (["run=run", "--json", "--csv"], "--json and --csv: choose one of them"),
        (["sweep=nowhere"], "sweep=nowhere: no completed job of a sweep there"),
        (["sweep="], "sweep=: no completed job of a sweep there"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    assert recsweep(tmp_path, "evaluate", *words) == (2, "", f"recsweep: {message}\n")


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


@pytest.mark.parametrize("verb", ["evaluate", "train"])
def test_the_folder_of_a_sweep_is_no_run(verb: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write_json(tmp_path / "mine" / "sweep.json", {})
    outcome = recsweep(tmp_path, verb, "run=mine")
    assert outcome == (2, "", "recsweep: run=mine: a sweep, not a run; name one of its jobs, as in run=mine/0\n")
