"""Mistakes in an experiment file of one's own: one line with the file, the key and what to write."""

from pathlib import Path

import pytest
from shell import recsweep

MISTAKES = {
    "hydra: {sweeper: {params: {seed: 0,1, model: means}}}": (
        "hydra.sweeper.params: 1 has no value; several values in braces need quotes: {seed: '0,1'}"
    ),
    "defaults: [/model: svdpp]": "defaults: /model: write it as - override /model: svdpp",
    "defaults: [model: svdpp]": "defaults: model: write it as - override /model: svdpp",
    "defaults: [override model: svdpp]": "defaults: override model: write it as - override /model: svdpp",
    "defaults: [override /modle: svdpp]": (
        "defaults: override /modle: no such group; there are trainer, callbacks, logger, optimizer, scheduler, "
        "regularization, loss, evaluation, filter, split, data, model, experiment, search, debug"
    ),
    "model: svdpp": "model: svdpp: a group is chosen in the defaults: - override /model: svdpp",
    "filter: k_core": "filter: k_core: a group is chosen in the defaults: - override /filter: k_core",
    "model: null": "model: null: it is needed; leave the line out, or choose one in the defaults",
}


def compose(folder: Path, text: str, flag: str = "--cfg=job") -> str:
    """What is said to an experiment file with this text."""
    path = folder / "conf" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"# @package _global_\n{text}\n")
    outcome = recsweep(folder, "train", "--config-dir=conf", "experiment=mine", flag)
    return outcome.err.replace(f"{path}", "FILE") if outcome.status else "right"


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_names_the_file_the_key_and_what_to_write(text: str, tmp_path: Path) -> None:
    assert compose(tmp_path, text) == f"recsweep: FILE: {MISTAKES[text]}\n"


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOPE", raising=False)
    assert compose(tmp_path, "seed: ${oc.env:NOPE}", "logger=none") == (
        "recsweep: seed: the environment variable NOPE is not set, which its value ${oc.env:NOPE} names; set it, or "
        "write ${oc.env:NOPE,DEFAULT}\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "defaults: [override /model: svdpp, override /filter: null, override /hydra/sweeper: optuna]\nfilter: null",
        "defaults: [override /model: multitask, override /loss@loss.ranking: bpr]",
        "hydra: {sweeper: {params: {seed: '0,1'}}}",
    ],
)
def test_what_is_right_stays_right(text: str, tmp_path: Path) -> None:
    assert compose(tmp_path, text) == "right"
