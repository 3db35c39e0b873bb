"""Two configurations against each other."""

import re
from pathlib import Path

import pytest
from run_folders import compare_runs, leave_evidence, write_run

from recsweep.errors import UserError
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons
from recsweep.report.pair import Pair, find_pair
from recsweep.report.pair_page import describe_pair

SUMS = {"0.1": ([1.0, 2, 9, 4], [3.0, 2, 9, 4]), "0.5": ([1.0, 4, 1, 5], [1.0, 6, 1, 7])}
"""Squared errors of four users by dropout and seed."""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jobs 0 and 1 are means; 2 to 5 are biased_mf, two seeds of each dropout; 6 failed; 7 has another protocol."""
    folder = tmp_path_factory.mktemp("sweep")
    groups = {"head": ([0.0] * 4, [1] * 4)}
    for seed in range(2):
        words = ("model=means", f"seed={seed}")
        leave_evidence(write_run(folder / str(seed), *words), [3.0] * 4, n_seen=[1, 2, 3, 4], groups=groups)
    for number, (dropout, seed) in enumerate(((0.1, 0), (0.1, 1), (0.5, 0), (0.5, 1)), start=2):
        words = ("model=biased_mf", f"regularization.dropout={dropout}", f"seed={seed}")
        run = write_run(folder / str(number), *words, model="biased_mf", value=0.5 + dropout)
        leave_evidence(run, SUMS[str(dropout)][seed], n_seen=[1, 2, 3, 4], groups=groups)
    write_run(folder / "6", "model=svdpp", model="svdpp", status="failed", error="it went wrong", objective=None)
    write_run(folder / "7", "model=means", "split=u1")
    return folder


def find(folder: Path, text: str) -> Pair:
    runs = collect(folder)
    return find_pair(text, runs, comparisons(runs, None))


def test_gains_are_means_over_seeds_and_lower_errors_are_gains(sweep: Path) -> None:
    """Means 2, 2, 9, 4 against 1, 5, 1, 6."""
    pair = find(sweep, "2,4")
    assert (pair.left, pair.right) == ("biased_mf dropout=0.1", "biased_mf dropout=0.5")
    assert pair.gains.tolist() == [-1, 3, -8, 2] and pair.seeds == ("0", "1")
    gained, lost = pair.extreme_users(3)
    assert (pair.users[gained].tolist(), pair.users[lost].tolist()) == (["u1", "u3"], ["u2", "u0"])
    assert pair.difference.mean == pytest.approx((-8 + 3 + 2 - 1) / -4)
    assert describe_pair(pair)[0].endswith(" for this pair alone. ± and p speak of new users and new trainings.")
    assert {group: one.mean for group, one in pair.by_activity.estimates.items()} == {"1": 1, "2": -3, "3": 8, "4": -2}


def test_the_difference_is_that_of_the_report(tmp_path: Path) -> None:
    """Of two configurations, whose test needs no correction."""
    for number, (sums, seed) in enumerate(((SUMS["0.1"][0], 0), (SUMS["0.1"][1], 1))):
        leave_evidence(write_run(tmp_path / str(number), f"seed={seed}"), sums)
        words = ("model=svdpp", f"seed={seed}")
        leave_evidence(write_run(tmp_path / str(number + 2), *words, model="svdpp", value=0.5), SUMS["0.5"][seed])
    comparison, _ = compare_runs(tmp_path)
    assert find(tmp_path, "svdpp,means").difference == comparison.tests["svdpp"]


@pytest.mark.parametrize("text", ["0,5", "1, 4", "1,biased_mf dropout=0.5"])
def test_a_configuration_has_several_names(sweep: Path, text: str) -> None:
    pair = find(sweep, text)
    assert (pair.left, pair.right) == ("means", "biased_mf dropout=0.5")


def test_the_name_of_a_configuration_may_hold_commas(tmp_path: Path) -> None:
    """As the table of its protocol names it: there all runs are of one model, elsewhere there is another one."""
    for number, hidden in enumerate(("[64, 32]", "[8]")):
        run = write_run(tmp_path / str(number), f"model.hidden={hidden}", model="mlp", value=0.8 + number)
        leave_evidence(run, [1.0 + number, 2])
    write_run(tmp_path / "2", "split=u1")
    pair = find(tmp_path, "hidden=[64, 32], 1")
    assert (pair.left, pair.right) == ("hidden=[64, 32]", "hidden=[8]")
    with pytest.raises(UserError, match="hidden=9: no run"):
        find(tmp_path, "hidden=[64, 32],hidden=9")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2", "compare=2: name two configurations, as in compare=3,7"),
        ("2,", "compare=2,: name two configurations"),
        ("2,4,0", "compare=2,4,0: name two configurations"),
        ("2,99", "compare=2,99: 99: no run, configuration or model here; choose from 0 (means), 2 (biased_mf dr"),
        ("2,6", "compare=2,6: run 6 did not complete (failed: it went wrong)"),
        ("2,3", "compare=2,3: both are runs of biased_mf dropout=0.1; name two configurations"),
        ("0,biased_mf", "biased_mf: stands for several configurations; choose from 2 (biased_mf dropout=0.1), 4 ("),
        ("2,means", "compare=2,means: means: stands for several configurations; choose from 0 (means), 7 (means)"),
        ("2,7", "compare=2,7: not comparable: 2 was judged on synthetic · random · rating, 7 on synthetic · u1 · rati"),
    ],
)
def test_another_pair_is_refused_in_one_line(sweep: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as error:
        find(sweep, text)
    assert "\n" not in str(error.value)


def test_runs_without_evidence_are_named(tmp_path: Path) -> None:
    for number, model in enumerate(("means", "svdpp")):
        write_run(tmp_path / str(number), f"model={model}", model=model)
    with pytest.raises(UserError, match=r"^compare=0,1: means \(run 0\) left no evidence"):
        find(tmp_path, "0,1")
