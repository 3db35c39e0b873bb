"""Files that others wrote: whatever is wrong with one is a line with its name, at once."""

import os
from pathlib import Path

import pytest
from broken_files import BROKEN_JSON, BROKEN_YAML

from recsweep.errors import UserError
from recsweep.parse import read_json, read_yaml


@pytest.mark.parametrize("kind", BROKEN_YAML)
def test_broken_yaml_is_named(kind: str, tmp_path: Path) -> None:
    content, message = BROKEN_YAML[kind]
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_yaml(path)
    assert str(error.value).startswith(f"{path}{message}") and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", BROKEN_JSON)
def test_broken_json_is_named(kind: str, tmp_path: Path) -> None:
    content, message = BROKEN_JSON[kind]
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(path)
    assert str(error.value).startswith(f"{path}{message}") and "\n" not in str(error.value)


def test_a_pipe_and_a_folder_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UserError, match="not a file"):
            read_json(path)


def test_plain_files_are_read(tmp_path: Path) -> None:
    """A byte order mark is no part of the text; an alias repeats what it stands for."""
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfa: &a [1, 2]\nb: *a\n")
    assert read_yaml(path) == {"a": [1, 2], "b": [1, 2]}
    path.write_text('{"a": [1, null, "\\ud83c\\udfac"]}')
    assert read_json(path) == {"a": [1, None, "🎬"]}
