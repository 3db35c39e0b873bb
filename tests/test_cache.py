"""Stages on disk: built once, rebuilt after any change upstream, and verified when read."""

import hashlib
import io
import multiprocessing
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsweep.cache import Artefact, Cache, fingerprint

ARTEFACT = {"weight": torch.arange(6.0).view(2, 3), "mask": torch.tensor([True, False])}


class Chain:
    """Two stages in a folder, and a record of the last call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: list[str] = []
        self.messages: list[str] = []
        self.reused: list[str] = []

    def run(self, origin: bytes = b"rows", first: dict[str, Any] | None = None, second: int = 0) -> Artefact:
        """Runs both stages and returns the second; `built`, `messages` and `reused` describe this call."""
        self.built, self.messages = [], []
        cache = Cache(self.folder, origin, self.messages.append)
        cache.stage("first", first or {"size": 2, "lr": 0.1}, lambda: self.build("first"))
        artefact = cache.stage("second", {"size": second}, lambda: self.build("second"))
        self.reused = cache.reused
        return artefact

    def build(self, name: str) -> Artefact:
        self.built.append(name)
        return {key: tensor.clone() for key, tensor in ARTEFACT.items()}

    def entries(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.glob("*.pt")}


def equal(left: Artefact, right: Artefact) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    chain = Chain(tmp_path / "a folder" / "that does not exist")
    chain.run()
    return chain


def test_built_once_then_reused(chain: Chain) -> None:
    assert (chain.built, chain.messages, chain.reused) == (["first", "second"], [], [])
    before = chain.entries()
    artefact = chain.run()
    assert chain.built == []
    assert equal(artefact, ARTEFACT)
    assert [tensor.dtype for tensor in artefact.values()] == [torch.float32, torch.bool]
    assert (chain.messages, chain.reused) == ([], ["first", "second"])
    assert chain.entries() == before


@pytest.mark.parametrize(
    ("changes", "rebuilt"),
    [
        ({"second": 1}, ["second"]),
        ({"first": {"size": 3, "lr": 0.1}}, ["first", "second"]),
        ({"first": {"size": 2, "lr": 0.1, "more": None}}, ["first", "second"]),
        ({"origin": b"other rows"}, ["first", "second"]),
    ],
    ids=["its own settings", "settings upstream", "another setting", "origin"],
)
def test_a_change_rebuilds_all_stages_after_it(chain: Chain, changes: dict[str, Any], rebuilt: list[str]) -> None:
    before = chain.entries()
    chain.run(**changes)
    assert chain.built == rebuilt
    after = chain.entries()
    assert len(after) == 2 + len(rebuilt)
    assert {name: after[name] for name in before} == before
    chain.run()
    assert chain.built == []


def test_another_name_of_a_stage_rebuilds(chain: Chain) -> None:
    cache = Cache(chain.folder, b"rows", chain.messages.append)
    cache.stage("other", {"size": 2, "lr": 0.1}, lambda: chain.build("other"))
    cache.stage("second", {"size": 0}, lambda: chain.build("second"))
    assert chain.built == ["first", "second", "other", "second"]


def test_another_order_of_settings_does_not_rebuild(chain: Chain) -> None:
    chain.run(first={"lr": 0.1, "size": 2})
    assert chain.built == []


FOLDER_OF_ATTACK = "attack"


class Attack:
    """A pickle that makes a folder when it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return os.mkdir, (FOLDER_OF_ATTACK,)


def save_to_bytes(artefact: Any) -> bytes:
    content = io.BytesIO()
    torch.save(artefact, content)
    return content.getvalue()


def add_digest(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def flip_sign(content: bytes) -> bytes:
    """Changes the second number of the tensor from 1.0 to -1.0, which no format check can notice."""
    index = content.index(torch.arange(6.0).numpy().tobytes()) + 7
    return content[:index] + bytes([content[index] ^ 0x80]) + content[index + 1 :]


CORRUPT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "one bit of a tensor": flip_sign,
    "empty": lambda _: b"",
    "another file": lambda _: b"user,item,rating\n1,2,3\n" * 9,
    "without a digest": lambda _: save_to_bytes(ARTEFACT),
    "a pickle that runs code": lambda _: pickle.dumps(Attack()),
    "a pickle that runs code, with a digest": lambda _: add_digest(save_to_bytes({"weight": Attack()})),
}


@pytest.mark.parametrize("corrupt", CORRUPT.values(), ids=CORRUPT.keys())
def test_a_corrupt_entry_is_moved_aside_and_rebuilt(
    chain: Chain, corrupt: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(chain.folder)
    path = next(chain.folder.glob("first-*.pt"))
    content = path.read_bytes()
    path.write_bytes(corrupt(content))
    assert equal(chain.run(), ARTEFACT)
    assert chain.built == ["first"]
    aside = path.with_suffix(".corrupt")
    assert aside.read_bytes() == corrupt(content)
    assert path.read_bytes() == content
    assert not (chain.folder / FOLDER_OF_ATTACK).exists()
    assert len(chain.messages) == 1
    assert chain.messages[0].startswith(f"{path}: unreadable (")
    assert chain.messages[0].endswith(f"), moved to {aside.name} and rebuilt")
    assert "\n" not in chain.messages[0]
    chain.run()
    assert chain.built == []


def test_the_attack_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Attack()))
    assert (tmp_path / FOLDER_OF_ATTACK).exists()


def test_any_changed_byte_is_noticed(chain: Chain) -> None:
    path = next(chain.folder.glob("second-*.pt"))
    content = path.read_bytes()
    for index in range(0, len(content), 29):
        path.write_bytes(content[:index] + bytes([content[index] ^ 0xFF]) + content[index + 1 :])
        assert equal(chain.run(), ARTEFACT)
        assert chain.built == ["second"], index


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Artefact:
        raise KeyboardInterrupt

    messages: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path, b"rows", messages.append).stage("first", {}, fail)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}
    assert equal(Cache(tmp_path, b"rows", messages.append).stage("first", {}, lambda: ARTEFACT), ARTEFACT)
    assert messages == []


def test_a_write_that_fails_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power fails between writing and renaming: the next call does not load a partial entry."""

    def fail_to_rename(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    messages: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail_to_rename)
        with pytest.raises(KeyboardInterrupt):
            Cache(tmp_path, b"rows", messages.append).stage("first", {}, lambda: ARTEFACT)
    assert not list(tmp_path.glob("*.pt"))
    built: list[int] = []
    Cache(tmp_path, b"rows", messages.append).stage("first", {}, lambda: built.append(1) or ARTEFACT)
    assert built == [1]
    assert not list(tmp_path.glob("*.part"))


def build_slowly(folder: Path, number: int, start: Any) -> None:
    """A job of a sweep: it builds the stage, or waits for the job that builds it."""

    def build() -> Artefact:
        with (folder / "built.txt").open("a") as file:
            file.write(f"{number}\n")
        time.sleep(0.1)
        return {"drawn": torch.full((1000,), float(number))}

    start.wait()
    artefact = Cache(folder, b"rows", lambda _: None).stage("first", {}, build)
    torch.save(artefact["drawn"], folder / f"job_{number}.saved")


def test_jobs_that_start_at_once_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # the jobs need not import torch again
    start = context.Barrier(4)
    jobs = [context.Process(target=build_slowly, args=(tmp_path, number, start), daemon=True) for number in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 4
    builders = (tmp_path / "built.txt").read_text().split()
    assert len(builders) == 1
    for number in range(4):
        drawn = torch.load(tmp_path / f"job_{number}.saved", weights_only=True)
        assert torch.equal(drawn, torch.full((1000,), float(builders[0])))


DISTINCT: dict[str, Tensor | None] = {
    "none": None,
    "nothing": torch.empty(0),
    "nothing of three": torch.empty(0, 3),
    "number": torch.tensor(1),
    "numbers": torch.tensor([1]),
    "true": torch.tensor(True),
    "byte": torch.tensor(1, dtype=torch.uint8),
    "short": torch.tensor([1], dtype=torch.int32),
    "float": torch.tensor([1.0]),
    "zero": torch.tensor([0.0]),
    "minus zero": torch.tensor([-0.0]),
    "row": torch.arange(6).view(1, 6),
    "table": torch.arange(6).view(2, 3),
    "another table": torch.arange(6).view(3, 2),
    "transposed": torch.arange(6).view(3, 2).T,
    "other values": torch.arange(1, 7).view(2, 3),
    "half": torch.ones(2, dtype=torch.bfloat16),
}


def test_fingerprints_tell_tensors_apart() -> None:
    assert len({fingerprint(tensor) for tensor in DISTINCT.values()}) == len(DISTINCT)
    a, b = torch.tensor([1, 2]), torch.tensor([3])
    ordered = [(a, b), (b, a), (a,), (a, None), (None, a), (torch.tensor([1, 2, 3]),), (), (None,)]
    assert len({fingerprint(*tensors) for tensors in ordered}) == len(ordered)


def test_fingerprints_of_equal_tensors_are_equal() -> None:
    for tensor in DISTINCT.values():
        assert fingerprint(tensor) == fingerprint(None if tensor is None else tensor.clone())
    table = torch.arange(6).view(3, 2)
    assert fingerprint(table.T) == fingerprint(table.T.contiguous())
    assert fingerprint(torch.arange(10)[::2]) == fingerprint(torch.tensor([0, 2, 4, 6, 8]))
    assert fingerprint(torch.tensor(2.0).expand(3)) == fingerprint(torch.full((3,), 2.0))
