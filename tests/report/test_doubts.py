"""What speaks against an answer."""

from pathlib import Path

from run_folders import compare_runs, print_report, write_run

from recsweep.report import html
from recsweep.report.doubts import describe_improving, find_disagreements, find_doubts, improving_labels


def write_training(folder: Path, model: str, seed: int, chosen: int, ended_by: str = "max_epochs") -> None:
    value = {"biased_mf": 0.8, "svdpp": 0.7, "mlp": 0.75, "means": 0.9}[model]
    epochs = {"epochs": 12, "chosen_epoch": chosen, "ended_by": ended_by}
    write_run(folder / f"{model}{seed}", f"model={model}", f"seed={seed}", model=model, value=value, **epochs)


def test_configurations_whose_best_epoch_is_their_last_are_named(tmp_path: Path) -> None:
    for seed in range(2):
        write_training(tmp_path, "svdpp", seed, chosen=12 - seed)  # one of two runs
        write_training(tmp_path, "biased_mf", seed, chosen=12)
        write_training(tmp_path, "mlp", seed, chosen=12, ended_by="early stopping")  # patience 0: it did stop
    write_run(tmp_path / "means0", "model=means", "seed=0", value=0.9, epochs=None, ended_by="no epochs")
    comparison, runs = compare_runs(tmp_path)
    assert improving_labels(comparison) == ["svdpp", "biased_mf"]
    sentence, command = describe_improving(comparison, runs)
    assert "2 of 4 configurations were still improving at the last epoch" in sentence
    assert command == f"recsweep train -m run={tmp_path}/svdpp0 trainer.max_epochs=24 seed=0,1"


def test_a_single_run_goes_on_without_a_sweep(tmp_path: Path) -> None:
    write_training(tmp_path, "svdpp", 3, chosen=12)
    sentence, command = describe_improving(*compare_runs(tmp_path))
    assert "This configuration was still improving" in sentence
    assert command == f"recsweep train run={tmp_path}/svdpp3 trainer.max_epochs=24 seed=3"


def test_all_folds_are_trained_longer(tmp_path: Path) -> None:
    for fold in range(2):
        epochs = {"epochs": 12, "chosen_epoch": 12, "ended_by": "max_epochs"}
        write_run(tmp_path / str(fold), "split=k_fold", f"split.fold={fold}", **epochs)
    command = describe_improving(*compare_runs(tmp_path)).command
    assert command == f"recsweep train -m run={tmp_path}/0 trainer.max_epochs=24 seed=0 split.fold=0,1"


def test_nothing_is_said_where_trainings_ended_by_themselves_or_nobody_knows(tmp_path: Path) -> None:
    write_training(tmp_path, "svdpp", 0, chosen=5)
    for seed in range(3):
        write_training(tmp_path, "biased_mf", seed, chosen=12 if seed == 0 else 11)  # fewer than half
    write_run(tmp_path / "old", "model=mlp", model="mlp")  # of an earlier version
    assert describe_improving(*compare_runs(tmp_path)) == ("", "")


def write_scores(folder: Path, model: str, val: float, test: float) -> None:
    """Three runs with errors around these."""
    for seed, by in enumerate((-0.01, 0.0, 0.01)):
        metrics = {"val/mse": val + by, "test/mse": test + (test - 0.75) * by}  # so that differences vary a little
        write_run(folder / f"{model}{seed}", f"model={model}", f"seed={seed}", model=model, value=val, metrics=metrics)


def test_configurations_that_test_prefers_are_named(tmp_path: Path) -> None:
    write_scores(tmp_path, "svdpp", val=0.7, test=0.8)  # the choice of validation
    write_scores(tmp_path, "biased_mf", val=0.8, test=0.7)
    write_scores(tmp_path, "mlp", val=0.75, test=0.9)
    comparison, runs = compare_runs(tmp_path)
    assert comparison.labels == ["svdpp", "mlp", "biased_mf"]
    differences = find_disagreements(comparison)
    assert list(differences) == ["biased_mf"] and abs(differences["biased_mf"].mean + 0.1) < 1e-9
    (doubt,) = find_doubts(comparison, runs)
    start = "Validation and test disagree: on test biased_mf by 0.1"
    assert doubt.sentence.startswith(start) and doubt.sentence.endswith("beats svdpp, which validation chose.")


def test_a_difference_that_may_be_chance_is_no_disagreement(tmp_path: Path) -> None:
    write_scores(tmp_path, "svdpp", val=0.7, test=0.8)
    for seed, test in enumerate((0.5, 0.9, 0.9)):
        metrics = {"val/mse": 0.8, "test/mse": test}
        write_run(tmp_path / f"mlp{seed}", "model=mlp", f"seed={seed}", model="mlp", value=0.8, metrics=metrics)
    assert find_disagreements(compare_runs(tmp_path)[0]) == {}


def test_terminal_and_page_show_doubts_and_mark_rows(tmp_path: Path) -> None:
    for seed in range(2):
        write_training(tmp_path, "svdpp", seed, chosen=12)
        write_training(tmp_path, "mlp", seed, chosen=5)
    command = f"recsweep train -m run={tmp_path}/svdpp0 trainer.max_epochs=24 seed=0,1"
    text = print_report(tmp_path)
    assert "svdpp ↗" in text and "mlp ↗" not in text and command in text
    comparison, runs = compare_runs(tmp_path)
    page = html.render(runs, [comparison], tmp_path, edges=["lr=1 is at the upper end of what was searched, 0 to 1"])
    assert "svdpp ↗" in page and command in page
    assert "The best lr=1 is at the upper end of what was searched, 0 to 1: better values may lie beyond." in page
