"""Atomic writes: a file appears complete or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary path, `path` with the suffix `.part`, that replaces `path` when the block ends.

    After an exception `path` is unchanged and the temporary file is deleted.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:  # includes KeyboardInterrupt
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content` as indented JSON, atomically."""
    with write_atomically(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
