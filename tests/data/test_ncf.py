"""The leave-one-out files of Neural Collaborative Filtering, tiny ones and, if available, the real ones."""

import os
from pathlib import Path

import pytest
import torch

from recsweep.data.ncf import NCFMovieLens1M
from recsweep.errors import UserError

DATA = os.environ.get("RECSWEEP_DATA_DIR")


@pytest.fixture
def ncf(tmp_path: Path) -> Path:
    folder = tmp_path / "ncf-ml-1m"
    folder.mkdir()
    # User 0 has two rows with the same timestamp; the later one in the file is validation. User 2 has one train row.
    (folder / "ml-1m.train.rating").write_text(
        "0\t0\t5\t50\n0\t1\t3\t60\n0\t2\t4\t60\n1\t0\t1\t9\n1\t3\t2\t8\n2\t1\t3\t5\n"
    )
    (folder / "ml-1m.test.rating").write_text("0\t3\t5\t70\n1\t1\t3\t10\n2\t0\t4\t6\n")
    negatives = ["\t".join(str(item) for item in [first] * 98 + [2]) for first in (1, 2, 3)]
    pairs = ["(0,3)", "(1,1)", "(2,0)"]
    lines = [f"{pair}\t{negative}\n" for pair, negative in zip(pairs, negatives, strict=True)]
    (folder / "ml-1m.test.negative").write_text("".join(lines))
    return folder


def test_parts_and_candidates(ncf: Path) -> None:
    source = NCFMovieLens1M(str(ncf), True, "error")
    data = source.read()
    assert source.ready() and len(data) == 9
    split = source.parts("given", data)
    assert split.test.tolist() == [6, 7, 8]
    assert split.val.tolist() == [2, 3]  # the latest row of user 1 comes first in the file
    assert split.train.tolist() == [0, 1, 4, 5]
    assert split.candidates is not None and split.candidates.shape == (3, 99)
    assert split.candidates[:, 0].tolist() == [1, 2, 3] and split.candidates[:, 98].tolist() == [2, 2, 2]


def test_without_test_rows(ncf: Path) -> None:
    """The six train rows of all three users, for other splits than the published one."""
    source = NCFMovieLens1M(str(ncf), False, "error")
    data = source.read()
    assert list(zip(data.user.tolist(), data.item.tolist(), data.rating.tolist(), strict=True)) == [
        (0, 0, 5), (0, 1, 3), (0, 2, 4), (1, 0, 1), (1, 3, 2), (2, 1, 3)
    ]  # fmt: skip
    with pytest.raises(
        UserError, match=r"^data\.with_test=false leaves out the test rows of split=given: choose another"
    ):
        source.parts("given", data)


def test_negatives_of_another_test_row(ncf: Path) -> None:
    path = ncf / "ml-1m.test.negative"
    path.write_text(path.read_text().replace("(1,1)", "(1,2)"))
    source = NCFMovieLens1M(str(ncf), True, "error")
    with pytest.raises(UserError, match=r"test\.negative, line 2: \(1,2\), allowed: \(1,1\) as in .*rating, line 2"):
        source.parts("given", source.read())


def test_a_mistake_in_the_test_file_names_that_file(ncf: Path) -> None:
    (ncf / "ml-1m.test.rating").write_text("0\t3\t5\t70\n1\t1\t9\t10\n2\t0\t4\t6\n")
    with pytest.raises(UserError, match=r"ml-1m\.test\.rating, line 2, column rating: 9, allowed: 1 to 5"):
        NCFMovieLens1M(str(ncf), True, "error").read()


def test_parts_that_overlap(ncf: Path) -> None:
    """`duplicates=error` names the lines when it reads them; the other policies would merge them."""
    path = ncf / "ml-1m.test.rating"
    path.write_text(path.read_text().replace("1\t1\t3\t10", "1\t0\t1\t9"))
    with pytest.raises(
        UserError, match=r"test\.rating, line 2: user 1 and item 0 are already in .*train\.rating, line 4"
    ):
        NCFMovieLens1M(str(ncf), True, "error").read()
    source = NCFMovieLens1M(str(ncf), True, "last")
    with pytest.raises(UserError, match=r"test\.rating, line 2: this user and item are in .*train\.rating, line 4 too"):
        source.parts("given", source.read())


def test_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; put the ml-1m\.\* files of https://"):
        NCFMovieLens1M(str(tmp_path / "nowhere"), True, "error").read()


@pytest.mark.real
@pytest.mark.skipif(DATA is None, reason="RECSWEEP_DATA_DIR is unset, so no real data")
def test_the_real_files_have_the_published_counts() -> None:
    source = NCFMovieLens1M(f"{DATA}/ncf-ml-1m", True, "error")
    data = source.read()
    split = source.parts("given", data)
    assert (data.n_users, data.n_items, len(data)) == (6040, 3706, 1_000_209)
    assert split.candidates is not None and split.candidates.shape == (6040, 99)
    assert (len(split.train), len(split.val), len(split.test)) == (1_000_209 - 2 * 6040, 6040, 6040)
    pair = data.user * data.n_items + data.item
    negative = data.user[split.test][:, None] * data.n_items + split.candidates
    assert int(torch.isin(negative, pair).sum()) == 156
