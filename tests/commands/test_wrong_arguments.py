"""Wrong arguments of every verb: one line, status 2, and nothing is written."""

import shutil
from pathlib import Path

import pytest
from shell import modification_times, recsweep
from wrong_arguments import TABLE

pytestmark = pytest.mark.xdist_group("commands")


@pytest.mark.parametrize("verb", TABLE)
def test_a_wrong_argument_is_one_line(verb: str, means_run: Path, tmp_path: Path) -> None:
    shutil.copytree(means_run, tmp_path / "run")
    before, answers = modification_times(tmp_path), {}
    for words in TABLE[verb]:
        status, out, err = recsweep(tmp_path, *words)
        *_, last = err.splitlines() or [""]
        is_one_line = last.startswith("recsweep: ") and err.count("recsweep: ") == 1 and len(last) < 2000
        if status != 2 or out or not is_one_line or modification_times(tmp_path) != before:
            answers[" ".join(words)] = (status, out[:200], err)
            before = modification_times(tmp_path)
    assert answers == {}
