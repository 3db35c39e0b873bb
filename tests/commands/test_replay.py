"""`train run=DIR key=value`: an earlier run with something changed, and what that was."""

import json
from pathlib import Path

import pytest
import yaml
from shell import TINY, read_metrics, recsweep, train_run


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("origin"), *TINY, "model.embedding_dim=8", "seed=3")


def test_a_replay_is_the_run_with_what_is_given_changed(origin: Path, tmp_path: Path) -> None:
    words = ["model.embedding_dim=4", "loss=mse", "paths.data_dir=elsewhere", "hydra.run.dir=again"]
    found = recsweep(tmp_path, "train", f"run={origin}", *words)
    assert (found.status, found.err) == (0, "")
    assert found.out.splitlines()[0] == "model.embedding_dim: 8 → 4"
    again = tmp_path / "again"
    changed = {"model.embedding_dim": {"was": 8, "is": 4}}
    assert json.loads((again / "changed.json").read_text()) == {"run": str(origin), "changes": changed}
    asked = yaml.safe_load((again / ".hydra" / "overrides.yaml").read_text())
    assert asked == [*TINY, "seed=3", "model.embedding_dim=4", "loss=mse", "paths.data_dir=elsewhere"]
    direct = train_run(tmp_path, *TINY, "model.embedding_dim=4", "seed=3")
    assert read_metrics(again)["metrics"] == read_metrics(direct)["metrics"]
    assert not (direct / "changed.json").exists()


def test_what_another_model_has_and_has_not(origin: Path, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", f"run={origin}", "~model.embedding_dim", "model=means", "hydra.run.dir=again")
    assert found.status == 2  # the run's own words come first: its embedding_dim is none of the means'
    found = recsweep(tmp_path, "train", f"run={origin}", "trainer.max_epochs=1", "model=svdpp", "hydra.run.dir=again")
    assert found.status == 0, found.err
    lines = found.out.splitlines()
    assert "trainer.max_epochs: 2 → 1" in lines
    assert "name: biased_mf → svdpp" in lines
    changes = json.loads((tmp_path / "again" / "changed.json").read_text())["changes"]
    only_new = {key for key, values in changes.items() if "was" not in values}
    assert only_new and all(f"{key}: (none) → {changes[key]['is']}" in lines for key in only_new)


def test_a_sweep_of_changes(origin: Path, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "-m", f"run={origin}", "seed=3,4", "hydra.sweep.dir=sweep")
    assert (found.status, found.err) == (0, "")
    changes = [json.loads((tmp_path / "sweep" / job / "changed.json").read_text())["changes"] for job in "01"]
    assert changes == [{}, {"seed": {"was": 3, "is": 4}}]
    assert read_metrics(tmp_path / "sweep" / "0")["metrics"] == read_metrics(origin)["metrics"]


def test_a_replay_of_nothing_is_asked_about(origin: Path, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", f"run={origin}")
    advice = "say what to change, such as seed=1, or add resume=true to go on with it"
    assert found == (2, "", f"recsweep: run={origin}: {advice}\n")


def test_a_replay_is_checked_like_any_run(origin: Path, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", f"run={origin}", "model.embedding_dim=0")
    assert found.status == 2 and "model.embedding_dim" in found.err and found.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
