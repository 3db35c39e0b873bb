"""Recommendations into files, and rules about which items they may hold."""

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pa_parquet
import pytest
import torch
from rows import interactions
from shell import recsweep as run_command

from recsweep import Run, UserError
from recsweep.api.bulk import write_in_parts
from recsweep.api.recommend import Known, describe_request, make_recommender
from recsweep.api.rules import allow_items, read_item_ids
from recsweep.data.schema import Features, Interactions
from recsweep.models.new_users import NewUsers
from recsweep.sampling import group_items

pytestmark = pytest.mark.xdist_group("api")


@pytest.fixture(autouse=True)
def parts_of_seven_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsweep.api.bulk.ROWS_AT_ONCE", 7 * 5)


@pytest.mark.parametrize("name", ["recs.parquet", "recs.csv"])
def test_the_verb_writes_what_recommend_returns_for_all_users(name: str, bpr: Run, tmp_path: Path) -> None:
    assert run_command(tmp_path, "recommend", f"run={bpr.folder}", "users=all", "k=5", f"to={name}").status == 0
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    expected = bpr.recommend(bpr.data.data.user_ids.raw, k=5)
    pd.testing.assert_frame_equal(read(tmp_path / name), expected, check_exact=False, check_dtype=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "recs.parquet":
        assert pa_parquet.ParquetFile(tmp_path / name).num_row_groups == 9  # 60 users, seven at once


def test_a_killed_call_goes_on_where_it_was_unless_the_request_changes(
    bpr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to, calls, user_vectors = tmp_path / "recs.parquet", [], bpr.model.user_vectors

    def count(user: object, limit: int) -> object:
        if len(calls) == limit:
            raise KeyboardInterrupt
        calls.append(user)
        return user_vectors(user)

    monkeypatch.setattr(bpr.model, "user_vectors", lambda user: count(user, 3))
    with pytest.raises(KeyboardInterrupt):
        bpr.write_recommendations(to, k=5)
    assert not to.exists()
    monkeypatch.setattr(bpr.model, "user_vectors", lambda user: count(user, 100))
    bpr.write_recommendations(to, k=5)
    assert len(calls) == 9 and "21 of 60 users are done already" in capsys.readouterr().err
    expected = bpr.recommend(bpr.data.data.user_ids.raw, k=5)
    pd.testing.assert_frame_equal(pd.read_parquet(to), expected)

    calls.clear()
    monkeypatch.setattr(bpr.model, "user_vectors", lambda user: count(user, 3))
    with pytest.raises(KeyboardInterrupt):
        bpr.write_recommendations(to, k=5)
    monkeypatch.setattr(bpr.model, "user_vectors", user_vectors)
    bpr.write_recommendations(to, k=5, exclude=[1, 2])
    assert not set(pd.read_parquet(to)["item"]) & {1, 2}


def test_every_part_of_a_request_counts(tmp_path: Path) -> None:
    for name in ("a", "b"):
        best = tmp_path / name / "checkpoints" / "best.ckpt"
        best.parent.mkdir(parents=True)
        best.touch()
        os.utime(best, (1, 1))
    users, is_allowed = torch.arange(3), torch.ones(4)
    asked = (tmp_path / "a", 5, None, 0.0, users, is_allowed)
    request = describe_request(*asked)
    assert describe_request(*asked) == request
    for position, other in enumerate((tmp_path / "b", 6, False, 0.3, users[:2], 1 - is_allowed)):
        assert describe_request(*asked[:position], other, *asked[position + 1 :]) != request
    os.utime(tmp_path / "a" / "checkpoints" / "best.ckpt", (2, 2))
    assert describe_request(*asked) != request


def test_a_file_skips_users_whose_items_all_score_the_same() -> None:
    """User 10 has seen item 20, and user 11 item 21; 23 is left out. The second user's first and last are equal."""
    rows, scores = interactions([(0, 0, 3.0), (1, 1, 3.0)], 2, 4), torch.tensor([[1.0] * 4, [1.0, 2.0, 3.0, 1.0]])
    known = Known(rows, group_items(rows.user, rows.item, 2, 4), NewUsers(lambda user: scores[user]))
    asked = (known, 5, torch.tensor([True, True, True, False]), torch.device("cpu"))
    table = make_recommender(*asked, skips_constant=True)(torch.arange(2))
    assert table.to_numpy().tolist() == [[11, 1, 22, 3.0], [11, 2, 20, 1.0]]
    with pytest.raises(UserError, match=r"^user=10: the model gives every item the same score"):
        make_recommender(*asked)(torch.arange(2))


def test_parts_without_rows(tmp_path: Path) -> None:
    """Of 14 users, in two parts, the first seven get none."""
    table = pd.DataFrame({"user": range(7, 14), "title": list("abcdefg"), "score": 0.5})
    path = tmp_path / "recs.parquet"
    write_in_parts(path, torch.arange(14), 5, {}, lambda user: table[table["user"].isin(user.tolist())].astype(object))
    assert pd.read_parquet(path).astype(table.dtypes).equals(table)


@pytest.fixture
def labelled() -> Interactions:
    """Three items: the colours red, blue, blue, and the genres Horror; none; Horror and Drama."""
    genres = torch.tensor([[0.5, 0.0], [0.0, 0.0], [1.0, 1.0]])
    columns = {"colour": torch.tensor([0, 1, 1]), "genres": genres, "year": torch.ones(3)}
    features = Features(columns, {"colour": ("red", "blue"), "genres": ("Horror", "Drama")})
    return replace(interactions([(0, 0, 3.0)], n_users=1, n_items=3), item_features=features)


@pytest.mark.parametrize(
    ("conditions", "allowed"),
    [
        (["genres=Horror"], [True, False, True]),
        (["genres!=Horror"], [False, True, False]),
        (["colour=blue"], [False, True, True]),
        (["colour!=red", "genres!=Drama"], [False, True, False]),
    ],
)
def test_conditions_on_features(conditions: list[str], allowed: list[bool], labelled: Interactions) -> None:
    assert allow_items(labelled, None, None, conditions).tolist() == allowed


def test_some_items_without_others(labelled: Interactions) -> None:
    assert allow_items(labelled, [20, 22], 22, []).tolist() == [True, False, False]
    assert allow_items(labelled, [20, 22], None, ["genres!=Drama"]).tolist() == [True, False, False]
    assert allow_items(labelled, None, [20], []).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("genres", "filter genres: write FEATURE=LABEL or FEATURE!=LABEL"),
        ("size=big", "no item feature size that has labels; .* has colour, genres"),
        ("year=1990", "no item feature year that has labels"),
        ("colour=green", "colour has no label green; there are red, blue"),
    ],
)
def test_a_wrong_condition_is_refused(condition: str, message: str, labelled: Interactions) -> None:
    with pytest.raises(UserError, match=message):
        allow_items(labelled, None, None, [condition])


def test_ids_in_files(tmp_path: Path) -> None:
    for name, text in {"list.txt": "7\n3\n", "one.csv": "item\n7\n3\n", "two.csv": "n,item\n1,7\n2,3\n"}.items():
        (tmp_path / name).write_text(text)
        assert read_item_ids(tmp_path / name) == [7, 3]
    pd.DataFrame({"movie": ["b", "a"]}).to_parquet(tmp_path / "ids.parquet")
    assert read_item_ids(tmp_path / "ids.parquet") == ["b", "a"]
    pd.DataFrame({"n": [1, 2, 3], "item": ["b", None, "a"]}).to_parquet(tmp_path / "two.parquet")
    assert read_item_ids(tmp_path / "two.parquet") == ["b", "a"]
    (tmp_path / "none.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column item; the file has a, b"):
        read_item_ids(tmp_path / "none.csv")


def test_the_verb_reads_only_and_exclude_from_files(bpr: Run, tmp_path: Path) -> None:
    (tmp_path / "only.csv").write_text("item\n" + "\n".join(map(str, range(1, 51))))
    (tmp_path / "without.txt").write_text("1\n2\n")
    words = ["user=3,7", "k=5", "to=r.csv", "only=only.csv", "exclude=without.txt"]
    assert run_command(tmp_path, "recommend", f"run={bpr.folder}", *words).status == 0
    expected = bpr.recommend([3, 7], k=5, only=range(1, 51), exclude=[1, 2])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "r.csv"), expected, check_exact=False, check_dtype=False)
