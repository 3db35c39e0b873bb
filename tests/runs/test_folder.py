"""What a run's folder holds; its checkpoints are loaded only for the rows and the model that they belong to."""

import shutil
from pathlib import Path

import pytest
import torch
from shell import SYNTHETIC, TINY, read_metrics, recsweep, train_run

from recsweep.runs.folder import BEST, REFIT

pytestmark = pytest.mark.xdist_group("folder")

OTHER_ROWS = "trained on other rows than data and split give now; leave both as the run had them"
OTHER_MODEL = "the weights of another model; leave model and loss as the run had them"


@pytest.fixture(scope="module")
def refit_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with both checkpoints: the selected epoch on train, and the refit on train + validation."""
    return train_run(tmp_path_factory.mktemp("run"), *TINY, "trainer.refit=true")


@pytest.fixture(scope="module")
def means_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("means"), *TINY, "model=means")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("split.seed=5", OTHER_ROWS),  # else the model would be judged on rows that it was trained on
        ("data.seed=5", OTHER_ROWS),
        ("model.embedding_dim=16", OTHER_MODEL),
        ("model=means", OTHER_MODEL),
    ],
)
@pytest.mark.parametrize(
    ("verb", "options", "checkpoint"), [("evaluate", [], BEST), ("recommend", ["user=3"], REFIT)], ids=[BEST, REFIT]
)
def test_a_checkpoint_is_loaded_only_where_it_belongs(
    verb: str, options: list[str], checkpoint: str, override: str, reason: str, refit_run: Path
) -> None:
    outcome = recsweep(refit_run.parent, verb, f"run={refit_run}", *options, override)
    assert outcome == (2, "", f"recsweep: {refit_run}/checkpoints/{checkpoint}: {reason}\n")


def test_a_run_is_not_resumed_on_other_rows(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = [f"{user},{item},{1 + (user + item) % 5}\n" for user in range(20) for item in range(10)]
    table.write_text("user,item,rating\n" + "".join(rows[1:]))
    run = train_run(tmp_path, "data=table", f"data.path={table}", "trainer.max_epochs=2", "logger=none")
    (run / "metrics.json").unlink()
    table.write_text("user,item,rating\n" + "".join(rows[:-1]))
    outcome = recsweep(tmp_path, "train", f"run={run}", "resume=true")
    assert outcome == (2, "", f"recsweep: {run}/checkpoints/last.ckpt: {OTHER_ROWS}\n")


def test_a_folder_that_cannot_be_created_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    outcome = recsweep(tmp_path, "train", *TINY, "hydra.run.dir=taken/run")
    assert outcome.status == 2
    assert outcome.err.startswith("recsweep: ") and outcome.err.count("\n") == 1 and "taken/run" in outcome.err


def test_the_checkpoint_of_another_program_is_refused(means_run: Path, tmp_path: Path) -> None:
    victim = shutil.copytree(means_run, tmp_path / "run")
    best = victim / "checkpoints" / BEST
    for content in ({"state_dict": {}}, [1]):
        torch.save(content, best)
        outcome = recsweep(tmp_path, "evaluate", f"run={victim}")
        assert outcome.status == 2
        start = f"recsweep: {best}: not a checkpoint of recsweep ("
        assert outcome.err.startswith(start) and outcome.err.count("\n") == 1


def test_the_oracle_is_better(means_run: Path, tmp_path: Path) -> None:
    """It predicts ratings by their expectation, and ranks like the policy that exposed users to items."""
    rating = read_metrics(means_run)
    assert rating["oracle"]["test/mse"] < rating["metrics"]["test/mse"]
    larger = ["data.n_users=400", "data.n_items=300", "data.n_interactions=12000", "split=leave_last_out"]
    ranking = read_metrics(train_run(tmp_path, *larger, "model=popularity", "logger=none"))
    assert ranking["oracle"]["test/ndcg@10"] > 1.2 * ranking["metrics"]["test/ndcg@10"]


def test_real_data_has_no_oracle(blocks: Path, tmp_path: Path) -> None:
    run = train_run(tmp_path, "model=means", "data=table", f"data.path={blocks}", "logger=none")
    assert read_metrics(run)["oracle"] == {}


def test_the_parameters_of_baselines_are_counted(means_run: Path, tmp_path: Path) -> None:
    """The means have the global mean and a bias for each user and item, iALS a vector each."""
    assert read_metrics(means_run)["n_parameters"] == 1 + 60 + 100
    ials_run = train_run(tmp_path, *TINY, "model=ials", "model.embedding_dim=4")
    assert read_metrics(ials_run)["n_parameters"] == (60 + 100) * 4


@pytest.mark.parametrize("key", ["seed", "split.seed", "data.seed"])
def test_seeds_have_an_upper_limit(key: str, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *SYNTHETIC, f"{key}={2**32}")
    assert outcome == (2, "", f"recsweep: {key}={2**32}: it should be less than {2**32}\n")


def test_a_group_without_its_target_is_refused(tmp_path: Path) -> None:
    assert recsweep(tmp_path, "train", "~model._target_") == (2, "", "recsweep: model._target_ is missing\n")
