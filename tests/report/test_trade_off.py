"""Two goals at once, and the Pareto front."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import compare_runs, write_run, write_sweep

from recsweep.report import trade_off
from recsweep.report.panels import panels


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_equals_that_of_a_loop(points: list[tuple[int, int]]) -> None:
    front = [not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points) for x, y in points]
    assert trade_off.pareto_mask(np.array(points, dtype=float)).tolist() == front


def write_trade_off(folder: Path) -> Path:
    """Four balances of two tasks; `good` beats `mid` in both, `one` has no second task."""
    metrics_by_loss = {
        "left": (0.10, 0.7),
        "good": (0.12, 0.8),
        "mid": (0.11, 0.9),
        "right": (0.14, 1.2),
        "one": (0.2, None),
    }
    for number, (loss, (mrr, mse)) in enumerate(metrics_by_loss.items()):
        metrics = {"val/joint": 0.5, "test/joint": 0.5, "test/mrr": mrr, "test/mse": mse, "val/mse": 0.9 - number}
        objective = {"name": "val/joint", "value": 0.5, "mode": "max"}
        run = write_run(folder / loss, "model=multitask", f"loss={loss}", metrics=metrics, objective=objective)
        config = run / ".hydra" / "config.yaml"
        config.write_text(config.read_text() + "evaluation: {joint: {mrr: 1.0, mse: -1.0}}\n")
    return folder


def test_the_front_holds_what_no_configuration_beats_in_both_goals(tmp_path: Path) -> None:
    comparison, runs = compare_runs(write_trade_off(tmp_path))
    goals = trade_off.goals(comparison, runs)
    assert goals == (trade_off.Goal("test/mrr", True), trade_off.Goal("test/mse", False))
    table = trade_off.trade_off_table(comparison, goals)
    front = {label.removeprefix("loss=") for label in table.index[table["front"]]}
    assert front == {"left", "good", "right"}
    assert table["front"].tolist() == [True, True, True, False]
    (panel, *_) = panels(comparison, runs)
    assert "Pareto front" in panel.caption
    (plot,) = panel.plots
    assert ">test/mrr (higher is better)<" in plot and ">test/mse (lower is better)<" in plot


def test_the_objectives_of_a_search_are_its_goals(tmp_path: Path) -> None:
    write_trade_off(tmp_path)
    for run in tmp_path.iterdir():
        hydra = run / ".hydra" / "hydra.yaml"
        hydra.write_text(hydra.read_text() + "  sweeper: {objectives: [val/mse, n_parameters]}\n")
    assert trade_off.goals(*compare_runs(tmp_path)) == (
        trade_off.Goal("val/mse", False),
        trade_off.Goal("n_parameters", False),
    )


def test_one_goal_is_no_trade_off(tmp_path: Path) -> None:
    assert trade_off.goals(*compare_runs(write_sweep(tmp_path))) is None
