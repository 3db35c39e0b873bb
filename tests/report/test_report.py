"""The report over folders of runs, good and broken: written by hand, read by the program."""

import json
import re
from pathlib import Path

import pytest
from run_folders import render_report, write_policy_run, write_run, write_sweep
from torch.utils.tensorboard import SummaryWriter

from recsweep.commands.report import run as report
from recsweep.errors import UserError
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons
from recsweep.report.table import metrics_tables


def test_configurations_stand_in_the_order_of_validation(tmp_path: Path) -> None:
    (found,) = comparisons(collect(write_sweep(tmp_path)), None)
    assert found.labels == ["svdpp", "biased_mf", "means"]
    assert found.baseline == "means"
    assert found.val["means"].mean == pytest.approx((0.90 + 0.91 + 0.92) / 3)
    assert found.test["svdpp"].mean == pytest.approx((0.71 + 0.74 + 0.77) / 3)
    assert found.tests["svdpp"].difference == pytest.approx((0.71 + 0.74 + 0.77 - 0.91 - 0.92 - 0.93) / 3)
    assert found.tests["svdpp"].n == 3


def test_the_baseline_can_be_named(tmp_path: Path) -> None:
    (found,) = comparisons(collect(write_sweep(tmp_path)), "svdpp")
    assert found.baseline == "svdpp"
    assert set(found.tests) == {"means", "biased_mf"}
    with pytest.raises(UserError, match=r"baseline=nope: no completed run .* there is: means, biased_mf, svdpp"):
        comparisons(collect(tmp_path), "nope")


def test_other_data_or_protocol_is_another_table(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "data=synthetic")
    write_run(tmp_path / "1", "data=ml_100k")
    write_run(tmp_path / "2", "evaluation=full_ranking")
    write_run(tmp_path / "3", "data.n_users=600")
    assert len(comparisons(collect(tmp_path), None)) == 4


def test_swept_values_are_the_labels(tmp_path: Path) -> None:
    for number, dropout in enumerate((0.1, 0.5)):
        write_run(tmp_path / str(number), f"regularization.dropout={dropout}", "model=biased_mf")
    assert set(collect(tmp_path).table["label"]) == {"biased_mf dropout=0.1", "biased_mf dropout=0.5"}


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    assert "0.9100 ± –" in render_report(tmp_path)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_keeps_its_labels_readable(tmp_path: Path, width: int) -> None:
    for number, dropout in enumerate((0.1, 0.25)):
        words = ["model=biased_mf", f"regularization.dropout={dropout}", "optimizer=sparse_adam"]
        write_run(tmp_path / str(number), *words, model="biased_mf")
    shown = render_report(tmp_path, width)
    assert all(len(line) <= width for line in shown.splitlines())
    for label in ("dropout=0.1", "dropout=0.25", "val/mse", "test/mse"):
        assert label in shown


def test_broken_runs_are_listed(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    write_run(tmp_path / "failed", "seed=7", status="failed", error="it went wrong", objective=None)
    (write_run(tmp_path / "killed", "seed=8") / "metrics.json").unlink()
    (write_run(tmp_path / "torn", "seed=9") / "metrics.json").write_text('{"status": "comp')
    shown = render_report(tmp_path)
    assert "3 of 12 runs did not complete" in shown
    assert "failed: it went wrong" in shown
    assert "killed" in shown and "unfinished" in shown
    assert "torn" in shown and "unreadable" in shown
    report([str(tmp_path)])
    assert "it went wrong" in (tmp_path / "report.html").read_text()


def test_only_broken_runs_are_a_report_too(tmp_path: Path) -> None:
    write_run(tmp_path / "0", status="failed", error="it went wrong", objective=None)
    report([str(tmp_path)])
    assert "it went wrong" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["."], "no runs here"),
        ([], "wants one folder of runs, got 0"),
        ([".", ".."], "wants one folder of runs, got 2"),
        ([".", "colour=red"], "colour=red: the one option is baseline=NAME"),
        ([".", "baseline="], "baseline=: the one option is baseline=NAME"),
    ],
)
def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        report(words)


def test_the_page_is_one_file_that_shows_and_escapes(tmp_path: Path) -> None:
    write_sweep(tmp_path, oracle={"test/mse": 0.5})
    write_run(tmp_path / "9", "seed=0", "model=svdpp", "loss='<script>alert(1)</script>'", model="svdpp", value=0.1)
    writer = SummaryWriter(str(tmp_path / "8" / "tb"))
    for epoch in (1, 2, 3):
        writer.add_scalar("val/mse", 1 / epoch, epoch)
    writer.close()
    report([str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "oracle" in page and ">0.500<" in page and "<svg" in page
    assert "Learning curves" in page
    assert "recsweep train" in page
    left = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert left == {"report.html", "runs.csv", "runs.parquet", "comparison.csv"}


def test_what_was_selected_on_test_is_marked(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    write_run(tmp_path / "9", "model=mlp", model="mlp", value=0.75, selected_on="test")
    shown = render_report(tmp_path)
    assert "mlp †" in shown and "† selected on test" in shown
    assert "svdpp †" not in shown


def test_folds_of_a_cross_validation_are_repetitions(tmp_path: Path) -> None:
    for number, fold in enumerate(("u1", "u2", "u3")):
        write_run(tmp_path / f"a{number}", f"split={fold}", value=0.9 + 0.01 * number)
        write_run(tmp_path / f"b{number}", f"split={fold}", "model=svdpp", model="svdpp", value=0.8 + 0.02 * number)
    (found,) = comparisons(collect(tmp_path), None)
    assert (found.repeat, found.test["svdpp"].n, found.tests["svdpp"].n) == ("fold", 3, 3)
    assert found.tests["svdpp"].difference == pytest.approx((-0.1 - 0.09 - 0.08) / 3)


def test_test_metrics_are_grouped_and_ends_of_intervals_left_out(tmp_path: Path) -> None:
    write_policy_run(tmp_path, "ce", 0, 0.5)
    (found,) = comparisons(collect(tmp_path), None)
    tables = metrics_tables(found)
    assert {group: table.columns[1:] for group, table in tables.items()} == {
        "test": ("mse",),
        "test/two_stage": ("ndcg@5",),
        "test/off_policy": ("true", "ips", "snips", "dm", "dr", "logged", "ess"),
    }
    assert tables["test/off_policy"].rows[0].cells[2] == "0.6000 ± –"


def test_a_single_test_metric_needs_no_table_of_its_own(tmp_path: Path) -> None:
    (found,) = comparisons(collect(write_sweep(tmp_path)), None)
    assert metrics_tables(found) == {}


def test_metrics_that_the_truth_knows_have_a_ceiling(tmp_path: Path) -> None:
    for seed, value in enumerate((0.75, 0.25)):
        write_run(tmp_path / str(seed), f"seed={seed}", oracle={"test/rmse": value}, value=0.9)
        saved = json.loads((tmp_path / str(seed) / "metrics.json").read_text())
        saved["metrics"]["test/rmse"] = 0.95
        (tmp_path / str(seed) / "metrics.json").write_text(json.dumps(saved))
    (found,) = comparisons(collect(tmp_path), None)
    ceiling, row = metrics_tables(found)["test"].rows
    assert (ceiling.role, row.role) == ("oracle", "baseline")
    assert dict(zip(("mse", "rmse"), ceiling.cells, strict=True)) == {"mse": "–", "rmse": "0.5000"}
