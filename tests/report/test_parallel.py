"""Parallel coordinates of a sweep."""

import re
from pathlib import Path

import pytest
from run_folders import compare_runs, write_grid

from recsweep.report import parallel


def test_parallel_coordinates_hold_every_configuration_and_its_metric(tmp_path: Path) -> None:
    table = parallel.settings_table(*compare_runs(write_grid(tmp_path)))
    assert list(table) == ["model", "regularization.dropout", "loss", "val/mse"]
    assert len(table) == 12
    assert table.iloc[0].tolist() == ["biased_mf", 0.0, "mse", 0.8]
    assert table.iloc[-1].tolist() == ["biased_mf", 0.2, "bpr", pytest.approx(1.01)]
    plot = parallel.parallel_plot("title", table, dict.fromkeys(table.index, "about"))
    assert len(re.findall(r"stroke: var\(--series-0\)", plot)) == 11
    assert len(re.findall(r"stroke: var\(--accent\)", plot)) == 1
    assert all(f">{name}<" in plot for name in (*table, "biased_mf", "means", "0.1", "bpr"))
