"""A checkpoint goes with the rows it was trained on and the model it belongs to, or is refused."""

from pathlib import Path

import pytest
import torch
from shell import SYNTHETIC, TINY, read_metrics, recsweep, train_run

from recsweep.runs.folder import BEST

OTHER_ROWS = "trained on other rows than data and split give now; leave both as the run had them"
OTHER_MODEL = "the weights of another model; leave model and loss as the run had them"


@pytest.fixture(scope="module", params=["false", "true"], ids=["selected", "refitted"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("run"), *TINY, f"trainer.refit={request.param}")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("split.seed=5", OTHER_ROWS),  # else it would be judged on rows that it was trained on
        ("data.seed=5", OTHER_ROWS),
        ("model.embedding_dim=16", OTHER_MODEL),
        ("model=means", OTHER_MODEL),
    ],
)
@pytest.mark.parametrize("verb", ["evaluate", "recommend"])
def test_a_checkpoint_is_used_only_where_it_belongs(verb: str, words: str, reason: str, run: Path) -> None:
    user = ["user=3"] if verb == "recommend" else []
    found = recsweep(run.parent, verb, f"run={run}", *user, words)
    assert found.status == 2
    assert found.err.startswith(f"recsweep: {run}/checkpoints/") and found.err.endswith(f".ckpt: {reason}\n")
    assert found.err.count("\n") == 1


def test_a_run_is_not_resumed_on_other_rows(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    pairs = [f"{user},{item},{1 + (user + item) % 5}\n" for user in range(20) for item in range(10)]
    table.write_text("user,item,rating\n" + "".join(pairs[1:]))
    first = train_run(tmp_path, "data=table", f"data.path={table}", "logger=none")
    (first / "metrics.json").unlink()
    table.write_text("user,item,rating\n" + "".join(pairs[:-1]))
    found = recsweep(tmp_path, "train", f"run={first}", "resume=true")
    assert found == (2, "", f"recsweep: {first}/checkpoints/last.ckpt: {OTHER_ROWS}\n")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    found = recsweep(tmp_path, "train", *TINY, "hydra.run.dir=taken/run")
    assert found.status == 2
    assert found.err.startswith("recsweep: ") and found.err.count("\n") == 1 and "taken/run" in found.err


def test_another_programs_checkpoint_is_refused(tmp_path: Path) -> None:
    victim = train_run(tmp_path, *TINY, "model=means")
    best = victim / "checkpoints" / BEST
    for content in ({"state_dict": {}}, [1]):
        torch.save(content, best)
        found = recsweep(tmp_path, "evaluate", f"run={victim}")
        assert found.status == 2
        assert found.err.startswith(f"recsweep: {best}: not a checkpoint of recsweep (") and found.err.count("\n") == 1


def test_the_oracle_is_better(tmp_path: Path) -> None:
    """Ratings are judged by their expectation, rankings by the policy that exposed users to items."""
    rated = read_metrics(train_run(tmp_path, *TINY, "model=means"))
    assert rated["oracle"]["test/mse"] < rated["metrics"]["test/mse"]
    larger = ["data.n_users=400", "data.n_items=300", "data.n_interactions=12000", "split=leave_last_out"]
    ranked = read_metrics(train_run(tmp_path, *larger, "model=popularity", "logger=none"))
    assert ranked["oracle"]["test/ndcg@10"] > 1.2 * ranked["metrics"]["test/ndcg@10"]


def test_real_data_has_no_oracle(blocks: Path, tmp_path: Path) -> None:
    run = train_run(tmp_path, "model=means", "data=table", f"data.path={blocks}", "logger=none")
    assert read_metrics(run)["oracle"] == {}


def test_what_a_baseline_has_learned_is_counted(tmp_path: Path) -> None:
    """The mean and a bias a user and item; a vector each."""
    assert read_metrics(train_run(tmp_path, *TINY, "model=means"))["n_parameters"] == 1 + 60 + 100
    assert (
        read_metrics(train_run(tmp_path, *TINY, "model=ials", "model.embedding_dim=4"))["n_parameters"]
        == (60 + 100) * 4
    )


@pytest.mark.parametrize("key", ["seed", "split.seed", "data.seed"])
def test_seeds_have_an_upper_end(key: str, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", *SYNTHETIC, f"{key}={2**32}")
    assert found == (2, "", f"recsweep: {key}={2**32}: it should be less than {2**32}\n")


def test_a_group_without_its_target_is_refused(tmp_path: Path) -> None:
    assert recsweep(tmp_path, "train", "~model._target_") == (2, "", "recsweep: model._target_ is missing\n")


def test_a_user_who_is_named_twice_is_shown_once(run: Path) -> None:
    once, twice = (recsweep(run.parent, "recommend", f"run={run}", f"user={user}", "k=3") for user in ("3", "3,3"))
    assert once.status == 0
    assert once == twice
