"""A file is replaced as a whole, or stays unchanged."""

from pathlib import Path

import pytest

from recsweep.atomic import write_atomically


@pytest.mark.parametrize("before", [None, "old"])
def test_the_file_appears_at_the_end(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    if before is not None:
        path.write_text(before)
    with write_atomically(path) as partial:
        partial.write_text("new")
        assert partial == tmp_path / "metrics.json.part"
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
