"""`trainer.start_from`: a new training takes over the rows of the users and items that another run knows, too."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from shell import QUIET, read_metrics, recsweep, train_run

from recsweep.config import compose_config
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.models.base import RecModule
from recsweep.models.multitask import Multitask
from recsweep.runs import build
from recsweep.runs.folder import BEST, save_weights
from recsweep.runs.warm_start import start_from

MODELS = {
    "biased_mf": [],
    "svdpp": ["model.item_side=true"],
    "mlp": [],
    "bpr_mf": [],
    "two_tower": ["model.history=gru"],
    "transformer": ["model=two_tower", "model.history=transformer"],
    "multitask": ["model.shared_embeddings=false"],
}
TABLE = ("data=table", "data.timestamp=timestamp", "split=global_time", "split.val_from=3000", "split.test_from=3500")
OLD = [
    (user, item, 1000 + 10 * ((37 * user + 101 * item) % 397)) for user in range(20) for item in range(user % 3, 30, 2)
]
"""User, item and time: 20 users, 30 items."""


def write_table(path: Path, rows: list[tuple[int, int, int]]) -> Path:
    lines = [f"{user},{item},{1 + (user * item) % 5},{time}" for user, item, time in rows]
    path.write_text("\n".join(["user,item,rating,timestamp", *lines]))
    return path


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Rows of users 0 to 19, and the same with users -2 and -1, item 99, and without user 19; all train."""
    folder = tmp_path_factory.mktemp("tables")
    new_rows = [(user, item, 2000 + item) for user in (-2, -1) for item in (*range(3, 20), 99)]
    last = [(0, 0, 9000), (0, 2, 9001)]  # held out
    old = [(user, item, time) for user, item, time in OLD if (user, item) not in [(0, 0), (0, 2)]]
    grown = [row for row in old if row[0] != 19] + new_rows
    return write_table(folder / "old.csv", old + last), write_table(folder / "grown.csv", grown + last)


def untrained(name: str, table: Path, seed: int) -> tuple[RecModule, InteractionData]:
    size = ("model.embedding_dim=8", "model.init_std=0.1")
    overrides = [f"model={name}", *TABLE, *MODELS[name], *size, *QUIET, f"data.path={table}", f"seed={seed}"]
    cfg = compose_config([*overrides, "split.val_from=8999", "split.test_from=9001"])
    data = build.data(cfg)
    model = build.model(cfg, data)
    assert isinstance(model, RecModule)
    return model.eval(), data


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_common_users_and_items_score_as_in_the_other_run(name: str, tables: tuple[Path, Path], tmp_path: Path) -> None:
    """What a model sums over rows that the new data add to an item, or lack, is another: only `svdpp` has that."""
    (old, old_data), (new, data) = untrained(name, tables[0], seed=1), untrained(name, tables[1], seed=2)
    fresh = {key: value.clone() for key, value in new.state_dict().items()}
    save_weights(tmp_path / "checkpoints" / BEST, old, old_data)
    line = start_from(tmp_path, new, data)
    assert "19 users taken over, 2 new, 1 gone; 30 items taken over, 1 new, 0 gone; its rows cannot be read" in line
    user, item = np.repeat(np.arange(19), 30), np.tile(np.arange(30), 19)
    pairs = [(rows.user_ids.encode(user), rows.item_ids.encode(item)) for rows in (old_data.data, data.data)]
    taken = {key: value.clone() for key, value in new.state_dict().items()}
    if name == "svdpp":
        new.raters = old.raters = None
    scores = [model.score(*pair) for model, pair in zip((old, new), pairs, strict=True)]
    if hasattr(new, "mean") and name != "multitask":  # the mean rating is that of the new rows
        assert new.mean == fresh["mean"] != old.mean
        scores = [score - model.mean for score, model in zip(scores, (old, new), strict=True)]
    assert torch.allclose(*scores, atol=1e-5) and scores[0].std() > 1e-4
    if isinstance(new, Multitask) and isinstance(old, Multitask):
        rates = [model.rate(*pair) - model.mean for model, pair in zip((old, new), pairs, strict=True)]
        assert torch.allclose(*rates, atol=1e-5)
    tables_of_users = [key for key, value in fresh.items() if value.dim() == 2 and len(value) in (21, 52)]
    assert tables_of_users
    for key in tables_of_users:  # users -2 and -1 come first
        assert torch.equal(taken[key][:2], fresh[key][:2])
        assert not torch.equal(taken[key][2:21], fresh[key][2:21])


def test_users_and_items_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    def model_of(rows: list[tuple[int, int, int]], n: int) -> tuple[RecModule, InteractionData]:
        return untrained("two_tower", write_table(tmp_path / f"{n}.csv", rows), seed=n)

    rows = [(user, item, 10 * user + item) for user in range(6) for item in range(6)] + [(5, 5, 8999), (4, 4, 9001)]
    old, old_data = model_of([row for row in rows if row[2] != 55 and row[2] != 44], 1)
    save_weights(tmp_path / "checkpoints" / BEST, old, old_data)
    moved = model_of([(user + 1, item, time) for user, item, time in rows if time not in (44, 55)], 2)
    with pytest.raises(UserError, match="as many users as items"):
        start_from(tmp_path, *moved)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run of the rows before time 4000, its folder's parent, and a table with all rows."""
    folder = tmp_path_factory.mktemp("grown")
    old = write_table(folder / "old.csv", [row for row in OLD if row[2] < 4000])
    run = train_run(folder, *TABLE, f"data.path={old}", "trainer.max_epochs=1", "model.embedding_dim=4", "logger=none")
    return folder, run, write_table(folder / "all.csv", OLD)


def start(grown: tuple[Path, Path, Path], *overrides: str) -> tuple[str, ...]:
    _, run, table = grown
    return ("train", *TABLE, f"data.path={table}", f"trainer.start_from={run}", "model.embedding_dim=4", *overrides)


def test_a_run_says_so_and_resumes_without_the_other_one(grown: tuple[Path, Path, Path], tmp_path: Path) -> None:
    later = ("split.val_from=4000", "split.test_from=4500", "trainer.max_epochs=1", "logger=none", "trainer.refit=true")
    outcome = recsweep(tmp_path, *start(grown, *later, "hydra.run.dir=new"))
    assert (outcome.status, outcome.err.count("\n")) == (0, 1)
    assert "users taken over" in outcome.err and "taken over" in (tmp_path / "new" / "run.log").read_text()
    metrics = read_metrics(tmp_path / "new")["metrics"]
    (tmp_path / "new" / "metrics.json").unlink()  # as if it had been interrupted at the very end
    grown[1].rename(grown[1].with_name("away"))
    try:
        assert recsweep(tmp_path, "train", "run=new", "resume=true")[::2] == (0, "")
    finally:
        grown[1].with_name("away").rename(grown[1])
    assert read_metrics(tmp_path / "new")["metrics"] == metrics


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["split=random", "split.cold_users=keep"], "rows that are held out here, which would flatter the new run"),
        (["model=svdpp"], "a run of model biased_mf, not of svdpp; the models must be the same"),
        (["model.embedding_dim=5"], "another architecture (table.rows.weight is (50, 5) there, (50, 6) here)"),
        (["data=synthetic", "split=random", "model=means"], "model Means is fitted from all rows at once"),
        (["trainer.start_from=nowhere"], "trainer.start_from=nowhere: no run of recsweep"),
        (["trainer.start_from=unfinished"], "trainer.start_from=unfinished: no checkpoints/best.ckpt: the run did not"),
        (["model=svdpp", "-m", "seed=0,1"], "a run of model biased_mf, not of svdpp"),
    ],
)
def test_refusals(overrides: list[str], message: str, grown: tuple[Path, Path, Path], tmp_path: Path) -> None:
    words = [word for word in start(grown) if word.split("=")[0] not in [o.split("=")[0] for o in overrides]]
    if "split=random" in overrides or "data=synthetic" in overrides:
        words = [word for word in words if not word.startswith("split.")]
    if "data=synthetic" in overrides:
        words = [word for word in words if not word.startswith(("data.", "model."))]
    shutil.copytree(grown[1] / ".hydra", tmp_path / "unfinished" / ".hydra")
    outcome = recsweep(tmp_path, *words, *overrides, *QUIET)
    assert outcome.status == 2 and message in outcome.err and outcome.err.count("\n") == 1
