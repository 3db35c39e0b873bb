"""Stages on disk: built once, built anew when anything before them changed, and never trusted blindly."""

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

MADE = {"weight": torch.arange(6.0).view(2, 3), "mask": torch.tensor([True, False])}


class Chain:
    """Two stages in a folder, and what came of each time they were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: list[str] = []
        self.said: list[str] = []
        self.reused: list[str] = []

    def ask(self, origin: bytes = b"rows", first: dict[str, Any] | None = None, second: int = 0) -> Artefact:
        """The second stage; `built`, `said` and `reused` tell of this time alone."""
        self.built, self.said = [], []
        cache = Cache(self.folder, origin, self.said.append)
        cache.stage("first", first or {"size": 2, "lr": 0.1}, lambda: self.build("first"))
        found = cache.stage("second", {"size": second}, lambda: self.build("second"))
        self.reused = cache.reused
        return found

    def build(self, name: str) -> Artefact:
        self.built.append(name)
        return {key: tensor.clone() for key, tensor in MADE.items()}

    def entries(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.glob("*.pt")}


def equal(left: Artefact, right: Artefact) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    asked = Chain(tmp_path / "made" / "when needed")
    asked.ask()
    return asked


def test_built_once_then_reused(chain: Chain) -> None:
    assert (chain.built, chain.said, chain.reused) == (["first", "second"], [], [])
    before = chain.entries()
    found = chain.ask()
    assert chain.built == []
    assert equal(found, MADE)
    assert [tensor.dtype for tensor in found.values()] == [torch.float32, torch.bool]
    assert (chain.said, chain.reused) == ([], ["first", "second"])
    assert chain.entries() == before


@pytest.mark.parametrize(
    ("asked", "built"),
    [
        ({"second": 1}, ["second"]),
        ({"first": {"size": 3, "lr": 0.1}}, ["first", "second"]),
        ({"first": {"size": 2, "lr": 0.1, "more": None}}, ["first", "second"]),
        ({"origin": b"other rows"}, ["first", "second"]),
    ],
    ids=["its own settings", "settings before it", "a further setting", "origin"],
)
def test_what_follows_from_a_change_is_built_anew(chain: Chain, asked: dict[str, Any], built: list[str]) -> None:
    before = chain.entries()
    chain.ask(**asked)
    assert chain.built == built
    after = chain.entries()
    assert len(after) == 2 + len(built)
    assert {name: after[name] for name in before} == before
    chain.ask()
    assert chain.built == []


def test_the_name_of_a_stage_counts(chain: Chain) -> None:
    cache = Cache(chain.folder, b"rows", chain.said.append)
    cache.stage("other", {"size": 2, "lr": 0.1}, lambda: chain.build("other"))
    cache.stage("second", {"size": 0}, lambda: chain.build("second"))
    assert chain.built == ["first", "second", "other", "second"]


def test_the_order_of_settings_does_not(chain: Chain) -> None:
    chain.ask(first={"lr": 0.1, "size": 2})
    assert chain.built == []


RAN = "ran"


class Attack:
    """A pickle that makes a folder when it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return os.mkdir, (RAN,)


def packed(made: Any) -> bytes:
    """As `torch.load` reads it."""
    content = io.BytesIO()
    torch.save(made, content)
    return content.getvalue()


def signed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def flipped(content: bytes) -> bytes:
    """The second number of the tensor, 1.0 as float32, gets another sign: nothing but its value tells."""
    place = content.index(torch.arange(6.0).numpy().tobytes()) + 7
    return content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :]


CORRUPT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "the last byte lost": lambda content: content[:-1],
    "a bit flipped in a tensor": flipped,
    "empty": lambda _: b"",
    "another file": lambda _: b"user,item,rating\n1,2,3\n" * 9,
    "without a digest": lambda _: packed(MADE),
    "a pickle that runs code": lambda _: pickle.dumps(Attack()),
    "a pickle that runs code, with a digest": lambda _: signed(packed({"weight": Attack()})),
}


@pytest.mark.parametrize("corrupt", CORRUPT.values(), ids=CORRUPT.keys())
def test_a_corrupt_entry_is_moved_aside_and_built_anew(
    chain: Chain, corrupt: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(chain.folder)
    path = next(chain.folder.glob("first-*.pt"))
    sound = path.read_bytes()
    damaged = corrupt(sound)
    path.write_bytes(damaged)
    assert equal(chain.ask(), MADE)
    assert chain.built == ["first"]
    aside = path.with_suffix(".corrupt")
    assert aside.read_bytes() == damaged
    assert path.read_bytes() == sound
    assert not (chain.folder / RAN).exists()
    assert len(chain.said) == 1
    assert chain.said[0].startswith(f"{path}: unreadable (")
    assert chain.said[0].endswith(f"), moved to {aside.name} and built anew")
    assert "\n" not in chain.said[0]
    chain.ask()
    assert chain.built == []


def test_the_attack_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Attack()))
    assert (tmp_path / RAN).exists()


def test_any_flipped_byte_is_noticed(chain: Chain) -> None:
    path = next(chain.folder.glob("second-*.pt"))
    sound = path.read_bytes()
    for place in range(0, len(sound), 11):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        assert equal(chain.ask(), MADE)
        assert chain.built == ["second"], place


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Artefact:
        raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path, b"rows", said.append).stage("first", {}, fail)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}
    assert equal(Cache(tmp_path, b"rows", said.append).stage("first", {}, lambda: MADE), MADE)
    assert said == []


def test_a_write_that_fails_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power goes between writing and renaming: the next call does not take the half for the whole."""

    def down(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    said: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", down)
        with pytest.raises(KeyboardInterrupt):
            Cache(tmp_path, b"rows", said.append).stage("first", {}, lambda: MADE)
    assert not list(tmp_path.glob("*.pt"))
    built: list[int] = []
    Cache(tmp_path, b"rows", said.append).stage("first", {}, lambda: built.append(1) or MADE)
    assert built == [1]
    assert not list(tmp_path.glob("*.part"))


def build_slowly(folder: Path, number: int, start: Any) -> None:
    """What a job of a sweep does: it builds, or waits for the one that builds."""

    def build() -> Artefact:
        with (folder / "built.txt").open("a") as file:
            file.write(f"{number}\n")
        time.sleep(0.3)
        return {"drawn": torch.full((1000,), float(number))}

    start.wait()
    made = Cache(folder, b"rows", lambda _: None).stage("first", {}, build)
    torch.save(made["drawn"], folder / f"job_{number}.saved")


def test_jobs_that_start_at_once_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recsweep.cache"])  # torch is imported once, not four times
    start = context.Barrier(4)
    jobs = [context.Process(target=build_slowly, args=(tmp_path, number, start)) for number in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 4
    builders = (tmp_path / "built.txt").read_text().split()
    assert len(builders) == 1
    for number in range(4):
        found = torch.load(tmp_path / f"job_{number}.saved", weights_only=True)
        assert torch.equal(found, torch.full((1000,), float(builders[0])))


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
    found = {fingerprint(tensor): name for name, tensor in DISTINCT.items()}
    assert len(found) == len(DISTINCT)
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
