"""What a run's folder holds; its checkpoints are loaded only for the rows and the model that they belong to."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from shell import SYNTHETIC, TINY, read_metrics, recsweep, tiny_config, train_run

from recsweep.runs import build
from recsweep.runs.folder import BEST, REFIT, oracle_metrics

pytestmark = pytest.mark.xdist_group("folder")

OTHER_ROWS = "trained on other rows than data and split give now; leave both as the run had them"
BEGAN_ON_OTHER_ROWS = "the run began on other rows than the data has now; put the old ones back, or start a new run"
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
    assert outcome == (2, "", f"recsweep: {run}: {BEGAN_ON_OTHER_ROWS}\n")


OTHER_VALUES = (
    "trained and judged on other ratings, timestamps, features or held-out rows than data and split give now; "
    "leave both as the run had them"
)


def write_ratings(path: Path, scale: int = 1, last: str = "3,999") -> None:
    """40 users and 25 items, in time; `last` is the rating and timestamp of the last row, which is in test."""
    rows = [f"{row // 25},{row % 25},{scale * (1 + row % 5)},{row}" for row in range(999)]
    path.write_text("\n".join(["user,item,rating,timestamp", *rows, f"39,24,{last}", ""]))


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the table `t.csv` beside it, split by time."""
    folder = tmp_path_factory.mktemp("table")
    write_ratings(folder / "t.csv")
    table = ["data=table", f"data.path={folder}/t.csv", "data.timestamp=timestamp", "split=rows"]
    return train_run(folder, *table, "trainer.max_epochs=1", "logger=none")


@pytest.mark.parametrize(("scale", "last"), [(2, "3,999"), (1, "4,999"), (1, "3,998")], ids=["all", "rating", "time"])
@pytest.mark.parametrize(("verb", "options"), [("evaluate", []), ("recommend", ["user=3"]), ("train", ["resume=true"])])
def test_a_model_is_not_used_with_other_ratings_or_times(
    verb: str, options: list[str], scale: int, last: str, table_run: Path, tmp_path: Path
) -> None:
    """The pairs are the same; in two of the cases so are all rows that the model was trained on."""
    run = shutil.copytree(table_run, tmp_path / "run")
    if verb == "train":
        (run / "metrics.json").unlink()
    write_ratings(tmp_path / "other.csv", scale, last)
    replace_path(run, f"{tmp_path}/other.csv")
    outcome = recsweep(tmp_path, verb, f"run={run}", *options)
    message = BEGAN_ON_OTHER_ROWS if verb == "train" else OTHER_VALUES
    place = run if verb == "train" else run / "checkpoints" / BEST
    assert outcome == (2, "", f"recsweep: {place}: {message}\n")


def replace_path(run: Path, path: str) -> None:
    """Lets a run read another file."""
    for name in ("overrides", "config"):
        file = run / ".hydra" / f"{name}.yaml"
        file.write_text(re.sub(r"path([=:] ?).*t\.csv", rf"path\1{path}", file.read_text()))


@pytest.mark.parametrize(
    "overrides",
    [
        ["evaluation=full_ranking", "evaluation.ks=[10]"],
        ["evaluation=sampled_99", "evaluation.n_negatives=40"],
        ["trainer.threads=2"],
    ],
)
def test_a_model_is_judged_by_another_protocol_on_the_same_rows(overrides: list[str], refit_run: Path) -> None:
    outcome = recsweep(refit_run.parent, "evaluate", f"run={refit_run}", *overrides)
    assert outcome.status == 0, outcome.err


def test_a_checkpoint_without_a_fingerprint_is_loaded(table_run: Path, tmp_path: Path) -> None:
    """As those of earlier versions."""
    run = shutil.copytree(table_run, tmp_path / "run")
    checkpoint = torch.load(run / "checkpoints" / BEST, weights_only=True)
    del checkpoint["recsweep"]["trained_on"]["fingerprint"]
    torch.save(checkpoint, run / "checkpoints" / BEST)
    assert recsweep(tmp_path, "evaluate", f"run={run}").status == 0


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


def test_the_oracle_knows_that_no_user_has_an_item_twice() -> None:
    """So it ranks no seen item, whether or not the evaluation masks them; popularity would be worse for it."""
    ranking = [tiny_config("model=popularity", f"evaluation.mask_seen={choice}") for choice in ("true", "false")]
    data = build.data(ranking[0])
    masked, unmasked = (oracle_metrics(cfg, data) for cfg in ranking)
    assert masked == unmasked and "test/ndcg@10" in masked


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
