"""Checkpoint files are whole or not there, and a damaged one is one line with its name."""

import io
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

from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
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


def refuses(path: Path, read: Callable[[], object]) -> bool:
    """Whether reading ends in one line with the file's name; anything else that it raises fails the test."""
    try:
        read()
    except UserError as error:
        message = str(error)
    else:
        return False
    assert message.startswith(f"{path}: ") and "\n" not in message
    return True


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


@pytest.fixture(scope="module")
def untrained() -> tuple[RecModule | Baseline, InteractionData]:
    data = build.data(tiny_config())
    return build.model(tiny_config(), data), data


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_one_line_with_its_name(
    damage: Callable[[Path], object], run: Path, untrained: tuple[RecModule | Baseline, InteractionData], tmp_path: Path
) -> None:
    path = Path(shutil.copy(run / "checkpoints" / BEST, tmp_path))
    damage(path)
    assert refuses(path, lambda: load_weights(path, *untrained))


def test_flipped_bits_are_noticed_where_they_matter(run: Path, tmp_path: Path) -> None:
    """A refusal in one line, or the very same content: a bit of the padding between the entries."""
    good = (run / "checkpoints" / LAST).read_bytes()
    expected = torch.load(run / "checkpoints" / LAST, weights_only=True)
    path, rng, n_refused = tmp_path / LAST, random.Random(5), 0
    for _ in range(100):
        path.write_bytes(good)
        flip_bit(path, rng.randrange(len(good)))
        if refuses(path, lambda: read_checkpoint(path)):
            n_refused += 1
        else:
            content = read_checkpoint(path)
            assert str(content) == str(expected)
            assert equal_weights(content["state_dict"], expected["state_dict"])
    assert n_refused > 50


def test_a_bit_of_a_weight_is_noticed(run: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(run / "checkpoints" / BEST, tmp_path))
    weight = next(iter(weights(path).values()))
    flip_bit(path, path.read_bytes().index(weight.numpy().tobytes()))
    with pytest.raises(
        UserError, match=r"best.ckpt: not a checkpoint of recsweep \(ValueError: the checksum of .* is wrong"
    ):
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
    refuses(checkpoints / LAST, lambda: fit_model(tiny_config("trainer.max_epochs=3"), checkpoints))


@pytest.mark.parametrize("name", [BEST, LAST])
def test_a_verb_says_it_in_one_line(name: str, run: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(run, tmp_path / "run")
    (damaged / "metrics.json").unlink()
    path = damaged / "checkpoints" / name
    path.write_bytes(b"")
    verb, *rest = ["evaluate"] if name == BEST else ["train", "resume=true"]
    outcome = recsweep(tmp_path, verb, f"run={damaged}", *rest)
    *notes, last = outcome.err.splitlines()
    assert outcome.status == 2 and len(notes) == (verb == "evaluate")
    assert last.startswith(f"recsweep: {path}: not a checkpoint of recsweep (")


OBJECTIVES = {
    "min, first of equal ones": ("rating", [0.5, 0.25, 0.25, 0.75], 1),
    "equal in float32": ("rating", [0.7421000001, 0.7421000000, 0.75, 0.75], 0),
    "NaN first": ("rating", [float("nan"), 0.5, 0.25, 0.75], 2),
    "NaN later": ("rating", [0.5, float("nan"), 0.75, 0.25], 3),
    "only NaN": ("rating", [float("nan")] * 4, 0),
    "infinite, then finite": ("rating", [float("inf"), 2.0, 3.0, 4.0], 1),
    "max": ("full_ranking", [0.25, 0.75, float("nan"), 0.5], 1),
}


@pytest.mark.parametrize(("evaluation", "objectives", "best"), OBJECTIVES.values(), ids=OBJECTIVES.keys())
@pytest.mark.parametrize("interrupted_after", [4, 1, 2, 3])
def test_the_best_checkpoint_is_of_the_best_epoch(
    interrupted_after: int,
    evaluation: str,
    objectives: list[float],
    best: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Epochs count from 0; also where a second training goes on after the interruption."""
    from recsweep.models import base

    words = [f"evaluation={evaluation}", "callbacks.early_stopping.patience=null", "scheduler=cosine"]
    values = iter(objectives)

    def judge(_: Any, protocol: Any, __: Any) -> dict[str, float]:
        return {protocol.objective: next(values)}

    monkeypatch.setattr(base, "evaluate_batches", judge)
    for n_epochs in {interrupted_after: 0, 4: 0}:
        model = fit_model(tiny_config(*words, f"trainer.max_epochs={n_epochs}"), tmp_path)
    assert model.best_epoch == best
    assert read_checkpoint(tmp_path / BEST)["epoch"] == best


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no second file system at hand")
def test_checkpoints_are_written_in_their_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing passes through the temporary folder, which is on another file system, and full."""
    replaced: list[tuple[Path, Path]] = []
    replace = os.replace

    def record(source: Path, target: Path) -> None:
        assert source.stat().st_size > 0
        replaced.append((Path(source).parent, Path(target)))
        replace(source, target)

    monkeypatch.setattr("os.replace", record)
    monkeypatch.setattr("tempfile.tempdir", "/dev/shm/no such folder")
    fit_model(tiny_config(), tmp_path)
    assert {target.name for _, target in replaced} == {BEST, LAST}
    assert {folder for folder, _ in replaced} == {tmp_path}


@pytest.mark.xdist_group("forkserver")
@pytest.mark.usefixtures("forkserver")
def test_a_kill_leaves_whole_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any moment, here of checkpoints of 5 MB, with TMPDIR on another file system where there is one."""
    if os.access("/dev/shm", os.W_OK):
        monkeypatch.setenv("TMPDIR", "/dev/shm")
    rng, checkpoints = random.Random(3), tmp_path / "run" / "checkpoints"
    words = [*TINY, "model.embedding_dim=4000", "trainer.max_epochs=500", "callbacks.early_stopping.patience=null"]
    words += ["optimizer.lr=1e-5", "callbacks.checkpoint.every_seconds=0", "hydra.run.dir=run"]
    for number in range(4):
        arguments = ["run=run", "resume=true"] if number else words
        process = start_program(tmp_path, "train", *arguments)
        wait_for(lambda: (checkpoints / LAST).is_file(), process)
        process.join(rng.random() + (number > 0))
        process.kill()
        process.join()
        for path in checkpoints.glob("*.ckpt"):
            read_checkpoint(path)
    assert (checkpoints / BEST).stat().st_size > 2_000_000


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full has no space for a byte."""

    def write(_: Path, content: bytes) -> None:
        with Path("/dev/full").open("wb", 0) as file:
            file.write(content)

    good = tmp_path / BEST
    write_checkpoint(good, {"state_dict": {}})
    before = good.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError, match=r"No space left on device: '.*best.ckpt'$"):
        write_checkpoint(good, {"state_dict": {"weight": torch.ones(9)}})
    outcome = recsweep(tmp_path, "train", *TINY, "model=means", "hydra.run.dir=run")
    path = tmp_path / "run" / "checkpoints" / BEST
    assert outcome == (2, "", f"recsweep: [Errno 28] No space left on device: '{path}'\n")
    assert good.read_bytes() == before and [file.name for file in tmp_path.glob("best*")] == [BEST]
    assert list(path.parent.iterdir()) == []


def test_a_checkpoint_of_a_gpu_is_read_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch notes the device of each tensor, and without a GPU refuses to load one of it."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    write_checkpoint(tmp_path / BEST, {"weight": torch.ones(9)})
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA device"):
            torch.load(io.BytesIO((tmp_path / BEST).read_bytes()), weights_only=True)
    assert torch.equal(read_checkpoint(tmp_path / BEST)["weight"], torch.ones(9))
