"""`user item` a line (SASRec) and `user item item …` a line (S3-Rec): small files, and the real ones."""

import gzip
import os
from pathlib import Path

import pytest

from recsweep.data.sequence_text import SequenceText
from recsweep.data.splits import LeaveLastOut
from recsweep.errors import UserError

DATA = os.environ.get("RECSWEEP_DATA_DIR")
needs_data = pytest.mark.skipif(DATA is None, reason="RECSWEEP_DATA_DIR is unset, so no real data")


def rows(source: SequenceText) -> list[tuple[str, str, int]]:
    """Raw user, raw item and time of each row."""
    data = source.read()
    assert data.timestamp is not None
    user, item = (ids.decode(column) for ids, column in ((data.user_ids, data.user), (data.item_ids, data.item)))
    return list(zip(map(str, user), map(str, item), data.timestamp.tolist(), strict=True))


HISTORIES = [("2", "30", 0), ("2", "4", 1), ("2", "5", 2), ("1", "4", 0), ("1", "30", 1), ("1", "9", 2)]


@pytest.mark.parametrize(
    "text",
    [
        "2 30\n2 4\n2 5\n1 4\n1 30\n1 9\n",
        "2\t30\r\n2\t4\r\n2\t5\r\n1\t4\r\n1\t30\r\n1\t9",
        "2 30 4 5\n1 4 30 9",
        "\ufeff2 30 4 5 \r\n\r\n1\t4  30 9\r\n",
    ],
    ids=["SASRec", "SASRec with tabs", "S3-Rec", "S3-Rec with odd blanks"],
)
def test_the_position_is_the_time(tmp_path: Path, text: str) -> None:
    """Users in file order, items in theirs; the last item of each is test, the one before it validation."""
    (tmp_path / "a.txt").write_bytes(text.encode())
    source = SequenceText(str(tmp_path / "a.txt"), "error")
    assert source.ready() and rows(source) == HISTORIES
    data = source.read()
    split = LeaveLastOut()(data, source)
    assert [part.tolist() for part in split[:3]] == [[0, 3], [1, 4], [2, 5]]
    assert data.rating_scale == (0, 1) and data.rating.tolist() == [1] * 6


def test_rows_of_users_may_alternate(tmp_path: Path) -> None:
    """Positions count the user's own rows; `007` and `7` are two users."""
    with gzip.open(tmp_path / "a.txt.gz", "wt") as file:
        file.write("007 a\n7 b\n007 b\n7 a\n")
    source = SequenceText(str(tmp_path / "a.txt.gz"), "error")
    assert rows(source) == [("007", "a", 0), ("7", "b", 0), ("007", "b", 1), ("7", "a", 1)]


@pytest.mark.parametrize("text", ["1 8\n1 9\n1 8\n2 8\n", "1 8 9 8\n2 8\n"], ids=["SASRec", "S3-Rec"])
def test_repeated_items(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match=r"a\.txt, line \d: user 1 and item 8 are already in .*data\.duplicates=last"):
        SequenceText(str(tmp_path / "a.txt"), "error").read()
    assert rows(SequenceText(str(tmp_path / "a.txt"), "last")) == [("1", "9", 1), ("1", "8", 2), ("2", "8", 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 8 9\n\n2\n", r"a\.txt, line 3: '2', allowed: user item item …$"),
        ("1 8 5 978\n2 8 3 979\n1 9 4 980\n", r"line 3: user 1 already has .*a\.txt, line 1, .*columns is data=table$"),
        ("1 8\n2\n", r"a\.txt, line 2: '2', allowed: user item item …$"),
        ("\n\n", r"a\.txt: the file has no rows$"),
    ],
)
def test_lines_that_are_no_histories(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        SequenceText(str(tmp_path / "a.txt"), "error").read()


@pytest.mark.real
@needs_data
@pytest.mark.parametrize(
    ("file", "counts"),
    [("beauty/Beauty.txt", (22_363, 12_101, 198_502)), ("ml-1m-order/ml-1m.txt", (6_040, 3_416, 999_611))],
)
def test_the_real_files_have_the_published_counts(file: str, counts: tuple[int, int, int]) -> None:
    path = Path(f"{DATA}/{file}")
    if not path.is_file():
        pytest.skip(f"no {path}")
    source = SequenceText(str(path), "error")
    data = source.read()
    assert (data.n_users, data.n_items, len(data)) == counts
    split = LeaveLastOut()(data, source)
    assert len(split.test) == len(split.val) == data.n_users
