"""A comparison as tables."""

import json
from pathlib import Path

from run_folders import compare_runs, write_policy_run, write_run, write_sweep

from recsweep.report.table import metrics_tables


def test_test_metrics_are_in_groups_without_ends_of_intervals(tmp_path: Path) -> None:
    write_policy_run(tmp_path, "ce", 0, 0.5)
    tables = metrics_tables(compare_runs(tmp_path)[0])
    assert {group: table.columns[1:] for group, table in tables.items()} == {
        "test": ("mse",),
        "test/two_stage": ("ndcg@5",),
        "test/off_policy": ("true", "ips", "snips", "dm", "dr", "logged", "ess"),
    }
    assert tables["test/off_policy"].rows[0].cells[2] == "0.6000"


def test_a_single_test_metric_needs_no_table_of_its_own(tmp_path: Path) -> None:
    assert metrics_tables(compare_runs(write_sweep(tmp_path))[0]) == {}


def test_metrics_of_the_true_values_are_in_the_oracles_row(tmp_path: Path) -> None:
    for seed, value in enumerate((0.75, 0.25)):
        write_run(tmp_path / str(seed), f"seed={seed}", oracle={"test/rmse": value}, value=0.9)
        record = json.loads((tmp_path / str(seed) / "metrics.json").read_text())
        record["metrics"]["test/rmse"] = 0.95
        (tmp_path / str(seed) / "metrics.json").write_text(json.dumps(record))
    oracle, row = metrics_tables(compare_runs(tmp_path)[0])["test"].rows
    assert (oracle.role, row.role) == ("oracle", "best")
    assert dict(zip(("mse", "rmse"), oracle.cells, strict=True)) == {"mse": "–", "rmse": "0.5000"}
