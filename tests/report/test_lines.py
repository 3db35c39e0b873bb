"""The data of the line plots: swept values and learning curves."""

from pathlib import Path

import pytest
from run_folders import compare_runs, write_grid, write_run, write_search
from torch.utils.tensorboard import SummaryWriter

from recsweep.report import lines


def test_a_line_joins_configurations_that_differ_in_one_value(tmp_path: Path) -> None:
    comparison, runs = compare_runs(write_grid(tmp_path))
    grid = lines.grid_lines(lines.value_points(comparison, runs, "regularization.dropout"))
    assert list(grid) == ["biased_mf loss=mse", "biased_mf loss=bpr"]  # the best first, without means
    line = grid["biased_mf loss=bpr"].sort_values("value")
    assert line["value"].tolist() == [0.0, 0.1, 0.2]
    assert line["mean"].tolist() == pytest.approx([0.82, 0.92, 1.02])


def test_values_of_a_search_make_no_lines(tmp_path: Path) -> None:
    comparison, runs = compare_runs(write_search(tmp_path))
    points = lines.value_points(comparison, runs, "regularization.dropout")
    assert lines.grid_lines(points) == {}
    assert points["value"].tolist() == [number / 20 for number in range(13)]
    assert points["mean"].tolist() == pytest.approx([0.81 + 0.01 * number for number in range(13)])
    assert points["selection"].tolist() == pytest.approx([0.8 + 0.01 * number for number in range(13)])


def test_scalars_of_all_parts_of_a_run(tmp_path: Path) -> None:
    """The folder itself, as runs outside of sweeps have them, and a subfolder, which has the later epochs."""
    for folder, epochs in ((tmp_path, (1, 2)), (tmp_path / "seed=1", (2, 3))):
        with SummaryWriter(str(folder)) as writer:
            for epoch in epochs:
                writer.add_scalar("val/mse", epoch, epoch)
                writer.add_scalar("lr", 1, epoch)
    scalars = lines.read_scalars(tmp_path, ["val/mse", "train/loss"])
    assert list(scalars) == ["val/mse"]
    assert scalars["val/mse"].to_dict() == {1: 1.0, 2: 2.0, 3: 3.0}
    assert lines.read_scalars(tmp_path / "none", ["val/mse"]) == {}


def test_curves_are_those_of_the_best_with_curves_and_the_baseline(tmp_path: Path) -> None:
    for number in range(8):  # the best configurations are of a model without curves
        write_run(tmp_path / str(number), f"regularization.dropout={number / 10}", value=0.5 + number / 100)
    for number in range(8, 11):
        overrides = ("model=svdpp", f"regularization.dropout={number / 10}")
        run = write_run(tmp_path / str(number), *overrides, model="svdpp", value=number / 10)
        with SummaryWriter(str(run / "tb" / f"dropout={number / 10}")) as writer:
            for epoch in (1, 2):
                writer.add_scalar("val/mse", number / epoch, epoch)
    names, curves = lines.curve_lines(*compare_runs(tmp_path))
    assert names == ["means dropout=0", "svdpp dropout=0.8", "svdpp dropout=0.9", "svdpp dropout=1"]
    assert list(curves) == ["val/mse"] and list(curves["val/mse"]) == names[1:]
    assert curves["val/mse"]["svdpp dropout=0.9"]["mean"].tolist() == [9.0, 4.5]
