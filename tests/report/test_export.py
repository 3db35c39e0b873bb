"""The report's tables as files."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import write_run, write_sweep

from recsweep.report import export
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons


def export_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Contents of `runs.csv` and `comparison.csv`."""
    runs = collect(folder)
    export.write(folder, runs, comparisons(runs, None))
    return pd.read_csv(folder / "runs.csv"), pd.read_csv(folder / "comparison.csv")


def test_runs_csv_has_a_row_per_run(tmp_path: Path) -> None:
    for number, dropout in enumerate((0.1, 0.5)):
        write_run(tmp_path / str(number), f"regularization.dropout={dropout}", f"seed={number}", value=0.8)
    write_run(tmp_path / "2", "data.n_users=70", status="failed", error="it went wrong", objective=None, metrics={})
    runs, _ = export_tables(tmp_path)
    assert runs["run"].tolist() == [0, 1, 2]
    assert runs["status"].tolist() == ["completed", "completed", "failed"]
    assert runs["reason"].fillna("").tolist() == ["", "", "it went wrong"]
    assert runs["regularization.dropout"].tolist() == [0.1, 0.5, 0.1]
    assert runs["seed"].tolist() == [0, 1, 0]
    assert runs["test/mse"].tolist()[:2] == pytest.approx([0.81, 0.81]) and math.isnan(runs["test/mse"][2])


def test_parquet_holds_the_same_as_csv(tmp_path: Path) -> None:
    runs, _ = export_tables(write_sweep(tmp_path))
    parquet = pd.read_parquet(tmp_path / "runs.parquet")
    assert list(parquet) == list(runs)
    assert parquet["test/mse"].tolist() == runs["test/mse"].tolist()
    assert parquet["label"].tolist() == runs["label"].tolist()


def test_a_setting_of_numbers_and_words_is_text_in_parquet(tmp_path: Path) -> None:
    for number, dropout in enumerate(("0.1", "adaptive")):
        write_run(tmp_path / str(number), f"regularization.dropout={dropout}")
    export_tables(tmp_path)
    assert pd.read_parquet(tmp_path / "runs.parquet")["regularization.dropout"].tolist() == ["0.1", "adaptive"]


def test_comparison_csv_has_a_row_per_configuration_and_metric(tmp_path: Path) -> None:
    """Test MSE of biased_mf is 0.81, 0.83, 0.85: mean 0.83, s = 0.02, half width 4.3027 · 0.02 / √3 = 0.04968.

    Against means (0.91, 0.92, 0.93) the differences are −0.10, −0.09, −0.08: mean −0.09, s = 0.01, half width
    0.02484, t = −9 · √3 and p = 1 − |t| / √(t² + 2) = 1 − √(243 / 245). svdpp (0.71, 0.74, 0.77) differs by −0.20,
    −0.18, −0.16: twice the mean and s, the same p. Holm doubles the smaller of the two, and raises the larger at
    least to that.
    """
    _, table = export_tables(write_sweep(tmp_path))
    assert table["metric"].tolist() == ["test/mse"] * 3 + ["val/mse"] * 3
    rows = table.set_index(["metric", "configuration"]).loc["test/mse"]
    assert list(rows.index) == ["svdpp", "biased_mf", "means"]
    row = rows.loc["biased_mf"]
    assert (row["n"], row["n_users"], row["reference"], row["covers"]) == (3, 0, "means", "seeds")
    assert row["mean"] == pytest.approx(0.83) and row["std"] == pytest.approx(0.02)
    assert (row["low"], row["high"]) == pytest.approx((0.83 - 0.04968, 0.83 + 0.04968), abs=1e-4)
    assert row["difference"] == pytest.approx(-0.09)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(
        (-0.09 - 0.02484, -0.09 + 0.02484), abs=1e-4
    )
    assert rows["p_holm"].tolist()[:2] == pytest.approx([2 * (1 - math.sqrt(243 / 245))] * 2)
    assert np.isnan(rows.loc["means", ["difference", "p_holm"]].astype(float)).all()


def test_effects_csv_has_a_row_per_effect(tmp_path: Path) -> None:
    """svdpp is best; it differs from biased_mf by −0.10, −0.09, −0.08, and from means by twice that.

    Both have the same p, which Holm doubles; by hand above.
    """
    export_tables(write_sweep(tmp_path))
    row = pd.read_csv(tmp_path / "effects.csv").set_index("other").loc["biased_mf"]
    assert (row["setting"], row["value"], row["wins"], row["pairs"]) == ("model", "svdpp", 3, 3)
    assert row["difference"] == pytest.approx(-0.09)
    assert row["difference_high"] == pytest.approx(-0.09 + 0.02484, abs=1e-4)
    assert row["p_holm"] == pytest.approx(2 * (1 - math.sqrt(243 / 245)))


def test_without_completed_runs_the_comparison_has_no_rows(tmp_path: Path) -> None:
    write_run(tmp_path / "0", status="failed", error="it went wrong", objective=None, metrics={})
    runs, table = export_tables(tmp_path)
    assert len(runs) == 1 and len(table) == 0
    assert "p_holm" in table


def test_pruned_runs_are_in_runs_csv_only(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    write_run(tmp_path / "9", "model=svdpp", "seed=7", model="svdpp", value=0.1, status="pruned", error="too far off")
    runs, table = export_tables(tmp_path)
    assert runs["status"].tolist() == ["completed"] * 9 + ["pruned"]
    assert table.set_index(["metric", "configuration"]).loc[("test/mse", "svdpp"), "n"] == 3
