"""Every file of `conf/` composes, is checked against the code, and builds."""

from pathlib import Path

import pytest
from choices import GROUPS, companions, compose_and_build, names

AT_LEAST = {
    "callbacks": 1,
    "data": 27,
    "evaluation": 8,
    "experiment": 45,
    "logger": 2,
    "loss": 18,
    "model": 16,
    "optimizer": 4,
    "regularization": 2,
    "scheduler": 5,
    "search": 12,
    "split": 12,
    "trainer": 1,
}
"""So many files must be found in a group, or the test looks in the wrong place. New ones need no line here."""


def test_the_files_are_found() -> None:
    assert set(GROUPS) >= set(AT_LEAST)
    assert [group for group in AT_LEAST if len(names(group)) < AT_LEAST[group]] == []


@pytest.mark.parametrize("choice", [f"{group}={name}" for group in GROUPS for name in names(group)])
def test_a_file_composes_and_builds(choice: str) -> None:
    group, name = choice.split("=")
    compose_and_build([choice, *companions(group, name)])


def test_a_file_builds_on_one_that_a_choice_names(tmp_path: Path) -> None:
    (tmp_path / "experiment" / "of").mkdir(parents=True)
    (tmp_path / "experiment" / "own.yaml").write_text("# @package _global_\ndefaults:\n  - of: ${experiment}\n")
    (tmp_path / "experiment" / "of" / "own.yaml").write_text("# @package _global_\nname: chosen\n")
    assert compose_and_build(["experiment=own"], tmp_path).name == "chosen"
