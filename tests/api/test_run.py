"""A run as an object: scores, recommendations, what is similar, vectors; by raw ids, in data frames."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from shell import modification_times, read_metrics, table_cells
from shell import recsweep as run_command

import recsweep
from recsweep import Run, UserError

pytestmark = pytest.mark.xdist_group("api")


@pytest.fixture(scope="module")
def rows(bpr: Run) -> pd.DataFrame:
    """The rows of the data by raw ids."""
    data = bpr.data.data
    return pd.DataFrame({"user": data.user_ids.decode(data.user), "item": data.item_ids.decode(data.item)})


def test_importing_the_package_loads_none_of_it() -> None:
    code = "import sys, recsweep; print(sorted(m for m in sys.modules if m.split('.')[0] in ('recsweep', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "['recsweep']\n"
    assert all(getattr(recsweep, name).__module__.startswith("recsweep.") for name in recsweep.__all__)


def test_scores_are_products_of_vectors_in_the_order_and_index_of_the_frame(bpr: Run) -> None:
    users, items = bpr.vectors()
    frame = pd.DataFrame({"item": [5, 90, 5, 1], "user": [7, 3, 60, 7], "more": "x"}, index=list("dbca"))
    expected = [users.loc[user].to_numpy() @ items.loc[item].to_numpy() for item, user, _ in frame.to_numpy()]
    scores = bpr.score(frame)
    assert list(scores.index) == list("dbca") and scores.name == "score"
    assert scores.to_numpy() == pytest.approx(np.array(expected, dtype=float), rel=1e-5)
    as_text = bpr.score(frame.astype({"user": str, "item": "category"}))
    assert as_text.equals(scores)
    assert len(bpr.score(frame[:0])) == 0


def test_scores_of_more_pairs_than_fit_at_once(ease: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"user": [1, 2, 3, 4, 5] * 9, "item": range(1, 46)})
    expected = ease.score(frame)
    monkeypatch.setattr("recsweep.api.pairs.USERS_AT_ONCE", 2)
    monkeypatch.setattr("recsweep.api.pairs.PAIRS_AT_ONCE", 7)
    assert ease.score(frame).equals(expected) and expected.nunique() > 30


@pytest.mark.parametrize("filter_seen", [True, False])
def test_recommendations_are_the_best_scores_of_what_is_left(filter_seen: bool, ease: Run, rows: pd.DataFrame) -> None:
    only = range(1, 81)
    exclude = ease.recommend(7, k=3, only=only, filter_seen=filter_seen)["item"]
    given = ease.recommend([7, 3, 7], k=6, only=only, exclude=exclude, filter_seen=filter_seen)
    assert list(given) == ["user", "rank", "item", "title", "score"]
    assert given["user"].tolist() == [7] * 6 + [3] * 6 and given["rank"].tolist() == [1, 2, 3, 4, 5, 6] * 2
    for user, own in given.groupby("user"):
        seen = set(rows.loc[rows["user"] == user, "item"]) if filter_seen else set()
        left = [item for item in only if item not in seen and item not in set(exclude)]
        scores = ease.score(pd.DataFrame({"user": user, "item": left})).sort_values(ascending=False)
        assert own["item"].tolist() == [left[position] for position in scores.index[:6]]
        assert own["score"].to_numpy() == pytest.approx(scores.to_numpy()[:6], rel=1e-5)
    assert given["title"].str.startswith("Item " + given["item"].astype(str).iloc[0]).iloc[0]


def test_a_user_gets_fewer_items_where_fewer_are_left(ease: Run, rows: pd.DataFrame) -> None:
    first, *others = rows.loc[rows["user"] == 3, "item"].tolist()
    only = [first, *(item for item in range(1, 101) if item not in (first, *others))][:3]
    assert set(ease.recommend(3, k=500, only=only)["item"]) == set(only) - {first}
    assert len(ease.recommend(3, k=500)) == 100 - len({first, *others})


def test_the_verb_prints_what_the_function_returns(bpr: Run) -> None:
    outcome = run_command(Path(), "recommend", f"run={bpr.folder}", "user=7,3", "k=4")
    table = bpr.recommend(["7", "3"], k=4)
    printed = [[str(rank), str(item), title, f"{score:.4f}"] for _, rank, item, title, score in table.to_numpy()]
    assert table_cells(outcome.out) == printed


def test_similar_by_cosine_of_vectors(bpr: Run) -> None:
    users, items = bpr.vectors()
    for kind, similar, vectors in (("user", bpr.similar_users, users), ("item", bpr.similar_items, items)):
        directions = vectors.div(np.sqrt((vectors**2).sum(axis=1)), axis=0)
        cosine = (directions @ directions.loc[5]).drop(5).sort_values(ascending=False)
        table = similar(5, k=4)
        assert table[kind].tolist() == [5] * 4
        assert table["similar"].tolist() == cosine.index[:4].tolist()
        assert table["similarity"].to_numpy() == pytest.approx(cosine.to_numpy()[:4], rel=1e-4)


def test_similar_by_weights_between_items_and_by_sets_of_items(ease: Run, rows: pd.DataFrame) -> None:
    """The weight w_ji is what a user whose only item is j adds to the score of i; sets: n_uv / √(n_u n_v)."""
    weights = ease.model.weights.numpy()[:, 4]
    table = ease.similar_items(5, k=3)
    assert table["similarity"].to_numpy() == pytest.approx(np.sort(weights)[:-4:-1])
    assert table["similar"].tolist() == (1 + np.argsort(-weights)[:3]).tolist()
    assert list(table) == ["item", "rank", "similar", "title", "similarity"]
    known = rows.iloc[ease.data.refit_data().split.train.numpy()]  # the model knows validation rows as users' items
    sets = known.groupby("user")["item"].agg(set)
    cosine = sets.map(lambda items: len(items & sets[5]) / np.sqrt(len(items) * len(sets[5]))).drop(5)
    assert ease.similar_users(5, k=3)["similarity"].to_numpy() == pytest.approx(cosine.nlargest(3).to_numpy(), rel=1e-5)


def test_metrics_and_evaluations(bpr: Run) -> None:
    before = modification_times(bpr.folder)
    recorded = read_metrics(bpr.folder)["metrics"]
    assert bpr.metrics == recorded == bpr.evaluate()
    at_five = bpr.evaluate(["evaluation.ks=[5]", "evaluation.objective=ndcg@5"])
    assert at_five["test/ndcg@5"] == recorded["test/ndcg@5"] and "test/ndcg@10" not in at_five
    assert (
        "test/hit_rate@10" in bpr.evaluate(["sampled_99", "evaluation.n_negatives=50"])
        and bpr.config.model.embedding_dim > 0
    )
    assert modification_times(bpr.folder) == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.score([3, 5]), "frame: a list; give a data frame with the columns user and item"),
        (lambda run: run.score(pd.DataFrame({"user": [3, None], "item": 5})), "frame, row 2, column user: no value"),
        (lambda run: run.recommend(histories=[3]), "histories: a list; give a data frame with the columns user"),
        (lambda run: run.recommend(3, k=1.5), "k=1.5: a whole number from 1 on"),
        (lambda run: run.recommend(3, diversity="high"), "diversity=high: a number from 0"),
        (lambda run: run.score(pd.DataFrame({"user": [1]})), "frame: no column item; there are user: rename those"),
        (lambda run: run.recommend(3, only=["nope"]), "unknown item id nope: the data has 100 items, ids such as 1"),
        (lambda run: run.recommend([]), "no user is given: give at least one id"),
        (lambda run: run.similar_users([2], k=0), "k=0: a whole number from 1 on"),
        (lambda run: run.similar_items(2), "model Popularity has neither vectors nor weights of items, so it says"),
        (lambda run: run.similar_users(2), "model Popularity has no vectors of users, so it says nothing about which"),
        (lambda run: run.vectors(), "model Popularity does not rank by vectors of users and items: it has none"),
        (lambda run: run.evaluate("nope"), "evaluation=nope: no such choice; there are binary, full_ranking"),
        (lambda run: run.evaluate("hydra.run.dir=x"), "hydra.run.dir=x: no job is started here; leave it out"),
        (lambda run: recsweep.load(run.folder.parent), "no run of recsweep (it has no .hydra/config.yaml)"),
        (lambda run: recsweep.train(["seed=0,1"]), "seed=0,1: several values: add -m for a sweep"),
        (lambda run: recsweep.train(["-m"]), "-m: a flag of the command line; give overrides, such as model=ease"),
        (lambda run: recsweep.train([f"run={run.folder}"]), "only the command line goes on from another run or sweep"),
        (lambda run: recsweep.compose("model=ease"), "model=ease: give a list of overrides, such as ['model=ease'"),
        (lambda run: recsweep.compose(["model=easy"]), "model=easy: no such choice; there are"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(call: Callable[[Run], Any], message: str, popularity: Run) -> None:
    with pytest.raises(UserError) as mistake:
        call(popularity)
    assert message in str(mistake.value) and "\n" not in str(mistake.value)


def test_training_leaves_the_process_as_it_was(folder: Path, popularity: Run) -> None:
    """The log is closed, warnings and arguments are the user's own again."""
    assert recsweep.compose([f"model={popularity.config.name}"]).model == popularity.config.model
    files = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
    assert [file for file in files if str(folder) in file.baseFilename] == []
    assert sys.argv[0] != "recsweep"


def test_seen_items_are_recommended_where_the_evaluation_ranks_them(ease: Run) -> None:
    repeats = recsweep.load(ease.folder, ["evaluation.mask_seen=false"])
    assert repeats.recommend(3, k=5).equals(ease.recommend(3, k=5, filter_seen=False))
    assert repeats.recommend(3, k=5, filter_seen=True).equals(ease.recommend(3, k=5))
    assert not repeats.recommend(3, k=5).equals(ease.recommend(3, k=5))
