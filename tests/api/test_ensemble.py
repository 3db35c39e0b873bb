"""`recsweep evaluate sweep=DIR ensemble=seed|all`: one sweep of two configurations with two seeds each."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from shell import TINY, read_metrics
from shell import recsweep as run_command

import recsweep
from recsweep import UserError
from recsweep.api import ensemble, mixture
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import RankingEvaluation, RatingEvaluation, evaluate
from recsweep.runs.folder import load_chosen_model
from recsweep.runs.record import read_record

pytestmark = pytest.mark.xdist_group("api")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs 0 and 1 are of `means`, 2 and 3 of `biased_mf`."""
    folder = tmp_path_factory.mktemp("ensemble")
    words = [*TINY, "optimizer.lr=0.02", "trainer.refit=true", "model=means,biased_mf", "seed=0,1"]
    assert run_command(folder, "train", "-m", *words, "hydra.sweep.dir=sweep").status == 0
    return folder / "sweep"


@pytest.fixture
def own(sweep: Path, tmp_path: Path) -> Path:
    """A copy of the sweep."""
    return shutil.copytree(sweep, tmp_path / "sweep")


def validation_ndcg(runs: dict[str, recsweep.Run], weight_by_job: dict[str, float]) -> float:
    """Of a matrix of z-scores."""
    data = next(iter(runs.values())).data
    total = torch.zeros(data.data.n_users, data.data.n_items, dtype=torch.float64)
    with torch.inference_mode():
        for job, weight in weight_by_job.items():
            model = load_chosen_model(runs[job].config, data, runs[job].folder)
            scores = model.score_all(torch.arange(data.data.n_users)).double()
            total += weight * (scores - scores.mean(1, True)) / scores.std(1, correction=0, keepdim=True)

    class Matrix:
        score_all = staticmethod(total.__getitem__)

    protocol = RankingEvaluation(None, "exact", [5, 10, 20], "ndcg@10", 0, 1024)
    return evaluate(Matrix(), protocol, data.target("val"))["ndcg@10"]  # type: ignore[arg-type]


def test_the_mean_of_the_seeds_of_each_configuration_is_a_run_of_its_own(own: Path) -> None:
    outcome = run_command(own.parent, "evaluate", "sweep=sweep", "ensemble=seed")
    assert outcome.status == 0, outcome.err
    runs = [recsweep.load(own / job) for job in "23"]
    data, scale = runs[0].data, runs[0].data.data.rating_scale

    def mse(scores: list[torch.Tensor], part: str) -> float:
        rating = data.data.rating[data.target(part).held_out]
        return float((torch.stack(scores).mean(0).clamp(*scale) - rating).square().mean())

    def pairs(part: str) -> tuple[torch.Tensor, torch.Tensor]:
        row = data.target(part).held_out
        return data.data.user[row], data.data.item[row]

    chosen = [load_chosen_model(run.config, data, run.folder) for run in runs]  # learned from train alone
    with torch.inference_mode():
        on_val = mse([model.score(*pairs("val")) for model in chosen], "val")
        on_test = mse([run.model.score(*pairs("test")) for run in runs], "test")
    content = read_metrics(own / "ensemble_seed_2")
    assert content["metrics"]["val/mse"] == pytest.approx(on_val, abs=1e-6)
    assert content["metrics"]["test/mse"] == pytest.approx(on_test, abs=1e-6)
    assert content["members"] == [{"job": "2", "weight": 0.5}, {"job": "3", "weight": 0.5}]
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[2][:3] == ["ensemble_seed_2", f"{on_val:.4f}", f"{on_test:.4f}"]
    line = "sweep/ensemble_seed_2: biased_mf (mean of the 2 seeds); weights of the jobs: 2: 0.5, 3: 0.5"
    assert outcome.out.splitlines()[-1] == line
    table = recsweep.read_runs(own).set_index("run")
    assert table.loc["ensemble_seed_2", ["label", "seed"]].tolist() == ["biased_mf (mean of the 2 seeds)", ""]
    assert table["split_fingerprint"].nunique() == 1 and set(table["status"]) == {"completed"}
    assert (own / "ensemble_seed_2" / "evidence" / "test.parquet").is_file()
    assert not [word for word in read_record(own / "ensemble_seed_2").overrides if word.startswith("seed=")]
    again = run_command(own.parent, "evaluate", "sweep=sweep", "ensemble=seed")
    message = "sweep/ensemble_seed_0: holds an ensemble already; delete it to judge another"
    assert again == (2, "", f"recsweep: {message}\n")
    asked = run_command(own.parent, "recommend", "run=sweep/ensemble_seed_2", "user=1")
    assert asked.err.startswith("recsweep: run=sweep/ensemble_seed_2: an ensemble of jobs (2, 3), without a model")


def test_all_runs_are_weighted_by_validation_and_a_failed_one_is_left_out(own: Path) -> None:
    """Of rankings, by z-scores: the ensemble is no worse on validation than each configuration."""
    (own / "1" / "metrics.json").write_text('{"status": "failed", "error": "it went wrong"}')
    words = ("sweep=sweep", "ensemble=all", "evaluation=full_ranking", "--json")
    outcome = run_command(own.parent, "evaluate", *words)
    assert (outcome.status, outcome.err) == (0, "1 of 4 jobs are not completed: left out\n")
    metrics = json.loads(outcome.out)["sweep/ensemble_all"]
    content = read_metrics(own / "ensemble_all")
    weight = {member["job"]: member["weight"] for member in content["members"]}
    assert set(weight) == set("023") and weight["2"] == weight["3"] and sum(weight.values()) == pytest.approx(1)
    assert content["metrics"] == metrics and weight["0"] == 0
    assert content["n_parameters"] == sum(read_metrics(own / job)["n_parameters"] for job in "23")
    assert set(read_record(own / "ensemble_all").choices) <= {"model", *ensemble.SHARED}
    runs = {job: recsweep.load(own / job, ["evaluation=full_ranking"]) for job in weight}
    assert validation_ndcg(runs, weight) == pytest.approx(metrics["val/ndcg@10"], abs=1e-3)
    assert (
        metrics["val/ndcg@10"] >= max(validation_ndcg(runs, each) for each in ({"0": 1}, {"2": 0.5, "3": 0.5})) - 1e-3
    )
    assert recsweep.read_runs(own).set_index("run").loc["ensemble_all", "label"] == "ensemble of 3 runs"


def test_the_scale_of_scores_means_nothing_to_a_ranking(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Job 2 counts half, though its scores are 1,000 times as large; nothing on validation was learned from it."""
    runs = {job: recsweep.load(own / job, ["evaluation=full_ranking"]) for job in "02"}
    expected = validation_ndcg(runs, {"0": 0.5, "2": 0.5})
    loaded: list[str] = []

    class Loud:
        def __init__(self, cfg: DictConfig, data: InteractionData, folder: Path) -> None:
            loaded.append(folder.name)
            self.model, self.factor = load_chosen_model(cfg, data, folder), 1000 if folder.name == "2" else 1

        def score_all(self, user: torch.Tensor) -> torch.Tensor:
            return self.factor * self.model.score_all(user)

    monkeypatch.setattr(ensemble, "load_chosen_model", Loud)
    monkeypatch.setattr(ensemble, "choose_weights", lambda scores, judge, mode: [0.5, 0.5])
    (judged,) = ensemble.judge_ensembles(own, list(runs.values()), "all", [])
    assert judged.metrics["val/ndcg@10"] == pytest.approx(expected, abs=1e-3)
    assert loaded == ["0", "2", "0", "2"]  # to choose weights, and to judge


def test_runs_that_differ_in_no_result_are_of_one_configuration(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [recsweep.load(own / "0"), recsweep.load(own / "2"), recsweep.load(own / "3", ["evaluation.batch_size=7"])]
    (judged,) = ensemble.judge_ensembles(own, runs, "seed", [])
    assert judged.folder == own / "ensemble_seed_2" and judged.weights == {"2": 0.5, "3": 0.5}
    assert "1 of 2 configurations have one run: left out\n" in capsys.readouterr().err


def test_what_cannot_be_judged_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for job in "23":
        content = read_metrics(own / job)
        content["data"]["fingerprint"] = "other"
        (own / job / "metrics.json").write_text(json.dumps(content))
    runs = [recsweep.load(own / job) for job in "23"]
    with pytest.raises(UserError, match="/2: trained on other rows, or another split, than the data have now"):
        ensemble.judge_ensembles(own, runs, "seed", [])
    unlike = [runs[0], recsweep.load(own / "3", ["trainer.refit=false"])]
    with pytest.raises(UserError, match=r"/2 and .*/3 differ in trainer.refit: an ensemble needs the same"):
        ensemble.judge_ensembles(own, unlike, "all", [])
    monkeypatch.setattr(ensemble, "STAND_INS", {})
    with pytest.raises(UserError, match="/2: RatingEvaluation judges more than scores of pairs: no ensemble is"):
        ensemble.judge_ensembles(own, runs, "seed", [])


def test_weights_of_a_large_catalogue_are_chosen_on_some_of_the_users(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of a third of all scores draws a third of the users, with all their rows."""
    run = recsweep.load(sweep / "0")
    target = run.data.target("val")
    users = run.data.data.user[target.held_out].unique()
    protocol = RankingEvaluation(None, "exact", [5], "ndcg@5", 0, 16)
    assert sum(len(batch[0]) for batch in mixture.hold_batches(protocol, target).batches) == len(users)
    monkeypatch.setattr(mixture, "MAX_KEPT", len(users) * run.data.data.n_items // 3)
    drawn = torch.cat([batch[0] for batch in mixture.hold_batches(protocol, target).batches])
    assert len(drawn) == len(users) // 3 and set(drawn.tolist()) != set(users[: len(drawn)].tolist())
    monkeypatch.setattr(mixture, "MAX_KEPT", len(target.held_out) // 3)
    n_kept = sum(len(batch[0]) for batch in mixture.hold_batches(RatingEvaluation("mse", 64), target).batches)
    assert 0 < n_kept < len(target.held_out) // 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep=sweep", "ensemble=best"], "ensemble=best: allowed are seed and all"),
        (["run=sweep/0", "ensemble=all"], "ensemble=all: of which sweep? give sweep=DIR"),
        (["sweep=sweep", "ensemble=all"], "sweep/0 and sweep/3 differ in split: an ensemble needs the same"),
    ],
)
def test_what_is_no_ensemble_is_refused_in_one_line(words: list[str], message: str, own: Path) -> None:
    content = read_metrics(own / "3")
    content["data"]["split_fingerprint"] = "other"
    (own / "3" / "metrics.json").write_text(json.dumps(content))
    assert run_command(own.parent, "evaluate", *words) == (2, "", f"recsweep: {message}\n")
    assert not list(own.glob("ensemble*"))


def test_a_configuration_with_one_seed_has_no_mean(own: Path) -> None:
    shutil.rmtree(own / "1")
    content = read_metrics(own / "3")
    content["objective"]["value"] = float("nan")  # of a run that diverged
    (own / "3" / "metrics.json").write_text(json.dumps(content))
    outcome = run_command(own.parent, "evaluate", "sweep=sweep", "ensemble=seed")
    lines = ["1 of 3 jobs have diverged: left out"]
    lines += ["recsweep: sweep=sweep: ensemble=seed needs two runs that differ in seed alone"]
    assert (outcome.status, outcome.err.splitlines()) == (2, lines)
    with pytest.raises(UserError, match="ensemble=all needs two completed runs"):
        ensemble.judge_ensembles(own, [recsweep.load(own / "0")], "all", [])
