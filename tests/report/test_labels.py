"""Configurations in words."""

from pathlib import Path

from run_folders import write_run

from recsweep.report.collect import collect


def test_swept_values_make_the_labels(tmp_path: Path) -> None:
    for number, dropout in enumerate((0.1, 0.5)):
        write_run(tmp_path / str(number), f"regularization.dropout={dropout}", "model=biased_mf")
    assert set(collect(tmp_path).table["label"]) == {"dropout=0.1", "dropout=0.5"}


def test_a_label_names_only_what_varies_within_its_model(tmp_path: Path) -> None:
    for number, dropout in enumerate((0.1, 0.5)):
        overrides = ("model=biased_mf", f"regularization.dropout={dropout}")
        write_run(tmp_path / str(number), *overrides, model="biased_mf")
    write_run(tmp_path / "2", "model=means")
    assert set(collect(tmp_path).table["label"]) == {"biased_mf dropout=0.1", "biased_mf dropout=0.5", "means"}


def test_a_name_is_no_setting_unless_nothing_else_tells_runs_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "name=first", "regularization.dropout=0.1")
    write_run(tmp_path / "1", "name=second", "regularization.dropout=0.5")
    assert set(collect(tmp_path).table["label"]) == {"dropout=0.1", "dropout=0.5"}
    write_run(tmp_path / "2", "name=third", "regularization.dropout=0.5")
    assert "dropout=0.5 name=third" in set(collect(tmp_path).table["label"])
