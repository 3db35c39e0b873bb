"""Recommendations for many users into one file, part by part; what was computed before a kill is kept."""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
from torch import Tensor

from recsweep.atomic import write_atomically, write_json
from recsweep.errors import UserError
from recsweep.terminal import print_line, show_progress

ROWS_AT_ONCE = 2**20  # rows of a part: about 0.1 GB as a data frame
SUFFIXES = (".parquet", ".csv")


def write_in_parts(
    path: Path, user: Tensor, k: int, request: Mapping[str, Any], recommend: Callable[[Tensor], pd.DataFrame]
) -> None:
    """Writes the rows of all users to a Parquet or CSV file, which appears when it is complete.

    Parts are in the folder `PATH.parts` until then. A later call with the same request goes on after its last part;
    one with another request starts anew.

    Args:
        path: it ends in .parquet or .csv; a file that is there is replaced.
        user: [B].
        k: rows of a user at most.
        request: what the rows depend on, JSON.
        recommend: users [b] -> their rows, b * k at most.

    Raises:
        UserError: the name of the file ends in something else, or its folder is missing.
    """
    check_path(path)
    folder = path.with_name(f"{path.name}.parts")
    if _read_request(folder) != dict(request):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_json(folder / "request.json", request)
    users = user.split(max(1, ROWS_AT_ONCE // k))
    parts = [folder / f"{index:06d}.parquet" for index in range(len(users))]
    missing = [(part, chunk) for part, chunk in zip(parts, users, strict=True) if not part.exists()]
    n_done = len(user) - sum(len(chunk) for _, chunk in missing)
    if n_done:
        print_line(f"{path}: {n_done:,} of {len(user):,} users are done already, in {folder}", stderr=True)
    for part, chunk in show_progress(missing, lambda item: len(item[1]), len(user), "users", n_done):
        with write_atomically(part) as partial:
            recommend(chunk).to_parquet(partial, index=False)
    with write_atomically(path) as partial:
        _join(parts, partial, path.suffix)
    shutil.rmtree(folder)


def check_path(path: Path) -> None:
    """`UserError` unless a Parquet or CSV file of this name can be written."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"to={path}: the name of the file ends in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UserError(f"to={path}: there is no folder {path.parent}")


def _read_request(folder: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads((folder / "request.json").read_text())
    return None


def _join(parts: list[Path], path: Path, suffix: str) -> None:
    """One file of all parts, each a row group in Parquet."""
    if suffix == ".csv":
        for index, part in enumerate(parts):
            pd.read_parquet(part).to_csv(path, mode="a", header=index == 0, index=False)
        return
    # A part without any rows, of users whom the model does not know, has columns without a type.
    schema = pa.unify_schemas([pa_parquet.read_schema(part) for part in parts], promote_options="permissive")
    with pa_parquet.ParquetWriter(path, schema) as writer:
        for part in parts:
            writer.write_table(pa_parquet.read_table(part).cast(schema))
