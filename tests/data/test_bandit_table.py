"""Bandit logs in CSV and Parquet: both give the same log, each mistake gets its message, a real log its sizes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsweep.config import compose_config
from recsweep.data.bandit_table import BanditTable
from recsweep.errors import UserError

DATA = os.environ.get("RECSWEEP_DATA_DIR")
HEADER = "shown,prob,click,slot\n"
FRAME = pd.DataFrame(
    {
        "age": [30, 40.5, 30, 20],
        "slot": [2, 10, 2, 2],
        "click": [0, 1, 0, 1],
        "shown": [70, 9, 9, 70],
        "prob": [0.25, 1.0, 0.5, 0.125],
        "city": ["Ulm", "Bonn", None, "Ulm"],
    }
)
ITEMS = pd.DataFrame({"price": [7, 8, 9.5], "sku": [70, 8, 9], "kind": ["x", "y", "x"]})


def table(path: Path, **changes: Any) -> BanditTable:
    settings = {
        "item": "shown", "propensity": "prob", "reward": "click", "position": "slot", "context": [], "items": None,
        "separator": None, "encoding": None, "decimal_comma": None,
    }  # fmt: skip
    return BanditTable(str(path), **(settings | changes))


def save(frame: pd.DataFrame, path: Path, index: bool = False) -> Path:
    frame.to_csv(path, index=index) if path.suffix == ".csv" else frame.to_parquet(path, index=index)
    return path


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_row_is_a_context(tmp_path: Path, suffix: str, index: bool) -> None:
    source = table(save(FRAME, tmp_path / f"log{suffix}", index), context=["city", "age"])
    assert source.ready()
    log = source.read()
    assert log.user.tolist() == [0, 1, 2, 3] and log.user_ids.raw.tolist() == [0, 1, 2, 3]
    assert log.user_ids.kind == "context" and not log.recurring
    assert log.item_ids.raw.tolist() == [9, 70] and log.item.tolist() == [1, 0, 0, 1]
    assert log.rating.tolist() == [0, 1, 0, 1] and log.rating_scale == (0.0, 1.0)
    assert log.propensity.tolist() == [0.25, 1.0, 0.5, 0.125]
    assert log.rating.dtype == log.propensity.dtype == torch.float32
    assert log.user_features is not None
    assert {name: column.tolist() for name, column in log.user_features.columns.items()} == {
        "city": [1, 0, 2, 1],
        "age": [30.0, 40.5, 30.0, 20.0],
        "position": [1, 0, 1, 1],  # "10" sorts before "2"
    }
    assert dict(log.user_features.labels) == {"city": ("Bonn", "Ulm", "unknown"), "position": ("10", "2")}
    assert log.timestamp is log.item_features is log.truth is log.ranker is log.reward is log.relevant is None


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_items_of_a_catalogue(tmp_path: Path, suffix: str, index: bool) -> None:
    items = save(ITEMS, tmp_path / f"items{suffix}", index)
    log = table(save(FRAME, tmp_path / "log.csv"), items={"path": str(items), "id": "sku"}).read()
    assert log.item_ids.raw.tolist() == [8, 9, 70]  # 8 was never shown
    assert log.item.tolist() == [2, 1, 1, 2]
    assert log.item_features is not None
    columns = {name: column.tolist() for name, column in log.item_features.columns.items()}
    assert columns == {"price": [8.0, 9.5, 7.0], "kind": [1, 0, 0]}


def test_a_context_without_columns_has_no_features(tmp_path: Path) -> None:
    assert table(save(FRAME, tmp_path / "log.csv"), position=None).read().user_features is None


def test_columns_may_have_the_names_that_interactions_use(tmp_path: Path) -> None:
    """Here column `rating` holds the items, `item` the propensities; `user` and `timestamp` describe the context."""
    names = {"shown": "rating", "prob": "item", "age": "timestamp", "city": "user", "slot": "position"}
    path = save(FRAME.rename(columns=names), tmp_path / "log.csv")
    log = table(path, item="rating", propensity="item", position="position", context=["timestamp", "user"]).read()
    assert log.item.tolist() == [1, 0, 0, 1] and log.rating.tolist() == [0, 1, 0, 1] and log.timestamp is None
    assert log.user.tolist() == [0, 1, 2, 3]
    assert log.user_features is not None and list(log.user_features.columns) == ["timestamp", "user", "position"]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b b", 'c"', "d,d"]),
            st.floats(np.finfo(np.float32).tiny.item(), 1.0, width=32, allow_subnormal=False, exclude_min=True),
            st.floats(0, 1e6, width=32, allow_subnormal=False),
            st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
        ),
        min_size=1,
    ).filter(lambda rows: any(reward > 0 for _, _, reward, _ in rows)),
    st.sampled_from([".csv", ".parquet"]),
)
def test_values_are_read_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float, float, float]], suffix: str
) -> None:
    frame = pd.DataFrame(rows, columns=["shown", "prob", "click", "age"])
    path = save(frame, tmp_path_factory.mktemp("log") / f"log{suffix}")
    log = table(path, position=None, context=["age"]).read()
    items, propensity, reward, age = zip(*rows, strict=True)
    assert log.item_ids.decode(log.item).tolist() == list(items)
    assert log.propensity.tolist() == list(propensity)
    assert log.rating.tolist() == list(reward)
    assert log.rating_scale == (min(reward), max(reward))
    assert log.user_features is not None and log.user_features.columns["age"].tolist() == list(age)


def test_arms_are_text_as_it_stands_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(HEADER + "7,.25,1,x\n007,.25,0,x\n12,.25,0,x\n0012,.25,1,x\n7,.25,0,x\n")
    log = table(tmp_path / "log.csv").read()
    assert log.item_ids.raw.tolist() == ["7", "12", "0012", "007"]
    assert log.item.tolist() == [0, 3, 1, 2, 0]


PROPENSITIES = r"allowed: above 0 and at most 1, in single precision$"


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (HEADER + "a,.5,1,x\nb,0,1,x\n", {}, r"log\.csv, line 3, column prob: 0, " + PROPENSITIES),
        (HEADER + "a,.5,1,x\nb,-.25,1,x\n", {}, r"log\.csv, line 3, column prob: -0\.25, " + PROPENSITIES),
        (HEADER + "a,,1,x\n", {}, r"log\.csv, line 2, column prob: missing, " + PROPENSITIES),
        (HEADER + "a,NaN,1,x\n", {}, r"log\.csv, line 2, column prob: missing, " + PROPENSITIES),
        (HEADER + "a,1.5,1,x\n", {}, r"log\.csv, line 2, column prob: 1\.5, " + PROPENSITIES),
        (HEADER + "a,1.0000002,1,x\n", {}, r"column prob: 1\.0000002, " + PROPENSITIES),
        (HEADER + "a,inf,1,x\n", {}, r"column prob: inf, " + PROPENSITIES),
        (HEADER + "a,1e-50,1,x\n", {}, r"column prob: 1e-50, " + PROPENSITIES),
        (HEADER + "a,.5,1,x\nb,half,1,x\n", {}, r"log\.csv, line 3, column prob: 'half', allowed: numbers$"),
        (HEADER + "a,.5,1,x\nb,.5,,x\n", {}, r"log\.csv, line 3, column click: missing, allowed: finite numbers$"),
        (HEADER + "a,.5,-inf,x\n", {}, r"log\.csv, line 2, column click: -inf, allowed: finite numbers$"),
        (HEADER + "a,.5,1e39,x\n", {}, r"log\.csv, line 2, column click: 1e\+39, allowed: finite numbers$"),
        (HEADER + "a,.5,yes,x\n", {}, r"log\.csv, line 2, column click: 'yes', allowed: numbers$"),
        (HEADER + "a,.5,1,x\n,.5,1,x\n", {}, r"log\.csv, line 3, column shown: missing, allowed: an id in every row$"),
        (HEADER + "1,.5,1,x\n,.5,1,x\n", {}, r"log\.csv, line 3, column shown: missing, allowed: an id in every row$"),
        (HEADER + "a,.5,0,x\nb,.5,-1,x\n", {}, r"log\.csv, column click: no reward is above 0, so there is nothing to "
         r"learn from; allowed: at least one above 0$"),
        (HEADER, {}, r"log\.csv: the file has no rows$"),
        ("shown,click,slot\na,1,x\n", {}, r"log\.csv: no column 'prob'; the file has shown, click, slot$"),
        (HEADER + "a,.5,1,x\n", {"context": ["age"]},
         r"log\.csv: no column 'age'; the file has shown, prob, click, slot$"),
        ("slot,prob,click,prob,shown\na,1,1,1,1\n", {}, r"log\.csv: 2 columns are called 'prob', allowed: one$"),
        ("shown,prob,click,slot,age\na,1,1,x,3\na,1,1,x,\n", {"context": ["age"]},
         r"log\.csv, line 3, column age: missing, allowed: finite numbers$"),
        ("shown,prob,click,slot,age\na,1,1,x,3\na,1,1,x,1e39\n", {"context": ["age"]},
         r"log\.csv, line 3, column age: 1e\+39, allowed: finite numbers$"),
    ],
)  # fmt: skip
def test_bad_logs(tmp_path: Path, text: str, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        table(tmp_path / "log.csv", **changes).read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prob": [0.5, None, 0.5, 0.5]}, r"log\.parquet, row 2, column prob: missing, " + PROPENSITIES),
        ({"prob": ["0.5", "x", "1", "1"]}, r"log\.parquet, row 2, column prob: 'x', allowed: numbers$"),
        ({"click": [1.0, 1.0, None, 1.0]}, r"log\.parquet, row 3, column click: missing, allowed: finite numbers$"),
        ({"shown": ["a", "b", None, "a"]}, r"log\.parquet, row 3, column shown: missing, allowed: an id in every row$"),
    ],
)  # fmt: skip
def test_bad_parquet(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(save(FRAME.assign(**columns), tmp_path / "log.parquet")).read()


def test_a_logged_item_outside_of_the_catalogue(tmp_path: Path) -> None:
    items = save(ITEMS[1:], tmp_path / "items.csv")
    message = r"log\.csv, line 2, column shown: unknown item 70, allowed: the 2 items of .*items\.csv, ids 8 to 9$"
    with pytest.raises(UserError, match=message):
        table(save(FRAME, tmp_path / "log.csv"), items={"path": str(items), "id": "sku"}).read()


@pytest.mark.parametrize(
    "changes", [{"item": "prob"}, {"position": "click"}, {"context": ["age", "age"]}, {"context": ["slot"]}]
)
def test_a_column_named_twice(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^data\.item, propensity, reward, context and position name .* column once$"):
        table(Path("log.csv"), **changes)


def test_another_column_called_position() -> None:
    with pytest.raises(UserError, match=r"^data\.context names 'position', a name reserved for data\.position"):
        table(Path("log.csv"), context=["position"])
    assert table(Path("log.csv"), context=["position"], position=None).context == ["position"]


def test_a_table_ships_no_split(tmp_path: Path) -> None:
    source = table(save(FRAME, tmp_path / "log.csv"))
    with pytest.raises(UserError, match="bandit_table ships no split 'u1'; it ships none"):
        source.parts("u1", source.read())


def test_its_split_accepts_cold_contexts() -> None:
    cfg = compose_config(["data=bandit_table", "data.path=log.csv"])
    assert cfg.split._target_.endswith(".Random") and cfg.split.cold_users == "keep"


@pytest.mark.real
@pytest.mark.skipif(DATA is None, reason="RECSWEEP_DATA_DIR is unset, so no real data")
@pytest.mark.parametrize("policy", ["random", "bts"])
def test_open_bandit(policy: str) -> None:
    """Saito et al. 2021: 46 items of the campaign "women" in 3 positions; the random policy is uniform."""
    folder = Path(f"{DATA}/open-bandit/{policy}")
    log = BanditTable(
        str(folder / "women.csv"),
        item="item_id",
        propensity="propensity_score",
        reward="click",
        position="position",
        context=[f"user_feature_{n}" for n in range(4)],
        items={"path": str(folder / "item_context.csv"), "id": "item_id"},
        separator=None,
        encoding=None,
        decimal_comma=None,
    ).read()
    assert (len(log), log.n_users, log.n_items) == (10_000, 10_000, 46)
    assert log.user_features is not None and log.user_features.labels["position"] == ("1", "2", "3")
    assert log.item_features is not None
    assert list(log.item_features.columns) == [f"item_feature_{n}" for n in range(4)]
    assert log.rating.double().mean().item() == pytest.approx(0.0046, abs=1e-9)  # 46 clicks in either log
    if policy == "random":
        torch.testing.assert_close(log.propensity, torch.full((10_000,), 1 / 46), atol=1e-6, rtol=0)
