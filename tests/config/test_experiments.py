"""Every frozen experiment runs; two steps each."""

import json
import os
from pathlib import Path

import pytest
import yaml
from shell import SYNTHETIC, read_metrics, recsweep, train_run

from recsweep.config import compose_config, conf_dir

SMALL = [word.replace("data.", "data.base.") for word in SYNTHETIC] + [
    "data.logging_policy.n_pairs=200",
    "data.val_users=20",
]
SHORT = ["trainer.max_epochs=2", "trainer.limit_batches=1", "logger=none"]
REAL = sorted(
    path.stem
    for pattern in (
        "rating_ml_*.yaml",
        "two_tower_ml_*.yaml",
        "multitask_ml_*.yaml",
        "ncf_*_bpr_mf.yaml",
        "ncf_*_two_tower.yaml",
    )
    for path in (conf_dir() / "experiment").glob(pattern)
)
"""The other ncf_* are run by test_quality."""


def asked(job: Path) -> tuple[str, int]:
    """Which model and seed a job of a sweep had."""
    overrides = dict(word.split("=") for word in yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()))
    return overrides["model"], int(overrides["seed"])


def test_an_experiment_brings_its_own_sweep_and_the_command_line_wins(tmp_path: Path) -> None:
    """The file sweeps four models over seeds 0, 1, 2; here the seeds are given."""
    words = ["experiment=rating_synthetic", "seed=4", *SYNTHETIC, *SHORT, "hydra.sweep.dir=sweep"]
    found = recsweep(tmp_path, "train", "-m", *words)
    assert (found.status, found.err) == (0, "")
    jobs = sorted(path.parent for path in (tmp_path / "sweep").glob("*/metrics.json"))
    assert sorted(asked(job) for job in jobs) == [("biased_mf", 4), ("means", 4), ("mlp", 4), ("svdpp", 4)]
    assert {read_metrics(job)["status"] for job in jobs} == {"completed"}


def test_off_policy_losses_on_the_embedded_data(tmp_path: Path) -> None:
    """The file sweeps three losses over three seeds; the stages are built by the first job."""
    words = ["experiment=two_stage_synthetic", "seed=4", *SMALL, *SHORT, "hydra.sweep.dir=sweep"]
    found = recsweep(tmp_path, "train", "-m", *words)
    assert found.status == 0
    assert found.err.count("synthetic: labels, logging_policy, log, ranker reused from outputs/cache") == 2
    jobs = [read_metrics(path.parent) for path in (tmp_path / "sweep").glob("*/metrics.json")]
    assert [job["status"] for job in jobs] == ["completed"] * 3
    assert [job["oracle"]["test/two_stage/ndcg@10"] for job in jobs] == pytest.approx([1, 1, 1])
    assert all(0.9 < job["oracle"]["test/off_policy/true"] <= 1 for job in jobs)
    assert not any("ips" in name for job in jobs for name in job["oracle"])
    assert "What the log alone told of each policy" in (tmp_path / "sweep" / "report.html").read_text()


def test_retrieval_on_the_embedded_data(tmp_path: Path) -> None:
    """Three files, each with seeds of its own; the report knows the oracle and the baselines."""
    sizes = [*SYNTHETIC, *SHORT, "evaluation.batch_size=16", "hydra.sweep.dir=sweep"]
    found = recsweep(tmp_path, "train", "-m", "experiment=glob(two_tower_synthetic*)", "seed=4", *sizes)
    assert (found.status, found.err) == (0, "")
    jobs = [path.parent for path in (tmp_path / "sweep").glob("*/metrics.json")]
    assert [read_metrics(job)["status"] for job in jobs] == ["completed"] * 3
    assert len({read_metrics(job)["oracle"]["test/recall@10"] for job in jobs}) == 1
    (comparison,) = (tmp_path / "sweep").glob("*/comparison.json")
    assert set(json.loads(comparison.read_text())["baselines"]) == {"popularity", "ease"}


def test_balances_of_two_tasks_on_the_embedded_data(tmp_path: Path) -> None:
    """The file sweeps four balances over three seeds; the oracle ranks by the exposure and rates by the truth."""
    words = ["experiment=multitask_synthetic", "seed=4", *SYNTHETIC, *SHORT, "hydra.sweep.dir=sweep"]
    found = recsweep(tmp_path, "train", "-m", *words)
    assert (found.status, found.err) == (0, "")
    jobs = [read_metrics(path.parent) for path in (tmp_path / "sweep").glob("*/metrics.json")]
    assert [job["status"] for job in jobs] == ["completed"] * 4
    for job in jobs:
        assert job["oracle"]["test/mrr_all"] > job["metrics"]["test/mrr_all"]
        assert job["oracle"]["test/mse"] < job["metrics"]["test/mse"]


def test_the_corners_of_the_exercise(tmp_path: Path) -> None:
    """Shared or separate embeddings x two balances, on the embedded data here."""
    words = ["experiment=multitask_ml_100k_corners", "seed=4", "data=synthetic", *SYNTHETIC, *SHORT]
    found = recsweep(tmp_path, "train", "-m", *words, "hydra.sweep.dir=sweep")
    assert (found.status, found.err) == (0, "")
    jobs = [path.parent for path in (tmp_path / "sweep").glob("*/metrics.json")]
    corners = {
        (model["shared_embeddings"], loss["factorization_weight"], loss["regression_weight"])
        for config in (yaml.safe_load((job / ".hydra" / "config.yaml").read_text()) for job in jobs)
        for model, loss in [(config["model"], config["loss"])]
    }
    assert corners == {(shared, *weights) for shared in (True, False) for weights in ((0.99, 0.01), (0.5, 0.5))}


CHAINS = {
    "drr_synthetic": ("drr_synthetic_popularity", "drr_synthetic_bpr_mf"),
    "drr_ml_100k": ("drr_ml_100k_popularity", "drr_ml_100k_ials"),
    "drr_ml_1m_best": ("drr_ml_1m_popularity", "drr_ml_1m_ials"),
}
"""Agents, each with the file that is its protocol and the one whose vectors it starts from."""


def chain(agent: str, folder: Path, sizes: list[str]) -> None:
    popularity, factors = (train_run(folder, f"experiment={name}", *sizes) for name in CHAINS[agent])
    learning = ["trainer.batch_size=64", "model.min_positives=2", "model.updates_per_step=1"]
    learned = train_run(folder, f"experiment={agent}", f"model.pretrained={factors / 'embeddings'}", *sizes, *learning)
    jobs = [read_metrics(run) for run in (popularity, factors, learned)]
    assert [job["status"] for job in jobs] == ["completed"] * 3
    assert all(job["data"] == jobs[0]["data"] and job["metrics"].keys() == jobs[0]["metrics"].keys() for job in jobs)


def test_an_agent_starts_from_other_vectors_on_the_embedded_data(tmp_path: Path) -> None:
    chain("drr_synthetic", tmp_path, [*SMALL[: len(SYNTHETIC)], "split.cold_users=keep", *SHORT])


@pytest.mark.real
@pytest.mark.skipif("RECSWEEP_DATA_DIR" not in os.environ, reason="RECSWEEP_DATA_DIR names no folder of real data")
@pytest.mark.parametrize("agent", ["drr_ml_100k", "drr_ml_1m_best"])
def test_an_agent_starts_from_other_vectors_on_real_data(agent: str, tmp_path: Path) -> None:
    folder = Path(compose_config([f"experiment={CHAINS[agent][0]}"]).data.base.folder)
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    chain(agent, tmp_path, SHORT)


@pytest.mark.real
@pytest.mark.skipif("RECSWEEP_DATA_DIR" not in os.environ, reason="RECSWEEP_DATA_DIR names no folder of real data")
def test_the_documents_agent(tmp_path: Path) -> None:
    folder = Path(compose_config(["experiment=drr_ml_1m"]).data.base.folder)
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    assert read_metrics(train_run(tmp_path, "experiment=drr_ml_1m", *SHORT))["status"] == "completed"


def test_the_search_finds_the_experiments() -> None:
    assert len(REAL) >= 4 * 3
    drr = {path.stem for path in (conf_dir() / "experiment").glob("drr_*.yaml")}
    assert drr == {"drr_ml_1m", *CHAINS, *(name for names in CHAINS.values() for name in names)}


@pytest.mark.real
@pytest.mark.skipif("RECSWEEP_DATA_DIR" not in os.environ, reason="RECSWEEP_DATA_DIR names no folder of real data")
@pytest.mark.parametrize("name", ["two_stage_ml_100k", "two_stage_ml_1m"])
def test_a_bandit_log_of_real_data(name: str, tmp_path: Path) -> None:
    folder = Path(compose_config([f"experiment={name}"]).data.base.folder)
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    quick = ["data.simulator.hidden=[4]", "data.simulator.epochs=1", "data.logging_policy.epochs=1"]
    assert read_metrics(train_run(tmp_path, f"experiment={name}", *quick, *SHORT))["status"] == "completed"


@pytest.mark.real
@pytest.mark.skipif("RECSWEEP_DATA_DIR" not in os.environ, reason="RECSWEEP_DATA_DIR names no folder of real data")
@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_dir() / "experiment").glob("open_bandit*.yaml")))
def test_a_log_of_open_bandit(name: str, tmp_path: Path) -> None:
    path = Path(compose_config([f"experiment={name}"]).data.path)
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    found = read_metrics(train_run(tmp_path, f"experiment={name}", *SHORT))
    assert found["status"] == "completed"
    assert found["metrics"]["test/off_policy/logged"] == pytest.approx(0.0046, abs=0.002)  # 46 clicks of 10,000


@pytest.mark.real
@pytest.mark.skipif("RECSWEEP_DATA_DIR" not in os.environ, reason="RECSWEEP_DATA_DIR names no folder of real data")
@pytest.mark.parametrize("name", REAL)
def test_an_experiment_on_real_data(name: str, tmp_path: Path) -> None:
    folder = Path(compose_config([f"experiment={name}"]).data.folder)
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    run = train_run(tmp_path, f"experiment={name}", *SHORT)
    assert read_metrics(run)["status"] == "completed"
    assert (run / "checkpoints" / "refit.ckpt").is_file()
