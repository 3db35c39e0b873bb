"""The report's tables as files, and who is counted in them."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import render_report, write_run, write_sweep

from recsweep.commands.report import run as report
from recsweep.report.collect import collect
from recsweep.report.comparisons import command, comparisons


def both(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the report leaves as `runs.csv` and `comparison.csv`."""
    report([str(folder)])
    return pd.read_csv(folder / "runs.csv"), pd.read_csv(folder / "comparison.csv")


def test_a_row_a_run_with_all_that_varies(tmp_path: Path) -> None:
    for number, dropout in enumerate((0.1, 0.5)):
        words = ["model=svdpp", f"regularization.dropout={dropout}", f"seed={number}", "data.n_users=60"]
        write_run(tmp_path / str(number), *words, model="svdpp", value=0.8 - 0.1 * number)
    write_run(tmp_path / "2", "data.n_users=70", status="failed", error="it went wrong", objective=None, metrics={})
    runs, _ = both(tmp_path)
    assert runs["run"].tolist() == [0, 1, 2]
    assert runs["status"].tolist() == ["completed", "completed", "failed"]
    assert runs["reason"].fillna("").tolist() == ["", "", "it went wrong"]
    assert runs["model"].tolist() == ["svdpp", "svdpp", "means"]
    assert runs["regularization.dropout"].tolist() == [0.1, 0.5, 0.1]
    assert runs["data.n_users"].tolist() == [60, 60, 70]
    assert runs["seed"].tolist() == [0, 1, 0]
    assert runs["test/mse"].tolist()[:2] == pytest.approx([0.81, 0.71]) and math.isnan(runs["test/mse"][2])
    assert runs["seconds/total"].tolist()[:2] == [6, 6]
    assert runs["overrides"][1] == "model=svdpp regularization.dropout=0.5 seed=1 data.n_users=60"


def test_parquet_holds_the_same_as_csv(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    runs, _ = both(tmp_path)
    parquet = pd.read_parquet(tmp_path / "runs.parquet")
    assert list(parquet) == list(runs)
    assert parquet["test/mse"].tolist() == runs["test/mse"].tolist()
    assert parquet["label"].tolist() == runs["label"].tolist()


def test_a_setting_of_numbers_and_words_is_text_in_parquet(tmp_path: Path) -> None:
    for number, dropout in enumerate(("0.1", "adaptive")):
        write_run(tmp_path / str(number), f"regularization.dropout={dropout}")
    report([str(tmp_path)])
    assert pd.read_parquet(tmp_path / "runs.parquet")["regularization.dropout"].tolist() == ["0.1", "adaptive"]


def test_a_row_a_configuration_and_metric(tmp_path: Path) -> None:
    """Test MSE of biased_mf is 0.81, 0.83, 0.85: mean 0.83, s = 0.02, half width 4.3027 · 0.02 / √3 = 0.04968.

    Against means (0.91, 0.92, 0.93) the differences are −0.10, −0.09, −0.08: mean −0.09, s = 0.01, d_z = −9,
    t = −9 · √3 and p = 1 − |t| / √(t² + 2) = 1 − √(243 / 245). svdpp (0.71, 0.74, 0.77) differs by −0.20, −0.18,
    −0.16: s = 0.02, the same d_z and p. Holm takes the smaller of two twice, and the other no lower than that.
    """
    _, grouped = both(write_sweep(tmp_path))
    assert grouped["metric"].tolist() == ["test/mse"] * 3 + ["val/mse"] * 3
    rows = grouped.set_index(["metric", "configuration"]).loc["test/mse"]
    assert list(rows.index) == ["svdpp", "biased_mf", "means"]
    row = rows.loc["biased_mf"]
    assert (row["n"], row["baseline"]) == (3, "means")
    assert row["mean"] == pytest.approx(0.83) and row["std"] == pytest.approx(0.02)
    assert (row["low"], row["high"]) == pytest.approx((0.83 - 0.04968, 0.83 + 0.04968), abs=1e-4)
    assert row["difference"] == pytest.approx(-0.09) and row["d_z"] == pytest.approx(-9)
    assert rows["p_holm"].tolist()[:2] == pytest.approx([2 * (1 - math.sqrt(243 / 245))] * 2)
    assert np.isnan(rows.loc["means", ["difference", "p_holm", "d_z"]].astype(float)).all()


def test_validation_orders_and_where_more_is_better_the_most_comes_first(tmp_path: Path) -> None:
    for number, value in enumerate((0.2, 0.4, 0.3)):
        said = {"objective": {"name": "val/mrr", "value": value, "mode": "max"}}
        said |= {"metrics": {"val/mrr": value, "test/mrr": 0.5 - value}}
        write_run(tmp_path / str(number), f"regularization.dropout=0.{number}", **said)
    _, grouped = both(tmp_path)
    assert grouped["configuration"].tolist() == ["means dropout=0.1", "means dropout=0.2", "means dropout=0"] * 2


def test_nothing_to_compare_is_a_table_without_rows(tmp_path: Path) -> None:
    write_run(tmp_path / "0", status="failed", error="it went wrong", objective=None, metrics={})
    runs, grouped = both(tmp_path)
    assert len(runs) == 1 and len(grouped) == 0
    assert "p_holm" in grouped


def test_pruned_runs_are_listed_and_not_counted(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    write_run(
        tmp_path / "9", "model=svdpp", "seed=7", model="svdpp", value=0.1, status="pruned", error="epoch 2: too far off"
    )
    runs, grouped = both(tmp_path)
    assert runs["status"].tolist() == ["completed"] * 9 + ["pruned"]
    assert grouped.set_index(["metric", "configuration"]).loc[("test/mse", "svdpp"), "n"] == 3
    assert "epoch 2: too far off" in (tmp_path / "report.html").read_text()
    shown = render_report(tmp_path)
    assert "1 of 10 runs were pruned" in shown and "did not complete" not in shown


def test_the_terminal_shows_the_best_and_the_baseline(tmp_path: Path) -> None:
    """Of 30 configurations, 24 and the last one, which is the baseline."""
    for number in range(30):
        model = "means" if number == 29 else "svdpp"
        words = [f"model={model}", f"regularization.dropout=0.{number:02}"]
        write_run(tmp_path / str(number), *words, model=model, value=0.5 + 0.01 * number)
    shown = render_report(tmp_path)
    assert "dropout=0.23" in shown and "dropout=0.24" not in shown
    assert "\nmeans " in shown and "5 more configurations are in the report." in shown


def test_the_best_again_has_the_seeds_that_all_its_runs_had(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / str(seed), "model=means", f"seed={seed}", "data.seed=5")
    runs = collect(tmp_path)
    assert command(comparisons(runs, None)[0], runs.runs) == "recsweep train model=means data.seed=5"


def test_jobs_that_have_not_begun_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "0", "model=means", "seed=0")
    (tmp_path / "sweep.json").write_text('{"words": [], "jobs": [["seed=0"], ["seed=1"], ["seed=2"]]}')
    report([str(tmp_path)])
    assert f"2 jobs of this sweep have not begun: recsweep train sweep.resume={tmp_path}" in capsys.readouterr().out
