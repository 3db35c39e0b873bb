"""What the report's plots show: swept values, parallel coordinates, trade-offs, curves."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import write_run, write_sweep
from torch.utils.tensorboard import SummaryWriter

from recsweep.commands.report import run as report
from recsweep.report import lines, parallel, trade_off
from recsweep.report.collect import Runs, collect
from recsweep.report.comparisons import Comparison, comparisons
from recsweep.report.scale import scale


def compared(folder: Path) -> tuple[Comparison, Runs]:
    runs = collect(folder)
    (found,) = comparisons(runs, None)
    return found, runs


def page(folder: Path) -> str:
    report([str(folder)])
    return (folder / "report.html").read_text()


def a_grid(folder: Path) -> Path:
    """biased_mf over dropout and loss, whose MSE is 0.8 + dropout (+ 0.01 for bpr), and means, which knows neither."""
    number = 0
    for dropout in (0.0, 0.1, 0.2):
        for loss in ("mse", "bpr"):
            for model, value in (("biased_mf", 0.8 + dropout + 0.01 * (loss == "bpr")), ("means", 0.95)):
                words = (f"model={model}", f"regularization.dropout={dropout}", f"loss={loss}")
                write_run(folder / str(number), *words, model=model, value=value)
                number += 1
    return folder


def a_search(folder: Path) -> Path:
    """Thirteen trials, no two of which share a value of dropout, and only two one of rank."""
    for number in range(13):
        words = (f"regularization.dropout={number / 20}", f"model.rank={50 - number % 12}")
        write_run(folder / str(number), "model=biased_mf", *words, model="biased_mf", value=0.8 + 0.01 * number)
    return folder


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([10, 20, 40], [0, 1 / 3, 1]),
        ([1, 10, 100], [0, 1 / 2, 1]),
        ([0, 1, 10, 100], [0, 1 / 3, 2 / 3, 1]),
        ([0.0, 0.3, 0.6, 0.9], [0, 1 / 3, 2 / 3, 1]),
        ([-1, 0, 99], [0, 0.01, 1]),
        ([1, 40, 60, 100], [0, 39 / 99, 59 / 99, 1]),
        ([5, None, 5], [0, math.nan, 0]),
        (["b", "a", None, "b"], [0, 1, math.nan, 0]),
    ],
    ids=["steps", "factors", "factors and zero", "steps and zero", "negative", "wide steps", "one", "words"],
)
def test_values_stand_to_scale(values: list[str | float | None], places: list[float]) -> None:
    assert scale(values).places.tolist() == pytest.approx(places, nan_ok=True)


def test_few_numbers_are_named_and_many_have_round_ticks() -> None:
    assert scale([8, 64, 16]).ticks == pytest.approx({0.0: "8", 1 / 7: "16", 1.0: "64"})
    many = scale([1.13 * 1.5**step for step in range(20)])  # up to 2505
    assert list(many.ticks.values()) == ["10", "100", "1000"]
    assert list(many.ticks) == pytest.approx([math.log(n / 1.13) / (19 * math.log(1.5)) for n in (10, 100, 1000)])
    assert list(scale([0.011 * 1.4**step for step in range(12)]).ticks.values()) == ["0.02", "0.05", "0.1", "0.2"]
    assert list(scale([step / 7 for step in range(9)]).ticks.values()) == ["0", "0.3", "0.6", "0.9"]
    assert list(scale([0.101, 0.1011, 0.2]).ticks.values()) == ["0.101", "0.2"]  # what would touch is left out


def test_a_line_goes_through_what_differs_in_one_value_alone(tmp_path: Path) -> None:
    found, runs = compared(a_grid(tmp_path))
    drawn = lines.grid_lines(lines.along(found, runs, "regularization.dropout"))
    assert list(drawn) == ["biased_mf loss=mse", "biased_mf loss=bpr"]  # the best first, without means
    line = drawn["biased_mf loss=bpr"].sort_values("value")
    assert line["value"].tolist() == [0.0, 0.1, 0.2]
    assert line["mean"].tolist() == pytest.approx([0.82, 0.92, 1.02])
    shown = page(tmp_path)
    assert "test/mse along regularization.dropout" in shown and "test/mse along loss" in shown
    assert ">bpr<" in shown and "each searched value" not in shown


def test_searched_values_are_a_cloud(tmp_path: Path) -> None:
    found, runs = compared(a_search(tmp_path))
    points = lines.along(found, runs, "regularization.dropout")
    assert lines.grid_lines(points) == {}
    assert points["value"].tolist() == [number / 20 for number in range(13)]
    assert points["mean"].tolist() == pytest.approx([0.81 + 0.01 * number for number in range(13)])
    assert points["selected"].tolist() == pytest.approx([0.8 + 0.01 * number for number in range(13)])
    assert "val/mse against each searched value" in page(tmp_path)  # whoever tunes does not look at the test


def test_one_swept_word_is_the_comparison_itself(tmp_path: Path) -> None:
    for number, loss in enumerate(("mse", "bpr", "ce", "bce")):
        write_run(tmp_path / str(number), "model=svdpp", f"loss={loss}", model="svdpp", value=0.8 + 0.1 * number)
    shown = page(tmp_path)
    assert "along loss" not in shown and "searched" not in shown and "as a line" not in shown


def test_parallel_coordinates_hold_every_configuration_and_its_outcome(tmp_path: Path) -> None:
    found, runs = compared(a_grid(tmp_path))
    table = parallel.settings(found, runs)
    assert list(table) == ["model", "regularization.dropout", "loss", "val/mse"]
    assert len(table) == 12
    assert table.iloc[0].tolist() == ["biased_mf", 0.0, "mse", 0.8]
    assert table.iloc[-1].tolist() == ["biased_mf", 0.2, "bpr", pytest.approx(1.01)]
    plot = parallel.parallel_plot("title", table)
    assert len(re.findall(r"stroke: var\(--series-0\)", plot)) == 11
    assert len(re.findall(r"stroke: var\(--accent\)", plot)) == 1
    assert all(f">{name}<" in plot for name in (*table, "biased_mf", "means", "0.1", "bpr"))
    assert "Every configuration as a line" in page(tmp_path)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_that_of_a_loop(points: list[tuple[int, int]]) -> None:
    front = [not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points) for x, y in points]
    assert trade_off.pareto(np.array(points, dtype=float)).tolist() == front


def a_trade_off(folder: Path) -> Path:
    """Four balances of two tasks; `mid` is beaten by `good` in both, `one` has no second task."""
    reached = {"left": (0.10, 0.7), "good": (0.12, 0.8), "mid": (0.11, 0.9), "right": (0.14, 1.2), "one": (0.2, None)}
    for number, (loss, (mrr, mse)) in enumerate(reached.items()):
        metrics = {"val/joint": 0.5, "test/joint": 0.5, "test/mrr": mrr, "test/mse": mse, "val/mse": 0.9 - number}
        objective = {"name": "val/joint", "value": 0.5, "mode": "max"}
        run = write_run(folder / loss, "model=multitask", f"loss={loss}", metrics=metrics, objective=objective)
        config = run / ".hydra" / "config.yaml"
        config.write_text(config.read_text() + "evaluation: {joint: {mrr: 1.0, mse: -1.0}}\n")
    return folder


def test_the_trade_off_marks_what_nobody_beats(tmp_path: Path) -> None:
    found, runs = compared(a_trade_off(tmp_path))
    aims = trade_off.goals(found, runs)
    assert aims == (trade_off.Goal("test/mrr", True), trade_off.Goal("test/mse", False))
    table = trade_off.reached(found, aims)
    front = {label.removeprefix("multitask loss=") for label in table.index[table["front"]]}
    assert front == {"left", "good", "right"}
    assert table["front"].tolist() == [True, True, True, False]
    plot = trade_off.trade_off_plot("title", aims, table)
    assert ">test/mrr (higher is better)<" in plot and ">test/mse (lower is better)<" in plot
    assert "Pareto front" in page(tmp_path)


def test_the_aims_of_a_search_come_first(tmp_path: Path) -> None:
    a_trade_off(tmp_path)
    for run in tmp_path.iterdir():
        said = run / ".hydra" / "hydra.yaml"
        said.write_text(said.read_text() + "  sweeper: {objectives: [val/mse, n_parameters]}\n")
    found, runs = compared(tmp_path)
    assert trade_off.goals(found, runs) == (
        trade_off.Goal("val/mse", False),
        trade_off.Goal("n_parameters", False),
    )


def test_one_aim_is_no_trade_off(tmp_path: Path) -> None:
    assert trade_off.goals(*compared(write_sweep(tmp_path))) is None


def test_curves_of_the_best_that_have_some_beside_the_baseline(tmp_path: Path) -> None:
    for number in range(8):  # the best are of a model that was computed at once
        write_run(tmp_path / str(number), f"regularization.dropout={number / 10}", value=0.5 + number / 100)
    for number in range(8, 11):
        words = ("model=svdpp", f"regularization.dropout={number / 10}")
        run = write_run(tmp_path / str(number), *words, model="svdpp", value=number / 10)
        with SummaryWriter(str(run / "tb")) as writer:
            for epoch in (1, 2):
                writer.add_scalar("val/mse", number / epoch, epoch)
    names, curves = lines.curve_lines(*compared(tmp_path))
    assert names == ["means dropout=0", "svdpp dropout=0.8", "svdpp dropout=0.9", "svdpp dropout=1"]
    assert list(curves) == ["val/mse"] and list(curves["val/mse"]) == names[1:]
    assert curves["val/mse"]["svdpp dropout=0.9"]["mean"].tolist() == [9.0, 4.5]


def test_a_large_sweep_is_a_small_page(tmp_path: Path) -> None:
    for number in range(80):
        for seed in range(2):
            words = (f"regularization.dropout={number / 100}", f"seed={seed}", f"loss={'mse' if number % 3 else 'bpr'}")
            write_run(tmp_path / f"{2 * number + seed}", "model=svdpp", *words, model="svdpp", value=0.8 + number / 1e3)
    shown = page(tmp_path)
    assert "56 more configurations" in shown
    assert len(shown) < 200_000
