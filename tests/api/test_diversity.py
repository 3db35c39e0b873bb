"""Lists whose items differ: by hand, and by loops over the vectors, or the users, of items."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from shell import recsweep as run_command

from recsweep import Run, UserError
from recsweep.api.diversity import rerank

pytestmark = pytest.mark.xdist_group("api")

SCORES = [9.0, 8.0, 5.0, 1.0]
"""Relevance 1, 7/8, 4/8, 0."""
SIMILARITY = [[1.0, 0.9, 0.0, 0.0], [0.9, 1.0, 0.0, 0.1], [0.0, 0.0, 1.0, 0.4], [0.0, 0.1, 0.4, 1.0]]


@pytest.mark.parametrize(
    ("diversity", "expected"),
    [
        (0.0, [0, 1, 2, 3]),
        (0.25, [0, 1, 2, 3]),  # 3/4 · 7/8 - 1/4 · 0.9 = 0.431 > 3/4 · 4/8 = 0.375
        (0.5, [0, 2, 1, 3]),  # 7/16 - 0.45 < 4/16; then 7/16 - 0.45 = -0.0125 > 0 - 0.2
        (0.75, [0, 2, 3, 1]),  # 1/8; then 7/32 - 0.675 = -0.456 < 0 - 0.3
        (1.0, [0, 2, 3, 1]),  # columns 2 and 3 are alike: the first; then -0.9 < -0.4
    ],
)
def test_one_list_by_hand(diversity: float, expected: list[int]) -> None:
    similarity = torch.tensor([SIMILARITY, torch.eye(4).tolist()])
    columns = rerank(torch.tensor([SCORES, SCORES]), similarity, 4, diversity)
    assert columns.tolist() == [expected, [0, 1, 2, 3]]
    assert rerank(torch.tensor([SCORES]), similarity[:1], 2, diversity).tolist() == [expected[:2]]


def test_items_that_do_not_count_come_last() -> None:
    """Relevance 1, 0 of two candidates, the worst of which is alike; all equal in the second row."""
    scores = torch.tensor([[9.0, 8.0, -torch.inf, -torch.inf], [2.0, 2.0, 2.0, 2.0]])
    assert rerank(scores, torch.tensor([SIMILARITY] * 2), 3, 0.9).tolist() == [[0, 1, 2], [0, 2, 3]]


def choose_by_loops(scores: np.ndarray, similarity: np.ndarray, k: int, diversity: float) -> list[int]:
    relevance = (scores - scores.min()) / (scores.max() - scores.min())
    chosen = [0]
    while len(chosen) < k:
        left = [i for i in range(len(scores)) if i not in chosen]
        values = [(1 - diversity) * relevance[i] - diversity * max(similarity[i, j] for j in chosen) for i in left]
        chosen.append(left[int(np.argmax(values))])
    return chosen


@pytest.mark.parametrize("name", ["bpr", "ease"])
def test_lists_of_a_run(name: str, request: pytest.FixtureRequest) -> None:
    """By the cosine of vectors, or of the sets of users in the rows that the model knows; of the 10 k best items."""
    run: Run = request.getfixturevalue(name)
    if name == "bpr":
        vectors = run.vectors().items
    else:
        rows = run.data.refit_data().train
        has_item = np.zeros((rows.n_items, rows.n_users))
        has_item[rows.item, rows.user] = 1
        vectors = pd.DataFrame(has_item, index=run.data.data.item_ids.raw)
    plain, lists = (run.recommend([3, 7], k, diversity=d, exclude=[9]) for k, d in ((40, 0.0), (4, 0.6)))
    assert not lists.equals(run.recommend([3, 7], 4, exclude=[9])) and list(lists["rank"]) == [1, 2, 3, 4] * 2
    for user, candidates in plain.groupby("user"):
        own = vectors.loc[candidates["item"]].to_numpy()
        own = own / np.linalg.norm(own, axis=1).clip(1e-9)[:, None]
        expected = candidates.iloc[choose_by_loops(candidates["score"].to_numpy(), own @ own.T, 4, 0.6)]
        given = lists[lists["user"] == user]
        assert given["item"].tolist() == expected["item"].tolist()
        assert given["score"].to_numpy() == pytest.approx(expected["score"].to_numpy())


def test_files_and_new_users_have_such_lists_as_well(bpr: Run, tmp_path: Path) -> None:
    words = [f"run={bpr.folder}", "user=3,7", "k=4", "diversity=0.6", "to=diverse.csv"]
    assert run_command(tmp_path, "recommend", *words).status == 0
    expected = bpr.recommend([3, 7], 4, diversity=0.6)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "diverse.csv"), expected, check_exact=False, check_dtype=False)
    histories = pd.DataFrame({"user": "ann", "item": [5, 12, 90]})
    plain, diverse = (set(bpr.recommend(histories=histories, k=4, diversity=d)["item"]) for d in (0.0, 0.9))
    assert plain != diverse <= set(bpr.recommend(histories=histories, k=40)["item"])


def test_what_cannot_be_is_refused(bpr: Run, popularity: Run) -> None:
    with pytest.raises(UserError, match=r"^diversity: model Popularity has neither vectors nor weights of items"):
        popularity.recommend(3, diversity=0.5)
    with pytest.raises(UserError, match=r"^diversity=1.5: a number from 0"):
        bpr.recommend(3, diversity=1.5)
    assert popularity.recommend(3, diversity=0).equals(popularity.recommend(3))
    outcome = run_command(Path(), "recommend", f"run={bpr.folder}", "user=3", "diversity=much")
    assert outcome.status == 2 and "diversity=much: a number from 0" in outcome.err
