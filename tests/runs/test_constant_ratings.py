"""Where all ratings are the same, nothing can be learned or judged about them: one line, before training."""

from pathlib import Path

import pytest
from shell import recsweep

ROWS = [(user, item) for user in range(5) for item in range(4)]


@pytest.mark.parametrize(
    "words",
    [
        ("model=biased_mf",),
        ("model=biased_mf", "evaluation=full_ranking"),
        ("model=means",),
        ("model=multitask",),
        ("model=means", "data.rating=r"),
    ],
)
def test_ratings_without_differences_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "t.csv").write_text("user,item,r\n" + "".join(f"{user},{item},3\n" for user, item in ROWS))
    outcome = recsweep(
        tmp_path, "train", "data=table", "data.path=t.csv", "data.rating=null", "split.cold_users=keep", *words
    )
    assert outcome.status == 2
    constant = 3 if "data.rating=r" in words else 1
    assert f"every rating of table is {constant}, so anything predicts it without error: evaluation=" in outcome.err


def test_rankings_of_such_data_are_made(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in ROWS))
    words = ("train", "data=table", "data.path=t.csv", "data.rating=null", "split.cold_users=keep")
    outcome = recsweep(tmp_path, *words, "model=popularity", "evaluation.ks=[1]", "evaluation.objective=mrr")
    assert outcome.status == 0, outcome.err
