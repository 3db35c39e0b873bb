"""The plots that a comparison calls for."""

import re
from pathlib import Path

from run_folders import compare_runs, write_grid, write_run, write_search, write_sweep
from torch.utils.tensorboard import SummaryWriter

from recsweep.report.panels import panels


def test_a_grid_has_lines_and_no_parallel_coordinates(tmp_path: Path) -> None:
    by_caption = {panel.caption: panel for panel in panels(*compare_runs(write_grid(tmp_path)))}
    dropout, loss = by_caption
    assert dropout.startswith("test/mse by regularization.dropout")
    assert loss.startswith("test/mse by loss")
    assert "interval" not in dropout  # a run of each
    assert [name for _, name in by_caption[dropout].legend] == ["biased_mf loss=mse", "biased_mf loss=bpr"]
    assert ">bpr<" in by_caption[loss].plots[0]


def test_a_search_has_a_scatter_plot_of_the_validation_metric_per_value(tmp_path: Path) -> None:
    """Whoever tunes by this plot does not look at the test metric."""
    scatter, parallel = panels(*compare_runs(write_search(tmp_path)))
    assert scatter.caption.startswith("val/mse against each searched value")
    assert len(scatter.plots) == 2 and all(">val/mse<" in plot for plot in scatter.plots)
    assert parallel.caption.startswith("Every configuration as a line")


def test_one_swept_word_needs_no_panel(tmp_path: Path) -> None:
    """The comparison plot itself shows it."""
    for number, loss in enumerate(("mse", "bpr", "ce", "bce")):
        write_run(tmp_path / str(number), "model=svdpp", f"loss={loss}", model="svdpp", value=0.8 + 0.1 * number)
    assert panels(*compare_runs(tmp_path)) == []


def test_a_sweep_over_models_needs_no_panel(tmp_path: Path) -> None:
    """No estimates from logs, no second goal, no curves."""
    assert panels(*compare_runs(write_sweep(tmp_path))) == []


def test_losses_of_different_scales_have_plots_of_their_own(tmp_path: Path) -> None:
    """Of eight configurations, the six that are drawn have two losses; three epochs are not cut."""
    for number in range(8):
        loss = "mse" if number % 2 else "bpr"
        overrides = ("model=svdpp", f"loss={loss}", f"regularization.dropout=0.{number}")
        run = write_run(tmp_path / str(number), *overrides, model="svdpp", value=0.5 + 0.01 * number)
        with SummaryWriter(str(run / "tb")) as writer:
            for epoch in (1, 2, 3):
                writer.add_scalar("val/mse", 1 / epoch, epoch)
                writer.add_scalar("train/loss", 7 / epoch, epoch)
    (curves,) = [p for p in panels(*compare_runs(tmp_path)) if p.caption.startswith("Learning curves")]
    titles = [re.findall(r">((?:train|val)/[^<]*)<", plot) for plot in curves.plots]
    assert titles == [["val/mse"], ["train/loss of bpr"], ["train/loss of mse"]]
    assert curves.caption.startswith("Learning curves of 6 of 8 configurations")
    assert "cut off" not in curves.caption and "Bands" not in curves.caption
