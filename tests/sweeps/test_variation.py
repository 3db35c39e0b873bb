"""What varies in a sweep, and how TensorBoard calls its jobs."""

import json
from pathlib import Path
from typing import Any

import pytest

from recsweep.commands.replay import choose_columns
from recsweep.sweeps.variation import MAX_BYTES, name_job, read_varied_keys

JOBS = [["data=ml_1m", f"loss={loss}", f"+optimizer.lr={lr}"] for loss in ("bpr", "bce") for lr in (0.1, 0.2)]


def write_request(folder: Path, **content: Any) -> Path:
    """The folder of job 3 of a sweep with this content in its sweep.json."""
    (folder / "3").mkdir()
    (folder / "sweep.json").write_text(json.dumps(content))
    return folder / "3"


def test_a_grid_varies_what_not_all_jobs_have(tmp_path: Path) -> None:
    job = write_request(tmp_path, search=None, jobs=[*JOBS, ["data=ml_1m", "loss=bpr", "+optimizer.lr=0.1", "seed=1"]])
    assert read_varied_keys(job) == ["loss", "optimizer.lr", "seed"]


def test_a_search_varies_what_it_searches(tmp_path: Path) -> None:
    search = ["data=ml_1m", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "model.embedding_dim=8,16", "seed=3"]
    job = write_request(tmp_path, search=search, jobs=[["data=ml_1m", "seed=3"]])
    assert read_varied_keys(job) == ["optimizer.lr", "model.embedding_dim"]


@pytest.mark.parametrize("content", [{"search": None, "jobs": "all"}, {"search": ["a=interval("], "jobs": []}])
def test_a_broken_request_varies_nothing(content: dict[str, Any], tmp_path: Path) -> None:
    assert read_varied_keys(write_request(tmp_path, **content)) == []


def test_a_run_outside_of_a_sweep_varies_nothing(tmp_path: Path) -> None:
    assert read_varied_keys(tmp_path) == []
    write_request(tmp_path, search=None, jobs=JOBS)
    assert read_varied_keys(tmp_path / "report") == []


def test_names_have_what_varies_in_short() -> None:
    keys = ["loss", "regularization.dropout", "optimizer.lr", "scheduler.lr", "seed"]
    overrides = ["+optimizer.lr=0.00123456", "seed=1", "loss=bpr", "regularization.dropout=0.2", "data=ml_1m"]
    assert name_job(overrides, keys) == "loss=bpr dropout=0.2 optimizer.lr=0.001235 seed=1"
    assert name_job(overrides, []) == "" and name_job(["loss=bpr"], ["seed"]) == ""


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("../../home/me", "path=.._.._home_me"),
        ("$HOME", "path=_HOME"),
        ("a\n\x1b[1mb", "path=a_[1mb"),
        ("'é: ü'", "path=é_ ü"),
        ("[64,32]", "path=[64,32]"),
        ("1e-4", "path=0.0001"),
        ("...", "path="),
    ],
)
def test_names_are_one_part_of_a_path(value: str, name: str) -> None:
    assert name_job([f"data.path={value}"], ["data.path"]) == name


def test_long_names_are_cut_between_characters() -> None:
    name = name_job(["name=" + "é" * 200], ["name"])
    assert name == "name=" + "é" * ((MAX_BYTES - len("name=")) // 2)


def test_columns_of_a_sweep_are_what_varies() -> None:
    """`trainer=gpu` is a group of which only the values are settings."""
    settings = {"model": "bpr_mf", "loss": "bpr", "seed": 0, "data": "ml_1m", "optimizer.lr": 0.1, "optimizer": "adam"}
    settings |= {"trainer.precision": "bf16", "trainer.batch_size": 64, "callbacks.compare_with": "[]"}
    assert choose_columns(settings, ["data=ml_1m"], ["optimizer.lr"], []) == {"optimizer.lr": 0.1}
    assert choose_columns(settings, ["data=ml_1m"], ["model"], []) == {"model": "bpr_mf", "loss": "bpr"}
    assert choose_columns(settings, [], ["model", "optimizer.lr"], ["loss", "optimizer"]) == {"model": "bpr_mf"}
    of_trainer = {"trainer.precision": "bf16", "trainer.batch_size": 64}
    assert choose_columns(settings, [], ["trainer"], []) == of_trainer


def test_columns_of_a_run_are_what_was_typed_and_the_usual_ones() -> None:
    settings = {"model": "bpr_mf", "model.embedding_dim": 8, "seed": 0, "callbacks.compare_with": "[]"}
    usual = {"model": "bpr_mf", "model.embedding_dim": 8, "seed": 0}
    assert choose_columns(settings, ["seed=0"], [], []) == usual
    assert choose_columns(settings, ["callbacks.compare_with=[]"], [], []) == settings
