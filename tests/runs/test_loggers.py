"""Loggers: several at once, their names and tags, and what is said where a package is missing. No network."""

import csv
import importlib.util
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from shell import SYNTHETIC, recsweep, train_run

from recsweep.commands.compose import compose_record
from recsweep.commands.flags import parse_flags
from recsweep.errors import UserError
from recsweep.runs.loggers import check_loggers, name_run, open_loggers

SHORT = (*SYNTHETIC, "trainer.max_epochs=2")


def config(**loggers: object) -> DictConfig:
    """What the loggers look at."""
    return OmegaConf.create({"logger": loggers, "trainer": {"processes": 2}})


def test_several_loggers_at_once(tmp_path: Path) -> None:
    run = train_run(tmp_path, *SHORT, "logger=[tensorboard,csv]", "tags=[first,try]")
    assert list((run / "tb").glob("events*"))
    with (run / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "2"]  # two epochs and what the run ended with
    assert rows[0]["val/mse"] and rows[1]["train/loss"] and rows[2]["test/mse"] and rows[2]["best/val/mse"]
    assert '"tags": [\n    "first",\n    "try"\n  ]' in (run / "metrics.json").read_text()


def test_a_list_of_loggers_is_changed_like_one() -> None:
    record = compose_record(["logger=[tensorboard,csv]"], parse_flags([]))
    assert record.config["logger"] == {"tensorboard": True, "csv": True}
    assert "logger" not in record.choices


def test_a_run_is_named_by_its_overrides() -> None:
    words = ["loss=bpr", "logger=wandb", "logger.wandb.offline=true", "tags=[a]", "+optimizer.amsgrad=true", "seed=1"]
    assert name_run(words, Path("outputs/run")) == "loss=bpr +optimizer.amsgrad=true seed=1"
    assert name_run(["logger=csv", "debug=fast"], Path("outputs/run")) == "run"
    assert len(name_run(["name=" + "x", "model=" + "x" * 500], Path("run"))) == 128


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    outcome = recsweep(tmp_path, "train", f"logger={name}")
    assert outcome == (2, "", f"recsweep: logger={name} is not installed: pip install 'recsweep[{name}]'\n")
    assert list(tmp_path.iterdir()) == []


def test_wandb_is_refused_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    with pytest.raises(UserError, match=r"trainer\.processes=2: a run of wandb belongs to the process"):
        check_loggers(config(wandb={"project": "p"}))
    check_loggers(config(mlflow={"experiment": "e"}))


def test_a_run_that_only_tries_has_no_loggers(tmp_path: Path) -> None:
    cfg = OmegaConf.merge(config(csv=True), {"trainer": {"fast_dev_run": 2}})
    with open_loggers(cfg, tmp_path, "name", tmp_path / "tb") as loggers:
        assert loggers == []


def test_mlflow_in_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install 'recsweep[mlflow]'")
    train_run(tmp_path, *SHORT, "logger=mlflow", "tags=[first try]", "seed=1", "paths.mlflow=runs")
    (meta,) = (tmp_path / "runs").glob("*/*/meta.yaml")
    assert (meta.parent / "tags" / "mlflow.runName").read_text() == f"{' '.join(SHORT)} seed=1"
    assert "status: 3" in meta.read_text()  # finished
    assert (meta.parent / "tags" / "first try").read_text() == "true"
    assert len((meta.parent / "metrics" / "val" / "mse").read_text().splitlines()) == 2
    assert (meta.parent / "metrics" / "test" / "mse").is_file()
    assert (meta.parent / "params" / "model.embedding_dim").read_text() == "32"


def test_wandb_without_a_network(tmp_path: Path) -> None:
    """Each job of a sweep is a run of its own."""
    pytest.importorskip("wandb", reason="pip install 'recsweep[wandb]'")
    words = (*SHORT, "logger=wandb", "logger.wandb.offline=true", "tags=[first]", "seed=0,1", "hydra.sweep.dir=sweep")
    assert recsweep(tmp_path, "train", "-m", *words).status == 0
    for job in ("0", "1"):
        (record,) = (tmp_path / "sweep" / job).glob("wandb/offline-run-*/*.wandb")
        content = record.read_bytes()
        assert f"trainer.max_epochs=2 seed={job}".encode() in content and b"first" in content
        assert b"test/mse" in content
