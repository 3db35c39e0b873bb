"""The plots that a comparison calls for."""

from pathlib import Path

from run_folders import compare_runs, write_grid, write_run, write_search, write_sweep

from recsweep.report.panels import panels


def test_a_grid_has_lines_and_parallel_coordinates(tmp_path: Path) -> None:
    by_caption = {panel.caption: panel for panel in panels(*compare_runs(write_grid(tmp_path)))}
    dropout, loss, parallel = by_caption
    assert dropout.startswith("test/mse by regularization.dropout")
    assert loss.startswith("test/mse by loss")
    assert parallel.startswith("Every configuration as a line")
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
