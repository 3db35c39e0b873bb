"""Reading the evidence of a run: names, metrics without evidence, damaged files."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import torch
from damages import BINARY
from evaluation_cases import pair_target

from recsweep.data.schema import IdMap
from recsweep.errors import UserError
from recsweep.evaluation import Rows
from recsweep.report import evidence as reader
from recsweep.report.evidence import read_evidence
from recsweep.runs.evidence import write_evidence

USERS = ["007", "Zoë 🎬", "7"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a value a user, and one with rows of a log too."""
    target = pair_target([], [(0, 0), (1, 0), (2, 0)], n_users=3, n_items=1)
    target = target._replace(data=replace(target.data, user_ids=IdMap(np.array(USERS), "user")))
    user = torch.arange(3)
    values = Rows(user, {"mrr": torch.tensor([0.5, torch.nan, 0.25], dtype=torch.float64)})
    write_evidence(tmp_path, "val", target, [{"user": values}])
    terms = {name: torch.full((3,), 2.0, dtype=torch.float64) for name in ("weight", "reward", "predicted", "expected")}
    write_evidence(tmp_path, "test", target, [{"user": values, "logged row": Rows(user, terms)}])
    return tmp_path


def test_ids_stay_as_they_are(run: Path) -> None:
    for part in ("val", "test"):
        assert read_evidence(run, part).users.tolist() == USERS


def test_a_user_who_does_not_count_has_0_of_0(run: Path) -> None:
    numerator, denominator = read_evidence(run, "val").terms("mrr")
    assert (numerator.tolist(), denominator.tolist()) == ([0.5, 0, 0.25], [1, 0, 1])


def test_both_files_of_a_part_are_read_together(run: Path) -> None:
    estimates = ("ips", "snips", "dm", "dr", "logged", "mean_weight")
    assert read_evidence(run, "test").metrics == ("mrr", *(f"off_policy/{name}" for name in estimates))
    assert {path.name for path in (run / "evidence").iterdir()} == {"val.parquet", "test.parquet", "test_log.parquet"}


@pytest.mark.parametrize("metric", ["coverage@10", "auc", "off_policy/ess"])
def test_a_metric_that_is_no_mean_says_so(metric: str, run: Path) -> None:
    with pytest.raises(UserError, match=f"^{metric}: not a mean over users or rows, so it has no evidence a user$"):
        read_evidence(run, "val").terms(metric)


def test_a_run_without_evidence_has_none(tmp_path: Path) -> None:
    assert read_evidence(tmp_path, "test") is None


def message(run: Path) -> str:
    with pytest.raises(UserError) as error:
        read_evidence(run, "val")
    assert str(error.value).startswith(f"{run}/evidence/val") and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("damage", [name for name in BINARY if name != "missing"])
def test_a_damaged_file_is_named_in_one_line(damage: str, run: Path) -> None:
    BINARY[damage](run / "evidence" / "val.parquet")
    message(run)


def test_another_value_is_found_by_its_checksum(run: Path) -> None:
    path = run / "evidence" / "val.parquet"
    chunk, content = pa_parquet.read_metadata(path).row_group(0).column(2), path.read_bytes()
    for i in range(chunk.data_page_offset - 8, chunk.data_page_offset):  # the end of the values
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        assert "train the run again" in message(run)


def test_a_pipe_is_not_waited_for(run: Path) -> None:
    path = run / "evidence" / "val.parquet"
    path.unlink()
    os.mkfifo(path)
    assert message(run) == f"{path}: not a file"


TABLES = {
    "no users": (pa.table({"n": [1]}), "user"),
    "no counts": (pa.table({"user": ["a"], "mrr": [0.5]}), "n"),
    "an unknown column": (pa.table({"user": ["a"], "n": [1], "mrr": [0.5]}), "column mrr holds None"),
    "a user twice": (pa.table({"user": ["a", "a"], "n": [1, 1]}), "a user has two rows"),
    "words": (pa.table({"user": ["a"], "n": [1], "mrr": ["high"]}), "high"),
    "no weights": (pa.table({"user": ["a"], "reward": [1.0]}).replace_schema_metadata({"row": "logged row"}), "weight"),
    "a sum of nothing": (
        pa.table(
            [["a"], [1], [1.0]],
            pa.schema(
                [("user", pa.string()), ("n", pa.int32()), pa.field("mrr", pa.float32(), metadata={"holds": "sum"})]
            ),
        ),
        "mrr",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_another_table_is_named_in_one_line(name: str, run: Path) -> None:
    table, part = TABLES[name]
    pa_parquet.write_table(table, run / "evidence" / "val.parquet")
    assert part in message(run)


def test_a_log_of_other_users_is_refused(run: Path) -> None:
    pa_parquet.write_table(
        pa_parquet.read_table(run / "evidence" / "test_log.parquet")[:2], run / "evidence" / "val_log.parquet"
    )
    assert "other users than val.parquet has" in message(run)


def test_a_file_of_too_many_cells_is_not_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_CELLS", 8)  # 3 rows of 3 columns
    assert "more than 8 cells" in message(run)
