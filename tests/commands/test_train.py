"""`recsweep train`: what a run and a sweep print and write, and how they fail."""

import json
import platform
from itertools import takewhile
from pathlib import Path

import pytest
import torch
import yaml
from shell import SYNTHETIC, TINY, modification_times, read_metrics, recsweep, train_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from recsweep.config import conf_dir
from recsweep.runs.folder import BEST

pytestmark = pytest.mark.xdist_group("commands")


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    """What the run wrote for TensorBoard."""
    return EventAccumulator(str(run / "tb")).Reload()


def test_a_run_leaves_what_the_readme_says(run: Path) -> None:
    names = {str(path.relative_to(run)) for path in modification_times(run) if "tfevents" not in path.name}
    assert names == {
        ".hydra/config.yaml",
        ".hydra/hydra.yaml",
        ".hydra/overrides.yaml",
        ".hydra/job.lock",
        ".hydra/start.json",
        "evidence/test.parquet",
        "evidence/val.parquet",
        "metrics.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "run.log",
        "tb/hparams.yaml",
    }


def test_metrics_json(run: Path) -> None:
    record = read_metrics(run)
    assert record["status"] == "completed"
    assert record["objective"] == {"name": "val/mse", "value": record["metrics"]["val/mse"], "mode": "min"}
    names = ("mse", "rmse", "mae", "calibration/bias", "calibration/slope")
    assert set(record["metrics"]) == {f"{part}/{name}" for part in ("val", "test") for name in names}
    assert record["metrics"]["test/rmse"] ** 2 == pytest.approx(record["metrics"]["test/mse"])
    assert set(record["seconds"]) == {"data", "fit", "test", "total"}
    assert record["n_parameters"] == (60 + 100) * (32 + 1)
    sizes = {"n_users": 60, "n_items": 100, "n_interactions": 1200, "train": 960, "val": 120, "test": 120}
    fingerprints = {key: record["data"].pop(key) for key in ("fingerprint", "split_fingerprint")}
    assert record["data"] == {"name": "synthetic", **sizes}
    assert all(len(text) == 32 and set(text) <= set("0123456789abcdef") for text in fingerprints.values())
    assert record["versions"]["torch"] == torch.__version__
    assert record["versions"]["python"] == platform.python_version()
    assert record["host"] == platform.node()


def test_metrics_json_says_how_the_training_went(run: Path, means_run: Path, events: EventAccumulator) -> None:
    record = read_metrics(run)
    on_val = [event.value for event in events.Scalars("val/mse")]
    assert (record["epochs"], record["ended_by"]) == (3, "max_epochs")
    assert record["chosen_epoch"] == 1 + on_val.index(min(on_val))
    record = read_metrics(means_run)
    assert (record["epochs"], record["chosen_epoch"], record["ended_by"]) == (None, None, "no epochs")


def test_tensorboard_has_the_curves_and_the_objective_first(run: Path, events: EventAccumulator) -> None:
    """One point has only the objective on test, at the chosen epoch; all else are curves over the epochs."""
    record = read_metrics(run)
    points = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    curves = {"train/loss", "lr", "val/mse", "val/rmse", "val/mae", "Objective/val/mse", "Objective/best val/mse"}
    assert set(points) == {*curves, "test/mse"}
    assert all([point.step for point in points[tag]] == [1, 2, 3] for tag in curves)
    on_val = [point.value for point in points["val/mse"]]
    assert [point.value for point in points["Objective/val/mse"]] == on_val
    assert points["Objective/best val/mse"][-1].value == pytest.approx(record["objective"]["value"])
    (on_test,) = points["test/mse"]
    assert (on_test.step, on_test.value) == (record["chosen_epoch"], pytest.approx(record["metrics"]["test/mse"]))
    assert sorted(points)[:2] == ["Objective/best val/mse", "Objective/val/mse"]  # as HParams sorts its columns


def test_the_best_objective_so_far_never_gets_worse(tmp_path: Path) -> None:
    """With so large steps the validation error falls and rises again."""
    overrides = (*SYNTHETIC, "trainer.max_epochs=4", "trainer.batch_size=64", "optimizer.lr=0.1")
    events = EventAccumulator(str(train_run(tmp_path, *overrides) / "tb")).Reload()
    on_val = [point.value for point in events.Scalars("val/mse")]
    assert min(on_val) < on_val[-1]
    best = [point.value for point in events.Scalars("Objective/best val/mse")]
    assert best == [min(on_val[: epoch + 1]) for epoch in range(4)]


def test_the_metrics_of_a_model_without_epochs_are_points(tmp_path: Path) -> None:
    run = train_run(tmp_path, *SYNTHETIC, "model=means")
    events = EventAccumulator(str(run / "tb")).Reload()
    metrics = read_metrics(run)["metrics"]
    value_by_tag = {name: value for name, value in metrics.items() if name == "test/mse" or name.startswith("val/")}
    value_by_tag |= {"Objective/best val/mse": metrics["val/mse"], "Objective/val/mse": metrics["val/mse"]}
    assert set(events.Tags()["scalars"]) == set(value_by_tag)
    for tag, value in value_by_tag.items():
        assert [(point.step, point.value) for point in events.Scalars(tag)] == [(0, pytest.approx(value))]


def test_tensorboard_has_the_norms_of_the_embeddings(run: Path, events: EventAccumulator) -> None:
    table = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["table.rows.weight"]
    for tag, values in {
        "norm of vectors/user": table[:60, :-1].norm(dim=1),
        "norm of vectors/item": table[60:, :-1].norm(dim=1),
        "bias/user": table[:60, -1],
        "bias/item": table[60:, -1],
    }.items():
        (event,) = events.Histograms(tag)
        assert event.histogram_value.num == len(values)
        assert event.histogram_value.max == pytest.approx(values.max().item())


def test_hparams_have_choices_and_values(events: EventAccumulator) -> None:
    content = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    assert values["model"].string_value == "biased_mf"
    assert values["data"].string_value == "synthetic"
    assert values["regularization.dropout"].number_value == 0.1
    assert values["seed"].number_value == 0
    assert values["data.n_users"].number_value == 60  # typed
    assert not any(key.startswith(("callbacks", "evaluation", "scheduler", "trainer.threads")) for key in values)


def test_a_sweep_of_two_models_and_two_seeds(tmp_path: Path) -> None:
    words = [*TINY, "model=means,biased_mf", "seed=0,1"]
    outcome = recsweep(tmp_path, "train", "-m", *words, "hydra.sweep.dir=my sweep")
    assert (outcome.status, outcome.err) == (0, "")
    folders = [tmp_path / "my sweep" / str(job) for job in range(4)]
    records = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert [record["status"] for record in records] == ["completed"] * 4
    configs = [yaml.safe_load((folder / ".hydra" / "config.yaml").read_text()) for folder in folders]
    assert [(cfg["name"], cfg["seed"]) for cfg in configs] == [(m, s) for m in ("means", "biased_mf") for s in (0, 1)]
    assert len({record["metrics"]["test/mse"] for record in records}) == 3  # the means do not depend on the seed
    assert len({record["data"]["fingerprint"] for record in records}) == 1
    command = f"recsweep train -m {' '.join(words)} 'hydra.sweep.dir=my sweep'"
    assert [record["command"] for record in records] == [command] * 4
    assert (tmp_path / "my sweep" / "report.html").is_file()
    assert not list(tmp_path.rglob("*.part"))


def test_a_job_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    # 160 users and items, each a factor row of 2048 and a bias, 4 bytes a number; the mean; 160 ids of 8 bytes
    size = (160 * (2048 + 1) * 4 + 4 + 160 * 8) / 1e6
    cause = (
        f"a saved model would take {size:.1f} MB, above callbacks.checkpoint.max_mb=1: "
        "lower model.embedding_dim, or raise the limit"
    )
    overrides = ["callbacks.checkpoint.max_mb=1", "model.embedding_dim=2048,4", "hydra.sweep.dir=sweep"]
    outcome = recsweep(tmp_path, "train", "-m", *TINY, *overrides)
    advice = "as listed above; recsweep train sweep.resume=sweep tries them again"
    assert (outcome.status, outcome.err) == (2, f"recsweep: 1 of 2 jobs failed, {advice}\n")
    assert f"  failed: {cause}" in outcome.out
    assert read_metrics(tmp_path / "sweep" / "0") == {"status": "failed", "error": cause}
    assert read_metrics(tmp_path / "sweep" / "1")["status"] == "completed"
    assert not (tmp_path / "sweep" / "0" / "checkpoints").exists()


def test_a_model_at_the_limit_is_saved(tmp_path: Path) -> None:
    """The size that max_mb limits is that of the file, but for a few kilobytes of headers."""
    run = train_run(
        tmp_path, *TINY, "trainer.max_epochs=1", "model.embedding_dim=2048", "callbacks.checkpoint.max_mb=1.32"
    )
    on_disk = (run / "checkpoints" / BEST).stat().st_size / 1e6
    assert 1.31 < on_disk < 1.33


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *TINY, "optimizer=sgd", "optimizer.lr=1e30", "hydra.run.dir=run")
    assert outcome.status == 2
    assert outcome.err.startswith("recsweep: training diverged: the loss of epoch ") and outcome.err.count("\n") == 1
    assert read_metrics(tmp_path / "run")["status"] == "failed"


def test_a_user_without_training_rows_stops_the_run(tmp_path: Path) -> None:
    """Ann has one row, and 19 of the 21 are held out; with the split's seed, hers is one of them."""
    rows = ["user,item,rating", "ann,tea,5", *(f"bob,item {item},{item % 5 + 1}" for item in range(20))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    overrides = ["data=table", "data.path=t.csv", "split=random", "split.test_fraction=0.8", "split.val_fraction=0.1"]
    outcome = recsweep(tmp_path, "train", "model=multitask", *overrides, "hydra.run.dir=run")
    cause = (
        "1 of 2 users of table have no row left in train, first user ann: hold out less, use split=leave_last_out or "
        "temporal, which leave every user a row, or accept cold users with split.cold_users=keep"
    )
    assert outcome == (2, "", f"recsweep: {cause}\n")
    assert read_metrics(tmp_path / "run") == {"status": "failed", "error": cause}
    names = {str(path.relative_to(tmp_path / "run")) for path in modification_times(tmp_path / "run")}
    record = {".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", ".hydra/job.lock"}
    assert names == record | {"metrics.json", "run.log"}


def test_folders_are_named_by_experiment_and_time(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", *TINY, "model=means", "name=mine")
    assert outcome.status == 0
    (run,) = (tmp_path / "outputs" / "mine").iterdir()
    lines = outcome.out.splitlines()
    assert lines[0].startswith("mine seed 0, ") and lines[-1] == f"run: {run.relative_to(tmp_path)}"


def test_the_configuration_is_shown_and_nothing_runs(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "--cfg", "job", "model=mlp", "seed=5")
    assert outcome.status == 0
    cfg = yaml.safe_load(outcome.out)
    assert (cfg["name"], cfg["seed"], cfg["model"]["hidden"]) == ("mlp", 5, [64])
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_choices(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "--help")
    assert outcome.status == 0
    chosen = {"model": "biased_mf", "loss": "mse", "data": "synthetic", "evaluation": "rating"}
    choices = {}
    for group, name in chosen.items():
        words = outcome.out.split(f"\n{group}={name}\n")[1].replace(",", "").split()
        choices[group] = list(takewhile(lambda word: "=" not in word, words))
        assert choices[group] == sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    assert {"two_tower", "bpr_mf", "multitask", "drr"} < set(choices["model"])
    assert {"bpr", "sampled_softmax", "in_batch", "mixed", "full_softmax"} < set(choices["loss"])
    assert {"bpr_mse", "bpr_mse_99_1", "bpr_mse_50_50", "uncertainty", "gradnorm"} < set(choices["loss"])
    assert {"ddpg", "td3"} < set(choices["loss"])
    assert "positives" in choices["data"]
    assert "joint" in choices["evaluation"]
    assert list(tmp_path.iterdir()) == []


def test_help_explains_the_keys_of_the_choices_with_the_comments_of_their_files(tmp_path: Path) -> None:
    out = recsweep(tmp_path, "train", "--help", "model=two_tower", "trainer=ddp", "seed=3").out
    lines = {line.split("=")[0].strip(): " ".join(line.split()) for line in out.splitlines() if "=" in line}
    assert lines["model.scale"] == "model.scale=10.0 of the cosine"
    assert lines["trainer.accumulate"].startswith("trainer.accumulate=2 at least as many as processes")
    assert lines["trainer.processes"].startswith("trainer.processes=2 they divide the batches of a step")
    assert lines["seed"].startswith("seed=3 of initialisation")
