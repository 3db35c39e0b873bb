"""Scores from elsewhere are judged like those of a model, and stand beside them in reports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from shell import SYNTHETIC, TINY, read_metrics
from shell import recsweep as run_command

import recsweep
from recsweep import Run, UserError

pytestmark = pytest.mark.xdist_group("api")

ON = {"data": "synthetic", "split": "leave_last_out", "overrides": SYNTHETIC}


@pytest.fixture(scope="module")
def scores(bpr: Run) -> pd.DataFrame:
    """The scores of every pair, by a model of the project."""
    pairs = pd.MultiIndex.from_product([range(1, 61), range(1, 101)], names=["user", "item"]).to_frame(index=False)
    return pairs.assign(score=bpr.score(pairs)).sample(frac=1, random_state=0)


def test_scores_of_a_model_give_its_metrics_and_evidence(bpr: Run, scores: pd.DataFrame, tmp_path: Path) -> None:
    def score(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return bpr.score(pd.DataFrame({"user": users, "item": items})).to_numpy()

    assert recsweep.evaluate(scores, to=tmp_path / "table", **ON) == bpr.metrics
    assert recsweep.evaluate(score, to=tmp_path / "function", **ON) == bpr.metrics
    for part in ("val", "test"):
        expected = pd.read_parquet(bpr.folder / "evidence" / f"{part}.parquet")
        assert pd.read_parquet(tmp_path / "table" / "evidence" / f"{part}.parquet").equals(expected)
    for key in ("metrics", "oracle", "objective", "data"):
        assert read_metrics(tmp_path / "table")[key] == read_metrics(bpr.folder)[key]


def test_missing_pairs_are_lowest_and_counted(
    scores: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing rating is the lowest of the scale, 1: without any held-out pair the MSE is the mean of (r - 1)²."""
    one = pd.DataFrame({"user": [1], "item": [1], "score": [5.0]})
    metrics = recsweep.evaluate(one, **ON | {"split": None}, evaluation="rating", to=tmp_path / "one")
    data = recsweep.load(_rating_run(tmp_path)).data
    ratings = data.data.rating[data.split.test].double()
    assert metrics["test/mse"] == pytest.approx(float(((ratings - 1) ** 2).mean()))
    n = len(ratings)
    expected = f"test: {n} of {n} held-out pairs, and {n} of all {n} pairs that were asked for, have no score"
    assert expected in capsys.readouterr().err
    best = scores.sort_values("score").groupby("user").tail(90)
    best.to_parquet(tmp_path / "best.parquet")
    top = recsweep.evaluate(tmp_path / "best.parquet", to=tmp_path / "best", **ON)
    assert top["test/ndcg@10"] == recsweep.evaluate(scores, to=tmp_path / "all", **ON)["test/ndcg@10"]
    assert "and 600 of all 6,000 pairs that were asked for, have no score" in capsys.readouterr().err


def _rating_run(folder: Path) -> Path:
    return recsweep.train(["model=means", *TINY, f"hydra.run.dir={folder / 'means'}"]).folder


def test_it_stands_in_reports_and_says_that_nothing_can_be_trained(folder: Path, popularity: Run) -> None:
    data, split = popularity.data.data, popularity.data.split
    held_out = torch.cat([split.val, split.test])
    best = pd.DataFrame({"user": data.user_ids.decode(data.user), "item": data.item_ids.decode(data.item)})
    best = best.iloc[held_out.numpy()].drop_duplicates().assign(score=1)
    metrics = recsweep.evaluate(best, name="theirs", to=folder / "theirs", **ON)
    assert metrics["test/hit_rate@5"] == metrics["val/hit_rate@5"] == 1
    table = recsweep.read_runs(folder).set_index("run")
    assert table.loc["theirs", ["label", "status", "model"]].tolist() == ["theirs", "completed", "theirs"]
    assert table.loc["theirs", "fingerprint"] == table.loc["popularity", "fingerprint"]
    report = run_command(folder, "report", ".")
    assert "The best again: # nothing to train: scores from elsewhere (a data frame)" in report.out
    reason = "run=theirs: scores from elsewhere (a data frame), without a model of its own that could be trained"
    for verb, words in (("evaluate", ()), ("recommend", ("user=1",)), ("train", ("seed=1",))):
        outcome = run_command(folder, verb, "run=theirs", *words)
        assert outcome.status == 2 and outcome.err.startswith(f"recsweep: {reason}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.rename(columns={"score": "s"}), "scores: no column score; there are user, item, s"),
        (lambda frame: frame.assign(user=99), "unknown user id 99: the data has 60 users, ids such as 1 and 60"),
        (lambda frame: frame.assign(score=np.nan), "scores: no score of user "),
        (lambda frame: frame.assign(score="high"), "scores, column score: not numbers (ValueError: could not convert"),
        (lambda frame: pd.concat([frame, frame[:1]]), "scored more than once; keep one row of each pair"),
        (lambda frame: lambda users, items: users[:3], "the function returned scores of shape (3,), where (6000,) is"),
        (lambda frame: lambda users, items: np.full(len(users), np.nan), "the function returned NaN for user 1,"),
        (lambda frame: "none.parquet", "none.parquet: no such file"),
        (lambda frame: __file__, "not a Parquet file (ArrowInvalid"),
        (lambda frame: 3, "scores: a int; give a Parquet file, a data frame or a function"),
    ],
)  # fmt: skip
def test_wrong_scores_are_one_line(
    change: Callable[[pd.DataFrame], Any], message: str, scores: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as mistake:
        recsweep.evaluate(change(scores), to=tmp_path / "run", **ON)
    assert message in str(mistake.value) and "\n" not in str(mistake.value)
    assert not (tmp_path / "run" / ".hydra").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "a/b"}, "name=a/b: letters, digits and . _ + - only; it becomes a folder"),
        ({"data": "nope"}, "data=nope: no such choice"),
        ({"data": "bandit", "evaluation": "two_stage"}, "TwoStageEvaluation judges more than scores of pairs: "),
        ({"data": "synthetic", "overrides": ["model=ease"]}, "model=ease: leave it out; the scores stand in place"),
    ],
)  # fmt: skip
def test_wrong_settings_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as mistake:
        recsweep.evaluate(pd.DataFrame(), **{"data": "synthetic", **settings})
    assert message in str(mistake.value)


def test_a_folder_is_not_judged_into_twice(ease: Run, scores: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="holds a run already; name another folder"):
        recsweep.evaluate(scores, to=ease.folder, **ON)
