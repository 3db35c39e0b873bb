"""Published tables that the reader of tables opens with settings of their own: lines as their authors publish them."""

import gzip
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from choices import configuration
from hydra.utils import instantiate
from omegaconf import OmegaConf

from recsweep.config import check_config, conf_dir
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Interactions

DATA = os.environ.get("RECSWEEP_DATA_DIR")


def read(*overrides: str) -> Interactions:
    """What a checked configuration reads."""
    cfg = configuration(*overrides)
    check_config(cfg)
    return instantiate(cfg.data).read()


class Case(NamedTuple):
    """A file, its rows as (user, item, rating, seconds), and its rating scale."""

    text: str
    rows: list[tuple[str, str, float, int | None]]
    scale: tuple[float, float]


CASES = {
    "amazon_2014": Case(
        "A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,0558925278,3.0,1355443200\n",
        [("A39HTATAQ9V7YF", "0205616461", 5, 1369699200), ("A3JM6GV9MNOF9X", "0558925278", 3, 1355443200)],
        (1, 5),
    ),
    "amazon_2018": Case(
        "0143026860,A1V6B6TNIC10QE,1.0,1424304000\n014789302X,A2DSEY17K6R12K,4.0,1362182400\n"
        "0143026860,A1V6B6TNIC10QE,2.0,1424304001\n",
        [("A2DSEY17K6R12K", "014789302X", 4, 1362182400), ("A1V6B6TNIC10QE", "0143026860", 2, 1424304001)],
        (1, 5),
    ),
    "amazon_2023": Case(
        "user_id,parent_asin,rating,timestamp\nAGKHLEW2SOWHNMFQIJGBECAF7INQ,B081TJ8YS3,4.0,1588615855070\n",
        [("AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B081TJ8YS3", 4, 1588615855)],
        (1, 5),
    ),
    "book_crossing": Case(
        '"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n"276726";"0155061224";"5"\r\n'
        '"276729";"\xfc52165615X";"3"\r\n',
        [("276726", "0155061224", 5, None), ("276729", "\xfc52165615X", 3, None)],
        (1, 10),
    ),
    "lastfm_2k": Case(
        "userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n3\t51\t7\r\n",
        [("2", "51", 13883, None), ("2", "52", 11690, None), ("3", "51", 7, None)],
        (7, 13883),
    ),
    "gowalla": Case(
        "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
        "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n"
        "1\t2010-10-17T00:00:00Z\t30.2557309927\t-97.7633857727\t22847\n"
        "0\t2010-10-17T23:42:03Z\t30.2359091167\t-97.7951395833\t22847\n",
        [("0", "22847", 1, 1287532527), ("0", "420315", 1, 1287440263), ("1", "22847", 1, 1287273600)],
        (0, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("packed", [False, True], ids=["text", "gzip"])
def test_rows_of_a_published_table(tmp_path: Path, name: str, packed: bool) -> None:
    case, path = CASES[name], tmp_path / "file"
    content = case.text.encode("latin-1")
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    data = read(f"data={name}", f"data.path={path}")
    times = [None] * len(data) if data.timestamp is None else data.timestamp.tolist()
    columns = (data.user_ids.decode(data.user), data.item_ids.decode(data.item))
    users, items = (list(map(str, ids)) for ids in columns)
    assert list(zip(users, items, data.rating.tolist(), times, strict=True)) == case.rows
    assert data.rating_scale == case.scale


def test_goodbooks_has_titles_and_two_features(tmp_path: Path) -> None:
    """The columns of books.csv, some of them with missing numbers, which are no feature here."""
    (tmp_path / "ratings.csv").write_text("user_id,book_id,rating\n1,2,5\n2,10,4\n")
    (tmp_path / "books.csv").write_text(
        "book_id,goodreads_book_id,best_book_id,work_id,books_count,isbn,isbn13,authors,original_publication_year,"
        "original_title,title,language_code,average_rating,ratings_count,image_url,small_image_url\n"
        '2,3,3,4640799,491,439554934,9.78043955493e+12,"J.K. Rowling, Mary GrandPré",1997.0,Stone,'
        '"Harry Potter (Harry Potter, #1)",eng,4.44,4602479,https://a,https://b\n'
        "10,7445,7445,2944133,92,,,Jane Austen,,Pride,Pride and Prejudice,,4.24,2035490,https://c,https://d\n"
    )
    files = (f"data.path={tmp_path}/ratings.csv", f"data.item_features.path={tmp_path}/books.csv")
    data = read("data=goodbooks_10k", *files)
    assert data.item_titles == ("Harry Potter (Harry Potter, #1)", "Pride and Prejudice")
    assert data.item_features is not None and data.timestamp is None and data.item.tolist() == [0, 1]
    assert data.item_features.labels == {
        "authors": ("J.K. Rowling, Mary GrandPré", "Jane Austen"), "language_code": ("eng", "unknown")
    }  # fmt: skip
    assert (data.rating.tolist(), data.rating_scale) == ([5, 4], (1, 5))


def test_titles_without_features(tmp_path: Path) -> None:
    """No column is named, so the table has titles alone."""
    (tmp_path / "r.csv").write_text("user,item,rating\n1,2,5\n")
    (tmp_path / "i.csv").write_text("id,name,year\n2,Heat,\n")
    features = f"data.item_features={{path: {tmp_path}/i.csv, id: id, columns: []}}"
    data = read("data=table", f"data.path={tmp_path}/r.csv", features, "data.item_title=name")
    assert (data.item_titles, data.item_features) == (("Heat",), None)


def test_open_bandit(tmp_path: Path) -> None:
    """Two impressions; the catalogue is that of the campaign."""
    (tmp_path / "men.csv").write_text(
        ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,"
        "user_feature_3,user-item_affinity_0\n"
        "0,2019-11-24 00:00:17.004101+00:00,1,3,0,0.25,81ce,03a5,7bc9,c39b,0.0\n"
        "1,2019-11-24 00:00:17.434041+00:00,0,1,1,0.5,81ce,03a6,7bc9,c39b,0.0\n"
    )
    (tmp_path / "item_context.csv").write_text(",item_id,item_feature_0\n0,0,-0.5\n1,1,0.25\n2,2,1.0\n")
    log = read(
        "data=open_bandit", "evaluation=off_policy", "model=nominator", "loss=ce", "split=random",
        f"data.path={tmp_path}/men.csv", f"data.items.path={tmp_path}/item_context.csv",
    )  # fmt: skip
    assert isinstance(log, BanditLog)
    assert (log.n_items, log.item.tolist(), log.rating.tolist()) == (3, [1, 0], [0, 1])
    assert log.propensity.tolist() == [0.25, 0.5]
    assert log.user_features is not None and log.user_features.labels["position"] == ("1", "3")


@pytest.mark.real
@pytest.mark.skipif(not Path(f"{DATA}/open-bandit").is_dir(), reason="no open-bandit/ in RECSWEEP_DATA_DIR")
def test_the_real_sample_of_open_bandit() -> None:
    folder = f"{DATA}/open-bandit/bts"
    log = read(
        "data=open_bandit", "evaluation=off_policy", "model=nominator", "loss=ce", "split=random",
        f"data.path={folder}/women.csv", f"data.items.path={folder}/item_context.csv",
    )  # fmt: skip
    assert (len(log), log.n_items, int(log.rating.sum())) == (10_000, 46, 46)


def test_every_table_is_tested_here() -> None:
    """A new file of settings for the reader of tables needs a row in `CASES`, or a test."""
    files = {path.stem: OmegaConf.load(path) for path in (conf_dir() / "data" / "base").glob("*.yaml")}
    assert {name for name, node in files.items() if "defaults" in node} == CASES.keys() | {
        "goodbooks_10k",
        "split_table",
    }
