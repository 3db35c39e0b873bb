"""A run of the multitask model: what TensorBoard and metrics.json say about each task."""

from pathlib import Path

import numpy as np
import pytest
import torch
from shell import SYNTHETIC, read_metrics, train_run, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recsweep.models.multitask import TASKS
from recsweep.runs.folder import BEST

pytestmark = pytest.mark.xdist_group("multitask_run")
TAGS = [f"train/{task}_{suffix}" for task in TASKS for suffix in ("loss", "weight")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    overrides = ["model=multitask", "loss=gradnorm", *SYNTHETIC, "trainer.max_epochs=3", "trainer.batch_size=64"]
    return train_run(tmp_path_factory.mktemp("run"), *overrides)


@pytest.fixture(scope="module")
def curves(run: Path) -> dict[str, list[float]]:
    """The values of each epoch, by TensorBoard tag."""
    events = EventAccumulator(str(run / "tb")).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_has_both_losses_and_their_weights(curves: dict[str, list[float]]) -> None:
    assert {len(curves[tag]) for tag in [*TAGS, "val/joint", "val/mrr_all"]} == {3}  # epochs
    loss_f, weight_f, loss_r, weight_r = (curves[tag] for tag in TAGS)
    assert [f + r for f, r in zip(weight_f, weight_r, strict=True)] == pytest.approx([2, 2, 2])
    assert len(set(weight_f)) == 3
    assert loss_f[2] < loss_f[0] and loss_r[2] < loss_r[0]


def test_metrics_json_keeps_both_tasks_apart(run: Path, curves: dict[str, list[float]]) -> None:
    record = read_metrics(run)
    assert record["objective"] == {"name": "val/joint", "value": record["metrics"]["val/joint"], "mode": "max"}
    for part in ("val", "test"):
        joint, mrr, mse, rmse, _ = (
            record["metrics"][f"{part}/{name}"] for name in ("joint", "mrr_all", "mse", "rmse", "ndcg@10")
        )
        assert joint == pytest.approx(mrr - mse)
        assert rmse**2 == pytest.approx(mse)
    best_epoch = curves["val/joint"].index(max(curves["val/joint"]))
    assert record["training"] == {tag: pytest.approx(curves[tag][best_epoch]) for tag in [*TAGS, "train/loss"]}


def test_the_oracle_beats_the_model_in_both_tasks(run: Path) -> None:
    """The exposure policy ranks, and expected ratings rate: each better than a model after three epochs."""
    record = read_metrics(run)
    assert record["oracle"].keys() == {name for name in record["metrics"] if name.startswith("test/")}
    assert record["oracle"]["test/mse"] < record["metrics"]["test/mse"]
    assert record["oracle"]["test/mrr_all"] > record["metrics"]["test/mrr_all"]


def test_both_heads_can_start_from_the_vectors_of_a_transformer(tmp_path: Path) -> None:
    """Its epoch has next to no learning rate. Each kind of vector has a mean length of 1 over the training rows."""
    sizes = [*SYNTHETIC, "model.embedding_dim=4", "trainer.max_epochs=1"]
    towers = ["model=two_tower", "model.history=transformer", "model.hidden=[]", "callbacks.embeddings=true"]
    vectors = train_run(tmp_path, *towers, *sizes, "callbacks.compare_with=[]") / "embeddings"
    heads = ["model=multitask", "model.shared_embeddings=false", "loss=uncertainty", f"model.pretrained={vectors}"]
    run = train_run(tmp_path, *heads, *sizes, "optimizer.lr=1e-12", "regularization.weight_decay=0")
    table = weights(run / "checkpoints" / BEST)["vectors.weight"]
    assert torch.equal(table, weights(run / "checkpoints" / BEST)["own_vectors.weight"])
    exported = np.load(vectors / "item_embeddings.npy")
    ratio = table[-len(exported) :].numpy() / exported
    assert ratio.std() < 1e-5 * ratio.mean()
