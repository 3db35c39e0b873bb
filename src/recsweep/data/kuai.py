"""KuaiRec (Gao et al., CIKM 2022) and KuaiRand-Pure (Gao et al., CIKM 2022): short videos, with a fair test each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recsweep.data.features import (
    Entities,
    FeatureColumn,
    build_features,
    encode_categories,
    encode_multi_hot,
    sort_by_id,
)
from recsweep.data.files import column_names, read_text
from recsweep.data.fixed_test import FixedTest
from recsweep.data.ids import ID
from recsweep.data.sheet import CSV, FLOAT, TEXT, Sheet, note_once
from recsweep.data.times import TIME

USER, VIDEO = "user_id", "video_id"


class KuaiRec(FixedTest):
    """Watch ratios of 7,176 users (train); test is a matrix of 1,411 users and 3,327 videos that is 99.6 % full.

    The rating is the watch ratio, time watched by the length of the video; the authors count above 2 as liked.
    """

    name = "kuairec"
    url = "https://kuairec.com"
    files = ("big_matrix.csv", "small_matrix.csv", "user_features.csv", "item_categories.csv")

    def _read_train(self) -> Sheet:
        return self._read_matrix("big_matrix.csv")

    def _read_test(self) -> Sheet:
        return self._read_matrix("small_matrix.csv")

    def _read_matrix(self, file: str) -> Sheet:
        """Rows without a time, as the small matrix has, get the last time of the file."""
        path = Path(self.folder) / file
        types = {USER: ID, VIDEO: ID, "watch_ratio": FLOAT, "timestamp": FLOAT}
        sheet = read_text(path, CSV, types).rename(
            {USER: "user", VIDEO: "item", "watch_ratio": "rating", "timestamp": "timestamp"}
        )
        times = sheet.frame["timestamp"]
        if times.isna().any():
            note_once(
                f"{path}: {int(times.isna().sum()):,} of {len(times):,} rows without a time get the last of the file"
            )
        sheet.frame["timestamp"] = np.floor(times.fillna(times.max()).fillna(0)).astype(np.int64)
        return sheet

    def _read_entities(self) -> tuple[Entities, Entities]:
        path = Path(self.folder) / "item_categories.csv"
        ids, frame = sort_by_id(read_text(path, CSV, {VIDEO: ID, "feat": TEXT}), VIDEO)
        feature = encode_list(frame["feat"].str.strip("[]"))
        return read_users(Path(self.folder) / "user_features.csv"), Entities(
            ids, str(path), build_features({"feat": feature})
        )


@dataclass(frozen=True)
class KuaiRandPure(FixedTest):
    """Videos that 27,285 users saw in their usual feed (train), and that were drawn at random for them (test).

    Args:
        rating: the kind of feedback that becomes the rating, a column of numbers: `is_click`, `is_like`, `is_follow`,
            `is_comment`, `is_forward`, `is_hate`, `long_view`, `play_time_ms`, ….
    """

    rating: str

    name = "kuairand_pure"
    url = "https://kuairand.com"
    files = (
        "log_standard_4_08_to_4_21_pure.csv",
        "log_standard_4_22_to_5_08_pure.csv",
        "log_random_4_22_to_5_08_pure.csv",
        "user_features_pure.csv",
        "video_features_basic_pure.csv",
    )

    def _read_train(self) -> Sheet:
        return self._read_log(self.files[0]).concatenate(self._read_log(self.files[1]))

    def _read_test(self) -> Sheet:
        return self._read_log(self.files[2])

    def _read_log(self, file: str) -> Sheet:
        types = {USER: ID, VIDEO: ID, self.rating: FLOAT, "time_ms": TIME}
        names = {USER: "user", VIDEO: "item", self.rating: "rating", "time_ms": "timestamp"}
        return read_text(Path(self.folder) / file, CSV, types, "ms").rename(names)

    def _read_entities(self) -> tuple[Entities, Entities]:
        path = Path(self.folder) / self.files[4]
        types = dict.fromkeys(("video_type", "upload_type", "music_type", "tag"), TEXT)
        ids, frame = sort_by_id(read_text(path, CSV, {VIDEO: ID} | types), VIDEO)
        columns = {name: encode_categories(frame[name]) for name in ("video_type", "upload_type", "music_type")}
        items = Entities(ids, str(path), build_features(columns | {"tag": encode_list(frame["tag"])}))
        return read_users(Path(self.folder) / self.files[3]), items


def read_users(path: Path) -> Entities:
    """Every column as a category, but for counts that have a column of their ranges beside them."""
    names = column_names(path, CSV)
    features = [name for name in names if name != USER and f"{name}_range" not in names]
    ids, frame = sort_by_id(read_text(path, CSV, {USER: ID} | dict.fromkeys(features, TEXT)), USER)
    return Entities(ids, str(path), build_features({name: encode_categories(frame[name]) for name in features}))


def encode_list(lists: pd.Series) -> FeatureColumn:
    """Lists such as `27, 9` as 0/1 columns."""
    return encode_multi_hot(lists.fillna("").str.replace(r"\s*,\s*", "|", regex=True))
