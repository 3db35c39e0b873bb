"""A run's record: written once, whole, and the same on another day."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from shell import TINY, modification_times, recsweep, train_run

from recsweep.errors import UserError
from recsweep.runs.record import Record, freeze, read_record, read_start, write_record, write_start

RECORD = Record(
    config={"seed": 3, "model": {"seed": "${seed}", "lr": 1e-05}, "note": "on"},
    choices={"model": "means", "experiment": None},
    overrides=["model=means", "split.seed=${seed}"],
    cwd="/home/me",
    config_dir="conf",
    objectives=["val/mse"],
)
START = {"command": "recsweep train", "data": {"fingerprint": "a", "split_fingerprint": "b"}}


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD


def test_a_record_is_written_once(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    before = modification_times(tmp_path)
    write_record(tmp_path, RECORD.model_copy(update={"overrides": []}))
    assert modification_times(tmp_path) == before and read_record(tmp_path) == RECORD


def test_half_a_record_is_written_again(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    (tmp_path / ".hydra" / "config.yaml").write_text("seed: [")
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD


def test_values_of_the_environment_are_frozen_and_references_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """`paths` belongs to the machine, and stays as it is."""
    monkeypatch.setenv("MYDATA", "/data")
    monkeypatch.setenv("MYKEY", "seed")
    cfg = OmegaConf.create(
        {
            "seed": 3,
            "paths": {"data_dir": "${oc.env:MYDATA,data}"},
            "model": {"seed": "${seed}", "folder": "${paths.data_dir}/ml"},
            "data": {"path": "${oc.env:MYDATA}/x.csv", "files": ["${ oc.env : MYDATA }/y.csv"]},
            "loss": {"seed": "${${oc.env:MYKEY}}"},
        }
    )
    assert freeze(cfg) == {
        "seed": 3,
        "paths": {"data_dir": "${oc.env:MYDATA,data}"},
        "model": {"seed": "${seed}", "folder": "${paths.data_dir}/ml"},
        "data": {"path": "/data/x.csv", "files": ["/data/y.csv"]},
        "loss": {"seed": 3},
    }


def test_the_start_is_written_once_and_other_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    assert read_start(tmp_path) is None
    write_start(tmp_path, START)
    write_start(tmp_path, {**START, "command": "recsweep train resume=true"})
    assert read_start(tmp_path) == START
    for key, what in (("fingerprint", "rows"), ("split_fingerprint", "split")):
        with pytest.raises(
            UserError,
            match=f"the run began on other {what} than the data has now; put the old ones back, or start a new run",
        ):
            write_start(tmp_path, {**START, "data": {**START["data"], key: "c"}})


def test_a_run_says_what_it_was_asked_for(tmp_path: Path) -> None:
    """Interpolations as typed in the overrides, and a value that the environment gave."""
    run = train_run(tmp_path, *TINY, "model=means", "split.seed=${seed}", "seed=2")
    record = read_record(run)
    assert record.overrides[-2:] == ["split.seed=${seed}", "seed=2"] and record.cwd == str(tmp_path)
    assert record.config["split"]["seed"] == "${seed}" and record.choices["model"] == "means"
    start = read_start(run)
    assert start is not None and start["command"].startswith("recsweep train ") and "torch" in start["versions"]
    for verb in (["evaluate"], ["recommend", "user=3", "k=1"], ["train", "seed=3"]):
        assert recsweep(tmp_path, verb[0], f"run={run}", *verb[1:]).status == 0


def test_the_folder_of_the_job_is_not_its_working_directory(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item,rating\n" + "".join(f"{n % 9},{n},{n % 5 + 1}\n" for n in range(60)))
    table = ["data=table", "data.path=t.csv", "model=means", "logger=none", "hydra.job.chdir=true"]
    assert recsweep(tmp_path, "train", *table, "hydra.run.dir=run").status == 0
    assert recsweep(tmp_path, "train", "-m", *table, "seed=0,1", "hydra.sweep.dir=sweep").status == 0


def test_a_run_of_hydras_own_format_is_read(tmp_path: Path) -> None:
    """As earlier versions left it."""
    hydra = {"runtime": {"cwd": "/", "choices": {"model": "means"}, "version": "1.3.8"}, "job": {"name": "x"}}
    contents = {"config": {"seed": 1}, "overrides": ["seed=1"], "hydra": {"hydra": hydra}}
    (tmp_path / ".hydra").mkdir()
    for name, content in contents.items():
        (tmp_path / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    assert read_record(tmp_path).choices == {"model": "means"}
