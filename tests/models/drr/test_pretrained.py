"""DRR that starts from the vectors of another run: where it starts, what is refused, and runs that come back."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shell import fit_model, read_metrics, recsweep, same, train_run, weights
from torch import Tensor

from recsweep.config import compose_config
from recsweep.models.drr.agent import DRR
from recsweep.runs import build
from recsweep.runs.folder import BEST, LAST

ROWS = [
    "data=positives",
    "data.base.n_users=60",
    "data.base.n_items=100",
    "data.base.n_interactions=1200",
    "split.cold_users=keep",
    "evaluation=full_ranking",
    "logger=none",
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
SILENT = "callbacks.progress=false"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a factorisation of the same rows left."""
    return train_run(tmp_path_factory.mktemp("factors"), *FACTORS) / "embeddings"


@pytest.fixture(params=["frozen", "free"])
def start(request: pytest.FixtureRequest, folder: Path) -> list[str]:
    return [f"model.pretrained={folder}", f"model.frozen={str(request.param == 'frozen').lower()}"]


def ready(*words: str) -> DRR:
    """An agent that is about to train."""
    cfg = compose_config([*AGENT, *words])
    data = build.data(cfg)
    model = build.model(cfg, data)
    assert isinstance(model, DRR)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    model.trainer = SimpleNamespace(datamodule=data, strategy=strategy)
    model.setup("fit")
    return model


def exported(folder: Path) -> dict[str, np.ndarray]:
    return {kind: np.load(folder / f"{kind}_embeddings.npy").astype(np.float64) for kind in ("user", "item")}


def tables(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {kind: state[f"{kind}_table.weight"].double().numpy() for kind in ("user", "item")}


def test_the_vectors_are_the_exported_ones_up_to_a_factor(start: list[str], folder: Path) -> None:
    """One for users and one for items; over the training rows, lengths are 1 on average."""
    model = ready(*start)
    train = model.data.train
    found = tables(model.state_dict())
    for kind, occurs in (("user", train.user.tolist()), ("item", train.item.tolist())):
        lengths = [sum(number**2 for number in vector) ** 0.5 for vector in exported(folder)[kind].tolist()]
        factor = len(occurs) / sum(lengths[row] for row in occurs)
        np.testing.assert_allclose(found[kind], factor * exported(folder)[kind], rtol=1e-5, atol=1e-7)
        own = np.linalg.norm(found[kind], axis=1)
        assert own[occurs].mean() == pytest.approx(1, abs=1e-5)
        assert own.std() > 0.05  # a factor of each row's own would leave none


def test_without_vectors_it_starts_from_noise(folder: Path) -> None:
    noise, given = ready().state_dict(), ready(f"model.pretrained={folder}").state_dict()
    assert {name for name in noise if not torch.equal(noise[name], given[name])} == {
        "user_table.weight",
        "item_table.weight",
    }


def test_frozen_vectors_are_as_they_started_and_others_are_not(folder: Path, tmp_path: Path) -> None:
    begun = tables(ready(f"model.pretrained={folder}").state_dict())
    for frozen in (True, False):
        words = [*AGENT, f"model.pretrained={folder}", f"model.frozen={str(frozen).lower()}"]
        run = train_run(tmp_path, *words)
        for name in (BEST, LAST):
            found = tables(weights(run / "checkpoints" / name))
            assert all(np.array_equal(found[kind], begun[kind]) is frozen for kind in begun)


# ---- mistakes


def refused(folder: Path, *words: str) -> str:
    """The one line beside the one about users without sessions, if any."""
    found = recsweep(folder, "train", *AGENT, *words, SILENT, "hydra.run.dir=run")
    assert (found.status, found.out) == (2, "")
    lines = [line for line in found.err.splitlines() if not line.endswith("and no sessions")]
    assert len(lines) == 1 and read_metrics(folder / "run")["status"] == "failed"
    assert not list((folder / "run").rglob("*.ckpt"))
    return lines[0].removeprefix("recsweep: ")


OTHER_ROWS = (
    "embeddings of a model trained on other rows, which may be held out here: give both runs the same data and split, "
    "and trainer.refit=false"
)
AGAIN = "export them again by training with callbacks.embeddings=true"


@pytest.mark.parametrize("other", ["split.seed=1", "split.test_fraction=0.2", "data.above=2", "data.base.seed=1"])
def test_vectors_of_other_rows(other: str, folder: Path, tmp_path: Path) -> None:
    assert refused(tmp_path, f"model.pretrained={folder}", other) == f"{folder}: {OTHER_ROWS}"


def test_vectors_that_know_what_selects(tmp_path: Path) -> None:
    folder = train_run(tmp_path, *FACTORS, "trainer.refit=true") / "embeddings"
    assert refused(tmp_path, f"model.pretrained={folder}") == f"{folder}: {OTHER_ROWS}"


def test_vectors_of_other_users(folder: Path, tmp_path: Path) -> None:
    found = refused(tmp_path, f"model.pretrained={folder}", "data.base.n_users=61")
    assert found == f"{folder}: embeddings of other users than synthetic has now; train again"


def test_vectors_of_another_width(folder: Path, tmp_path: Path) -> None:
    found = refused(tmp_path, f"model.pretrained={folder}", "model.embedding_dim=8")
    assert found == f"model.pretrained={folder}: vectors of 4 numbers; set model.embedding_dim to that, not to 8"


def test_no_folder(tmp_path: Path) -> None:
    found = refused(tmp_path, "model.pretrained=nowhere")
    assert found == f"nowhere/user_embeddings.npy: no such file: {AGAIN}"


@pytest.mark.parametrize("frozen", ["true", "false"])
def test_an_export_that_does_not_say_its_rows(frozen: str, folder: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(folder, older)
    (older / "trained_on.npy").unlink()
    words = [f"model.pretrained={older}", f"model.frozen={frozen}"]
    assert refused(tmp_path, *words) == f"{older}/trained_on.npy: no such file: {AGAIN}"
    np.save(older / "trained_on.npy", np.zeros(3))
    expected = f"{older}/trained_on.npy: float64 of shape (3,), allowed: int64 of shape (2,): {AGAIN}"
    assert refused(tmp_path, *words) == expected


# ---- runs that come back


def test_an_interrupted_run_goes_on(start: list[str], tmp_path: Path) -> None:
    def trained_for(epochs: int, checkpoints: Path) -> dict[str, Tensor]:
        words = [*AGENT, *start, SILENT, "callbacks.early_stopping.patience=null"]
        return fit_model(compose_config([*words, f"trainer.max_epochs={epochs}"]), checkpoints).state_dict()

    undisturbed = trained_for(3, tmp_path / "undisturbed")
    trained_for(1, tmp_path / "interrupted")
    assert same(trained_for(3, tmp_path / "interrupted"), undisturbed)


def test_a_run_is_judged_without_the_vectors_that_it_started_from(
    start: list[str], folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "embeddings"
    shutil.copytree(folder, copy)
    run = train_run(tmp_path, *AGENT, start[1], f"model.pretrained={copy}")
    before = recsweep(tmp_path, "evaluate", f"run={run}")
    shutil.rmtree(copy)
    after = recsweep(tmp_path, "evaluate", f"run={run}")
    assert (before.status, after.status, after.err) == (0, 0, "")
    assert after == before
    cells = [line.split("│")[1:3] for line in after.out.splitlines() if line.startswith("│")]
    assert {name.strip(): float(value) for name, value in cells} == read_metrics(run)["metrics"]


def test_vectors_of_an_agent_are_vectors_too(folder: Path, tmp_path: Path) -> None:
    """An agent exports them, and another one starts from them."""
    first = train_run(tmp_path, *AGENT, f"model.pretrained={folder}", "callbacks.embeddings=true")
    model = ready(f"model.pretrained={first / 'embeddings'}")
    given = weights(first / "checkpoints" / BEST)["item_table.weight"]
    factor = model.item_table.weight.norm() / given.norm()
    torch.testing.assert_close(model.item_table.weight, factor * given, rtol=1e-4, atol=1e-6)
