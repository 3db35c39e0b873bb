"""Which runs stand in one comparison, and what its title says."""

from pathlib import Path

import pytest
from run_folders import DATA, compare_runs, write_run

from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons

A, B, C = ({"fingerprint": letter * 32} for letter in "abc")


def titles(folder: Path) -> dict[str, list[str]]:
    """The folders of the runs in each comparison, by its title."""
    return {comparison.title: sorted(comparison.table["run"]) for comparison in comparisons(collect(folder), None)}


def write(folder: Path, number: int, *overrides: str, **data: object) -> None:
    write_run(folder / str(number), *overrides, data={**DATA, **data})


def test_other_sizes_are_said(tmp_path: Path) -> None:
    write(tmp_path, 0, **A)
    write(tmp_path, 1, n_items=80, n_interactions=1200, **B)
    write(tmp_path, 2, "model=svdpp", **A)
    write(tmp_path, 3)  # of an earlier version
    assert titles(tmp_path) == {
        "synthetic · random · rating · 60 users, 100 items, 9 rows": ["0", "2", "3"],
        "synthetic · random · rating · 60 users, 80 items, 1,200 rows": ["1"],
    }


def test_other_rows_of_the_same_sizes_are_told_by_their_fingerprints(tmp_path: Path) -> None:
    for number, data in enumerate((A, B, {}, A)):
        write(tmp_path, number, f"seed={number}", **data)
    assert titles(tmp_path) == {
        "synthetic · random · rating · data aaaaaaaa": ["0", "3"],
        "synthetic · random · rating · data bbbbbbbb": ["1"],
        "synthetic · random · rating · data without a fingerprint": ["2"],
    }


def test_runs_of_earlier_versions_are_compared_by_their_sizes(tmp_path: Path) -> None:
    write(tmp_path, 0)
    write(tmp_path, 1, **A)
    write_run(tmp_path / "2", data={})
    assert titles(tmp_path) == {"synthetic · random · rating": ["0", "1", "2"]}
    write(tmp_path, 3, n_users=70)
    assert titles(tmp_path) == {
        "synthetic · random · rating · 60 users, 100 items, 9 rows": ["0", "1"],
        "synthetic · random · rating · data of unknown size": ["2"],
        "synthetic · random · rating · 70 users, 100 items, 9 rows": ["3"],
    }


def test_runs_from_before_a_choice_did_what_is_its_default(tmp_path: Path) -> None:
    ranking = ("evaluation=full_ranking", "evaluation._target_=recsweep.evaluation.RankingEvaluation")
    for number, choice in enumerate(([], ["evaluation.mask_seen=true"], ["evaluation.mask_seen=false"])):
        write(tmp_path, number, *ranking, *choice)
    assert titles(tmp_path) == {
        "synthetic · random · full_ranking · mask_seen=True": ["0", "1"],
        "synthetic · random · full_ranking · mask_seen=False": ["2"],
    }


@pytest.mark.parametrize("key", ["data.seed", "split.seed"])
def test_seeds_of_data_and_split_are_repetitions(key: str, tmp_path: Path) -> None:
    for seed, letter in enumerate("abc"):
        data = {"split_fingerprint": letter * 32} | (A if key == "split.seed" else {"fingerprint": letter * 32})
        for model in ("means", "svdpp"):
            run = tmp_path / f"{model}{seed}"
            write_run(run, f"model={model}", f"{key}={seed}", model=model, data={**DATA, **data})
    comparison, _ = compare_runs(tmp_path)
    assert comparison.title == "synthetic · random · rating"
    assert comparison.repeat == {"data.seed": "data set", "split.seed": "split"}[key]
    assert comparison.tests["svdpp"].n_seeds == 3


def test_data_that_changed_between_seeds_of_the_split(tmp_path: Path) -> None:
    for seed, data in enumerate((A, A, B)):
        write(tmp_path, seed, f"split.seed={seed}", **data, split_fingerprint=str(seed) * 32)
    assert list(titles(tmp_path).values()) == [["0", "1"], ["2"]]


def test_data_that_changed_between_seeds_of_the_data(tmp_path: Path) -> None:
    for number, (seed, data) in enumerate(((0, A), (1, B), (0, C))):
        write(tmp_path, number, f"data.seed={seed}", **data)
    title = "synthetic · random · rating · data"
    assert titles(tmp_path) == {f"{title} {'abc'[run] * 8}": [str(run)] for run in range(3)}


def test_folds_are_repetitions_on_the_same_data(tmp_path: Path) -> None:
    for number, fold in enumerate(("u1", "u2", "u3")):
        write(tmp_path, number, f"split={fold}", **A, split_fingerprint=str(number) * 32, train=7 - number)
    comparison, _ = compare_runs(tmp_path)
    assert (comparison.title, comparison.repeat) == ("synthetic · cross-validation · rating", "fold")
    write(tmp_path, 3, "split=u1", **B, split_fingerprint="3" * 32)
    assert titles(tmp_path) == {
        "synthetic · cross-validation · rating · data aaaaaaaa": ["0", "1", "2"],
        "synthetic · cross-validation · rating · data bbbbbbbb": ["3"],
    }


def test_another_split_of_the_same_rows(tmp_path: Path) -> None:
    """Such as published files of a split that were replaced."""
    for number in range(2):
        write(tmp_path, number, f"seed={number}", **A, split_fingerprint=str(number) * 32)
    title = "synthetic · random · rating · split"
    assert titles(tmp_path) == {f"{title} 00000000": ["0"], f"{title} 11111111": ["1"]}


def test_refitted_runs_are_compared_with_refitted_ones(tmp_path: Path) -> None:
    for model in ("ease", "ials"):
        write_run(tmp_path / model, "trainer.refit=true", f"model={model}", model=model)
    assert titles(tmp_path) == {"synthetic · random · rating": ["ease", "ials"]}
    write_run(tmp_path / "plain", "trainer.refit=false", "model=ials", model="ials")
    write_run(tmp_path / "older", "model=ease", model="ease")  # without that key
    assert titles(tmp_path) == {
        "synthetic · random · rating · refitted": ["ease", "ials"],
        "synthetic · random · rating · not refitted": ["older", "plain"],
    }
    assert set(collect(tmp_path).table["label"]) == {"ease", "ials"}


def test_dry_runs_are_no_results(tmp_path: Path) -> None:
    for name, batches in (("dry", "4"), ("dry_too", "true"), ("real", "false"), ("older", None)):
        write_run(tmp_path / name, *([f"trainer.fast_dev_run={batches}"] if batches else []))
    for name, batches in (("overfit", "4"), ("real_too", "null")):
        write_run(tmp_path / name, f"trainer.overfit_batches={batches}")
    assert titles(tmp_path) == {
        "synthetic · random · rating · dry run, no result": ["dry", "dry_too", "overfit"],
        "synthetic · random · rating": ["older", "real", "real_too"],
    }


def test_folds_that_were_refitted_are_not_mixed_with_others(tmp_path: Path) -> None:
    for fold, refit in (("u1", "true"), ("u2", "true"), ("u3", "false")):
        write_run(tmp_path / fold, f"split={fold}", f"trainer.refit={refit}")
    assert titles(tmp_path) == {
        "synthetic · cross-validation · rating · refitted": ["u1", "u2"],
        "synthetic · cross-validation · rating · not refitted": ["u3"],
    }


def test_runs_that_did_not_complete_are_counted_whatever_their_data(tmp_path: Path) -> None:
    """They have recorded none."""
    write(tmp_path, 0, **A)
    write(tmp_path, 1, **B)
    write_run(tmp_path / "2", "seed=1", status="failed", error="it went wrong", objective=None, metrics={}, data={})
    assert [comparison.n_runs for comparison in comparisons(collect(tmp_path), None)] == [{"means": 2}] * 2


def test_filters_separate_runs_and_stand_in_the_title(tmp_path: Path) -> None:
    core = ("filter=k_core", "filter._target_=recsweep.data.filters.Filter")
    write(tmp_path, 0, "model=svdpp", *core, "filter.k_core=5")
    write(tmp_path, 1, *core, "filter.k_core=5")
    assert titles(tmp_path) == {"synthetic · random · rating · filter=k_core": ["0", "1"]}
    write(tmp_path, 2, *core, "filter.k_core=10")
    write(tmp_path, 3)
    assert titles(tmp_path) == {
        "synthetic · random · rating · filter=k_core k_core=5": ["0", "1"],
        "synthetic · random · rating · filter=k_core k_core=10": ["2"],
        "synthetic · random · rating": ["3"],
    }


def test_seeds_of_a_filter_are_repetitions(tmp_path: Path) -> None:
    for seed, letter in enumerate("ab"):
        write(tmp_path, seed, "filter=users", f"filter.seed={seed}", fingerprint=letter * 32)
    assert titles(tmp_path) == {"synthetic · random · rating · filter=users": ["0", "1"]}
