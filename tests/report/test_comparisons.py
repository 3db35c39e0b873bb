"""Runs that are compared with one another: their order, baseline, repetitions and oracle."""

from pathlib import Path

import pytest
from run_folders import compare_runs, write_run, write_sweep

from recsweep.errors import UserError
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons, train_command
from recsweep.report.export import comparison_table


def test_configurations_are_ordered_by_validation(tmp_path: Path) -> None:
    comparison, _ = compare_runs(write_sweep(tmp_path))
    assert comparison.labels == ["svdpp", "biased_mf", "means"]
    assert comparison.baseline == "means"
    assert comparison.val["means"].mean == pytest.approx((0.90 + 0.91 + 0.92) / 3)
    assert comparison.test["svdpp"].mean == pytest.approx((0.71 + 0.74 + 0.77) / 3)
    assert comparison.tests["svdpp"].mean == pytest.approx((0.71 + 0.74 + 0.77 - 0.91 - 0.92 - 0.93) / 3)
    assert comparison.tests["svdpp"].n_seeds == 3


def test_if_more_is_better_the_most_on_validation_comes_first(tmp_path: Path) -> None:
    for number, value in enumerate((0.2, 0.4, 0.3)):
        objective = {"name": "val/mrr", "value": value, "mode": "max"}
        metrics = {"val/mrr": value, "test/mrr": 0.5 - value}
        run = tmp_path / str(number)
        write_run(run, f"regularization.dropout=0.{number}", objective=objective, metrics=metrics)
    comparison, _ = compare_runs(tmp_path)
    labels = ["dropout=0.1", "dropout=0.2", "dropout=0"]
    assert comparison.labels == labels
    assert comparison_table([comparison])["configuration"].tolist() == labels * 2


@pytest.mark.parametrize(
    ("models", "baseline"),
    [
        ([("svdpp", False, 0.5), ("slim", True, 0.9)], "slim"),
        ([("svdpp", False, 0.5), ("slim", True, 0.9), ("own", True, 0.8)], "own"),
        ([("svdpp", False, 0.5), ("slim", True, 0.4)], "slim"),
        ([("svdpp", False, 0.5), ("mlp", False, 0.4)], None),
        ([("slim", True, 0.5)], None),
    ],
)
def test_the_default_baseline_is_the_simple_model_that_is_best_on_validation(
    models: list[tuple[str, bool, float]], baseline: str | None, tmp_path: Path
) -> None:
    """As the runs themselves say, whatever the models are called; test MSE has another order."""
    for number, (model, is_simple, mse) in enumerate(models):
        metrics = {"val/mse": mse, "test/mse": 1 - mse}
        record = {"simple_baseline": is_simple, "metrics": metrics, "value": mse}
        write_run(tmp_path / str(number), f"model={model}", model=model, **record)
    (comparison,) = comparisons(collect(tmp_path), None)
    assert comparison.baseline == baseline
    assert comparison.reference == (baseline or comparison.labels[0])


def test_configurations_of_one_simple_model_are_no_baselines_of_one_another(tmp_path: Path) -> None:
    for number in range(2):
        write_run(tmp_path / str(number), f"regularization.dropout=0.{number}", value=0.9 + 0.01 * number)
    comparison, _ = compare_runs(tmp_path)
    assert (comparison.baseline, comparison.reference) == (None, "dropout=0")


def test_the_baseline_can_be_named(tmp_path: Path) -> None:
    comparison, _ = compare_runs(write_sweep(tmp_path), "svdpp")
    assert comparison.baseline == "svdpp"
    assert set(comparison.tests) == {"means", "biased_mf"}
    with pytest.raises(UserError, match=r"baseline=nope: no completed run .* available: means, biased_mf, svdpp"):
        comparisons(collect(tmp_path), "nope")


def test_runs_on_other_data_or_with_another_protocol_are_compared_separately(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "data=synthetic")
    write_run(tmp_path / "1", "data=ml_100k")
    write_run(tmp_path / "2", "evaluation=full_ranking")
    write_run(tmp_path / "3", "data.n_users=600")
    assert len(comparisons(collect(tmp_path), None)) == 4


def test_folds_of_a_cross_validation_are_repetitions(tmp_path: Path) -> None:
    for number, fold in enumerate(("u1", "u2", "u3")):
        write_run(tmp_path / f"a{number}", f"split={fold}", value=0.9 + 0.01 * number)
        write_run(tmp_path / f"b{number}", f"split={fold}", "model=svdpp", model="svdpp", value=0.8 + 0.02 * number)
    comparison, _ = compare_runs(tmp_path)
    assert (comparison.repeat, comparison.test["svdpp"].n_seeds, comparison.tests["svdpp"].n_seeds) == ("fold", 3, 3)
    assert comparison.tests["svdpp"].mean == pytest.approx((-0.1 - 0.09 - 0.08) / 3)


@pytest.mark.parametrize("split", ["k_fold", "rolling"])
def test_numbered_folds_are_repetitions_and_their_seeds_count_once(split: str, tmp_path: Path) -> None:
    """Two seeds of each of three folds; the second seed adds 0.02 to every value."""
    for run in range(6):
        fold, seed = run % 3, run // 3
        words = (f"split={split}", f"split.fold={fold}", f"seed={seed}", "split.folds=3")
        write_run(tmp_path / f"a{run}", *words, value=0.9 + 0.01 * fold + 0.02 * seed)
        write_run(tmp_path / f"b{run}", *words, "model=svdpp", model="svdpp", value=0.8 + 0.02 * fold + 0.02 * seed)
    comparison, runs = compare_runs(tmp_path)
    assert comparison.title == f"synthetic · {split} · rating"
    assert (comparison.repeat, comparison.test["svdpp"].n_seeds, comparison.tests["svdpp"].n_seeds) == ("fold", 3, 3)
    assert comparison.tests["svdpp"].mean == pytest.approx((-0.1 - 0.09 - 0.08) / 3)
    assert sorted(set(comparison.table["seed"])) == ["0", "1", "2"]
    assert (
        train_command(comparison, runs.runs) == f"recsweep train split={split} split.fold=0 split.folds=3 model=svdpp"
    )


def test_runs_of_a_single_fold_are_repeated_by_their_seeds(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / str(seed), "split=k_fold", "split.fold=2", f"seed={seed}")
    assert compare_runs(tmp_path)[0].repeat == "seed"


def test_splits_of_another_evaluation_are_not_its_repetitions(tmp_path: Path) -> None:
    """Three seeds of one split are three repetitions, also beside three splits that were judged otherwise."""
    for number in range(3):
        write_run(tmp_path / f"a{number}", f"seed={number}", "split.seed=0", value=0.8 + 0.1 * number)
        write_run(tmp_path / f"b{number}", "evaluation=binary", f"split.seed={number}")
    found = {c.evaluation: c for c in comparisons(collect(tmp_path), None)}
    assert (found["rating"].repeat, found["binary"].repeat) == ("seed", "split")
    assert found["rating"].test["means"].n_seeds == 3


def test_folds_of_other_numbers_of_folds_are_compared_separately(tmp_path: Path) -> None:
    for run, words in enumerate((f"split.folds={folds}", f"split.fold={fold}") for folds in (2, 3) for fold in (0, 1)):
        write_run(tmp_path / str(run), "split=k_fold", *words)
    titles = [comparison.title for comparison in comparisons(collect(tmp_path), None)]
    assert titles == ["synthetic · k_fold · rating · folds=2", "synthetic · k_fold · rating · folds=3"]


def test_the_best_is_trained_again_with_the_seeds_that_all_its_runs_share(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / str(seed), "model=means", f"seed={seed}", "data.seed=5")
    comparison, runs = compare_runs(tmp_path)
    assert train_command(comparison, runs.runs) == "recsweep train model=means data.seed=5"
