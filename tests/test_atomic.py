"""A file is replaced as a whole, or stays unchanged."""

import errno
import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from recsweep.atomic import write_atomically


@pytest.mark.parametrize("before", [None, "old"])
def test_the_file_appears_at_the_end(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    if before is not None:
        path.write_text(before)
    with write_atomically(path) as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path and partial.name.startswith(f"metrics.json.{os.getpid()}-")
        assert partial.suffix == ".part"
        assert (path.read_text() if path.exists() else None) == before
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"metrics.json": "new"}


def write_and_fail(path: Path, text: str | None, error: BaseException) -> None:
    with write_atomically(path) as partial:
        if text is not None:
            partial.write_text(text)
        raise error


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("text", [None, "half"])
def test_after_an_exception_the_file_is_unchanged(text: str | None, error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_and_fail(path, text, error)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"metrics.json": "old"}


def test_writers_do_not_share_a_part(tmp_path: Path) -> None:
    """The last one to end wins, with its own content; one that begins meanwhile leaves the other's part alone."""
    path = tmp_path / "runs.csv"
    with write_atomically(path) as first:
        first.write_text("first")
        with write_atomically(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"runs.csv": "first"}


def begin_and_wait(path: Path, has_begun: Any) -> None:
    with write_atomically(path) as partial:
        partial.write_text("half")
        has_begun.set()
        signal.pause()


def test_parts_of_killed_writers_are_deleted(tmp_path: Path) -> None:
    """When the file is written again, not while their writer is alive; parts of other files stay."""
    path, context = tmp_path / "last.ckpt", get_context("fork")
    (tmp_path / "other.ckpt.1-00000000.part").touch()
    has_begun = context.Event()
    process = context.Process(target=begin_and_wait, args=(path, has_begun))
    process.start()
    assert has_begun.wait(60)
    with write_atomically(path) as partial:
        partial.write_text("good")
    assert len(list(tmp_path.glob("last.ckpt.*.part"))) == 1
    process.kill()
    process.join()
    with write_atomically(path) as partial:
        partial.write_text("better")
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "other.ckpt.1-00000000.part"}
    assert path.read_text() == "better"


@pytest.mark.parametrize("named", [None, "metrics.json.1-0.part"])
def test_an_error_of_the_disk_names_the_file(named: str | None, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with pytest.raises(OSError, match=f"^\\[Errno 28\\] No space left on device: '{path}'$"):
        write_and_fail(path, "half", OSError(errno.ENOSPC, "No space left on device", named))


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "ratings.csv")
    with pytest.raises(PermissionError, match=r"Permission denied: 'ratings.csv'"):
        write_and_fail(tmp_path / "metrics.json", None, error)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "metrics.json"
    with pytest.raises(FileNotFoundError, match=f"'{path}'$"):
        write_and_fail(path, "text", AssertionError("not reached"))
