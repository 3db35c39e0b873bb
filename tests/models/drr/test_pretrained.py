"""DRR that starts from the vectors of another run: initial vectors, mistakes, resuming, and judging without them."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shell import equal_weights, fit_model, read_metrics, recsweep, train_run, weights
from torch import Tensor

from recsweep.config import compose_config
from recsweep.errors import UserError
from recsweep.models.drr.agent import DRR
from recsweep.runs import build
from recsweep.runs.folder import BEST, LAST

pytestmark = pytest.mark.xdist_group("drr_pretrained")

ROWS = [
    "data=positives",
    "data.base.n_users=60",
    "data.base.n_items=100",
    "data.base.n_interactions=1200",
    "split.cold_users=keep",
    "evaluation=full_ranking",
    "logger=none",
    "callbacks.progress=false",
]
FACTORS = ["model=ials", *ROWS, "model.embedding_dim=4", "callbacks.embeddings=true"]
AGENT = [
    "model=drr",
    *ROWS,
    "model.embedding_dim=4",
    "model.min_positives=2",
    "model.n_envs=8",
    "model.buffer_size=300",
    "model.updates_per_step=0.1",
    "trainer.max_epochs=2",
    "trainer.batch_size=64",
]
FROZEN = pytest.mark.parametrize("frozen", [True, False])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embeddings of a factorisation of the same rows."""
    return train_run(tmp_path_factory.mktemp("factors"), *FACTORS) / "embeddings"


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Runs with frozen (True) and free vectors, from embeddings that no longer exist."""
    where = tmp_path_factory.mktemp("agents")
    shutil.copytree(folder, where / "embeddings")
    settings = [*AGENT, "callbacks.embeddings=true", f"model.pretrained={where / 'embeddings'}"]
    runs = {frozen: train_run(where, *settings, setting(frozen)) for frozen in (True, False)}
    shutil.rmtree(where / "embeddings")
    return runs


def setting(frozen: bool) -> str:
    return f"model.frozen={str(frozen).lower()}"


def agent_in_training(*overrides: str) -> DRR:
    """An agent that is set up for training, without a Lightning trainer."""
    cfg = compose_config([*AGENT, *overrides])
    data = build.data(cfg)
    model = build.model(cfg, data)
    assert isinstance(model, DRR)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    model.trainer = SimpleNamespace(datamodule=data, strategy=strategy)
    model.setup("fit")
    return model


def read_embeddings(folder: Path) -> dict[str, np.ndarray]:
    return {kind: np.load(folder / f"{kind}_embeddings.npy").astype(np.float64) for kind in ("user", "item")}


def tables(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {kind: state[f"{kind}_table.weight"].double().numpy() for kind in ("user", "item")}


@FROZEN
def test_initial_vectors_are_the_exported_ones_times_a_factor(frozen: bool, folder: Path) -> None:
    """One factor for users and one for items; norms are 1 on average over the training rows."""
    model = agent_in_training(f"model.pretrained={folder}", setting(frozen))
    train = model.data.train
    initial = tables(model.state_dict())
    for kind, row_ids in (("user", train.user.tolist()), ("item", train.item.tolist())):
        exported = read_embeddings(folder)[kind]
        norms = [sum(number**2 for number in vector) ** 0.5 for vector in exported.tolist()]
        factor = len(row_ids) / sum(norms[row_id] for row_id in row_ids)
        np.testing.assert_allclose(initial[kind], factor * exported, rtol=1e-5, atol=1e-7)
        initial_norms = np.linalg.norm(initial[kind], axis=1)
        assert initial_norms[row_ids].mean() == pytest.approx(1, abs=1e-5)
        assert initial_norms.std() > 0.05  # 0 if each row had its own factor


def test_without_vectors_it_starts_from_noise(folder: Path) -> None:
    noise, pretrained = (agent_in_training(*p).state_dict() for p in ([], [f"model.pretrained={folder}"]))
    differing = {name for name in noise if not torch.equal(noise[name], pretrained[name])}
    assert differing == {"user_table.weight", "item_table.weight"}


@FROZEN
def test_only_frozen_vectors_keep_their_initial_values(frozen: bool, folder: Path, runs: dict[bool, Path]) -> None:
    initial = tables(agent_in_training(f"model.pretrained={folder}").state_dict())
    for name in (BEST, LAST):
        trained = tables(weights(runs[frozen] / "checkpoints" / name))
        assert all(np.array_equal(trained[kind], initial[kind]) is frozen for kind in initial)


# ---- mistakes

OTHER_ROWS = (
    "embeddings of a model trained on other rows, which may be held out here: give both runs the same data and split, "
    "and trainer.refit=false"
)
EXPORT_AGAIN = "export them again by training with callbacks.embeddings=true"


def error_message(*overrides: str) -> str:
    with pytest.raises(UserError) as error:
        agent_in_training(*overrides)
    return str(error.value)


def test_vectors_of_other_rows_end_the_run_with_one_line(folder: Path, tmp_path: Path) -> None:
    outcome = recsweep(
        tmp_path, "train", *AGENT, f"model.pretrained={folder}", "split.seed=1", "data.above=0", "hydra.run.dir=run"
    )
    assert outcome == (2, "", f"recsweep: {folder}: {OTHER_ROWS}\n")
    assert read_metrics(tmp_path / "run")["status"] == "failed"
    assert not list((tmp_path / "run").rglob("*.ckpt"))


@pytest.mark.parametrize("change", ["split.seed=1", "split.test_fraction=0.2", "data.above=2", "data.base.seed=1"])
def test_vectors_of_other_rows(change: str, folder: Path) -> None:
    assert error_message(f"model.pretrained={folder}", change) == f"{folder}: {OTHER_ROWS}"


def test_vectors_that_were_trained_on_the_validation_part(tmp_path: Path) -> None:
    folder = train_run(tmp_path, *FACTORS, "trainer.refit=true") / "embeddings"
    assert error_message(f"model.pretrained={folder}") == f"{folder}: {OTHER_ROWS}"


def test_vectors_of_other_users(folder: Path) -> None:
    message = error_message(f"model.pretrained={folder}", "data.base.n_users=61")
    assert message == f"{folder}: embeddings of other users than synthetic has now; train again"


def test_vectors_of_another_size(folder: Path) -> None:
    message = error_message(f"model.pretrained={folder}", "model.embedding_dim=8")
    assert message == f"model.pretrained={folder}: vectors of 4 numbers; set model.embedding_dim to that, not to 8"


def test_no_folder() -> None:
    message = error_message("model.pretrained=nowhere")
    assert message == f"nowhere/user_embeddings.npy: no such file: {EXPORT_AGAIN}"


@FROZEN
def test_an_export_without_the_checksum_of_its_rows(frozen: bool, folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    (old / "trained_on.npy").unlink()
    overrides = [f"model.pretrained={old}", setting(frozen)]
    assert error_message(*overrides) == f"{old}/trained_on.npy: no such file: {EXPORT_AGAIN}"
    np.save(old / "trained_on.npy", np.zeros(3))
    expected = f"{old}/trained_on.npy: float64 of shape (3,), allowed: int64 of shape (2,): {EXPORT_AGAIN}"
    assert error_message(*overrides) == expected


# ---- later uses of a run


@FROZEN
def test_an_interrupted_run_continues(frozen: bool, folder: Path, tmp_path: Path) -> None:
    start = [f"model.pretrained={folder}", setting(frozen)]
    cfg = compose_config([*AGENT, *start, "callbacks.early_stopping.patience=null"])

    def train_for(epochs: int, checkpoints: Path) -> dict[str, Tensor]:
        cfg.trainer.max_epochs = epochs
        return fit_model(cfg, checkpoints).state_dict()

    uninterrupted = train_for(3, tmp_path / "uninterrupted")
    train_for(1, tmp_path / "interrupted")
    assert equal_weights(train_for(3, tmp_path / "interrupted"), uninterrupted)


@FROZEN
def test_a_run_is_judged_without_its_initial_vectors(frozen: bool, runs: dict[bool, Path], tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "evaluate", f"run={runs[frozen]}", "--json")
    assert (outcome.status, outcome.err) == (0, "")
    metrics = json.loads(outcome.out)
    assert metrics == read_metrics(runs[frozen])["metrics"]


def test_an_agent_can_start_from_the_vectors_of_another_agent(runs: dict[bool, Path]) -> None:
    model = agent_in_training(f"model.pretrained={runs[False] / 'embeddings'}")
    exported = weights(runs[False] / "checkpoints" / BEST)["item_table.weight"]
    factor = model.item_table.weight.norm() / exported.norm()
    torch.testing.assert_close(model.item_table.weight, factor * exported, rtol=1e-4, atol=1e-6)
