"""Mistakes in the settings of data=bandit and of the models that it trains."""

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from shell import QUIET, TINY_BANDIT, recsweep

from recsweep.config import compose_config
from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.runs import build

pytestmark = pytest.mark.xdist_group("two_stage_mistakes")  # tests share one cache of stages

CONFIGS = {
    "model=nominator data.base=synthetic": "data.base=synthetic: choose a group by data/base=synthetic",
    "model=nominator evaluation.ks=[10,31]": "evaluation.ks=[10, 31]: k=31 exceeds evaluation.slate_size=30",
    "model=nominator evaluation.objective=two_stage/precision@3": "evaluation.objective=two_stage/precision@3 is not "
    "computed: choose from one_stage/hit_rate@1,",
    "model=nominator data.simulator=null": "data.simulator=None: it should hold keys of its own",
    "model=nominator loss=ips_2 loss.n_slates=9999": "loss.n_slates=9999: it should be less than or equal to 4096",
    "model=nominator data.labels=guess": "data.labels=guess: it should be 'simulator' or 'truth'",
    "model=nominator data.simulator.epochs=0": "data.simulator.epochs=0: it should be greater than or equal to 1",
    "model=nominator data.simulator.more=0": "data.simulator.more: no such key; there are hidden, epochs, split",
    "model=nominator data.rows=ratings": "model Nominator learns from data.rows=log, not from ratings",
    "model=nominator loss=bce": "model Nominator needs a",
}
PLAIN_DATA = {
    f"model={model} data={data}": f"trainer.max_epochs takes its value from data.{model}.epochs, which does not exist: "
    "use data=bandit"
    for model, data in (("simulator", "ml_100k"), ("ranker", "synthetic"), ("logging_policy", "synthetic"))
}


@pytest.mark.parametrize(("overrides", "message"), [*CONFIGS.items(), *PLAIN_DATA.items()])
def test_mistakes_in_the_configuration(overrides: str, message: str) -> None:
    sizes = QUIET if overrides in PLAIN_DATA else TINY_BANDIT
    with pytest.raises(UserError) as error:
        build.evaluation(compose_config([*sizes, *overrides.split()]))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The override that names the cache that these tests share."""
    return f"paths.cache_dir={tmp_path_factory.mktemp('mistakes')}"


BEFORE_TRAINING: list[tuple[dict[str, Any], str]] = [
    ({"val_users": 60}, "data.val_users=60 leaves none of 60 users to test"),
    ({"items_per_user": 101}, "data.items_per_user=101 exceeds the 100 items of synthetic"),
    ({"logging_policy": {"n_pairs": 2001, "epochs": 2}}, "data.logging_policy.n_pairs=2001: 3 x as many exceed the "
     "6000 pairs of synthetic"),
    ({"positive_above": 5}, "data.positive_above=5 makes all ratings of synthetic alike: they go from 1 to 5"),
]  # fmt: skip
IN_TRAINING: list[tuple[dict[str, Any], str]] = [
    ({"threshold": 0.9999}, "the log of synthetic has no reward: lower data.threshold=0.9999, or raise "
     "data.items_per_user=5"),
    ({"lr": 1e30}, "training of the simulator diverged: lower data.lr=1e+30"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), [*BEFORE_TRAINING, *IN_TRAINING])
def test_mistakes_in_the_data(change: dict[str, Any], message: str, cache: str, tmp_path: Path) -> None:
    """Those that need no trained stage are found before a stage is built."""
    bandit = build.source(compose_config([*TINY_BANDIT, cache, "model=nominator"]))
    with pytest.raises(UserError) as error:
        replace(bandit, cache=str(tmp_path / "cache"), **change).read()
    assert str(error.value) == message
    assert list(tmp_path.rglob("*.pt")) == [] or (change, message) in IN_TRAINING


@pytest.fixture(scope="module")
def data(cache: str) -> InteractionData:
    """The log that the models of these tests learn from."""
    return build.data(compose_config([*TINY_BANDIT, cache, "model=nominator"]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("loss=top_k loss.k=101", "loss.k=101 exceeds the 100 items"),
        ("loss=ips_2 loss.slate_size=101", "loss.slate_size=101 exceeds the 100 items"),
        ("loss=ips_1 loss.min_weight=20", "loss.min_weight=20 exceeds loss.max_weight=10.0"),
    ],
)
def test_mistakes_in_the_loss(overrides: str, message: str, cache: str, data: InteractionData) -> None:
    cfg = compose_config([*TINY_BANDIT, cache, "model=nominator", *overrides.split()])
    with pytest.raises(UserError) as error:
        build.model(cfg, data)
    assert str(error.value) == message


@pytest.mark.parametrize("loss", ["ce", "ips_1", "ips_2", "top_k"])
def test_a_loss_that_knows_likes_only(loss: str, cache: str, data: InteractionData) -> None:
    """One row of another reward than 0 and 1 is one too many, except for losses that take rewards."""
    cfg = compose_config([*TINY_BANDIT, cache, "model=nominator", f"loss={loss}"])
    for reward, low, high in ((-1.0, "-1", "1"), (0.5, "0", "1"), (5.0, "0", "5")):
        graded = copy(data)
        rating = data.train.rating.index_fill(0, torch.tensor([3]), reward)
        graded.train = replace(data.train, rating=rating)
        with pytest.raises(UserError) as error:
            build.model(cfg, graded)
        assert str(error.value) == (
            f"loss={loss} knows rewards of 0 and 1 only, and those of synthetic_log go from {low} to {high}: "
            "take loss=snips or loss=dr"
        )


@pytest.mark.parametrize("loss", ["snips", "dr"])
def test_a_loss_that_takes_rewards(loss: str, cache: str, data: InteractionData) -> None:
    graded = copy(data)
    graded.train = replace(data.train, rating=data.train.rating - 0.5)
    build.model(compose_config([*TINY_BANDIT, cache, "model=nominator", f"loss={loss}"]), graded)


RUNS = {
    "model=nominator evaluation.slate_size=101": "evaluation.slate_size=101: a user has only 9",
    "model=nominator evaluation=off_policy evaluation.max_weight=1e-300": "val/off_policy/snips is NaN, nothing to ",
    "model=popularity data=bandit": "synthetic_log tells what was shown, not what users like: use evaluation=two_stage",
    "model=simulator split=given": "data.rows=ratings ships no split 'given': use split=rows or split=random",
    "model=nominator data=synthetic": "synthetic is no bandit log (no propensities): use data=bandit or ",
    "model=popularity data=synthetic evaluation=two_stage": "synthetic is no bandit log (no propensities): use ",
}


@pytest.mark.parametrize(("overrides", "message"), RUNS.items(), ids=RUNS.keys())
def test_mistakes_in_a_run(overrides: str, message: str, cache: str, data: InteractionData, tmp_path: Path) -> None:
    """One line after those on cached stages."""
    sizes = [*QUIET] if "data=synthetic" in overrides else [*TINY_BANDIT, cache]
    short = [] if "popularity" in overrides else ["trainer.max_epochs=1"]
    outcome = recsweep(tmp_path, "train", *sizes, *short, *overrides.split())
    *before, line = outcome.err.splitlines()
    assert (outcome.status, outcome.out) == (2, "")
    assert line.startswith(f"recsweep: {message}")
    assert all(" reused from " in text for text in before)
