"""Checkpoint files are whole or not there, and a damaged one is one line with its name."""

import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shell import TINY, equal_weights, fit_model, recsweep, start_program, tiny_config, train_run, wait_for, weights

from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.runs.checkpoints import read_checkpoint, write_checkpoint
from recsweep.runs.folder import BEST, LAST, load_weights

pytestmark = pytest.mark.xdist_group("checkpoints")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("run"), *TINY)


def save_half(path: Path, size: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(size * len(content))])


def flip_bit(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def change(path: Path, *keys: str, to: Any) -> None:
    content = torch.load(path, weights_only=True)
    node = content
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = to
    torch.save(content, path)


WRONG: list[Any] = [None, {}, [], 0, "text", {"user": 1}, [[1.0]], torch.ones(2)]
"""What takes the place of a part of a checkpoint."""


def overwrite(content: Any) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def compress(path: Path) -> None:
    """The same entries, in a zip that expands when read."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    **{f"{size:.0%} of it": lambda path, size=size: save_half(path, size) for size in (0, 0.01, 0.3, 0.5, 0.9, 0.999)},
    **{f"is {content!r}": overwrite(content) for content in [*WRONG, {"state_dict": {}}, {"recsweep": {}}]},
    **{
        f"{'.'.join(keys)} is {content!r}": lambda path, keys=keys, content=content: change(path, *keys, to=content)
        for keys in [("state_dict",), ("recsweep",), ("recsweep", "trained_on"), ("recsweep", "trained_on", "user")]
        for content in WRONG
    },
    "text": lambda path: path.write_text("weights\n"),
    "latin": lambda path: path.write_bytes("é".encode("latin-1") * 100),
    "a zip of something else": lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "a"),
    "compressed": compress,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_one_line_with_its_name(
    damage: Callable[[Path], object], run: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(run / "checkpoints" / BEST, tmp_path))
    damage(path)
    data = build.data(tiny_config())
    with pytest.raises(UserError) as caught:
        load_weights(path, build.model(tiny_config(), data), data)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_flipped_bits_are_noticed_where_they_matter(run: Path, tmp_path: Path) -> None:
    """A refusal in one line, or the very same content: a bit of the padding between the entries."""
    good = (run / "checkpoints" / LAST).read_bytes()
    expected = torch.load(run / "checkpoints" / LAST, weights_only=True)
    path, rng, n_refused = tmp_path / LAST, random.Random(5), 0
    for _ in range(100):
        path.write_bytes(good)
        flip_bit(path, rng.randrange(len(good)))
        try:
            content = read_checkpoint(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            n_refused += 1
        else:
            assert str(content) == str(expected)
            assert equal_weights(content["state_dict"], expected["state_dict"])
    assert n_refused > 50


def test_a_bit_of_a_weight_is_noticed(run: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(run / "checkpoints" / BEST, tmp_path))
    weight = next(iter(weights(path).values()))
    flip_bit(path, path.read_bytes().index(weight.numpy().tobytes()))
    with pytest.raises(UserError, match=r"best.ckpt: not a checkpoint of recsweep \(ValueError: the checksum of .* is wrong"):
        read_checkpoint(path)


def test_checkpoints_from_before_load(run: Path, tmp_path: Path) -> None:
    """Those that Lightning and torch wrote themselves."""
    content = torch.load(run / "checkpoints" / BEST, weights_only=True)
    torch.save(content, tmp_path / BEST)
    assert equal_weights(read_checkpoint(tmp_path / BEST)["state_dict"], content["state_dict"])


@pytest.mark.parametrize("content", WRONG, ids=repr)
@pytest.mark.parametrize(
    "keys",
    [
        ("optimizer_states",),
        ("lr_schedulers",),
        ("loops",),
        ("callbacks",),
        ("epoch",),
        ("recsweep", "objectives"),
        ("recsweep", "epochs"),
    ],
    ids=".".join,
)
def test_a_training_goes_on_from_a_whole_state_or_not_at_all(
    keys: tuple[str, ...], content: Any, run: Path, tmp_path: Path
) -> None:
    """One line with the file's name; a change that Lightning does not mind leaves a training that ends."""
    checkpoints = shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    change(checkpoints / LAST, *keys, to=content)
    try:
        fit_model(tiny_config("trainer.max_epochs=3"), checkpoints)
    except UserError as error:
        assert str(error).startswith(f"{checkpoints / LAST}: ") and "\n" not in str(error)
