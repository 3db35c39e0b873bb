"""The comparison on the terminal."""

from pathlib import Path

import pytest
from run_folders import print_report, write_grid, write_run, write_sweep


@pytest.mark.parametrize("width", [80, 120])
def test_labels_stay_readable_on_a_narrow_terminal(tmp_path: Path, width: int) -> None:
    for number, dropout in enumerate((0.1, 0.25)):
        overrides = ["model=biased_mf", f"regularization.dropout={dropout}", "optimizer=sparse_adam"]
        write_run(tmp_path / str(number), *overrides, model="biased_mf")
    text = print_report(tmp_path, width)
    assert all(len(line) <= width for line in text.splitlines())
    for name in ("dropout=0.1", "dropout=0.25", "val/mse", "test/mse"):
        assert name in text


def test_one_seed_without_evidence_has_no_interval(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    text = print_report(tmp_path)
    assert "0.9100" in text and "± " not in text.split("Ordered by")[0]
    assert "There are no intervals" in text


def test_effects_come_before_configurations(tmp_path: Path) -> None:
    text = print_report(write_grid(tmp_path))
    assert text.index("0 against 0.1") < text.index("configuration  ")


def test_the_best_configurations_and_the_baseline_are_printed(tmp_path: Path) -> None:
    """Of 30 configurations, 24 and the last one, which is the baseline."""
    for number in range(30):
        model = "means" if number == 29 else "svdpp"
        overrides = [f"model={model}", f"regularization.dropout=0.{number:02}"]
        write_run(tmp_path / str(number), *overrides, model=model, value=0.5 + 0.01 * number)
    text = print_report(tmp_path)
    assert "dropout=0.23" in text and "dropout=0.24" not in text
    assert "\nmeans " in text and "5 more configurations are in the report." in text


def test_incomplete_runs_are_listed(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    write_run(tmp_path / "failed", "seed=7", status="failed", error="it went wrong", objective=None)
    (write_run(tmp_path / "killed", "seed=8") / "metrics.json").unlink()
    (write_run(tmp_path / "torn", "seed=9") / "metrics.json").write_text('{"status": "comp')
    text = print_report(tmp_path)
    assert "3 of 12 runs did not complete" in text
    assert "failed: it went wrong" in text
    assert "killed" in text and "unfinished" in text
    assert "torn" in text and "unreadable" in text


def test_pruned_runs_are_counted_and_not_listed(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    write_run(tmp_path / "9", "model=svdpp", "seed=7", model="svdpp", status="pruned", error="epoch 2: too far off")
    text = print_report(tmp_path)
    assert "1 of 10 runs were pruned" in text and "did not complete" not in text
