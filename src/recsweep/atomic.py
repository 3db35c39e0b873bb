"""Atomic writes: a file appears complete or not at all."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary path of this writer's own, in the same folder, that replaces `path` when the block ends.

    It is `path` with the process id, a random part and the suffix `.part`. The block writes to that file, and must not
    put another one in its place: a lock on it says that its writer is alive. Parts of writers that were killed are
    deleted when the same file is written again.

    After an exception `path` is unchanged and the temporary file is deleted. An `OSError` names `path`.
    """
    _delete_abandoned_parts(path)
    try:
        part, lock = _create_part(path)
        with lock:
            try:
                yield part
                os.replace(part, path)
            except BaseException:  # includes KeyboardInterrupt
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.filename is not None and not str(error.filename).endswith(".part"):
            raise  # it says which other file is the matter
        raise _name(error, path) from None  # a full disk names no file


@contextmanager
def name_folder(folder: Path) -> Iterator[None]:
    """An `OSError` that names no file, such as that of a full disk, gets the folder's name."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or str(folder) in str(error):
            raise
        raise _name(error, folder) from None


def _name(error: OSError, path: Path) -> OSError:
    if error.errno is None:
        return OSError(f"{path}: {error}")
    return OSError(error.errno, error.strerror, str(path))


def _create_part(path: Path) -> tuple[Path, IO[bytes]]:
    """A new part of `path`, and the open file that holds its lock."""
    while True:
        part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        lock = part.open("xb")
        with suppress(OSError):  # a file system without locks: parts of killed writers stay
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock.fileno()).st_nlink:
            return part, lock
        lock.close()  # another process took it for abandoned before it was locked


def _delete_abandoned_parts(path: Path) -> None:
    with suppress(OSError):
        for part in path.parent.iterdir():
            if part.name.startswith(f"{path.name}.") and part.suffix == ".part":
                with suppress(OSError), part.open("rb") as lock:  # an OSError: its writer is alive, or has just ended
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content` as indented JSON, atomically."""
    with write_atomically(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
