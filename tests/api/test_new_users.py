"""Recommendations for users who were not in training, from a data frame and from a file."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from shell import recsweep as run_command
from shell import table_cells

from recsweep import Run, UserError
from recsweep.api.histories import read_file, read_histories
from recsweep.data.schema import Interactions
from recsweep.models.new_users import NewUsers

pytestmark = pytest.mark.xdist_group("api")


@pytest.fixture(scope="module")
def history(ease: Run) -> pd.DataFrame:
    """What the model knows of users 7 and 3, the rows of train and validation, under other names."""
    train, ids = ease.data.refit_data().train, ease.data.data
    rows = pd.DataFrame({"user": ids.user_ids.decode(train.user), "item": ids.item_ids.decode(train.item)})
    return pd.concat([rows[rows["user"] == 7].assign(user="ann"), rows[rows["user"] == 3].assign(user="bob")])


@pytest.mark.parametrize("filter_seen", [None, False])
def test_a_new_user_gets_what_a_user_in_training_with_the_same_rows_gets(
    filter_seen: bool | None, ease: Run, history: pd.DataFrame
) -> None:
    options = {"k": 5, "only": range(1, 81), "exclude": [12, 40]}
    table = ease.recommend(histories=history, filter_seen=filter_seen, **options)
    assert list(table) == ["user", "rank", "item", "title", "score"]
    assert table["user"].tolist() == ["ann"] * 5 + ["bob"] * 5
    for old, name in ((7, "ann"), (3, "bob")):
        seen = set() if filter_seen is False else set(history.loc[history["user"] == name, "item"])
        items = [item for item in range(1, 81) if item not in {12, 40} | seen]
        scores = ease.score(pd.DataFrame({"user": old, "item": items})).set_axis(items).nlargest(5)
        own = table[table["user"] == name]
        assert own["item"].tolist() == scores.index.tolist()
        assert own["score"].to_numpy() == pytest.approx(scores.to_numpy(), rel=1e-4)


def test_the_verb_reads_a_file_and_prints_what_the_function_returns(
    ease: Run, history: pd.DataFrame, tmp_path: Path
) -> None:
    ann = history.loc[history["user"] == "ann", ["item"]].astype(str)
    pd.concat([pd.DataFrame({"item": ["none"]}), ann]).assign(more="x").to_csv(tmp_path / "h.csv", index=False)
    outcome = run_command(tmp_path, "recommend", f"run={ease.folder.resolve()}", "history=h.csv", "k=4")
    table = ease.recommend(histories=ann.assign(user="new"), k=4)
    printed = [[str(rank), str(item), title, f"{score:.4f}"] for _, rank, item, title, score in table.to_numpy()]
    assert table_cells(outcome.out) == printed and "user new" in outcome.out
    assert outcome.err == f"histories: 1 of {len(ann) + 1} rows have an item that the run does not know\n"
    for words, message in (
        ("history=h.csv index=Flat", "index=Flat: new users have no vectors in embeddings/; leave it out"),
        (
            "history=h.csv user=3",
            "for whom? give user=ID, or several separated by commas, or users=all to=FILE, or history=FILE of new",
        ),
        ("history=h.csv to=recs.csv", "to=FILE takes users of the run; leave it out with history=FILE"),
        ("history=nope.csv", "nope.csv: no such file"),
    ):
        refused = run_command(tmp_path, "recommend", f"run={ease.folder.resolve()}", *words.split())
        assert refused.status == 2 and refused.err.startswith(f"recsweep: {message}")


def test_the_verb_prints_a_table_for_each_user_and_keeps_the_rules(ease: Run, tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("user,item\nbob,5\nann,6\n")
    (tmp_path / "only.txt").write_text("7\n")
    run = f"run={ease.folder.resolve()}"
    out = run_command(tmp_path, "recommend", run, "history=h.csv", "only=only.txt").out
    assert [row[:2] for row in table_cells(out)] == [["1", "7"]] * 2
    assert 0 <= out.find("user bob") < out.find("user ann")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"user": [1]}, "histories: no column item; there are user: name the columns user, item, rating, timestamp"),
        ({"user": [], "item": []}, "histories: no rows"),
        ({"user": [1], "item": ["x"]}, "histories: x and all other items are unknown; the data have ids such"),
        ({"user": [1, None], "item": [1, 2]}, "histories, row 2, column user: no value; leave the row out"),
        ({"user": [1, 1, ""], "item": [1, 2, 3]}, "histories, row 3, column user: no value; leave the row out"),
        ({"user": [[1], [2]], "item": [1, 2]}, "histories, column user: not ids (setting an array element"),
        ({"user": [1], "item": [1], "rating": ["good"]}, "histories, column rating: not numbers (could not convert"),
        ({"user": [1], "item": [1], "timestamp": ["soon"]}, "histories, row 1, column timestamp: "),
        ({"user": [1], "item": [1], "timestamp": [[3]]}, "histories, row 1, column timestamp: a value of type list"),
        ({"user": [1, 1], "item": [1, 2], "timestamp": ["2020", 3]}, "histories, column timestamp: no times of one"),
        (
            {"user": [1, 1], "item": [1, 2], "timestamp": [10**9, 10**15]},
            "histories, row 2, column timestamp: 1e+15 is microseconds, but 1000000000 is seconds in row 1; allowed:",
        ),
    ],
)  # fmt: skip
def test_wrong_histories_are_one_line(frame: dict[str, list[object]], message: str, ease: Run) -> None:
    with pytest.raises(UserError) as mistake:
        ease.recommend(histories=pd.DataFrame(frame))
    assert str(mistake.value).startswith(message) and "\n" not in str(mistake.value)


def test_the_model_is_told_what_it_learned_from(ease: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of train alone: the run was not refitted."""
    given: list[Interactions] = []

    def fold_in(rows: Interactions, train: Interactions) -> NewUsers:
        given.append(train)
        return NewUsers(ease.model.score_all)

    monkeypatch.setattr(ease.model, "fold_in", fold_in)
    ease.recommend(histories=pd.DataFrame({"user": [1], "item": [1]}))
    assert torch.equal(given[0].user, ease.data.train.user)


def test_a_column_that_stands_twice_is_refused(ease: Run) -> None:
    with pytest.raises(UserError, match="histories: 2 columns are called item; allowed: one"):
        ease.recommend(histories=pd.DataFrame([[1, 5, 6]], columns=["user", "item", "item"]))


def test_the_rows_of_a_file_become_interactions(ease: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Users in the order in which they appear; the rows of items x and y are left out, and with them user c."""
    rows = ["b,5,4,30", "a,x,1,10", "a,7,2.5,20", "c,y,3,40"]
    (tmp_path / "h.csv").write_text("\n".join(["user,item,rating,timestamp", *rows]))
    frame, data = read_file(tmp_path / "h.csv"), ease.data.data
    history = read_histories(frame, data)
    assert capsys.readouterr().err == (
        "histories: 2 of 4 rows have an item that the run does not know; left out are users without other rows: 1\n"
    )
    assert history.user_ids.raw.tolist() == ["b", "a"] and history.user.tolist() == [0, 1]
    assert data.item_ids.decode(history.item).tolist() == [5, 7] and history.rating.tolist() == [4, 2.5]
    assert history.timestamp is not None and history.timestamp.tolist() == [30, 20]
    assert history.rating_scale == data.rating_scale
    unrated = read_histories(frame[["user", "item"]], data)
    assert unrated.rating.isnan().all() and unrated.timestamp is None


def test_users_or_histories(ease: Run, history: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="for whom"):
        ease.recommend()
    with pytest.raises(UserError, match="users and histories: give one of them"):
        ease.recommend(3, histories=history)
