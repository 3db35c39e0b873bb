"""Every frozen experiment runs: two steps each, on the embedded data or on the first users of the real files."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from shell import SYNTHETIC, read_metrics, recsweep, train_run

from recsweep.commands.sweep import prepare_sweep
from recsweep.config import compose_config, conf_dir

SMALL_BASE = [override.replace("data.", "data.base.") for override in SYNTHETIC]
SMALL_BANDIT = [*SMALL_BASE, "data.logging_policy.n_pairs=200", "data.val_users=20"]
SHORT = ["trainer.max_epochs=2", "trainer.limit_batches=1", "logger=none"]


def names(*patterns: str) -> list[str]:
    """The experiments that match, sorted."""
    return sorted(path.stem for pattern in patterns for path in (conf_dir() / "experiment").glob(f"{pattern}.yaml"))


TO_THE_END = {
    *("rating_ml_100k_biased_mf", "two_tower_ml_100k", "two_tower_ml_100k_ease"),
    *("multitask_ml_100k", "multitask_ml_100k_ease", "multitask_ml_100k_means"),
}
"""Experiments that test_quality runs on all users, as most ncf_*."""
REAL = names("rating_ml_*", "two_tower_ml_*", "multitask_ml_*", "ncf_*_bpr_mf", "ncf_*_two_tower")


def model_and_seed(job: Path) -> tuple[str, int]:
    """Model and seed of a sweep's job."""
    overrides = dict(line.split("=") for line in yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()))
    return overrides["model"], int(overrides["seed"])


def run_sweep(folder: Path, *arguments: str) -> tuple[list[Path], str]:
    """The folders of a sweep's jobs, all completed, and what it printed on stderr."""
    outcome = recsweep(folder, "train", "-m", *arguments, "hydra.sweep.dir=sweep")
    assert outcome.status == 0, outcome.err
    jobs = sorted(path.parent for path in (folder / "sweep").glob("*/metrics.json"))
    assert {read_metrics(job)["status"] for job in jobs} == {"completed"}
    return jobs, outcome.err


def test_an_experiment_brings_its_own_sweep_and_the_command_line_wins(tmp_path: Path) -> None:
    """The file sweeps four models over seeds 0, 1, 2; the command line sets the seed."""
    jobs, err = run_sweep(tmp_path, "experiment=rating_synthetic", "seed=4", *SYNTHETIC, *SHORT)
    assert err == ""
    assert sorted(map(model_and_seed, jobs)) == [("biased_mf", 4), ("means", 4), ("mlp", 4), ("svdpp", 4)]


def test_off_policy_losses_on_the_embedded_data(tmp_path: Path) -> None:
    """The file sweeps three losses over three seeds; the sweep builds the stages before its first job."""
    jobs, err = run_sweep(tmp_path, "experiment=two_stage_synthetic", "seed=4", *SMALL_BANDIT, *SHORT)
    assert err.count("synthetic: labels, logging_policy, log, ranker reused from outputs/cache") == 3
    oracles = [read_metrics(job)["oracle"] for job in jobs]
    assert [oracle["test/two_stage/ndcg@10"] for oracle in oracles] == pytest.approx([1, 1, 1])
    assert all(0.9 < oracle["test/off_policy/true"] <= 1 for oracle in oracles)
    assert not any("ips" in name for oracle in oracles for name in oracle)
    assert "value as estimated from the log, against its true value" in (tmp_path / "sweep" / "report.html").read_text()


def test_retrieval_on_the_embedded_data(tmp_path: Path) -> None:
    """Three files, each with its own seeds; the report knows the oracle and the baselines."""
    experiments = "experiment=glob(two_tower_synthetic*)"
    jobs, err = run_sweep(tmp_path, experiments, "seed=4", *SYNTHETIC, *SHORT, "evaluation.batch_size=16")
    assert (len(jobs), err) == (3, "")
    assert len({read_metrics(job)["oracle"]["test/recall@10"] for job in jobs}) == 1
    (comparison,) = (tmp_path / "sweep").glob("*/comparison.json")
    assert set(json.loads(comparison.read_text())["baselines"]) == {"popularity", "ease"}


def test_balances_of_two_tasks_on_the_embedded_data(tmp_path: Path) -> None:
    """The file sweeps four balances over three seeds; the oracle ranks by the exposure and rates by the truth."""
    jobs, err = run_sweep(tmp_path, "experiment=multitask_synthetic", "seed=4", *SYNTHETIC, *SHORT)
    assert (len(jobs), err) == (4, "")
    for record in map(read_metrics, jobs):
        assert record["oracle"]["test/mrr_all"] > record["metrics"]["test/mrr_all"]
        assert record["oracle"]["test/mse"] < record["metrics"]["test/mse"]


def test_the_four_corners() -> None:
    """Shared or separate embeddings x two balances."""
    records = prepare_sweep(["-m", "experiment=multitask_ml_100k_corners", "seed=4"]).request.records
    corners = {
        (cfg.model.shared_embeddings, cfg.loss.factorization_weight, cfg.loss.regression_weight)
        for cfg in (OmegaConf.create(record.config) for record in records)
    }
    assert corners == {(shared, *weights) for shared in (True, False) for weights in ((0.99, 0.01), (0.5, 0.5))}
    assert len(records) == 4


AGENTS = {
    "drr_synthetic": ("drr_synthetic_popularity", "drr_synthetic_bpr_mf"),
    "drr_ml_100k": ("drr_ml_100k_popularity", "drr_ml_100k_ials"),
    "drr_ml_1m_best": ("drr_ml_1m_popularity", "drr_ml_1m_ials"),
}
"""Agents, each with the experiment of its protocol and the one whose vectors it starts from."""


FEW_STEPS = ["trainer.batch_size=64", "model.min_positives=2", "model.updates_per_step=1"]
"""An agent's updates begin early and come often, so that an epoch is short."""


def check_agent(agent: str, folder: Path, overrides: list[str]) -> None:
    """Runs the agent and the experiments that it needs; all must be comparable."""
    popularity, factors = (train_run(folder, f"experiment={name}", *overrides) for name in AGENTS[agent])
    pretrained = f"model.pretrained={factors / 'embeddings'}"
    run = train_run(folder, f"experiment={agent}", pretrained, *overrides, *FEW_STEPS)
    records = [read_metrics(path) for path in (popularity, factors, run)]
    assert [record["status"] for record in records] == ["completed"] * 3
    for record in records:
        assert record["data"] == records[0]["data"] and record["metrics"].keys() == records[0]["metrics"].keys()


def test_an_agent_starts_from_other_vectors_on_the_embedded_data(tmp_path: Path) -> None:
    check_agent("drr_synthetic", tmp_path, [*SMALL_BASE, "split.cold_users=keep", *SHORT])


def test_the_patterns_match_the_experiments() -> None:
    assert len(REAL) >= 4 * 3 and set(REAL) > TO_THE_END
    assert set(names("drr_*")) == {"drr_ml_1m", *AGENTS, *(name for pair in AGENTS.values() for name in pair)}


real = pytest.mark.real
one_worker = pytest.mark.xdist_group("first users")  # tests share the files
needs_data = pytest.mark.skipif("RECSWEEP_DATA_DIR" not in os.environ, reason="RECSWEEP_DATA_DIR names no folder")
N_USERS = {"ml-100k": 120, "ml-1m": 600, "ncf-ml-1m": 600}
"""Users that the tests read of each data set."""
FIRST_NUMBER = re.compile(r"\(?(\d+)")
"""The user of a line: 1::1193::5, 196\\t242\\t3, 1|24|M, (0,25)\\t1064."""
FULL_USERS = {"ml_100k": 943, "ml_1m": 6040, "ncf_ml_1m": 6040}


def read_items(folder: Path) -> dict[str, str]:
    """Items of NCF's training and test rows, each with rating and timestamp of a row."""
    items = {}
    for part in ("train", "test"):
        with (folder / f"ml-1m.{part}.rating").open() as lines:
            for line in lines:
                _, item, rest = line.split("\t", 2)
                items[item] = rest
    return items


def write_first_users(source: Path, target: Path, n_users: int) -> None:
    """Copies a data set with the rows of its first users only.

    Items of NCF's negatives must have rows: those of later users are given to the first ones.
    """
    target.mkdir()
    for path in source.iterdir():
        if path.name in ("u.item", "u.genre", "movies.dat"):
            shutil.copy(path, target)
        elif path.name in ("u.data", "u.user") or path.suffix in (".base", ".test", ".dat", ".rating", ".negative"):
            with path.open(encoding="latin-1") as lines:
                first = [line for line in lines if int(FIRST_NUMBER.match(line)[1]) < n_users]
            (target / path.name).write_text("".join(first), encoding="latin-1")
    if (train := target / "ml-1m.train.rating").is_file():
        items = read_items(target)
        missing = [item for item in read_items(source).items() if item[0] not in items]
        with train.open("a") as file:
            file.writelines(f"{number % n_users}\t{item}\t{rest}" for number, (item, rest) in enumerate(missing))


@pytest.fixture(scope="module")
def first_users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the first users of the real data sets that are there."""
    folder = tmp_path_factory.mktemp("data")
    for name, n_users in N_USERS.items():
        if (source := Path(os.environ["RECSWEEP_DATA_DIR"]) / name).is_dir():
            write_first_users(source, folder / name, n_users)
    return folder


def override_folder(first_users: Path, experiment: str) -> str:
    """The override that has the experiment read the first users; skips the test where they are not there."""
    override = f"paths.data_dir={first_users}"
    data = compose_config([f"experiment={experiment}", override]).data
    if not Path(data.get("base", data).folder).is_dir():
        pytest.skip(f"{data.get('base', data).folder} is not there")
    return override


@one_worker
@real
@needs_data
@pytest.mark.parametrize("agent", ["drr_ml_100k", "drr_ml_1m_best"])
def test_an_agent_starts_from_other_vectors_on_real_data(agent: str, first_users: Path, tmp_path: Path) -> None:
    check_agent(agent, tmp_path, [override_folder(first_users, AGENTS[agent][0]), *SHORT])


@one_worker
@real
@needs_data
def test_the_agent_of_the_paper(first_users: Path, tmp_path: Path) -> None:
    run = train_run(tmp_path, "experiment=drr_ml_1m", override_folder(first_users, "drr_ml_1m"), *SHORT, *FEW_STEPS)
    assert read_metrics(run)["status"] == "completed"


@one_worker
@real
@needs_data
@pytest.mark.parametrize(("name", "n_users"), [("two_stage_ml_100k", 943), ("two_stage_ml_1m", 6040)])
def test_a_bandit_log_of_real_data(name: str, n_users: int, first_users: Path, tmp_path: Path) -> None:
    assert compose_config([f"experiment={name}"]).data.val_users < n_users
    quick = [
        "data.simulator.hidden=[4]",
        "data.simulator.epochs=1",
        "data.logging_policy.epochs=1",
        "data.val_users=50",
    ]
    run = train_run(tmp_path, f"experiment={name}", override_folder(first_users, name), *quick, *SHORT)
    assert read_metrics(run)["status"] == "completed"


@real
@needs_data
@pytest.mark.parametrize("name", names("open_bandit*"))
def test_a_log_of_open_bandit(name: str, tmp_path: Path) -> None:
    path = Path(compose_config([f"experiment={name}"]).data.path)
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    record = read_metrics(train_run(tmp_path, f"experiment={name}", *SHORT))
    assert record["status"] == "completed"
    assert record["metrics"]["test/off_policy/logged"] == pytest.approx(0.0046, abs=0.002)  # 46 clicks of 10,000


@one_worker
@real
@needs_data
@pytest.mark.parametrize("name", sorted({*REAL} - TO_THE_END))
def test_an_experiment_on_real_data(name: str, first_users: Path, tmp_path: Path) -> None:
    run = train_run(tmp_path, f"experiment={name}", override_folder(first_users, name), *SHORT)
    record = read_metrics(run)
    assert record["status"] == "completed"
    size = (run / "checkpoints" / "refit.ckpt").stat().st_size / 1e6
    max_mb = yaml.safe_load((run / ".hydra" / "config.yaml").read_text())["callbacks"]["checkpoint"]["max_mb"]
    assert size * FULL_USERS[record["data"]["name"]] / record["data"]["n_users"] < max_mb  # with all users, too


def test_sequential_models_and_their_rivals_on_a_small_file(tmp_path: Path) -> None:
    """The experiments choose the data: the default data do not have the key that the command line sets for all."""
    lines = [f"{user} {item}" for user in range(20) for item in range(user % 3, 25 + user % 3)]
    (tmp_path / "sequences.txt").write_text("\n".join(lines))
    jobs, _ = run_sweep(tmp_path, "experiment=glob(seq_ml_1m*)", "data.path=sequences.txt", "seed=0", *SHORT)
    assert len(jobs) == len(names("seq_ml_1m*"))
    assert {read_metrics(job)["data"]["n_items"] for job in jobs} == {27}


def test_models_of_histories_know_the_validation_rows_without_a_refit(tmp_path: Path) -> None:
    """Each item has one successor, the same for all users: the last item is first only after the validation item."""
    lines = [f"{user} {(user + step) % 40}" for user in range(40) for step in range(8)]
    (tmp_path / "sequences.txt").write_text("\n".join(lines))
    chain = "experiment=seq_ml_1m_markov_chain", "model.reach=1", "model.max_history=1", "model.shrinkage=0"
    run = train_run(tmp_path, *chain, "data.path=sequences.txt", "seed=0", "trainer.refit=false", "logger=none")
    assert read_metrics(run)["metrics"]["test/hit_rate@10"] == 1
    assert read_metrics(run)["metrics"]["test/ndcg@10"] == 1
