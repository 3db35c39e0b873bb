"""What a run leaves beside its metrics: vectors, and a comparison that agrees with runs of the baselines."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from shell import TINY, read_metrics, recsweep, train_run

from recsweep.commands.compose import saved_words
from recsweep.config import compose_config
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.runs.folder import final_model

TWO_TOWER = (
    *TINY,
    "model=two_tower",
    "split=leave_last_out",
    "model.embedding_dim=8",
    "model.hidden=[8]",
    "loss=full_softmax",
    "trainer.refit=true",
)
RIVALS = "callbacks.compare_with=[{model:popularity},{model:ease,l2:20.0}]"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("run"), *TWO_TOWER, RIVALS)


def test_the_comparison_holds_what_runs_of_the_baselines_reach(run: Path, tmp_path: Path) -> None:
    found, mine = json.loads((run / "comparison.json").read_text()), read_metrics(run)["metrics"]
    words = [word for word in TWO_TOWER if not word.startswith(("model", "loss"))]
    for name, more in {"popularity": [], "ease": ["model.l2=20.0"]}.items():
        rival = train_run(tmp_path, *words, f"model={name}", *more, "evaluation.objective=recall@10")
        expected = {
            metric: value for metric, value in read_metrics(rival)["metrics"].items() if metric.startswith("test/")
        }
        assert found["baselines"][name] == expected
    best = max(values["test/recall@10"] for values in found["baselines"].values())
    assert found["baseline_best_recall"] == best
    assert found["best_recall"] == mine["val/recall@10"] == max(found["training"]["val_recalls"])
    assert found["final_recall"] == mine["test/recall@10"]
    assert found["margin"] == pytest.approx(mine["test/recall@10"] - best)
    assert len(found["training"]["train_losses"]) == 2
    assert found["model_config"]["compare_with"][1] == {"model": "ease", "l2": 20.0}


def test_vectors_are_those_of_the_final_model(run: Path) -> None:
    cfg = compose_config(saved_words(run))
    data = build.data(cfg)
    final = final_model(cfg, data, run)
    user, item = (np.load(run / "embeddings" / f"{kind}_embeddings.npy") for kind in ("user", "item"))
    scores = final.score_all(torch.arange(data.data.n_users)).detach().numpy()
    np.testing.assert_allclose(user @ item.T, scores, rtol=1e-5, atol=1e-5)
    assert np.load(run / "embeddings" / "item_ids.npy").tolist() == data.data.item_ids.raw.tolist()


def test_a_baseline_is_compared_too_and_leaves_vectors_where_it_has_some(tmp_path: Path) -> None:
    words = [word for word in TINY if not word.startswith("trainer")]
    made = train_run(tmp_path, *words, "model=ials", "model.epochs=1", "callbacks.embeddings=true", RIVALS)
    found = json.loads((made / "comparison.json").read_text())
    assert found["training"]["train_losses"] == []
    assert set(found["baselines"]) == {"popularity", "ease"}
    assert (made / "embeddings" / "user_embeddings.npy").is_file()


def test_a_rival_that_cannot_be_is_known_before_training(tmp_path: Path) -> None:
    words = ("data.n_items=16385", "data.n_users=20", "data.n_interactions=400", "logger=none")
    found = recsweep(tmp_path, "train", "model=two_tower", *words, RIVALS)
    assert found.status == 2
    start = "recsweep: callbacks.compare_with, model=ease: this model weighs every pair of items, and 16385 are more"
    assert found.err.startswith(start)
    assert not list(tmp_path.glob("**/*.ckpt"))


@pytest.mark.parametrize(
    ("rivals", "message"),
    [
        (
            "[{model:means},{model:bpr_mf}]",
            "callbacks.compare_with: model=bpr_mf is no baseline for this",
        ),
        ("[{model:ease},{model:ease,l2:3}]", "callbacks.compare_with: model=ease stands there twice"),
        ("[{model:ease,l2:0}]", "callbacks.compare_with[0].l2=0: it should be greater than 0"),
        ("[{l2:3}]", "callbacks.compare_with: model=None is no baseline"),
    ],
)
def test_rivals_are_checked_before_anything_is_read(rivals: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        compose_config(["model=two_tower", f"callbacks.compare_with={rivals}"])
    assert str(error.value).startswith(message)


def test_vectors_of_a_model_that_has_none() -> None:
    with pytest.raises(UserError, match=r"callbacks\.embeddings=true: model BiasedMF does not rank by vectors"):
        compose_config(["model=biased_mf", "callbacks.embeddings=true"])


def test_a_user_of_whom_the_model_knows_nothing(tmp_path: Path) -> None:
    rows = ["user,item"] + [f"{user},{item}" for user in range(8) for item in range(user, user + 6)]
    rows += ["8,20", "9,20"]  # whichever of them is held out, the other's item is known to nobody else
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    table = ("data=table", "data.path=rows.csv", "data.rating=null", "split.cold_users=keep", "logger=none")
    made = train_run(
        tmp_path,
        "model=ease",
        *table,
        "split.test_fraction=0.3",
        "split.val_fraction=0.2",
        "evaluation.ks=[5]",
        "evaluation.objective=ndcg@5",
    )
    found = [recsweep(tmp_path, "recommend", f"run={made}", f"user={user}", "k=2") for user in (8, 9)]
    assert {outcome.status for outcome in found} <= {0, 2}
    message = "the model scores every item alike, for it knows nothing of this user"
    assert any(message in outcome.err for outcome in found)
