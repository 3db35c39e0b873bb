"""What every model keeps to, on a block data set whose right answer is known. A further model is one more row."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from shell import fit_model, read_metrics, recsweep, equal_weights, train_run, weights

from recsweep.config import compose_config, conf_dir
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import Scorer
from recsweep.models.base import RecModule
from recsweep.runs import build
from recsweep.runs.folder import BEST, LAST, load_weights
from recsweep.sampling import group_items
from recsweep.vectors.exact import top_k


class Row(NamedTuple):
    """How the contract runs a model: overrides, whether it predicts the blocks' ratings, and on what data."""

    words: list[str]
    sees_blocks: bool
    data: tuple[str, ...] = ("data=table", "data.path={blocks}.csv")


STEPS = [
    "optimizer.lr=0.02",
    "model.embedding_dim=4",
    "trainer.max_epochs=60",
    "callbacks.early_stopping.patience=null",
]

BANDIT = (
    "data=bandit",
    "data/base=table",
    "data.base.path={blocks}.csv",
    "data.simulator.split=random",
    "data.threshold=0.5",
    "data.logging_policy.n_pairs=400",
    "data.val_users=10",
)
LIKED = ("data=positives", "data/base=table", "data.base.path={blocks}.csv", "evaluation=full_ranking")
LOG = ("data=bandit_table", "data.path={blocks}_log.csv", "data.context=[block]", "model.source=null")
SHORT = ["trainer.max_epochs=3"]
TOWERS = ["model.embedding_dim=8", "model.hidden=[8]"]
SESSIONS = ["model.min_positives=5", "model.n_envs=8", "model.buffer_size=500", "model.updates_per_step=0.3"]
SLATE = [*SHORT, "evaluation.slate_size=20"]

MODELS = {
    "biased_mf": Row(STEPS, sees_blocks=True),
    "svdpp": Row(STEPS, sees_blocks=True),
    "mlp": Row(STEPS, sees_blocks=True),
    "means": Row([], sees_blocks=False),
    "popularity": Row([], sees_blocks=False),
    "item_knn": Row([], sees_blocks=False),
    "ease": Row([], sees_blocks=False),
    "ials": Row(["model.embedding_dim=4"], sees_blocks=False),
    "bpr_mf": Row([*SHORT, "loss.n_negatives=2"], sees_blocks=False),
    "multitask": Row([*SHORT, "model.embedding_dim=4", "model.hidden=[8]"], sees_blocks=False),
    "two_tower": Row([*SHORT, *TOWERS, "loss=mixed", "model.history=mean"], sees_blocks=False),
    "simulator": Row([*SHORT, "split=random"], sees_blocks=False, data=BANDIT),
    "logging_policy": Row(SHORT, sees_blocks=False, data=BANDIT),
    "ranker": Row(SLATE, sees_blocks=False, data=BANDIT),
    "nominator": Row(SLATE, sees_blocks=False, data=BANDIT),
    "drr": Row([*SHORT, *SESSIONS], sees_blocks=False, data=LIKED),
    "logged_policy": Row([], sees_blocks=False, data=LOG),
}

N = 40


class Trained(NamedTuple):
    """A model in memory, as it was when its training ended."""

    name: str
    words: list[str]
    data: InteractionData
    model: Scorer
    checkpoints: Path


def by_model(names: list[str]) -> list[object]:
    """One worker takes all tests of a model, which so is trained once."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]


@pytest.fixture(scope="module")
def chosen(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The words of every model. `blocks` is also a log of a uniform policy, whose contexts know their block."""
    table = pd.read_csv(blocks)
    log = pd.DataFrame(
        {"item": table.item, "block": table.user < N // 2, "propensity": 1 / N, "reward": table.rating == 5}
    )
    log.astype({"block": str, "reward": float}).to_csv(blocks.with_name(f"{blocks.stem}_log.csv"), index=False)
    cache = tmp_path_factory.mktemp("cache")
    common = ["trainer.batch_size=64", "logger=none", f"paths.cache_dir={cache}"]
    return {
        name: [f"model={name}", *(word.format(blocks=blocks.with_suffix("")) for word in row.data), *common, *row.words]
        for name, row in MODELS.items()
    }


@pytest.fixture(scope="module", params=by_model(list(MODELS)))
def ready(
    request: pytest.FixtureRequest, chosen: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    name = request.param
    mine = chosen[name]
    cfg, checkpoints = compose_config([*mine, "callbacks.progress=false"]), tmp_path_factory.mktemp(name)
    return Trained(name, mine, build.data(cfg), fit_model(cfg, checkpoints), checkpoints)


def test_every_model_has_a_row() -> None:
    assert {path.stem for path in (conf_dir() / "model").glob("*.yaml")} == set(MODELS)


@torch.inference_mode()
def test_scores_are_rows_of_pairs(ready: Trained) -> None:
    users = torch.arange(N)
    everything = ready.model.score_all(users)
    assert everything.shape == (N, N)
    assert everything.dtype == torch.float32
    pairs = ready.model.score(users.repeat_interleave(N), users.repeat(N))
    assert pairs.shape == (N * N,)
    torch.testing.assert_close(pairs.view(N, N), everything, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_batch_of_one_keeps_its_dimension(ready: Trained) -> None:
    one = torch.tensor([3])
    assert ready.model.score(one, one).shape == (1,)
    assert ready.model.score_all(one).shape == (1, N)
    torch.testing.assert_close(ready.model.score_all(one)[:, 3], ready.model.score(one, one))


@torch.inference_mode()
def test_it_learns_the_blocks(ready: Trained) -> None:
    """Errors of the withheld pairs far below 4, the variance of the ratings, and the right one of them on top."""
    if not MODELS[ready.name].sees_blocks:
        pytest.skip(f"{ready.name} predicts no ratings; tests of its own show what it learns")
    user = torch.arange(N)
    alike, unlike = user, (user + N // 2) % N
    assert (ready.model.score(user, alike) - 5).square().mean() < 0.1
    assert (ready.model.score(user, unlike) - 1).square().mean() < 0.1
    rows = ready.data.data
    seen = group_items(rows.user, rows.item, N, N)
    assert top_k(ready.model.score_all, user, seen, N, k=1)[0][:, 0].tolist() == alike.tolist()


@torch.inference_mode()
def test_a_checkpoint_gives_the_same_scores(ready: Trained) -> None:
    cfg = compose_config(ready.words)
    fresh = build.model(cfg, ready.data).eval()
    last = ready.checkpoints / (LAST if isinstance(fresh, RecModule) else BEST)
    users = torch.arange(N)
    assert not torch.equal(fresh.score_all(users), ready.model.score_all(users))
    load_weights(last, fresh, ready.data)
    assert torch.equal(fresh.score_all(users), ready.model.score_all(users))


@pytest.mark.parametrize("name", by_model(list(MODELS)))
def test_a_run_repeats_bit_for_bit_and_evaluate_agrees(name: str, chosen: dict[str, list[str]], tmp_path: Path) -> None:
    mine = [*chosen[name], "trainer.max_epochs=3"]
    first, again, other = (train_run(tmp_path, *mine, f"seed={seed}") for seed in (0, 0, 1))
    best = [weights(run / "checkpoints" / BEST) for run in (first, again, other)]
    assert read_metrics(first)["metrics"] == read_metrics(again)["metrics"]
    assert equal_weights(best[0], best[1])
    is_random = (first / "checkpoints" / LAST).is_file() or "seed" in compose_config(mine).model
    assert equal_weights(best[0], best[2]) is not is_random
    shown = recsweep(tmp_path, "evaluate", f"run={first}")
    assert shown.status == 0
    cells = [line.split("│")[1:3] for line in shown.out.splitlines() if line.startswith("│")]
    assert {metric.strip(): float(value) for metric, value in cells} == read_metrics(first)["metrics"]
