"""What a report says in words."""

import shutil
from pathlib import Path

import pytest
from run_folders import compare_runs, leave_evidence, write_run, write_sweep

from recsweep.report.answers import (
    describe_best,
    describe_effects,
    describe_missing_baseline,
    describe_power,
    describe_scope,
    notes,
)

USERS = [0.9, 0.2, 0.4, 1.1, 0.6, 0.8]


def write_pair(folder: Path, n_seeds: int, effect: float, step: float = 0.0) -> Path:
    """Two values of dropout: the other one adds `effect` to the errors of users on average, and `step` a seed."""
    for dropout in (0, 1):
        for seed in range(n_seeds):
            words = ("model=mf", f"regularization.dropout=0.{dropout}", f"seed={seed}")
            run = write_run(folder / f"{dropout}{seed}", *words, model="mf", value=0.8 + effect * dropout)
            added = [dropout * (effect + 0.01 * (user - 2.5) + step * seed) for user in range(6)]
            leave_evidence(run, [error + more for error, more in zip(USERS, added, strict=True)])
    return folder


def test_a_significant_effect_is_said_to_be_better(tmp_path: Path) -> None:
    """0.1 + 0.01 · (-2.5, …, 2.5): standard error 0.01 · √(3.5 / 6) = 0.00764, times t = 2.571 for 5 users more."""
    (sentence,) = describe_effects(compare_runs(write_pair(tmp_path, 2, 0.1))[0])
    assert sentence == "dropout: 0 is better than 0.1 by 0.100 ± 0.020 (p < 0.001, in 1 of 1 pairs)."


def test_what_is_not_significant_is_said_with_the_size_of_the_sample(tmp_path: Path) -> None:
    (sentence,) = describe_effects(compare_runs(write_pair(tmp_path, 3, 0.005, 0.02))[0])
    assert sentence.startswith("dropout: 0 against 0.1 −0.025 ±")
    assert "not significant with 6 users and 3 seeds (p = 0." in sentence


def test_a_value_that_is_better_on_validation_only(tmp_path: Path) -> None:
    for run in write_pair(tmp_path, 2, 0.1).glob("0*"):
        path = run / "metrics.json"
        path.write_text(path.read_text().replace('"val/mse": 0.8,', '"val/mse": 1.8,'))
    (sentence,) = describe_effects(compare_runs(tmp_path)[0])
    assert sentence.startswith("dropout: 0 is better than 0.1 by 0.100 ± 0.020")
    assert sentence.endswith("in 1 of 1 pairs), although not on validation.")


def test_settings_that_make_no_difference(tmp_path: Path) -> None:
    for dropout in (0, 1):
        leave_evidence(write_run(tmp_path / str(dropout), f"regularization.dropout=0.{dropout}"), USERS)
    assert describe_effects(compare_runs(tmp_path)[0]) == ["dropout: 0 and 0.1 gave the same."]


def test_the_best_is_compared_with_the_baseline(tmp_path: Path) -> None:
    """Over seeds alone: svdpp differs by −0.20, −0.18, −0.16, s = 0.02, t = −9 √3, p = 0.0041, twice that by Holm."""
    sentence = describe_best(compare_runs(write_sweep(tmp_path))[0])
    assert sentence.startswith("Best on validation, with test/mse 0.740 ± 0.075: 0.180 below means, p = 0.008.")


def test_a_baseline_that_is_best_and_a_sweep_without_baseline(tmp_path: Path) -> None:
    sentence = describe_best(compare_runs(write_pair(tmp_path, 1, 0.1))[0])
    assert sentence.startswith("Best on validation, with test/mse 0.")
    assert sentence.endswith(". Next, dropout=0.1: +0.100 ± 0.020, p < 0.001 over users, with one seed.")
    write_run(tmp_path / "9", "model=means", model="means", value=0.1)
    assert "No configuration beats this baseline" in describe_best(compare_runs(tmp_path)[0])


@pytest.mark.parametrize(
    ("n_seeds", "step", "scope"),
    [
        (1, 0, "new users alone: one seed."),
        (2, 0, "new users alone: all seeds gave the same."),
        (2, 0.1, "new users and new trainings; of new users alone where there is one seed or all gave the same."),
    ],
)
def test_one_sentence_says_what_is_covered(n_seeds: int, step: float, scope: str, tmp_path: Path) -> None:
    """In the last case dropout 0 is the same for every seed."""
    assert describe_scope(compare_runs(write_pair(tmp_path, n_seeds, 0.1, step))[0]) == f"± and p speak of {scope}"


def test_one_seed_of_some_and_equal_seeds_of_others_are_both_said(tmp_path: Path) -> None:
    write_pair(tmp_path, 2, 0.1)
    shutil.rmtree(tmp_path / "11")
    scope = describe_scope(compare_runs(tmp_path)[0])
    assert scope == "± and p speak of new users alone: one seed, or all seeds gave the same."


def test_runs_of_earlier_versions_speak_of_seeds(tmp_path: Path) -> None:
    scope = describe_scope(compare_runs(write_sweep(tmp_path))[0])
    assert scope.startswith("± and p speak of new trainings alone")
    assert scope.endswith("there is no evidence by user for test/mse.")


def test_without_evidence_differences_are_paired_by_seed_alone(tmp_path: Path) -> None:
    assert "paired by seed." in notes(compare_runs(write_sweep(tmp_path / "old"))[0])
    assert "paired by user and seed." in notes(compare_runs(write_pair(tmp_path / "new", 1, 0.1))[0])


def test_equal_seeds_without_evidence_are_not_one_run(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / str(seed), f"seed={seed}")
    scope = describe_scope(compare_runs(tmp_path)[0])
    assert scope == "There are no intervals: all seeds gave the same, and there is no evidence by user for test/mse."


@pytest.mark.parametrize(
    ("model", "evaluation", "models"),
    [("means", "Rating", ""), ("ease", "Ranking", "model=popularity,item_knn"), ("mf", "Ranking", "ity,item_knn,ease")],
)
def test_only_other_simple_models_are_missed(model: str, evaluation: str, models: str, tmp_path: Path) -> None:
    for size in (1, 10):
        target = f"evaluation._target_=recsweep.evaluation.{evaluation}Evaluation"
        words = (f"model={model}", f"model.size={size}", target)
        write_run(tmp_path / str(size), *words, model=model, simple_baseline=model != "mf")
    comparison, runs = compare_runs(tmp_path)
    sentence, command = describe_missing_baseline(comparison, runs.runs)
    assert command.endswith(models) and ("No other simple model" in sentence) == (model == "ease")
    assert bool(sentence) == bool(models)


def test_the_difference_that_would_show(tmp_path: Path) -> None:
    """Standard error 0.00764 by hand as above, times t = 2.571 for 5 % and 0.920 for 80 % power: 0.0267."""
    text = describe_power(compare_runs(write_pair(tmp_path, 1, 0.1))[0])
    assert text.startswith("With 6 users and one seed, a difference of 0.027 in test/mse would show")


def test_the_command_that_adds_simple_models(tmp_path: Path) -> None:
    """With the same data, split, evaluation and seeds, and nothing of the model."""
    for seed in (0, 1):
        words = ("model=mf", "data.n_users=60", "split.seed=4", "trainer.refit=true", f"seed={seed}", "model.dim=3")
        target = "evaluation._target_=recsweep.evaluation.RatingEvaluation"
        write_run(tmp_path / str(seed), *words, target, model="mf")
    comparison, runs = compare_runs(tmp_path)
    sentence, command = describe_missing_baseline(comparison, runs.runs)
    assert sentence.endswith("a folder that holds both:")
    assert command == (
        "recsweep train -m data=synthetic split=random evaluation=rating data.n_users=60 "
        "evaluation._target_=recsweep.evaluation.RatingEvaluation trainer.refit=true model=means seed=0,1 split.seed=4"
    )
    write_run(tmp_path / "2", "data.n_users=60", "trainer.refit=true", target, "split.seed=4")
    comparison, runs = compare_runs(tmp_path)
    assert comparison.baseline == "means" and describe_missing_baseline(comparison, runs.runs).sentence == ""
