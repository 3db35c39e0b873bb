"""Configurations that were still improving when their epochs ended."""

from pathlib import Path

from run_folders import compare_runs, write_run

from recsweep.report.convergence import describe_improving, improving_labels


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


def test_nothing_is_said_where_trainings_ended_by_themselves_or_nobody_knows(tmp_path: Path) -> None:
    write_training(tmp_path, "svdpp", 0, chosen=5)
    for seed in range(3):
        write_training(tmp_path, "biased_mf", seed, chosen=12 if seed == 0 else 11)  # fewer than half
    write_run(tmp_path / "old", "model=mlp", model="mlp")  # of an earlier version
    assert describe_improving(*compare_runs(tmp_path)) == ("", "")
