"""Coat: matrices of two users and three coats, and the real files."""

import os
from pathlib import Path

import pytest

from recsweep.data.coat import Coat
from recsweep.data.splits import Canonical
from recsweep.errors import UserError

DATA = os.environ.get("RECSWEEP_DATA_DIR")


@pytest.fixture
def coat(tmp_path: Path) -> Path:
    """As in the archive: a user a line, blanks between, 0 for no rating, lines that end as on Windows."""
    files = {
        "train.ascii": "5 0 1\r\n0 2 3\r\n",
        "test.ascii": "0 4 0\r\n1 0 0\r\n",
        "user_features.ascii": "0 1 1 0\r\n1 0 0 1\r\n",
        "user_features_map.txt": "gender:men\ngender:women\nage:20-30\nage:over 60",
        "item_features.ascii": "1 0 1\r\n0 0 1\r\n1 1 0\r\n",
        "item_features_map.txt": "color:red\ncolor:blue\nonfrontpage:yes\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def test_train_is_chosen_and_test_is_random(coat: Path) -> None:
    source = Coat(str(coat), True, "error")
    data = source.read()
    assert source.ready() and data.timestamp is None and data.rating_scale == (1, 5)
    assert list(zip(data.user.tolist(), data.item.tolist(), data.rating.tolist(), strict=True)) == [
        (0, 0, 5), (0, 2, 1), (1, 1, 2), (1, 2, 3), (0, 1, 4), (1, 0, 1)
    ]  # fmt: skip
    split = source.parts("given", data)
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 1, 2, 3], [], [4, 5])


def test_flags_of_one_value_a_row_are_categories(coat: Path) -> None:
    """No coat has the second one's color, so color is no category."""
    data = Coat(str(coat), True, "error").read()
    assert data.user_features is not None and data.item_features is not None
    users, items = data.user_features, data.item_features
    assert {name: values.tolist() for name, values in users.columns.items()} == {"gender": [1, 0], "age": [0, 1]}
    assert users.labels == {"gender": ("men", "women"), "age": ("20-30", "over 60")}
    assert items.columns["color"].tolist() == [[1, 0], [0, 0], [1, 1]]
    assert items.columns["onfrontpage"].tolist() == [[1], [1], [0]]


def test_a_train_row_that_is_in_test_is_left_out(coat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (coat / "test.ascii").write_text("5 4 0\r\n0 0 0\r\n")
    source = Coat(str(coat), True, "error")
    data = source.read()
    split = source.parts("given", data)
    assert (len(data), split.train.tolist(), split.test.tolist()) == (5, [0, 1, 2], [3, 4])
    said = " ".join(capsys.readouterr().err.split())
    assert "train.ascii: 1 of 4 rows left out, for their user and item are in" in said
    assert len(Coat(str(coat), False, "error").read()) == 4


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("test.ascii", "0 4 0\n1 0 6\n", r"test\.ascii, line 2, column rating: 6, allowed: 1 to 5"),
        ("train.ascii", "5 0 1\n0 2\n", r"train\.ascii, line 2: .*2 .*3"),
        ("user_features_map.txt", "gender:men\n", r"user_features\.ascii: 4 columns, but 1 names in user_features_map"),
        ("item_features.ascii", "1 0 1\n", r"train\.ascii, line 1, column item: unknown item 2, allowed: the 1 items"),
    ],
)
def test_mistakes_name_the_line(coat: Path, file: str, text: str, message: str) -> None:
    (coat / file).write_text(text)
    with pytest.raises(UserError, match=message):
        Coat(str(coat), True, "error").read()


def test_other_splits_divide_only_the_train_file(coat: Path, tmp_path: Path) -> None:
    source = Coat(str(coat), False, "error")
    assert len(source.read()) == 4
    with pytest.raises(UserError, match=r"^data\.with_test=false leaves out the test rows of split=given"):
        source.parts("given", source.read())
    with pytest.raises(UserError, match=r"nowhere: no such folder; put train\.ascii, .* of https://"):
        Coat(str(tmp_path / "nowhere"), True, "error").read()


@pytest.mark.real
@pytest.mark.skipif(not Path(f"{DATA}/coat").is_dir(), reason="no coat/ in RECSWEEP_DATA_DIR")
def test_the_real_files_have_the_published_counts() -> None:
    """24 chosen and 16 random ratings a user. 366 of the random coats were chosen, too, by the same user."""
    chosen = Coat(f"{DATA}/coat", False, "error").read()
    assert (chosen.n_users, chosen.n_items, len(chosen)) == (290, 300, 6_960)
    assert set(chosen.user.bincount().tolist()) == {24}
    source = Coat(f"{DATA}/coat", True, "error")
    data = source.read()
    split = Canonical("given", val_fraction=0.1, seed=0, cold_users="error")(data, source)
    assert set(data.user[split.test].bincount().tolist()) == {16}
    assert (len(split.train) + len(split.val), len(split.val), len(split.test)) == (6_960 - 366, 659, 4_640)
    assert data.user_features is not None and data.user_features.labels["gender"] == ("men", "women")
    assert data.user_features.columns["gender"][0] == 1  # 0 1 is the first line
