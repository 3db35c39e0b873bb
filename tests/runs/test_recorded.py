"""What `run=DIR` means after the files of the experiment were edited, moved or deleted."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from shell import SYNTHETIC, read_metrics, recsweep

from recsweep.commands.compose import compose_record, parse_flags
from recsweep.errors import UserError
from recsweep.runs.record import Record, read_record
from recsweep.runs.recorded import Recorded

pytestmark = pytest.mark.usefixtures("blank_page")

EXPERIMENT = """# @package _global_
defaults:
  - override /model: biased_mf
name: mine
model:
  embedding_dim: 12
optimizer:
  lr: {lr}
trainer:
  max_epochs: {epochs}
  batch_size: 64
"""


def write_experiment(folder: Path, lr: float, epochs: int) -> None:
    path = folder / "conf" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(EXPERIMENT.format(lr=lr, epochs=epochs))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment of its own, a run and a sweep of it; the file was edited since."""
    folder = tmp_path_factory.mktemp("origin")
    write_experiment(folder, 0.01, 4)
    arguments = ["--config-dir=conf", "experiment=mine", *SYNTHETIC, "logger=none"]
    assert recsweep(folder, "train", *arguments, "seed=2", "hydra.run.dir=run").status == 0
    assert recsweep(folder, "train", "-m", *arguments, "seed=0,1", "hydra.sweep.dir=sweep").status == 0
    write_experiment(folder, 0.1, 3)
    return folder


def recorded(folder: Path) -> Recorded:
    return Recorded(f"run={folder}", read_record(folder))


def values(config: dict[str, Any]) -> tuple[str, int, float, int]:
    return config["name"], config["model"]["embedding_dim"], config["optimizer"]["lr"], config["trainer"]["max_epochs"]


def test_a_run_without_changes_is_as_recorded(origin: Path) -> None:
    assert values(recorded(origin / "run").build()) == ("mine", 12, 0.01, 4)


def test_one_line_says_what_the_files_say_today(origin: Path) -> None:
    outcome = recsweep(origin, "evaluate", "run=run")
    line = "run=run: files say optimizer.lr=0.1, not 0.01; trainer.max_epochs=3, not 4: what was recorded counts\n"
    assert (outcome.status, sorted(outcome.err)) == (0, sorted(line))
    assert outcome.err.startswith("run=run: files say ") and outcome.err.count("\n") == 1


def test_a_change_changes_what_it_touches_only(origin: Path) -> None:
    """The new model brings its own name and settings; width, learning rate and epochs stay as recorded."""
    changed = recorded(origin / "run").change(["model=svdpp", "seed=5"])
    config = changed.record.config
    assert values(config) == ("mine", 12, 0.01, 4) and config["seed"] == 5
    assert config["model"]["_target_"].endswith("SVDpp") and changed.record.choices["model"] == "svdpp"
    assert changed.record.overrides[-2:] == ["model=svdpp", "seed=5"]
    assert changed.build().model.init_std == config["model"]["init_std"]


def test_a_value_that_the_file_has_today_can_be_chosen(origin: Path) -> None:
    """And what refers to it follows: the cosine schedule ends with the epochs."""
    changed = recorded(origin / "run").change(["trainer.max_epochs=3", "scheduler=cosine"])
    assert values(changed.record.config) == ("mine", 12, 0.01, 3)
    assert changed.build().scheduler.T_max == 3


def test_without_its_files_a_run_is_as_recorded_too(origin: Path, tmp_path: Path) -> None:
    """Its model brings its own loss and evaluation when it is swapped; what the experiment had set stays."""
    run = Path(shutil.copytree(origin / "run", tmp_path / "run"))
    (run / ".hydra" / "hydra.yaml").write_text((run / ".hydra" / "hydra.yaml").read_text().replace(str(origin), "/no"))
    line = "run=run: today's files lack experiment=mine: what was recorded counts\n"
    assert recsweep(tmp_path, "evaluate", "run=run").err == line
    assert values(recorded(run).change(["seed=5"]).record.config) == ("mine", 12, 0.01, 4)
    there = recorded(origin / "run").change(["model=svdpp"]).record.config
    assert recorded(run).change(["model=svdpp"]).record.config == there and values(there) == ("mine", 12, 0.01, 4)
    config = recorded(run).change(["model=bpr_mf"]).record.config
    assert config["loss"]["_target_"] == "recsweep.losses.ranking.Sampled"
    assert config["evaluation"]["_target_"].endswith("RankingEvaluation") and config["optimizer"]["lr"] == 0.01


def test_a_resumed_sweep_is_the_sweep_that_was_asked_for(origin: Path, tmp_path: Path) -> None:
    """A completed job's record stays as it is, and the other one trains as it would have."""
    folder = Path(shutil.copytree(origin, tmp_path / "copy"))
    undisturbed = [read_metrics(folder / "sweep" / job)["metrics"] for job in "01"]
    record = folder / "sweep" / "0" / ".hydra" / "config.yaml"
    before = record.stat().st_mtime_ns
    shutil.rmtree(folder / "sweep" / "1")
    outcome = recsweep(folder, "train", "sweep.resume=sweep")
    assert outcome.status == 0 and "what was recorded counts" in outcome.err
    assert [read_metrics(folder / "sweep" / job)["metrics"] for job in "01"] == undisturbed
    assert record.stat().st_mtime_ns == before
    assert "The best again: recsweep train run=sweep/0 seed=0    # files say " in outcome.out


def test_another_experiment_replaces_the_recorded_one(origin: Path) -> None:
    """What was typed stays: sizes and the seed."""
    config = recorded(origin / "run").change(["experiment=rating_synthetic"]).record.config
    assert config["name"] == "rating_synthetic" and config["optimizer"]["lr"] not in (0.01, 0.1)
    assert config["data"]["n_users"] == 60 and config["seed"] == 2


def test_an_edit_while_a_sweep_runs_changes_no_job(origin: Path, tmp_path: Path) -> None:
    """The settings of all jobs are those of its start, also for a search, whose trials come later."""
    folder = Path(shutil.copytree(origin, tmp_path / "copy"))
    write_experiment(folder, 0.01, 2)
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.sampler=random"]
    arguments = ["--config-dir=conf", "experiment=mine", *SYNTHETIC, "logger=none", "regularization.dropout=0,0.1"]
    assert recsweep(folder, "train", "-m", *arguments, *search, "hydra.sweep.dir=search").status == 0
    write_experiment(folder, 0.1, 3)
    text = (folder / "search" / "sweep.json").read_text()
    (folder / "search" / "sweep.json").write_text(text.replace("n_trials=1", "n_trials=2"))
    assert recsweep(folder, "train", "sweep.resume=search").status == 0
    assert values(read_record(folder / "search" / "1").config) == ("mine", 12, 0.01, 2)


def test_a_relative_path_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item,rating\n" + "".join(f"{n % 9},{n},{n % 5 + 1}\n" for n in range(60)))
    table = ["data=table", "data.path=t.csv", "model=means", "logger=none"]
    assert recsweep(tmp_path, "train", *table, "hydra.run.dir=run").status == 0
    sub = tmp_path / "sub"
    sub.mkdir()
    outcome = recsweep(sub, "evaluate", "run=../run")
    advice = f"t.csv: not in {sub}; run=../run was made in {tmp_path}: give data.path={tmp_path}/t.csv"
    assert outcome == (2, "", f"recsweep: {advice}\n")
    assert recsweep(sub, "evaluate", "run=../run", f"data.path={tmp_path}/t.csv").status == 0
    (tmp_path / "run" / "metrics.json").unlink()
    resume = ["train", "run=../run", "resume=true"]
    assert recsweep(sub, *resume) == (2, "", f"recsweep: {advice}\n")
    assert recsweep(sub, *resume, f"data.path={tmp_path}/t.csv").status == 0
    assert recsweep(tmp_path, "train", "-m", *table, "seed=0,1", "hydra.sweep.dir=sweep").status == 0
    shutil.rmtree(tmp_path / "sweep" / "1")
    assert recsweep(sub, "train", "sweep.resume=../sweep").status == 2
    assert recsweep(sub, "train", "sweep.resume=../sweep", "data.path=../t.csv").status == 0


def test_a_repeat_on_other_rows_says_so(tmp_path: Path) -> None:
    rows = ["user,item,rating", *(f"{n % 9},{n},{n % 5 + 1}" for n in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    table = ["data=table", "data.path=t.csv", "model=means", "logger=none"]
    assert recsweep(tmp_path, "train", *table, "hydra.run.dir=run").status == 0
    assert "other rows" not in recsweep(tmp_path, "train", "run=run", "seed=1").out
    (tmp_path / "t.csv").write_text("\n".join(rows[:-1]))
    outcome = recsweep(tmp_path, "train", "run=run", "seed=1")
    assert outcome.status == 0 and "data: other rows than run=run had\n" in outcome.out


def test_a_recorded_data_folder_counts_where_the_data_are(tmp_path: Path) -> None:
    def config(data_dir: str) -> dict[str, Any]:
        base = recorded_defaults(["data=ml_100k"])
        return {**base, "paths": {"data_dir": data_dir, "cache_dir": "/elsewhere"}}

    data_dir = Path(os.environ.get("RECSWEEP_DATA_DIR", "data")).absolute()
    cfg = Recorded("run=x", Record(config=config("/nowhere"), choices={}, overrides=[], cwd="/")).build()
    assert Path(cfg.paths.data_dir).absolute() == data_dir and cfg.paths.cache_dir == "outputs/cache"
    if (data_dir / "ml-100k").is_dir():
        cfg = Recorded("run=x", Record(config=config(str(data_dir)), choices={}, overrides=[], cwd="/")).build()
        assert cfg.paths.data_dir == str(data_dir)


def recorded_defaults(overrides: list[str]) -> dict[str, Any]:
    from recsweep.runs.record import freeze
    from recsweep.runs.recorded import compose_today

    return freeze(compose_today(overrides)[0])


def test_a_record_with_a_value_of_the_environment_is_refused() -> None:
    config = {**recorded_defaults([]), "name": "${oc.env:HOME}"}
    with pytest.raises(UserError, match=r"run=x: name=\$\{oc.env:HOME\}: a record holds no values of the environment"):
        Recorded("run=x", Record(config=config, choices={}, overrides=[], cwd="/")).build()


def test_paths_of_an_earlier_change_stay() -> None:
    """As where a resumed search is told where the data are, and then changes them for each trial."""
    base = Recorded("run=x", Record(config=recorded_defaults([]), choices={}, overrides=[], cwd="/"))
    changed = base.change(["paths.data_dir=/first"]).change(["seed=5"])
    assert changed.build().paths.data_dir == "/first" and changed.build().seed == 5
    assert changed.change(["paths.data_dir=/second"]).build().paths.data_dir == "/second"


@pytest.mark.parametrize(
    ("typed", "change", "kept"),
    [
        (["loss=sampled_softmax", "loss.n_negatives=3"], "loss=full_softmax", ["loss=full_softmax"]),
        (["loss=sampled_softmax", "loss.n_negatives=3"], "loss=bpr", ["loss.n_negatives=3", "loss=bpr"]),
        (["+optimizer.amsgrad=true"], "optimizer=sgd", ["optimizer=sgd"]),
        (["+optimizer.amsgrad=true"], "optimizer=adamw", ["+optimizer.amsgrad=true", "optimizer=adamw"]),
        (["model.init_std=0.2"], "model=ease", ["model=ease"]),
        (["model.init_std=0.2", "seed=3"], "model=svdpp", ["model.init_std=0.2", "seed=3", "model=svdpp"]),
    ],
)
def test_settings_that_the_new_choice_does_not_have_are_left_out(
    typed: list[str], change: str, kept: list[str]
) -> None:
    record = compose_record(["model=bpr_mf", *typed], parse_flags([]))
    changed = Recorded("run=x", record, is_trusted=True).change([change])
    changed.build()
    words = [word for word in changed.record.overrides if word not in ("model=bpr_mf", "loss=sampled_softmax")]
    assert words == kept
