"""The plots of a comparison."""

import warnings
from pathlib import Path

from run_folders import compare_runs, write_run

from recsweep.report import plots


def test_a_single_run_is_plotted_without_warnings(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    comparison, _ = compare_runs(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot = plots.comparison_plot(comparison, width=760)
    assert ">means<" in plot and ">test/mse<" in plot
