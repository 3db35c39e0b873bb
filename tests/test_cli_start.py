"""What must answer at once: help, and what a shell asks at every Tab."""

import subprocess
import sys
from pathlib import Path

import pytest
from shell import recsweep

from recsweep.cli import VERBS
from recsweep.paths import conf_dir

HEAVY = ("torch", "lightning", "pandas", "optuna", "matplotlib")


def loaded(words: list[str]) -> list[str]:
    """Which of the heavy libraries a command loads."""
    code = f"import sys; sys.argv = ['recsweep', *{words}]\nfrom recsweep.cli import main\nmain()\n"
    code += f"print('loaded', *[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_help_shows_verbs_groups_and_three_examples(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "--help")
    assert found.status == 0
    for verb in VERBS:
        assert f"\n  {verb} " in found.out
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()} - {"hydra"}
    said = (
        found.out[found.out.index("choices") : found.out.index("examples")].replace("\n", " ").replace(",", "").split()
    )
    assert groups <= set(said)
    examples = found.out[found.out.index("examples") :].split("\n\n")[0].splitlines()[1:]
    assert len(examples) == 3 and all(line.startswith("  recsweep train ") for line in examples)


@pytest.mark.parametrize("words", [["--help"], ["report", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    said = loaded(words)
    assert said[-1] == "loaded"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("recsweep tr", set(VERBS)),
        ("recsweep train data=ml_1", {"data=ml_100k", "data=ml_10m", "data=ml_1m"}),
        ("recsweep train model=biased_mf model.embedding_d", {"model.embedding_dim="}),
        ("recsweep evaluate hydra/launcher=submitit", {f"hydra/launcher=submitit_{at}" for at in ("local", "slurm")}),
    ],
)
def test_tab(line: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    found = recsweep(tmp_path, "-sc", "query=bash")
    assert found.status == 0 and set(found.out.split()) == expected


def test_tab_loads_nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "recsweep train loss=mix")
    said = loaded(["--shell-completion", "query=bash"])
    assert said == ["loss=mixed", "loaded"]


def test_what_the_shell_is_told_to_call(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "--shell-completion", "install=bash")
    assert found.status == 0 and found.out.rstrip().endswith("-F hydra_bash_completion recsweep")


@pytest.mark.parametrize("words", [["-sc"], ["-sc", "install=tcsh"], ["-sc", "query=bash"]])
def test_completion_asked_by_hand_is_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    found = recsweep(tmp_path, *words)
    assert (found.status, found.out, found.err.count("\n")) == (2, "", 1) and "--shell-completion" in found.err


def test_hydra_s_version(tmp_path: Path) -> None:
    found = recsweep(tmp_path, "train", "--version")
    assert (found.status, found.err) == (0, "") and found.out.startswith("Hydra 1.")
