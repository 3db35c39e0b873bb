"""What a run writes besides its metrics: vectors, and a comparison that agrees with runs of the baselines."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from shell import TINY, read_metrics, recsweep, train_run

from recsweep.config import compose_config
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.runs.folder import load_final_model
from recsweep.runs.record import read_record

TWO_TOWER = (
    *TINY,
    "model=two_tower",
    "split=leave_last_out",
    "model.embedding_dim=8",
    "model.hidden=[8]",
    "loss=full_softmax",
    "trainer.refit=true",
)
BASELINES = "callbacks.compare_with=[{model:popularity},{model:ease,l2:20.0}]"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("run"), *TWO_TOWER, BASELINES)


@pytest.mark.xdist_group("exports")
def test_the_comparison_has_the_metrics_of_runs_of_the_baselines(run: Path, tmp_path: Path) -> None:
    content, metrics = json.loads((run / "comparison.json").read_text()), read_metrics(run)["metrics"]
    protocol = [override for override in TWO_TOWER if not override.startswith(("model", "loss"))]
    for name, settings in {"popularity": [], "ease": ["model.l2=20.0"]}.items():
        baseline = train_run(tmp_path, *protocol, f"model={name}", *settings, "evaluation.objective=recall@10")
        expected = {
            metric: value for metric, value in read_metrics(baseline)["metrics"].items() if metric.startswith("test/")
        }
        assert content["baselines"][name] == expected
    best = max(values["test/recall@10"] for values in content["baselines"].values())
    assert content["baseline_best_recall"] == best
    assert content["best_recall"] == metrics["val/recall@10"] == max(content["training"]["val_recalls"])
    assert content["final_recall"] == metrics["test/recall@10"]
    assert content["margin"] == pytest.approx(metrics["test/recall@10"] - best)
    assert len(content["training"]["train_losses"]) == 2
    assert content["model_config"]["compare_with"][1] == {"model": "ease", "l2": 20.0}


@pytest.mark.xdist_group("exports")
def test_vectors_are_those_of_the_final_model(run: Path) -> None:
    cfg = OmegaConf.create(read_record(run).config)
    data = build.data(cfg)
    final = load_final_model(cfg, data, run)
    user, item = (np.load(run / "embeddings" / f"{kind}_embeddings.npy") for kind in ("user", "item"))
    scores = final.score_all(torch.arange(data.data.n_users)).detach().numpy()
    np.testing.assert_allclose(user @ item.T, scores, rtol=1e-5, atol=1e-5)
    assert np.load(run / "embeddings" / "item_ids.npy").tolist() == data.data.item_ids.raw.tolist()


def test_a_baseline_is_compared_too_and_leaves_its_vectors(tmp_path: Path) -> None:
    sizes = [override for override in TINY if not override.startswith("trainer")]
    run = train_run(tmp_path, *sizes, "model=ials", "model.epochs=1", "callbacks.embeddings=true", BASELINES)
    content = json.loads((run / "comparison.json").read_text())
    assert content["training"]["train_losses"] == []
    assert set(content["baselines"]) == {"popularity", "ease"}
    assert (run / "embeddings" / "user_embeddings.npy").is_file()


def test_a_baseline_for_which_the_data_are_too_large_fails_before_training(tmp_path: Path) -> None:
    sizes = ("data.n_items=16385", "data.n_users=20", "data.n_interactions=400", "logger=none")
    outcome = recsweep(tmp_path, "train", "model=two_tower", *sizes, BASELINES)
    assert outcome.status == 2
    start = "recsweep: callbacks.compare_with, model=ease: this model weighs every pair of items, and 16385 are more"
    assert outcome.err.startswith(start)
    assert not list(tmp_path.glob("**/*.ckpt"))


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        (
            "[{model:means},{model:bpr_mf}]",
            "callbacks.compare_with: model=bpr_mf is no baseline for this",
        ),
        ("[{model:ease},{model:ease,l2:3}]", "callbacks.compare_with: model=ease is listed twice"),
        ("[{model:ease,l2:0}]", "callbacks.compare_with[0].l2=0: it should be greater than 0"),
        ("[{l2:3}]", "callbacks.compare_with: model=None is no baseline"),
    ],
)
def test_baselines_are_checked_before_anything_is_read(baselines: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        compose_config(["model=two_tower", f"callbacks.compare_with={baselines}"])
    assert str(error.value).startswith(message)


def test_vectors_of_a_model_that_has_none() -> None:
    with pytest.raises(UserError, match=r"callbacks\.embeddings=true: model BiasedMF does not rank by vectors"):
        compose_config(["model=biased_mf", "callbacks.embeddings=true"])
