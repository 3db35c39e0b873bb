"""Caches derived tensors on disk, keyed by a hash of their inputs: locked, written atomically, verified when read."""

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from recsweep.atomic import write_atomically
from recsweep.errors import UserError

Artefact = dict[str, Tensor]
DIGEST = hashlib.sha256().digest_size


class Cache:
    """A chain of stages, each built once from the previous stage and its own settings.

    The name of an entry contains a hash of all its inputs, so a change anywhere upstream rebuilds it. Concurrent jobs
    wait for the first one to build.

    Args:
        folder: the folder of the entries; created if missing.
        origin: the input of the first stage, such as a `fingerprint`.
        say: shows the user a one-line message about an unreadable entry.

    Attributes:
        reused: names of the stages that were loaded from disk.
    """

    def __init__(self, folder: Path, origin: bytes, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.key = hashlib.sha256(origin)
        self.say = say
        self.reused: list[str] = []

    def stage(self, name: str, settings: Mapping[str, Any], build: Callable[[], Artefact]) -> Artefact:
        """The stage's tensors: loaded from disk, or else built and stored."""
        self.key.update(json.dumps([name, settings], sort_keys=True).encode())
        path = self.folder / f"{name}-{self.key.hexdigest()[:16]}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"paths.cache_dir={self.folder}: {error.strerror}; choose a writable folder") from None
        with FileLock(f"{path}.lock"):
            artefact = self._read(path)
            if artefact is not None:
                self.reused.append(name)
                return artefact
            artefact = build()
            with write_atomically(path) as partial:
                partial.write_bytes(_pack(artefact))
            return _unpack(path.read_bytes())  # the same tensors that a later run will load

    def _read(self, path: Path) -> Artefact | None:
        """The entry, or None if it is missing or unreadable; an unreadable file is moved aside."""
        if not path.is_file():
            return None
        try:
            return _unpack(path.read_bytes())
        except pickle.UnpicklingError as error:
            aside = path.with_suffix(".corrupt")
            os.replace(path, aside)
            self.say(f"{path}: unreadable ({str(error).splitlines()[0][:80]}), moved to {aside.name} and rebuilt")
            return None


def fingerprint(*tensors: Tensor | None) -> bytes:
    """A hash of the tensors' types, shapes and values."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{None if tensor is None else (tensor.dtype, tuple(tensor.shape))}".encode())
        if tensor is not None:
            total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return total.digest()


def _pack(artefact: Artefact) -> bytes:
    """The bytes of `torch.save`, followed by their digest."""
    content = io.BytesIO()
    torch.save(artefact, content)
    return content.getvalue() + _digest(content.getvalue())


def _unpack(content: bytes) -> Artefact:
    if _digest(content[:-DIGEST]) != content[-DIGEST:]:  # before parsing any of it
        raise pickle.UnpicklingError("its digest does not match")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
