"""The MovieLens releases of GroupLens in their own file formats (https://grouplens.org/datasets/movielens/).

All releases: contiguous ids follow the sorted raw ids and include movies without ratings. Movies have titles, `year`
and `genres`; users have gender, age, occupation and zip in 100K and 1M.

Paper: F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from recsweep.data.assemble import assemble, check_distinct, find_parts, unknown_split_error
from recsweep.data.download import Archive, fetch
from recsweep.data.features import (
    Entities,
    FeatureColumn,
    build_features,
    encode_categories,
    encode_multi_hot,
    sort_by_id,
)
from recsweep.data.files import read_text
from recsweep.data.schema import Interactions, Split
from recsweep.data.sheet import CSV, FLOAT, INT, TEXT, Format, Sheet
from recsweep.data.validate import Duplicates
from recsweep.errors import UserError

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
TAB = Format(separator="\t", header=False, encoding="latin-1", quoted=False)
PIPE = Format(separator="|", header=False, encoding="latin-1", quoted=False)
DAT_LATIN = Format(separator="::", header=False, encoding="latin-1", quoted=False)
DAT_UTF = Format(separator="::", header=False, encoding="utf-8", quoted=False)
RATING_TYPES = {"user": INT, "item": INT, "rating": FLOAT, "timestamp": INT}
USER_FEATURES = ("gender", "age", "occupation", "zip")


@dataclass(frozen=True)
class MovieLens(ABC):
    """One release: its archive and the format of its files.

    Args:
        folder: the unpacked files; downloaded from GroupLens if missing.
        duplicates: what to do with a repeated (user, item) pair, see `validate.resolve_duplicates`.
    """

    folder: str
    duplicates: Duplicates

    name: ClassVar[str]
    archive: ClassVar[Archive]
    scale: ClassVar[tuple[float, float]]
    ships: ClassVar[tuple[str, ...]] = ()

    def ready(self) -> bool:
        """Whether all files that `read` needs are on disk."""
        return all((Path(self.folder) / member).is_file() for member in self.archive.members)

    def read(self) -> Interactions:
        """The whole data set, validated; downloads it first if its folder is missing."""
        folder = fetch(self.archive, Path(self.folder))
        for path in (folder / member for member in self.archive.members):
            if not path.is_file():
                raise UserError(f"{path}: no such file; put it there, or move {folder} away to download it again")
        return assemble(
            self.name,
            self._read_ratings(folder),
            self.scale,
            self.duplicates,
            self._read_users(folder),
            self._read_items(folder),
        )

    def parts(self, name: str, data: Interactions) -> Split:
        """Raises `UserError`: this release ships no split."""
        raise unknown_split_error(self, name)

    @abstractmethod
    def _read_ratings(self, folder: Path) -> Sheet: ...

    @abstractmethod
    def _read_items(self, folder: Path) -> Entities: ...

    def _read_users(self, folder: Path) -> Entities | None:
        return None


class ML100K(MovieLens):
    """MovieLens 100K (1998): 943 users, 1,682 movies; ships the splits u1 to u5, ua and ub, without validation."""

    name = "ml_100k"
    archive = Archive(
        f"{GROUPLENS}/ml-100k.zip",
        md5="0e33842e24a9c977be4e0107933c0723",
        members=("u.data", "u.item", "u.user", "u.genre"),
    )
    scale = (1.0, 5.0)
    ships = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")

    def parts(self, name: str, data: Interactions) -> Split:
        """Rows of the published `<name>.base` (train) and `<name>.test`; validation is empty."""
        if name not in self.ships:
            raise unknown_split_error(self, name)
        base, held_out = (
            read_text(Path(self.folder) / f"{name}.{part}", TAB, RATING_TYPES) for part in ("base", "test")
        )
        train, test = find_parts(base, held_out, data)
        check_distinct(base, train)
        return Split(train=train, val=torch.empty(0, dtype=torch.int64), test=test)

    def _read_ratings(self, folder: Path) -> Sheet:
        return read_text(folder / "u.data", TAB, RATING_TYPES)

    def _read_users(self, folder: Path) -> Entities:
        types = {"user": INT, "age": INT, "gender": TEXT, "occupation": TEXT, "zip": TEXT}
        return _user_entities(read_text(folder / "u.user", PIPE, types))

    def _read_items(self, folder: Path) -> Entities:
        genres = tuple(read_text(folder / "u.genre", PIPE, {"genre": TEXT, "index": INT}).frame["genre"])
        types = {
            "item": INT,
            "title": TEXT,
            "date": TEXT,
            "video_date": TEXT,
            "url": TEXT,
            **dict.fromkeys(genres, INT),
        }
        sheet = read_text(folder / "u.item", PIPE, types)
        ids, frame = sort_by_id(sheet, "item")
        flags = torch.tensor(frame[list(genres)].to_numpy(dtype="float32"))
        return _item_entities(sheet, ids, frame["title"], frame["date"].str[-4:], (flags, genres))


class ML1M(MovieLens):
    """MovieLens 1M (2003): 6,040 users, 3,883 movies, 3,706 of them with ratings."""

    name = "ml_1m"
    archive = Archive(
        f"{GROUPLENS}/ml-1m.zip",
        md5="c4d9eecfca2ab87c1945afe126590906",
        members=("ratings.dat", "movies.dat", "users.dat"),
    )
    scale = (1.0, 5.0)

    def _read_ratings(self, folder: Path) -> Sheet:
        return read_text(folder / "ratings.dat", DAT_LATIN, RATING_TYPES)

    def _read_users(self, folder: Path) -> Entities:
        types = {"user": INT, "gender": TEXT, "age": INT, "occupation": INT, "zip": TEXT}
        return _user_entities(read_text(folder / "users.dat", DAT_LATIN, types))

    def _read_items(self, folder: Path) -> Entities:
        return _items_with_genre_list(_read_movies_dat(folder, DAT_LATIN))


class ML10M(MovieLens):
    """MovieLens 10M (2009): half stars, no user features; the folder in its archive is `ml-10M100K`."""

    name = "ml_10m"
    archive = Archive(
        f"{GROUPLENS}/ml-10m.zip",
        md5="ce571fd55effeba0271552578f2648bd",
        members=("ratings.dat", "movies.dat"),
    )
    scale = (0.5, 5.0)

    def _read_ratings(self, folder: Path) -> Sheet:
        return read_text(folder / "ratings.dat", DAT_UTF, RATING_TYPES)

    def _read_items(self, folder: Path) -> Entities:
        return _items_with_genre_list(_read_movies_dat(folder, DAT_UTF))


class MovieLensCSV(MovieLens):
    """The releases since 20M: CSV files with a header, half stars, no user features."""

    scale = (0.5, 5.0)

    def _read_ratings(self, folder: Path) -> Sheet:
        types = {"userId": INT, "movieId": INT, "rating": FLOAT, "timestamp": INT}
        return read_text(folder / "ratings.csv", CSV, types).rename({"userId": "user", "movieId": "item"})

    def _read_items(self, folder: Path) -> Entities:
        sheet = read_text(folder / "movies.csv", CSV, {"movieId": INT, "title": TEXT, "genres": TEXT})
        return _items_with_genre_list(sheet.rename({"movieId": "item"}))


class ML20M(MovieLensCSV):
    """MovieLens 20M (2016): 138,493 users, 27,278 movies."""

    name = "ml_20m"
    archive = Archive(
        f"{GROUPLENS}/ml-20m.zip",
        md5="cd245b17a1ae2cc31bb14903e1204af3",
        members=("ratings.csv", "movies.csv"),
    )


class ML25M(MovieLensCSV):
    """MovieLens 25M (2019): 162,541 users, 62,423 movies."""

    name = "ml_25m"
    archive = Archive(
        f"{GROUPLENS}/ml-25m.zip",
        md5="6b51fb2759a8657d3bfcbfc42b592ada",
        members=("ratings.csv", "movies.csv"),
    )


class ML32M(MovieLensCSV):
    """MovieLens 32M (2024): 200,948 users, 87,585 movies."""

    name = "ml_32m"
    archive = Archive(
        f"{GROUPLENS}/ml-32m.zip",
        md5="d472be332d4daa821edc399621853b57",
        members=("ratings.csv", "movies.csv"),
    )


class MLLatestSmall(MovieLensCSV):
    """MovieLens latest-small: about 100,000 ratings. GroupLens updates the file, so its checksum is not fixed."""

    name = "ml_latest_small"
    archive = Archive(f"{GROUPLENS}/ml-latest-small.zip", md5=None, members=("ratings.csv", "movies.csv"))


def _user_entities(sheet: Sheet) -> Entities:
    ids, frame = sort_by_id(sheet, "user")
    features = build_features({name: encode_categories(frame[name]) for name in USER_FEATURES})
    return Entities(ids, str(sheet.path), features)


def _read_movies_dat(folder: Path, form: Format) -> Sheet:
    return read_text(folder / "movies.dat", form, {"item": INT, "title": TEXT, "genres": TEXT})


def _items_with_genre_list(sheet: Sheet) -> Entities:
    """Movies of a table with titles, which end with the year, and `|`-separated genres."""
    ids, frame = sort_by_id(sheet, "item")
    years = frame["title"].str.extract(r"\((\d{4})\)\s*$", expand=False)
    genres = frame["genres"].replace("(no genres listed)", "")
    return _item_entities(sheet, ids, frame["title"], years, encode_multi_hot(genres))


def _item_entities(
    sheet: Sheet, ids: np.ndarray, titles: pd.Series, years: pd.Series, genres: FeatureColumn
) -> Entities:
    features = build_features({"year": encode_categories(years), "genres": genres})
    return Entities(ids, str(sheet.path), features, tuple(titles.str.strip()))
