"""KuaiRec and KuaiRand-Pure: small files in the formats of their archives."""

from pathlib import Path

import pandas as pd
import pytest

from recsweep.data.assemble import find_rows
from recsweep.data.kuai import KuaiRandPure, KuaiRec
from recsweep.data.schema import Interactions
from recsweep.data.sheet import Sheet
from recsweep.data.splits import Canonical
from recsweep.errors import UserError

MATRIX = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
USERS = (
    "user_id,user_active_degree,is_live_streamer,fans_user_num,fans_user_num_range,onehot_feat4\n"
    '0,full_active,0,12,"[10,100)",3.0\n1,UNKNOWN,1,0,0,\n2,full_active,0,4,"[1,10)",1.0\n'
)


def rows(data: Interactions) -> list[tuple[int, int, float, int]]:
    """User, item, rating rounded to hundredths and time of each row."""
    assert data.timestamp is not None
    ratings = [round(rating, 2) for rating in data.rating.tolist()]
    return list(zip(data.user.tolist(), data.item.tolist(), ratings, data.timestamp.tolist(), strict=True))


@pytest.fixture
def kuairec(tmp_path: Path) -> Path:
    """User 0 watches video 1 twice; user 1's row of the full matrix has no time; user 2 has no rows."""
    files = {
        "big_matrix.csv": MATRIX + "0,1,1381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.25\n"
        "1,0,3635,7635,2020-07-05 05:28:00.057,20200705,1593898080.057,0.5\n"
        "0,1,22049,6067,2020-07-05 05:29:09.479,20200705,1593898149.479,3.5\n"
        "1,2,3635,7635,2020-07-05 05:28:01.057,20200705,1593898081.057,1.5\n",
        "small_matrix.csv": MATRIX + "0,2,4381,6067,2020-07-05 05:27:50.378,20200705,1593898070.378,0.75\n"
        "1,1,3635,7635,,,,2.25\n",
        "user_features.csv": USERS,
        "item_categories.csv": 'video_id,feat\n0,[8]\n1,"[27, 9]"\n2,[9]\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_kuairec_is_tested_on_the_full_matrix(kuairec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = KuaiRec(str(kuairec), True, "last")
    data = source.read()
    assert rows(data) == [
        (1, 0, 0.5, 1593898080), (0, 1, 3.5, 1593898149), (1, 2, 1.5, 1593898081),
        (0, 2, 0.75, 1593898070), (1, 1, 2.25, 1593898070),
    ]  # fmt: skip
    assert "1 of 2 rows without a time get the last of the file" in " ".join(capsys.readouterr().err.split())
    split = source.parts("given", data)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1, 2], [3, 4])
    drawn = Canonical("given", val_fraction=0.4, seed=0, cold_users="keep")(data, source)
    assert (len(drawn.train), len(drawn.val), drawn.test.tolist()) == (2, 1, [3, 4])
    assert data.rating_scale == (0.5, 3.5)


def test_kuairec_with_the_videos_that_are_watched_again(kuairec: Path) -> None:
    """In test, too, where a row is known by its user and item."""
    with (kuairec / "small_matrix.csv").open("a") as file:
        file.write("0,2,4381,6067,2020-07-05 05:27:51.378,20200705,1593898071.378,1.25\n")
    source = KuaiRec(str(kuairec), True, "keep")
    data = source.read()
    assert data.item.tolist() == [1, 0, 1, 2, 2, 1, 2]
    assert [part.tolist() for part in source.parts("given", data)[:3]] == [[0, 1, 2, 3], [], [4, 5, 6]]
    with pytest.raises(UserError, match=r"t\.csv names rows by user and item, which kuairec repeats .*duplicates=last"):
        find_rows(Sheet(pd.DataFrame({"user": [0], "item": [1]}), Path("t.csv"), header_lines=1), data)
    with pytest.raises(UserError, match=r"big_matrix\.csv, line 4: user 0 and item 1 are already in .*, line 2;"):
        KuaiRec(str(kuairec), True, "error").read()


def test_kuai_features(kuairec: Path) -> None:
    """A count with a range beside it is left to the range; what is missing is a category of its own."""
    data = KuaiRec(str(kuairec), True, "last").read()
    assert data.user_features is not None and data.item_features is not None
    users, items = data.user_features, data.item_features
    assert list(users.columns) == ["user_active_degree", "is_live_streamer", "fans_user_num_range", "onehot_feat4"]
    assert users.labels["fans_user_num_range"] == ("0", "[1,10)", "[10,100)")
    assert users.columns["fans_user_num_range"].tolist() == [2, 0, 1]
    assert users.labels["onehot_feat4"] == ("1.0", "3.0", "unknown")
    assert items.labels["feat"] == ("27", "8", "9")
    assert items.columns["feat"].tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 1]]


def log(*rows: tuple[int, int, int, int, int]) -> str:
    """A log of rows (user, video, seconds, is_click, long_view)."""
    return LOG + "".join(
        f"{user},{video},20220421,400,{seconds}301,{click},0,0,0,0,0,{view},151024,104400,0,0,0,0,1\n"
        for user, video, seconds, click, view in rows
    )


@pytest.fixture
def kuairand(tmp_path: Path) -> Path:
    """Video 5 was drawn for user 1 after it had been in their feed."""
    video = (
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    )
    files = {
        "log_standard_4_08_to_4_21_pure.csv": log((0, 5, 1650485801, 1, 0), (1, 5, 1650485805, 0, 0)),
        "log_standard_4_22_to_5_08_pure.csv": log((1, 3, 1650585801, 1, 1), (0, 5, 1650585802, 0, 1)),
        "log_random_4_22_to_5_08_pure.csv": log((1, 5, 1650685801, 1, 1), (0, 3, 1650685802, 0, 0)),
        "user_features_pure.csv": USERS,
        "video_features_basic_pure.csv": f"{video}music_id,music_type,tag\n"
        '3,441,NORMAL,2020-07-08,ShortImport,1,17200.0,720,1280,989206467,4,"12,65"\n5,2,AD,2020-07-08,Web,1,,720,1280,9,,\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_kuairand_is_tested_on_random_videos(kuairand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = KuaiRandPure(str(kuairand), True, "last", "is_click")
    data = source.read()
    assert rows(data) == [(1, 0, 1, 1650585801), (0, 1, 0, 1650585802), (1, 1, 1, 1650685801), (0, 0, 0, 1650685802)]
    split = source.parts("given", data)
    assert (split.train.tolist(), split.val.tolist(), split.test.tolist()) == ([0, 1], [], [2, 3])
    assert "1 of 4 rows left out" in capsys.readouterr().err
    assert data.item_features is not None
    assert data.item_features.labels["music_type"] == ("4", "unknown")
    assert data.item_features.columns["tag"].tolist() == [[1, 1], [0, 0]]


def test_kuairand_has_several_kinds_of_feedback(kuairand: Path) -> None:
    """Without the random videos user 1's row in the first log stays."""
    data = KuaiRandPure(str(kuairand), False, "last", "long_view").read()
    assert [row[:3] for row in rows(data)] == [(1, 1, 0), (1, 0, 1), (0, 1, 1)]
    with pytest.raises(UserError, match=r"4_21_pure\.csv: no column 'is_clik'; the file has user_id, video_id"):
        KuaiRandPure(str(kuairand), True, "last", "is_clik").read()


def test_lines_of_the_second_log_are_named(kuairand: Path) -> None:
    """Rows before and after it that are left out do not shift the line that is named."""
    text = log((1, 5, 1650585801, 1, 1), (9, 5, 1650585802, 0, 1), (0, 3, 1650585803, 0, 1))
    (kuairand / "log_standard_4_22_to_5_08_pure.csv").write_text(text)
    with pytest.raises(UserError, match=r"4_22_to_5_08_pure\.csv, line 3, column user_id: unknown user 9"):
        KuaiRandPure(str(kuairand), True, "last", "is_click").read()
