"""Mistakes in a YAML file of one's own: one line that names the file and the line."""

from pathlib import Path

import pytest
from broken_files import BROKEN_YAML
from shell import recsweep

HEADER = b"# @package _global_\n"
NO_HEADER = "mine.yaml:1: the file must begin with # @package _global_"
OWN: dict[str, tuple[bytes, str]] = {
    "key twice": (HEADER + b"seed: 1\nseed: 2", "mine.yaml:3: found duplicate key seed: 'seed: 2'"),
    "list": (HEADER + b"- a", "mine.yaml:1: holds a list, not key: value"),
    "no package": (
        b"defaults:\n  - override /model: means",
        "mine.yaml:1: the file must begin with # @package _global_",
    ),
    "empty": (b"", NO_HEADER),
    "package of nothing": (b"# @package\nseed: 1", "mine.yaml: Expected header format: KEY VALUE, got '@package'"),
    "defaults of itself": (HEADER + b"defaults:\n  - mine", "experiment/mine.yaml: its defaults lead back to itself"),
    "set": (HEADER + b"name: !!set {a}", "mine.yaml: Value 'set' is not a supported primitive type"),
}


def write_experiment(folder: Path, content: bytes) -> None:
    path = folder / "my" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", [*BROKEN_YAML, *OWN])
def test_a_mistake_in_a_file_is_one_line(kind: str, tmp_path: Path) -> None:
    content, message = OWN[kind] if kind in OWN else (BROKEN_YAML[kind][0], f"mine.yaml{BROKEN_YAML[kind][1]}")
    write_experiment(tmp_path, content)
    for flags in ([], ["-m"], ["--cfg", "job"]):
        outcome = recsweep(tmp_path, "train", *flags, "--config-dir=my", "experiment=mine")
        assert outcome.status == 2 and outcome.out == ""
        assert message in outcome.err and outcome.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["my"]


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    write_experiment(tmp_path, b"\xef\xbb\xbf" + HEADER + b"name: bom\nseed: 4")
    outcome = recsweep(tmp_path, "train", "--cfg=job", "--config-dir=my", "experiment=mine")
    assert outcome.status == 0 and "name: bom\nseed: 4\n" in outcome.out


def test_a_model_without_package_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "my" / "model" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("model:\n  _target_: recsweep.models.baselines.Means\n")
    outcome = recsweep(tmp_path, "train", "--config-dir=my", "model=mine")
    assert outcome == (2, "", f"recsweep: {path}:1: the file must begin with # @package _global_\n")
