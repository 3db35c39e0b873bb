"""Checkpoint files: written whole, and verified when read."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from recsweep.atomic import write_atomically
from recsweep.errors import UserError, summarize_error


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes the file atomically; a full disk, or a run's folder that is gone, is an `OSError` that names the file."""
    path.parent.mkdir(exist_ok=True)
    archive = io.BytesIO()
    torch.save(content, archive)
    with write_atomically(path) as partial:
        partial.write_bytes(archive.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The file's content, on the CPU; `UserError` where it is missing, damaged, or something else.

    A checkpoint is a zip that stores a checksum (CRC-32) of each tensor. torch writes them, but does not look at them.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint: the run did not finish, or somebody deleted it") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    with explain_checkpoint(path):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(content):
                raise ValueError("its entries are compressed or overlap")
            if damaged := archive.testzip():
                raise ValueError(f"the checksum of {damaged} is wrong: the file is damaged")
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return dict(checkpoint)


@contextmanager
def explain_checkpoint(path: Path) -> Iterator[None]:
    """Whatever a block raises that takes a checkpoint's content becomes a `UserError` that names the file.

    A damaged checkpoint can raise nearly anything, so this is no list of types. `UserError` passes.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint of recsweep ({summarize_error(error)})") from None


class WholeCheckpoints(TorchCheckpointIO):
    """Has Lightning write and read its checkpoints by the functions above.

    Lightning itself writes to the temporary folder and copies from there: a kill leaves half a file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))
