"""`train run=DIR key=value`: an earlier run with changed settings, and the record of the changes."""

import json
from pathlib import Path

import pytest
import yaml
from shell import TINY, read_metrics, recsweep, train_run

pytestmark = pytest.mark.usefixtures("blank_page")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("origin"), *TINY, "model.embedding_dim=8", "seed=3")


def test_a_replay_is_the_run_with_changed_settings(origin: Path, tmp_path: Path) -> None:
    overrides = ["model.embedding_dim=4", "loss=mse", "paths.data_dir=elsewhere", "hydra.run.dir=replay"]
    outcome = recsweep(tmp_path, "train", f"run={origin}", *overrides)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0] == "model.embedding_dim: 8 → 4"
    replay = tmp_path / "replay"
    changes = {"model.embedding_dim": {"was": 8, "is": 4}}
    assert json.loads((replay / "changed.json").read_text()) == {"run": str(origin), "changes": changes}
    record = yaml.safe_load((replay / ".hydra" / "overrides.yaml").read_text())
    assert record == [*TINY, "seed=3", "model.embedding_dim=4", "loss=mse", "paths.data_dir=elsewhere"]
    direct = train_run(tmp_path, *TINY, "model.embedding_dim=4", "seed=3")
    assert read_metrics(replay)["metrics"] == read_metrics(direct)["metrics"]
    assert not (direct / "changed.json").exists()


def test_what_follows_from_a_change_is_shown_too(tmp_path: Path) -> None:
    run = train_run(tmp_path, *TINY, "model=means", "split.seed=${seed}")
    outcome = recsweep(tmp_path, "train", f"run={run}", "seed=3")
    assert outcome.out.splitlines()[:2] == ["seed: 0 → 3", "split.seed: 0 → 3"]


def test_keys_that_only_one_of_the_two_models_has(origin: Path, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", f"run={origin}", "~model.embedding_dim", "model=means", "hydra.run.dir=other")
    assert outcome.status == 2  # the run's own overrides come first, and means has no embedding_dim
    outcome = recsweep(tmp_path, "train", f"run={origin}", "trainer.max_epochs=1", "model=svdpp", "hydra.run.dir=other")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert "trainer.max_epochs: 2 → 1" in lines
    assert "name: biased_mf → svdpp" in lines
    changes = json.loads((tmp_path / "other" / "changed.json").read_text())["changes"]
    only_new = {key for key, values in changes.items() if "was" not in values}
    assert only_new and all(f"{key}: (none) → {changes[key]['is']}" in lines for key in only_new)


def test_a_sweep_of_changes(origin: Path, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "-m", f"run={origin}", "seed=3,4", "hydra.sweep.dir=sweep")
    assert (outcome.status, outcome.err) == (0, "")
    changes = [json.loads((tmp_path / "sweep" / job / "changed.json").read_text())["changes"] for job in "01"]
    assert changes == [{}, {"seed": {"was": 3, "is": 4}}]
    assert read_metrics(tmp_path / "sweep" / "0")["metrics"] == read_metrics(origin)["metrics"]


def test_a_replay_without_changes_is_refused(origin: Path, tmp_path: Path) -> None:
    """Neither repeated nor resumed."""
    outcome = recsweep(tmp_path, "train", f"run={origin}")
    advice = "say what to change, such as seed=1, or add resume=true to go on with it"
    assert outcome == (2, "", f"recsweep: run={origin}: {advice}\n")


def test_a_replay_is_checked_like_any_run(origin: Path, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", f"run={origin}", "model.embedding_dim=0")
    assert outcome.status == 2 and "model.embedding_dim" in outcome.err and outcome.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
