"""The program itself: help, exit status, and how little it loads to answer at once."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from run_folders import write_run
from shell import Outcome, recsweep, slow_imports

from recsweep.cli import VERBS
from recsweep.paths import conf_dir
from recsweep.terminal import announce


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


def test_help_loads_nothing_heavy() -> None:
    commands = [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)]
    assert slow_imports(*commands)[1] == []


def test_no_verb_loads_what_it_does_not_need(tmp_path: Path) -> None:
    """Neither the list of data sets, nor a mistake in a setting, nor a report needs torch, Lightning or Optuna."""
    for seed in "01":
        write_run(tmp_path / seed, f"seed={seed}")
    printed, libraries = slow_imports(["data", "list"], ["train", "trainer.batch_size=0"], ["report", str(tmp_path)])
    assert "ml_100k" in printed and f"Report: {tmp_path}" in printed
    assert libraries == ["pandas", "matplotlib"]


def test_the_program_and_the_module_are_the_same(tmp_path: Path) -> None:
    script = run_process(tmp_path, str(Path(sys.executable).with_name("recsweep")), "--help")
    module = run_process(tmp_path, sys.executable, "-m", "recsweep")
    assert script == module
    assert script.status == 0 and script.out.startswith("recsweep: recommender models side by side")


def test_a_mistake_is_one_line_and_status_2(tmp_path: Path) -> None:
    outcome = run_process(tmp_path, sys.executable, "-m", "recsweep", "trian")
    assert outcome == (2, "", f"recsweep: trian: no such verb; there are {', '.join(VERBS)}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_own_help_with_two_examples(verb: str, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, verb, "--help")
    assert outcome.status == 0 and f"recsweep {verb}" in outcome.out.splitlines()[0]
    examples = outcome.out[outcome.out.index("examples:") :].split("\n\n")[0].splitlines()[1:]
    assert len(examples) == 2 and all(line.startswith(f"  recsweep {verb} ") for line in examples)
    assert list(tmp_path.iterdir()) == []


def test_the_version(tmp_path: Path) -> None:
    assert recsweep(tmp_path, "--version") == (0, f"recsweep {version('recsweep')}\n", "")


def test_only_a_terminal_is_told_that_something_loads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with announce("loading …"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with announce("loading …"):
        assert capsys.readouterr().err == "loading …\r"
    assert capsys.readouterr().err == "\x1b[2K\r"  # the line is gone


def test_the_version_of_hydra(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "--version")
    assert (outcome.status, outcome.err) == (0, "") and outcome.out.startswith("Hydra 1.")
