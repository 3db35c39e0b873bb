"""The plots of a comparison."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import compare_runs, write_grid, write_run

from recsweep.report import plots


def test_a_single_run_is_plotted_without_warnings(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    comparison, _ = compare_runs(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot = plots.comparison_plot(comparison, width=760)
    assert "means<" in plot and ">test/mse<" in plot


@pytest.mark.parametrize("width", [760, 360])
def test_long_labels_are_wrapped_and_numbered_by_their_first_job(tmp_path: Path, width: int) -> None:
    keys = ("dropout", "embedding_dim_of_users", "embedding_dim_of_items")
    for number in (4, 5):
        write_run(tmp_path / str(number), *(f"regularization.{key}={number}.12345" for key in keys))
    plot = plots.comparison_plot(compare_runs(tmp_path)[0], width)
    words = " ".join(re.findall(">([^<>]+)</text>", plot))
    for number in (4, 5):
        assert f"{number} · dropout={number}.123" in words
        assert all(f"{key}={number}.123" in words for key in keys)
    assert "…" not in plot


def test_short_curves_are_whole_and_long_ones_lose_their_start() -> None:
    """Of 100 falling epochs, the first five are above the 95th percentile."""
    curve = pd.DataFrame({"mean": np.arange(100.0, 0.0, -1.0), "half_width": np.nan})
    low, high = plots.limits_without_start([curve], [])
    assert low < 1 and 95 < high < 102.1 and (curve["mean"] > 95).sum() == 5
    assert plots.limits_without_start([curve[:5]], [])[1] == pytest.approx(100 + 0.06 * 4)


def test_effects_are_plotted_with_what_is_compared(tmp_path: Path) -> None:
    comparison, _ = compare_runs(write_grid(tmp_path))
    plot = plots.effects_plot(comparison, 760)
    assert (
        ">dropout: 0 against 0.1<" in plot and ">loss: mse against bpr<" in plot and ">difference in test/mse<" in plot
    )
