"""RecBole's atomic files."""

from pathlib import Path
from typing import Any

import pytest

from recsweep.data.recbole import RecBole
from recsweep.data.splits import Canonical
from recsweep.errors import UserError

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ROWS = ["196\t242\t3\t881250949\n", "186\t302\t3\t891717742\n", "196\t302\t1\t881250950\n", "22\tB07\t4.5\t878887116\n"]


def recbole(folder: Path, **changes: Any) -> RecBole:
    """The data set `d` of a folder, with the defaults of conf/data/base/recbole.yaml."""
    settings = {
        "name": "d", "user": "user_id", "item": "item_id", "rating": None, "timestamp": None, "item_title": None,
        "duplicates": "error", "time_unit": None,
    }  # fmt: skip
    return RecBole(folder=str(folder), **(settings | changes))


def test_interactions_alone(tmp_path: Path) -> None:
    """Users 22, 186, 196 and items 242, 302, B07; quotes are text."""
    (tmp_path / "d.inter").write_text(INTER + "".join(ROWS) + '22\t"x\t1\t878887117\n')
    source = recbole(tmp_path)
    data = source.read()
    assert source.ready() and data.name == "d"
    assert data.user_ids.raw.tolist() == [22, 186, 196] and data.item_ids.raw.tolist() == ["242", "302", '"x', "B07"]
    assert data.user.tolist() == [2, 1, 2, 0, 0] and data.item.tolist() == [0, 1, 1, 3, 2]
    assert data.rating.tolist() == [3, 3, 1, 4.5, 1] and data.rating_scale == (1, 4.5)
    assert data.timestamp is not None and data.timestamp[:2].tolist() == [881250949, 891717742]
    assert data.user_features is None and data.item_titles is None


def test_features_by_type(tmp_path: Path) -> None:
    """Item 242 is not in the item file, item 9 has no interactions; a missing number is the mean of 10 and 20."""
    (tmp_path / "d.inter").write_text(INTER + "".join(ROWS))
    (tmp_path / "d.user").write_text("user_id:token\tage:token\tgender:token\n22\t24\tM\n196\t\tF\n186\t53\tF\n")
    (tmp_path / "d.item").write_text(
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\tprice:float\tvector:float_seq\n"
        "302\tToy Story\tAnimation Comedy\t10\t0.5 1.5\nB07\tHeat\tAction\t20\t2\n9\tBox\t\t\t\n"
    )
    data = recbole(tmp_path).read()
    assert data.item_ids.raw.tolist() == ["9", "242", "302", "B07"]
    assert data.item_titles == ("Box", "", "Toy Story", "Heat")
    assert data.item.tolist() == [1, 2, 2, 3]
    assert data.user_features is not None and data.item_features is not None
    users, items = data.user_features, data.item_features
    assert users.labels == {"age": ("24", "53", "unknown"), "gender": ("F", "M")}
    assert users.columns["age"].tolist() == [0, 1, 2]  # users 22, 186, 196
    assert items.labels == {"class": ("Action", "Animation", "Comedy"), "vector": ("1", "2")}
    assert items.columns["class"].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert items.columns["price"].tolist() == [15, 15, 10, 20]
    assert items.columns["vector"].tolist() == [[0, 0], [0, 0], [0.5, 1.5], [2, 0]]
    assert recbole(tmp_path, item_title="class").read().item_titles == ("", "", "Animation Comedy", "Action")


def test_without_ratings_and_times(tmp_path: Path) -> None:
    (tmp_path / "d.inter").write_text("user_id:token\tartist_id:token\tweight:float\n2\t51\t13883\n2\t52\t11690\n")
    data = recbole(tmp_path, item="artist_id").read()
    assert data.timestamp is None and data.rating.tolist() == [1, 1] and data.rating_scale == (0, 1)
    assert recbole(tmp_path, item="artist_id", rating="weight").read().rating.tolist() == [13883, 11690]


def write_parts(folder: Path, **rows: list[str]) -> None:
    for part, lines in rows.items():
        (folder / f"d.{part}.inter").write_text(INTER + "".join(lines))


def test_parts_alone(tmp_path: Path) -> None:
    """The third file's ids are text, those of the others whole numbers; 242 is one item in all."""
    write_parts(tmp_path, train=ROWS[:2], valid=ROWS[2:3], test=[ROWS[3], "22\t242\t5\t1\n"])
    source = recbole(tmp_path)
    data = source.read()
    assert source.ready() and data.item_ids.raw.tolist() == ["242", "302", "B07"]
    assert data.user.tolist() == [2, 1, 2, 0, 0] and data.item.tolist() == [0, 1, 1, 2, 0]
    split = Canonical("given", val_fraction=0.1, seed=0, cold_users="keep")(data, source)
    assert [part.tolist() for part in split[:3]] == [[0, 1], [2], [3, 4]]
    (tmp_path / "d.test.inter").write_text(INTER + ROWS[3] + "22\t242\t\t1\n")
    with pytest.raises(UserError, match=r"d\.test\.inter, line 3, column rating:float: missing"):
        source.read()
    (tmp_path / "d.valid.inter").write_text(INTER + "196\t302\t\t1\n")
    with pytest.raises(UserError, match=r"d\.valid\.inter, line 2, column rating:float: missing"):
        source.read()


def test_parts_of_all_interactions(tmp_path: Path) -> None:
    """The parts are rows of d.inter, here without a validation part."""
    (tmp_path / "d.inter").write_text(INTER + "".join(ROWS))
    with pytest.raises(UserError, match=r"no d\.train\.inter and d\.test\.inter for split=given: choose another$"):
        recbole(tmp_path).parts("given", recbole(tmp_path).read())
    write_parts(tmp_path, train=ROWS[2:], test=ROWS[:1])
    split = recbole(tmp_path).parts("given", recbole(tmp_path).read())
    assert [part.tolist() for part in split[:3]] == [[2, 3], [], [0]]


@pytest.mark.parametrize(("first", "second"), [("train", "valid"), ("train", "test"), ("valid", "test")])
def test_parts_that_overlap(tmp_path: Path, first: str, second: str) -> None:
    """`duplicates=error` refuses the pair when it is read, the other policies when the parts are made."""
    parts = {"train": ROWS[:1], "valid": ROWS[2:3], "test": ROWS[3:]}
    write_parts(tmp_path, **(parts | {first: ROWS[1:2], second: ROWS[1:2]}))
    lines = rf"d\.{second}\.inter, line 2: .* in .*d\.{first}\.inter, line 2"
    with pytest.raises(UserError, match=lines):
        recbole(tmp_path).read()
    source = recbole(tmp_path, duplicates="last")
    with pytest.raises(UserError, match=lines):
        source.parts("given", source.read())


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user_id\titem_id", r"line 1: 'user_id', allowed: column:type with tabs between, type token, token_seq"),
        ("uid:token\titem_id:token", r"no column user_id, allowed for data\.user: uid, item_id$"),
        ("user_id:token\titem_id_list:token_seq\titem_id:token", r"column item_id_list holds histories, allowed: one"),
    ],
)
def test_headers_of_another_kind(tmp_path: Path, header: str, message: str) -> None:
    (tmp_path / "d.inter").write_text(f"{header}\n1\t2\n")
    with pytest.raises(UserError, match=rf"d\.inter.*{message}"):
        recbole(tmp_path).read()


def test_no_files(tmp_path: Path) -> None:
    assert not recbole(tmp_path).ready()
    with pytest.raises(UserError, match=r"d\.inter: no such file, and no d\.train\.inter; get the files at https://"):
        recbole(tmp_path).read()
