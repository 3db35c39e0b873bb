"""The MovieLens readers on tiny files in the format of each release, and on the real files if available."""

import os
from pathlib import Path

import pytest
import torch

from recsweep.data.movielens import ML1M, ML10M, ML20M, ML25M, ML32M, ML100K, MLLatestSmall
from recsweep.errors import UserError

DATA = os.environ.get("RECSWEEP_DATA_DIR")
real = [
    pytest.mark.real,
    pytest.mark.skipif(DATA is None, reason="RECSWEEP_DATA_DIR is unset, so no real data"),
]


def write(folder: Path, encoding: str = "utf-8", **files: str) -> Path:
    """Writes files named by keyword: `u_data` is u.data, `ratings_dat` ratings.dat."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding)
    return folder


@pytest.fixture
def ml_100k(tmp_path: Path) -> Path:
    return write(
        tmp_path / "ml-100k",
        encoding="latin-1",
        u_data="7\t20\t3\t100\n2\t10\t5\t90\n2\t20\t1\t80\n",
        u_user="2|30|F|writer|T8H1N\n7|25|M|artist|01234\n9|25|M|writer|55105\n",
        u_genre="unknown|0\nAction|1\nComedy|2\n\n",
        u_item=(
            "20|unknown||||1|0|0\n"
            "10|Café Noir (1994)|01-Feb-1994||http://x|0|1|1\n"
            "30|Unrated (1990)|01-Jan-1990||http://y|0|0|1\n"
        ),
        u1_base="2\t20\t1\t80\n7\t20\t3\t100\n",
        u1_test="2\t10\t5\t90\n",
    )


@pytest.fixture
def ml_1m(tmp_path: Path) -> Path:
    return write(
        tmp_path / "ml-1m",
        encoding="latin-1",
        ratings_dat="4::30::5::1000\n4::10::2::1001\n1::10::4::999\n",
        users_dat="1::F::18::4::98107-2117\n4::M::1::10::02139\n",
        movies_dat=(
            '10::"Amélie": A Title (2001)::Comedy|Romance\n20::Nobody Rated (1950)::Drama\n30::Plain (1999)::Comedy\n'
        ),
    )


@pytest.fixture
def ml_csv(tmp_path: Path) -> Path:
    return write(
        tmp_path / "csv",
        ratings_csv="userId,movieId,rating,timestamp\n1,30,0.5,1000\n1,10,4.5,1001\n2,10,5.0,7\n",
        movies_csv=(
            "movieId,title,genres\n"
            '10,"Name, The ""Great"" (1995)",Comedy|Sci-Fi\n'
            "20,Ohne Jahr,(no genres listed)\n"
            "30,Zoë (2005) ,Drama\n"
        ),
    )


def test_100k_ids_titles_and_features(ml_100k: Path) -> None:
    data = ML100K(str(ml_100k), "error").read()
    assert data.user_ids.raw.tolist() == [2, 7, 9]  # 9 has no rating but an id
    assert data.item_ids.raw.tolist() == [10, 20, 30]
    assert data.user.tolist() == [1, 0, 0]
    assert data.item.tolist() == [1, 0, 1]
    assert data.rating.tolist() == [3, 5, 1]
    assert data.timestamp is not None and data.timestamp.tolist() == [100, 90, 80]
    assert data.item_titles == ("Café Noir (1994)", "unknown", "Unrated (1990)")
    users, items = data.user_features, data.item_features
    assert users is not None and items is not None
    assert users.labels["gender"] == ("F", "M") and users.columns["gender"].tolist() == [0, 1, 1]
    assert users.labels["age"] == ("25", "30") and users.columns["age"].tolist() == [1, 0, 0]
    assert users.labels["occupation"] == ("artist", "writer")
    assert users.labels["zip"] == ("01234", "55105", "T8H1N") and users.columns["zip"].tolist() == [2, 0, 1]
    assert items.labels["year"] == ("1990", "1994", "unknown") and items.columns["year"].tolist() == [1, 2, 0]
    assert items.labels["genres"] == ("unknown", "Action", "Comedy")
    assert items.columns["genres"].tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 1]]


def test_100k_published_parts_are_rows_of_u_data_in_file_order(ml_100k: Path) -> None:
    source = ML100K(str(ml_100k), "error")
    split = source.parts("u1", source.read())
    assert split.train.tolist() == [2, 0]
    assert split.val.tolist() == []
    assert split.test.tolist() == [1]
    assert split.candidates is None


def test_100k_names_a_published_row_that_is_not_in_the_data(ml_100k: Path) -> None:
    source = ML100K(str(ml_100k), "error")
    write(ml_100k, u1_test="2\t10\t5\t90\n9\t30\t4\t1\n")
    with pytest.raises(UserError, match=r"u1\.test, line 2: ml_100k has no row of this user and item"):
        source.parts("u1", source.read())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"u1_base": "7\t20\t3\t100\n2\t10\t5\t90\n"},
            r"u1\.test, line 1: this user and item are in .*u1\.base, line 2 too \(1 of 1 lines\), and",
        ),
        (
            {"u1_test": "2\t10\t5\t90\n2\t10\t5\t90\n"},
            r"u1\.test, line 2: this user and item are already in .*u1\.test, line 1$",
        ),
        (
            {"u1_base": "7\t20\t3\t100\n2\t20\t1\t80\n7\t20\t3\t100\n"},
            r"u1\.base, line 3: this user and item are already in .*u1\.base, line 1$",
        ),
    ],
)
def test_100k_published_parts_that_overlap_or_repeat(ml_100k: Path, files: dict[str, str], message: str) -> None:
    write(ml_100k, **files)
    source = ML100K(str(ml_100k), "error")
    with pytest.raises(UserError, match=message):
        source.parts("u1", source.read())


def test_a_split_that_the_release_does_not_ship(ml_100k: Path, ml_1m: Path) -> None:
    source = ML100K(str(ml_100k), "error")
    with pytest.raises(UserError, match="ml_100k ships no split 'u9'; it ships u1, u2, u3, u4, u5, ua, ub"):
        source.parts("u9", source.read())
    without_splits = ML1M(str(ml_1m), "error")
    with pytest.raises(UserError, match="ml_1m ships no split 'u1'; it ships none"):
        without_splits.parts("u1", without_splits.read())


def test_1m_latin_1_double_colons_and_dashed_zips(ml_1m: Path) -> None:
    data = ML1M(str(ml_1m), "error").read()
    assert data.item_titles == ('"Amélie": A Title (2001)', "Nobody Rated (1950)", "Plain (1999)")
    assert (data.n_users, data.n_items, len(data)) == (2, 3, 3)
    assert data.user.tolist() == [1, 1, 0] and data.item.tolist() == [2, 0, 0]
    users, items = data.user_features, data.item_features
    assert users is not None and items is not None
    assert users.labels["zip"] == ("02139", "98107-2117")
    assert users.labels["age"] == ("1", "18") and users.columns["age"].tolist() == [1, 0]
    assert users.labels["occupation"] == ("4", "10")  # sorted as numbers, not as text
    assert items.labels["genres"] == ("Comedy", "Drama", "Romance")
    assert items.columns["genres"].tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert items.columns["genres"].dtype == torch.float32


def test_10m_half_stars_utf_8_and_no_users(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "ml-10M100K",
        ratings_dat="1::122::4.5::838985046\n1::185::0.5::838983525\n",
        movies_dat="122::Zoë (1992)::Comedy\n185::Net (1995)::Action|Crime\n",
    )
    data = ML10M(str(folder), "error").read()
    assert data.rating.tolist() == [4.5, 0.5]
    assert data.item_titles is not None and data.item_titles[0] == "Zoë (1992)"
    assert data.user_features is None
    assert data.rating_scale == (0.5, 5.0)


@pytest.mark.parametrize("source", [ML20M, ML25M, ML32M, MLLatestSmall])
def test_csv_quotes_half_stars_and_missing_years(source: type[ML20M], ml_csv: Path) -> None:
    data = source(str(ml_csv), "error").read()
    assert data.item_titles == ('Name, The "Great" (1995)', "Ohne Jahr", "Zoë (2005)")
    assert data.rating.tolist() == [0.5, 4.5, 5.0]
    assert data.item.tolist() == [2, 0, 0]
    assert data.item_features is not None
    assert data.item_features.labels["year"] == ("1995", "2005", "unknown")
    assert data.item_features.columns["year"].tolist() == [0, 2, 1]
    assert data.item_features.labels["genres"] == ("Comedy", "Drama", "Sci-Fi")
    assert data.item_features.columns["genres"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"u_data": "2\t10\t5\n"}, r"u\.data, line 1: 3 fields, allowed: 4 fields separated by '\\t'"),
        ({"u_data": "2\t10\t5\t9\n\n2\t20\n"}, r"u\.data, line 3: 2 fields"),
        ({"u_data": "2\t10\t6\t9\n"}, r"u\.data, line 1, column rating: 6, allowed: 1 to 5$"),
        ({"u_data": "2\t10\tfive\t9\n"}, r"u\.data, line 1, column rating: 'five', allowed: numbers$"),
        ({"u_data": "2\t10\t5\t9\n2\t99\t5\t9\n"},
         r"line 2, column item: unknown item 99, allowed: the 3 items of .*u\.item"),
        ({"u_data": "8\t10\t5\t9\n"}, r"line 1, column user: unknown user 8, allowed: the 3 users of"),
        ({"u_data": ""}, r"u\.data: the file is empty$"),
        ({"u_user": "2|30|F|writer|1\n2|31|F|writer|1\n"},
         r"u\.user, line 2, column user: repeated id, allowed: one row per id$"),
        ({"u_item": "10|No flags||||1\n"}, r"u\.item, line 1: 6 fields, allowed: 8"),
    ],
)  # fmt: skip
def test_100k_bad_files(ml_100k: Path, files: dict[str, str], message: str) -> None:
    write(ml_100k, **files)
    with pytest.raises(UserError, match=message) as caught:
        ML100K(str(ml_100k), "error").read()
    assert "\n" not in str(caught.value)


def test_a_folder_without_one_file(ml_1m: Path) -> None:
    source = ML1M(str(ml_1m), "error")
    assert source.ready()
    (ml_1m / "users.dat").unlink()
    assert not source.ready()
    with pytest.raises(
        UserError,
        match=r"users\.dat: no such file; put it there, or move .*ml-1m away to download it again",
    ):
        source.read()


def test_double_colon_lines_with_too_few_fields(ml_1m: Path) -> None:
    write(ml_1m, ratings_dat="4::30::5::1000\n4::10::2:1001\n")
    with pytest.raises(UserError, match=r"ratings\.dat, line 2: 3 fields, allowed: 4 fields separated by '::'"):
        ML1M(str(ml_1m), "error").read()


def test_csv_in_another_encoding(ml_csv: Path) -> None:
    (ml_csv / "movies.csv").write_text("movieId,title,genres\n10,A,Drama\n30,Zoë,Drama\n", "latin-1")
    with pytest.raises(UserError, match=r"movies\.csv, line 3: not utf-8"):
        ML20M(str(ml_csv), "error").read()


class TestReal:
    """Counts that GroupLens publishes."""

    pytestmark = real

    def test_100k(self) -> None:
        source = ML100K(f"{DATA}/ml-100k", "error")
        data = source.read()
        assert (data.n_users, data.n_items, len(data)) == (943, 1682, 100_000)
        assert data.item_features is not None and data.user_features is not None
        assert data.item_features.columns["genres"].shape == (1682, 19)
        assert data.item_features.labels["year"][-1] == "unknown"
        assert len(data.user_features.labels["occupation"]) == 21
        numeric = torch.tensor([zip_code.isdecimal() for zip_code in data.user_features.labels["zip"]])
        assert int((~numeric[data.user_features.columns["zip"]]).sum()) == 18
        for name, n_test in {"u1": 20_000, "u5": 20_000, "ua": 9_430, "ub": 9_430}.items():
            split = source.parts(name, data)
            assert (len(split.train), len(split.test)) == (100_000 - n_test, n_test)
            rows = torch.cat([split.train, split.test]).sort().values
            assert torch.equal(rows, torch.arange(100_000))

    def test_1m(self) -> None:
        data = ML1M(f"{DATA}/ml-1m", "error").read()
        assert (data.n_users, data.n_items, len(data)) == (6040, 3883, 1_000_209)
        assert torch.bincount(data.rating.long()).tolist() == [0, 56_174, 107_557, 261_197, 348_971, 226_310]
        assert len(data.item.unique()) == 3706
        assert data.item_ids.raw[-1] == 3952
        assert data.item_features is not None and len(data.item_features.labels["genres"]) == 18
