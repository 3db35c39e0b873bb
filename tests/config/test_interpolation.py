"""Interpolations that multiply end in one line."""

from pathlib import Path

import pytest
from shell import recsweep

BOMBS = {
    "without text": ("x0=''", "x{n}=${{x{before}}}${{x{before}}}"),
    "of text": (f"x0={'a' * 100_000}", "x{n}=" + "${{x{before}}}" * 11),
    "of nodes": ("x0={a:1}", "x{n}={{a:${{x{before}}},b:${{x{before}}}}}"),
    "a long chain": ("x0=1", "x{n}=${{x{before}}}"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, tmp_path: Path) -> None:
    first, others = BOMBS[name]
    bomb = [first, *(others.format(n=n, before=n - 1) for n in range(1, 200 if name == "a long chain" else 30))]
    outcome = recsweep(tmp_path, "train", *(f"+{override}" for override in bomb))
    reason = "make a text" if name == "of text" else "recursion" if name == "a long chain" else "interpolations for one"
    assert reason in outcome.err
    assert outcome.status == 2 and outcome.err.count("\n") == 1 and len(outcome.err) < 250
    assert not list(tmp_path.iterdir())


def test_bomb_in_the_name_of_the_folder(tmp_path: Path) -> None:
    bomb = [
        f"+hydra.job.env_set.x{n}=${{hydra.job.env_set.x{n - 1}}}${{hydra.job.env_set.x{n - 1}}}" for n in range(1, 30)
    ]
    bomb += ["+hydra.job.env_set.x0=a", "hydra.run.dir=${hydra.job.env_set.x29}"]
    outcome = recsweep(tmp_path, "train", *bomb)
    assert (
        outcome.err
        == "recsweep: more than 2,000 interpolations for one value full_key: hydra.run.dir object_type=dict\n"
    )
