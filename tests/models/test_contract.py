"""The contract that every model keeps, on block data with a known right answer. A new model is one more row."""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from shell import equal_weights, fit_model, read_metrics, recsweep, train_run, weights

from recsweep.config import compose_config, conf_dir
from recsweep.data.datamodules import InteractionData
from recsweep.evaluation import Scorer
from recsweep.models.base import RecModule
from recsweep.runs import build
from recsweep.runs.folder import BEST, LAST, load_weights
from recsweep.sampling import group_items
from recsweep.vectors.exact import top_k


class Row(NamedTuple):
    """How the contract runs a model: its overrides, whether it predicts the blocks' ratings, and its data."""

    overrides: list[str]
    predicts_blocks: bool
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
TIMED = ("data=synthetic", "data.n_users=40", "data.n_items=40", "data.n_interactions=400")
LOG = ("data=bandit_table", "data.path={blocks}_log.csv", "data.context=[block]", "model.source=null")
SHORT = ["trainer.max_epochs=3"]
TOWERS = ["model.embedding_dim=8", "model.hidden=[8]"]
SESSIONS = ["model.min_positives=5", "model.n_envs=8", "model.buffer_size=500", "model.updates_per_step=0.3"]
SLATE = [*SHORT, "evaluation.slate_size=20"]

MODELS = {
    "biased_mf": Row(STEPS, predicts_blocks=True),
    "svdpp": Row(STEPS, predicts_blocks=True),
    "mlp": Row(STEPS, predicts_blocks=True),
    "means": Row([], predicts_blocks=False),
    "popularity": Row([], predicts_blocks=False),
    "recent_popularity": Row([], predicts_blocks=False, data=TIMED),
    "item_knn": Row([], predicts_blocks=False),
    "markov_chain": Row([], predicts_blocks=False, data=TIMED),
    "user_knn": Row([], predicts_blocks=False),
    "slim": Row(["model.l1=1"], predicts_blocks=False),
    "ease": Row([], predicts_blocks=False),
    "ials": Row(["model.embedding_dim=4"], predicts_blocks=False),
    "bpr_mf": Row([*SHORT, "loss.n_negatives=2"], predicts_blocks=False),
    "multitask": Row([*SHORT, "model.embedding_dim=4", "model.hidden=[8]"], predicts_blocks=False),
    "two_tower": Row([*SHORT, *TOWERS, "loss=mixed", "model.history=mean"], predicts_blocks=False),
    "simulator": Row([*SHORT, "split=random"], predicts_blocks=False, data=BANDIT),
    "logging_policy": Row(SHORT, predicts_blocks=False, data=BANDIT),
    "ranker": Row(SLATE, predicts_blocks=False, data=BANDIT),
    "nominator": Row(SLATE, predicts_blocks=False, data=BANDIT),
    "drr": Row([*SHORT, *SESSIONS], predicts_blocks=False, data=LIKED),
    "logged_policy": Row([], predicts_blocks=False, data=LOG),
}

N = 40


class TrainedModel(NamedTuple):
    """A model in memory at the end of its training."""

    name: str
    overrides: list[str]
    data: InteractionData
    model: Scorer
    checkpoints: Path


def group_by_model(names: list[str]) -> list[object]:
    """Parameters that send all tests of a model to one worker, so that it is trained once."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]


@pytest.fixture(scope="module")
def overrides_by_model(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The overrides of every model. Also writes `blocks` as a bandit log of a uniform policy."""
    table = pd.read_csv(blocks)
    log = pd.DataFrame(
        {"item": table.item, "block": table.user < N // 2, "propensity": 1 / N, "reward": table.rating == 5}
    )
    log.astype({"block": str, "reward": float}).to_csv(blocks.with_name(f"{blocks.stem}_log.csv"), index=False)
    cache = tmp_path_factory.mktemp("cache")
    common = ["trainer.batch_size=64", "logger=none", f"paths.cache_dir={cache}"]
    return {
        name: [
            f"model={name}",
            *(text.format(blocks=blocks.with_suffix("")) for text in row.data),
            *common,
            *row.overrides,
        ]
        for name, row in MODELS.items()
    }


@pytest.fixture(scope="module", params=group_by_model(list(MODELS)))
def trained(
    request: pytest.FixtureRequest, overrides_by_model: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> TrainedModel:
    name = request.param
    overrides = overrides_by_model[name]
    cfg, checkpoints = compose_config([*overrides, "callbacks.progress=false"]), tmp_path_factory.mktemp(name)
    return TrainedModel(name, overrides, build.data(cfg), fit_model(cfg, checkpoints), checkpoints)


def test_every_model_has_a_row() -> None:
    assert {path.stem for path in (conf_dir() / "model").glob("*.yaml")} == set(MODELS)


@torch.inference_mode()
def test_scores_are_rows_of_pairs(trained: TrainedModel) -> None:
    users = torch.arange(N)
    all_scores = trained.model.score_all(users)
    assert all_scores.shape == (N, N)
    assert all_scores.dtype == torch.float32
    pairs = trained.model.score(users.repeat_interleave(N), users.repeat(N))
    assert pairs.shape == (N * N,)
    torch.testing.assert_close(pairs.view(N, N), all_scores, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_batch_of_one_keeps_its_dimension(trained: TrainedModel) -> None:
    index = torch.tensor([3])
    assert trained.model.score(index, index).shape == (1,)
    assert trained.model.score_all(index).shape == (1, N)
    torch.testing.assert_close(trained.model.score_all(index)[:, 3], trained.model.score(index, index))


@torch.inference_mode()
def test_it_learns_the_blocks(trained: TrainedModel) -> None:
    """Errors on withheld pairs are far below 4, the variance of ratings, and the right withheld item is on top."""
    if not MODELS[trained.name].predicts_blocks:
        pytest.skip(f"{trained.name} predicts no ratings; its own tests show what it learns")
    user = torch.arange(N)
    own_block, other_block = user, (user + N // 2) % N
    assert (trained.model.score(user, own_block) - 5).square().mean() < 0.1
    assert (trained.model.score(user, other_block) - 1).square().mean() < 0.1
    rows = trained.data.data
    seen = group_items(rows.user, rows.item, N, N)
    assert top_k(trained.model.score_all, user, seen, N, k=1)[0][:, 0].tolist() == own_block.tolist()


@torch.inference_mode()
def test_a_checkpoint_gives_the_same_scores(trained: TrainedModel) -> None:
    cfg = compose_config(trained.overrides)
    fresh = build.model(cfg, trained.data).eval()
    last = trained.checkpoints / (LAST if isinstance(fresh, RecModule) else BEST)
    users = torch.arange(N)
    assert not torch.equal(fresh.score_all(users), trained.model.score_all(users))
    load_weights(last, fresh, trained.data)
    assert torch.equal(fresh.score_all(users), trained.model.score_all(users))


@pytest.mark.parametrize("name", group_by_model(list(MODELS)))
def test_a_run_repeats_bit_for_bit_and_evaluate_agrees(
    name: str, overrides_by_model: dict[str, list[str]], tmp_path: Path
) -> None:
    overrides = [*overrides_by_model[name], "trainer.max_epochs=2", "callbacks.progress=false"]
    run = train_run(tmp_path, *overrides)
    checkpoints = [run / "checkpoints"]
    cfg = compose_config(overrides)
    for seed in (0, 1):
        cfg.seed = seed
        fit_model(cfg, tmp_path / f"seed_{seed}")
        checkpoints.append(tmp_path / f"seed_{seed}")
    first, repeated, other = (weights(folder / BEST) for folder in checkpoints)
    assert equal_weights(first, repeated)
    is_random = (run / "checkpoints" / LAST).is_file() or "seed" in cfg.model
    assert equal_weights(first, other) is not is_random
    outcome = recsweep(tmp_path, "evaluate", f"run={run}", "--json")
    assert outcome.status == 0
    metrics = json.loads(outcome.out)
    assert metrics == read_metrics(run)["metrics"]
