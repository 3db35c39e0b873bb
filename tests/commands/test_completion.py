"""Tab completion: what shells ask at every Tab must be answered at once."""

from pathlib import Path

import pytest
from shell import recsweep, slow_imports

from recsweep.cli import VERBS


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("recsweep tr", set(VERBS)),
        ("recsweep train data=ml_1", {"data=ml_100k", "data=ml_10m", "data=ml_1m"}),
        ("recsweep train model=biased_mf model.embedding_d", {"model.embedding_dim="}),
        ("recsweep evaluate hydra/launcher=submitit", {f"hydra/launcher=submitit_{at}" for at in ("local", "slurm")}),
    ],
)
def test_completions_of_a_line(line: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    outcome = recsweep(tmp_path, "-sc", "query=bash")
    assert outcome.status == 0 and set(outcome.out.split()) == expected


def test_a_completion_loads_nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "recsweep train loss=mix")
    assert slow_imports(["--shell-completion", "query=bash"]) == ("loss=mixed", [])


def test_install_prints_what_the_shell_should_call(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "--shell-completion", "install=bash")
    assert outcome.status == 0 and outcome.out.rstrip().endswith("-F hydra_bash_completion recsweep")


@pytest.mark.parametrize("arguments", [["-sc"], ["-sc", "install=tcsh"], ["-sc", "query=bash"]])
def test_a_wrong_request_is_refused_in_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    outcome = recsweep(tmp_path, *arguments)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "--shell-completion" in outcome.err
