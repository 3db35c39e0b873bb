"""The program as its users meet it: what each verb prints, writes and returns."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from shell import SYNTHETIC, TINY, Outcome, read_metrics, recsweep, tiny, train_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from recsweep.config import conf_dir
from recsweep.runs import build
from recsweep.runs.folder import BEST

pytestmark = pytest.mark.xdist_group("cli")

LOGGED = [*SYNTHETIC, "trainer.max_epochs=3", "trainer.batch_size=64"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with TensorBoard."""
    return train_run(tmp_path_factory.mktemp("run"), *LOGGED)


def everything(folder: Path) -> dict[Path, int]:
    """All files below a folder, with the times of their last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def cells(out: str) -> list[list[str]]:
    """The rows of the tables that were printed."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]


def in_a_process(folder: Path, *command: str) -> Outcome:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_run_leaves_what_the_readme_says(run: Path) -> None:
    names = {str(path.relative_to(run)) for path in everything(run) if "tfevents" not in path.name}
    assert names == {
        ".hydra/config.yaml",
        ".hydra/hydra.yaml",
        ".hydra/overrides.yaml",
        "metrics.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "run.log",
        "tb/hparams.yaml",
    }


def test_metrics_json(run: Path) -> None:
    said = read_metrics(run)
    assert said["status"] == "completed"
    assert said["objective"] == {"name": "val/mse", "value": said["metrics"]["val/mse"], "mode": "min"}
    assert set(said["metrics"]) == {f"{part}/{name}" for part in ("val", "test") for name in ("mse", "rmse", "mae")}
    assert said["metrics"]["test/rmse"] ** 2 == pytest.approx(said["metrics"]["test/mse"])
    assert set(said["seconds"]) == {"data", "fit", "test", "total"}
    assert said["n_parameters"] == (60 + 100) * (32 + 1)
    sizes = {"n_users": 60, "n_items": 100, "n_interactions": 1200, "train": 960, "val": 120, "test": 120}
    assert said["data"] == {"name": "synthetic", **sizes}
    assert said["versions"]["torch"] == torch.__version__


def test_tensorboard_holds_the_curves_and_the_outcome(run: Path) -> None:
    events = EventAccumulator(str(run / "tb")).Reload()
    assert set(events.Tags()["scalars"]) >= {"train/loss", "lr", *read_metrics(run)["metrics"]}
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]  # epochs
    on_val = events.Scalars("val/mse")
    assert [event.step for event in on_val] == [1, 2, 3]
    assert events.Scalars("best/val/mse")[0].value == pytest.approx(min(event.value for event in on_val))
    for name, value in read_metrics(run)["metrics"].items():
        shown = name.replace("val/", "best/val/")
        assert [event.value for event in events.Scalars(shown)] == pytest.approx([value])


def test_tensorboard_holds_the_lengths_of_the_embeddings(run: Path) -> None:
    events = EventAccumulator(str(run / "tb")).Reload()
    table = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["table.rows.weight"]
    for tag, shown in {
        "length/user": table[:60, :-1].norm(dim=1),
        "length/item": table[60:, :-1].norm(dim=1),
        "bias/user": table[:60, -1],
        "bias/item": table[60:, -1],
    }.items():
        (found,) = events.Histograms(tag)
        assert found.histogram_value.num == len(shown)
        assert found.histogram_value.max == pytest.approx(shown.max().item())


def test_hparams_hold_choices_and_values(run: Path) -> None:
    summaries = EventAccumulator(str(run / "tb")).Reload().summary_metadata
    content = summaries[metadata.SESSION_START_INFO_TAG].plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    assert values["model"].string_value == "biased_mf"
    assert values["data"].string_value == "synthetic"
    assert values["regularization.dropout"].number_value == 0.1
    assert values["seed"].number_value == 0


def test_evaluate_prints_what_the_run_measured_and_writes_nothing(run: Path, tmp_path: Path) -> None:
    before = everything(run)
    shown = recsweep(tmp_path, "evaluate", f"run={run}")
    assert shown.status == 0
    assert {name: float(value) for name, value in cells(shown.out)} == read_metrics(run)["metrics"]
    assert everything(run) == before
    assert list(tmp_path.iterdir()) == []


def test_evaluate_after_a_refit(tmp_path: Path) -> None:
    refitted = train_run(tmp_path, *TINY, "trainer.refit=true")
    shown = recsweep(tmp_path, "evaluate", f"run={refitted}")
    assert {name: float(value) for name, value in cells(shown.out)} == read_metrics(refitted)["metrics"]


def test_evaluate_under_another_protocol_equals_a_run_under_it(tmp_path: Path) -> None:
    rated, ranked = (train_run(tmp_path, *TINY, "model=means", f"evaluation={e}") for e in ("rating", "full_ranking"))
    shown = recsweep(tmp_path, "evaluate", f"run={rated}", "evaluation=full_ranking")
    assert shown.status == 0
    assert {name: float(value) for name, value in cells(shown.out)} == read_metrics(ranked)["metrics"]
    assert "test/ndcg@10" in read_metrics(ranked)["metrics"]


def test_recommend_shows_titles_of_items_that_the_user_has_not_seen(run: Path, tmp_path: Path) -> None:
    shown = recsweep(tmp_path, "recommend", f"run={run}", "user=3,7", "k=20")
    assert shown.status == 0
    data = build.data(tiny()).data
    rows = cells(shown.out)
    assert [place for place, *_ in rows] == [str(place) for place in range(1, 21)] * 2
    for user, mine in (("3", rows[:20]), ("7", rows[20:])):
        seen = data.item[data.user == data.user_ids.encode([user])]
        items = data.item_ids.encode([item for _, item, _, _ in mine])
        assert len(seen) > 0 and not set(items.tolist()) & set(seen.tolist())
        assert [title for _, _, title, _ in mine] == [data.item_titles[item] for item in items]
        scores = [float(score) for *_, score in mine]
        assert scores == sorted(scores, reverse=True)
    assert list(tmp_path.iterdir()) == []


def test_recommend_with_ids_that_are_text(tmp_path: Path) -> None:
    """Ann and Bob have seen two of three items; the third is all that is left."""
    rows = [("ann", "tea", 5), ("ann", "rum", 1), ("bob", "rum", 4), ("bob", "ale", 2), ("eve", "ale", 3)]
    many = [(f"guest {guest}", item, 3) for guest in range(20) for item in ("tea", "rum", "ale")]
    table = pd.DataFrame([*rows, *many], columns=["who", "what", "stars"])
    table.to_csv(tmp_path / "t.csv", index=False)
    columns = ["data.user=who", "data.item=what", "data.rating=stars", "split.cold_users=keep"]
    run = train_run(tmp_path, "model=means", "logger=none", "data=table", "data.path=t.csv", *columns)
    shown = recsweep(tmp_path, "recommend", f"run={run}", "user=bob,ann", "k=1")
    assert [row[:3] for row in cells(shown.out)] == [["1", "tea", ""], ["1", "ale", ""]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "for whom? give user=ID, or several separated by commas"),
        ("user=3 k=0", "k=0: a whole number from 1 on"),
        ("user=3 k=ten", "k=ten: a whole number from 1 on"),
        ("user=3,9999", "unknown user id 9999: the data has 60 users, ids such as 1 and 60"),
    ],
)
def test_recommend_refuses(words: str, message: str, run: Path, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "recommend", f"run={run}", *words.split())
    assert found == (2, "", f"recsweep: {message}\n")


def test_recommend_no_more_than_there_are(run: Path, tmp_path: Path) -> None:
    data = build.data(tiny()).data
    unseen = 100 - int((data.user == data.user_ids.encode(["3"])).sum())
    assert recsweep(tmp_path, "recommend", f"run={run}", "user=3", f"k={unseen}").status == 0
    found = recsweep(tmp_path, "recommend", f"run={run}", "user=3", f"k={unseen + 1}")
    assert found == (2, "", f"recsweep: k={unseen + 1}: a user has only {unseen} unseen items of 100\n")


def test_a_checkpoint_of_other_data_is_refused(run: Path, tmp_path: Path) -> None:
    found = recsweep(tmp_path, "evaluate", f"run={run}", "data.n_users=61")
    best = run / "checkpoints" / BEST
    message = f"recsweep: {best}: trained on other users or items than the data has now; train again\n"
    assert found == (2, "", message)


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_a_foreign_checkpoint_is_not_unpickled(tmp_path: Path) -> None:
    victim = train_run(tmp_path, *TINY, "model=means")
    best = victim / "checkpoints" / BEST
    best.write_bytes(pickle.dumps(Bomb()))
    found = recsweep(tmp_path, "evaluate", f"run={victim}")
    assert found.status == 2
    assert found.err.startswith(f"recsweep: {best}: not a checkpoint of recsweep (") and found.err.count("\n") == 1
    assert not (tmp_path / "exploded").exists()
    best.unlink()
    found = recsweep(tmp_path, "evaluate", f"run={victim}")
    assert found == (2, "", f"recsweep: {best}: no such checkpoint; did the run finish?\n")


def test_a_sweep_of_six(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "-m", *TINY, "model=means,biased_mf", "seed=0,1,2", "hydra.sweep.dir=sweep")
    assert (found.status, found.err) == (0, "")
    jobs = [json.loads((tmp_path / "sweep" / str(job) / "metrics.json").read_text()) for job in range(6)]
    assert [job["status"] for job in jobs] == ["completed"] * 6
    asked = [yaml.safe_load((tmp_path / "sweep" / str(job) / ".hydra" / "config.yaml").read_text()) for job in range(6)]
    assert [(job["name"], job["seed"]) for job in asked] == [(m, s) for m in ("means", "biased_mf") for s in range(3)]
    assert len({job["metrics"]["test/mse"] for job in jobs}) == 4  # the means do not depend on the seed
    assert (tmp_path / "sweep" / "report.html").is_file()
    assert not list(tmp_path.rglob("*.part"))


def test_a_job_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    # 160 users and items, each a factor row of 2048 and a bias, 4 bytes a number; the mean; 160 ids of 8 bytes
    size = (160 * (2048 + 1) * 4 + 4 + 160 * 8) / 1e6
    cause = (
        f"a saved model would take {size:.1f} MB, above callbacks.checkpoint.max_mb=1: "
        "lower model.embedding_dim, or raise the limit"
    )
    words = ["callbacks.checkpoint.max_mb=1", "model.embedding_dim=2048,4", "hydra.sweep.dir=sweep"]
    found = recsweep(tmp_path, "train", "-m", *TINY, *words)
    advice = "as listed above; recsweep train sweep.resume=sweep tries them again"
    assert (found.status, found.err) == (2, f"recsweep: 1 of 2 jobs failed, {advice}\n")
    assert f"  failed: {cause}" in found.out
    assert read_metrics(tmp_path / "sweep" / "0") == {"status": "failed", "error": cause}
    assert read_metrics(tmp_path / "sweep" / "1")["status"] == "completed"
    assert not (tmp_path / "sweep" / "0" / "checkpoints").exists()


def test_a_model_at_the_limit_is_kept(tmp_path: Path) -> None:
    """What max_mb is compared with is what the file really takes, but for its few kilobytes of headings."""
    made = train_run(tmp_path, *TINY, "model.embedding_dim=2048", "callbacks.checkpoint.max_mb=1.32")
    on_disk = (made / "checkpoints" / BEST).stat().st_size / 1e6
    assert 1.31 < on_disk < 1.33


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", *TINY, "optimizer=sgd", "optimizer.lr=1e30", "hydra.run.dir=run")
    assert found.status == 2
    assert found.err.startswith("recsweep: training diverged: the loss of epoch ") and found.err.count("\n") == 1
    assert read_metrics(tmp_path / "run")["status"] == "failed"


def test_a_user_who_would_not_train_stops_the_run(tmp_path: Path) -> None:
    """Ann has one row, and 19 of the 21 are held out, with the split's seed hers among them."""
    rows = ["user,item,rating", "ann,tea,5", *(f"bob,item {item},{item % 5 + 1}" for item in range(20))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    words = ["data=table", "data.path=t.csv", "split=random", "split.test_fraction=0.8", "split.val_fraction=0.1"]
    found = recsweep(tmp_path, "train", "model=multitask", *words, "hydra.run.dir=run")
    cause = (
        "1 of 2 users of table have no row left in train, first user ann: hold out less, use split=leave_last_out or "
        "temporal, which leave everyone a row, or accept such users with split.cold_users=keep"
    )
    assert found == (2, "", f"recsweep: {cause}\n")
    assert read_metrics(tmp_path / "run") == {"status": "failed", "error": cause}
    names = {str(path.relative_to(tmp_path / "run")) for path in everything(tmp_path / "run")}
    assert names == {".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "metrics.json", "run.log"}


def test_folders_are_named_by_experiment_and_time(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", *TINY, "model=means", "name=mine")
    assert found.status == 0
    (made,) = (tmp_path / "outputs" / "mine").iterdir()
    assert found.out.startswith(f"{made}  mine seed 0  ")


def test_data_list_says_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSWEEP_DATA_DIR", str(tmp_path))
    (tmp_path / "ml-latest-small").mkdir()
    for name in ("ratings.csv", "movies.csv"):
        (tmp_path / "ml-latest-small" / name).touch()
    found = recsweep(tmp_path, "data", "list")
    assert found.status == 0
    state = {row[0]: row[1] for row in cells(found.out) if row[0]}
    assert set(state) == {path.stem for path in (conf_dir() / "data").glob("*.yaml")}
    assert {name for name, on_disk in state.items() if on_disk == "yes"} == {
        "bandit",
        "ml_latest_small",
        "positives",
        "synthetic",
    }
    assert state["ml_1m"] == "no"


def test_data_prepare_summarises(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "data", "prepare", "data=synthetic", *SYNTHETIC)
    assert found.status == 0
    shown = dict(row for row in cells(found.out) if len(row) == 2)
    assert (shown["users"], shown["items"], shown["interactions"]) == ("60", "100", "1,200")
    assert shown["density"] == "20.0000%"
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_is_shown_and_nothing_runs(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "--cfg", "job", "model=mlp", "seed=5")
    assert found.status == 0
    shown = yaml.safe_load(found.out)
    assert (shown["name"], shown["seed"], shown["model"]["hidden"]) == ("mlp", 5, [64])
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_choices(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "--help")
    assert found.status == 0
    shown = dict(line.split(": ", 1) for line in found.out.splitlines() if ": " in line)
    for group in ("model", "loss", "data", "evaluation"):
        assert shown[group].split(", ") == sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    assert {"two_tower", "bpr_mf", "multitask", "drr"} < set(shown["model"].split(", "))
    assert {"bpr", "sampled_softmax", "in_batch", "mixed", "full_softmax"} < set(shown["loss"].split(", "))
    assert {"bpr_mse", "bpr_mse_99_1", "bpr_mse_50_50", "uncertainty", "gradnorm"} < set(shown["loss"].split(", "))
    assert {"ddpg", "td3"} < set(shown["loss"].split(", "))
    assert "positives" in shown["data"].split(", ")
    assert "joint" in shown["evaluation"].split(", ")
    assert list(tmp_path.iterdir()) == []


def test_the_program_and_the_module_are_the_same(tmp_path: Path) -> None:
    script = in_a_process(tmp_path, str(Path(sys.executable).with_name("recsweep")), "--help")
    module = in_a_process(tmp_path, sys.executable, "-m", "recsweep")
    assert script == module
    assert script.status == 0 and script.out.startswith("recsweep: recommender models side by side")


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    found = in_a_process(tmp_path, sys.executable, "-m", "recsweep", "train", "trainer.batch_size=0")
    assert found == (2, "", "recsweep: trainer.batch_size=0: it should be greater than or equal to 1\n")
    assert list(tmp_path.iterdir()) == []
