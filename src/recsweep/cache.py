"""Derived artefacts, stored under what they were derived from: locked, written atomically, never trusted blindly."""

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
    """A chain of stages, each built once from the stage before and its own settings.

    An entry's name holds a hash of all that it follows from, so a change anywhere upstream builds anew, and jobs that
    start side by side wait for the one that builds.

    Args:
        folder: of the entries; made when needed.
        origin: what the first stage follows from.
        say: shows the user a line about an entry that cannot be read.

    Attributes:
        reused: names of the stages that were on disk already.
    """

    def __init__(self, folder: Path, origin: bytes, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.key = hashlib.sha256(origin)
        self.say = say
        self.reused: list[str] = []

    def stage(self, name: str, settings: Mapping[str, Any], build: Callable[[], Artefact]) -> Artefact:
        """The stage's tensors, from disk where they are there, else built and stored."""
        self.key.update(json.dumps([name, settings], sort_keys=True).encode())
        path = self.folder / f"{name}-{self.key.hexdigest()[:16]}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"paths.cache_dir={self.folder}: {error.strerror}; name a folder to write to") from None
        with FileLock(f"{path}.lock"):
            found = self._read(path)
            if found is not None:
                self.reused.append(name)
                return found
            made = build()
            with write_atomically(path) as partial:
                partial.write_bytes(_packed(made))
            return _unpacked(path.read_bytes())  # as a later run will find it

    def _read(self, path: Path) -> Artefact | None:
        """The entry; None where there is none, or none that can be read, which is then moved aside."""
        if not path.is_file():
            return None
        try:
            return _unpacked(path.read_bytes())
        except pickle.UnpicklingError as error:
            aside = path.with_suffix(".corrupt")
            os.replace(path, aside)
            self.say(f"{path}: unreadable ({str(error).splitlines()[0][:80]}), moved to {aside.name} and built anew")
            return None


def fingerprint(*tensors: Tensor | None) -> bytes:
    """A hash of shapes, types and values."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{None if tensor is None else (tensor.dtype, tuple(tensor.shape))}".encode())
        if tensor is not None:
            total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return total.digest()


def _packed(made: Artefact) -> bytes:
    """What `torch.load` reads, and behind it a digest."""
    content = io.BytesIO()
    torch.save(made, content)
    return content.getvalue() + _digest(content.getvalue())


def _unpacked(content: bytes) -> Artefact:
    if _digest(content[:-DIGEST]) != content[-DIGEST:]:  # before anything in it is parsed
        raise pickle.UnpicklingError("not what was written")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
