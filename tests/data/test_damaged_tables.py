"""A damaged table of a user's own: one line that names the file, and never a table of something else."""

from pathlib import Path

import pytest
from data_damages import FRAME, TABLES, as_text
from own_tables import table

from recsweep.errors import UserError


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_one_line(name: str, tmp_path: Path) -> None:
    path, features = tmp_path / name, None
    if name.startswith("users"):
        (tmp_path / "t.csv").write_bytes(as_text(FRAME))
        features = {"path": str(path), "id": "who"}
    answers = {}
    for kind, content in TABLES[name]().items():
        path.write_bytes(content)
        try:
            table(path if features is None else tmp_path / "t.csv", user_features=features).read()
            answers[kind] = "accepted"
        except UserError as error:
            message = str(error)
            if not message.startswith(str(path)) or "\n" in message or len(message) > 500:
                answers[kind] = message
    assert answers == {}


def test_the_table_itself_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(as_text(FRAME))
    assert len(table(tmp_path / "t.csv").read()) == len(FRAME)
