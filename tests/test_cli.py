"""The program itself: help, exit status, and how little it loads to answer at once."""

import subprocess
import sys
from pathlib import Path

import pytest
from shell import Outcome, recsweep, slow_imports

from recsweep.cli import VERBS
from recsweep.paths import conf_dir


def run_process(folder: Path, *command: str) -> Outcome:
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return Outcome(process.returncode, process.stdout, process.stderr)


def test_help_shows_verbs_groups_and_three_examples(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "--help")
    assert outcome.status == 0
    for verb in VERBS:
        assert f"\n  {verb} " in outcome.out
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()} - {"hydra"}
    choices = outcome.out[outcome.out.index("choices") : outcome.out.index("examples")]
    assert groups <= set(choices.replace(",", "").split())
    examples = outcome.out[outcome.out.index("examples") :].split("\n\n")[0].splitlines()[1:]
    assert len(examples) == 3 and all(line.startswith("  recsweep train ") for line in examples)


@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    _, libraries = slow_imports(arguments)
    assert libraries == []


def test_the_program_and_the_module_are_the_same(tmp_path: Path) -> None:
    script = run_process(tmp_path, str(Path(sys.executable).with_name("recsweep")), "--help")
    module = run_process(tmp_path, sys.executable, "-m", "recsweep")
    assert script == module
    assert script.status == 0 and script.out.startswith("recsweep: recommender models side by side")


def test_a_mistake_is_one_line_and_status_2(tmp_path: Path) -> None:
    outcome = run_process(tmp_path, sys.executable, "-m", "recsweep", "trian")
    assert outcome == (2, "", f"recsweep: trian: no such verb; there are {', '.join(VERBS)}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_version_of_hydra(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "--version")
    assert (outcome.status, outcome.err) == (0, "") and outcome.out.startswith("Hydra 1.")
