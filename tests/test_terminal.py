"""Text from anywhere is shown, and never acts: no markup, no controls."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from rows import interactions
from run_folders import write_run
from shell import recsweep, table_cells

from recsweep.api.tables import tabulate_recommendations
from recsweep.commands.recommend import _print_table
from recsweep.data.schema import IdMap
from recsweep.terminal import cell, escape, print_line, show_progress

SHOWN = {
    "Movie [/rec]": "Movie [/rec]",
    "A [bold] move": "A [bold] move",
    "[explicit]": "[explicit]",
    ":bomb: [link=x]y[/link]": ":bomb: [link=x]y[/link]",
    "Amélie 映画 🎬 👩\u200d🚀 אב": "Amélie 映画 🎬 👩\u200d🚀 אב",
    "\x1b[2Jgone": r"\x1b[2Jgone",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "a\nb\r\tc\x00\x7f\x85": r"a\nb\r\tc\x00\x7f\x85",
    "\u202edlrow\u2066\u2028": r"\u202edlrow\u2066\u2028",
    "\udcff": r"\udcff",
}


@pytest.mark.parametrize("text", SHOWN)
def test_text_is_shown_as_it_is_but_for_controls(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert escape(text) == SHOWN[text]
    print_line(text)
    assert capsys.readouterr().out == f"{SHOWN[text]}\n"
    out = io.StringIO()
    table = Table(title=cell(text))
    table.add_row(cell(text))
    Console(file=out, width=100).print(table)
    assert out.getvalue().count(SHOWN[text]) == 2


def test_titles_and_ids_are_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    data = interactions([(0, 0, 3.0)], n_users=1, n_items=3)
    ids = IdMap(np.array(["[/i]", "[b]1", "\x1b[2J"]), "item")
    data = replace(data, item_ids=ids, item_titles=["Movie [/rec]", "A [bold] move", "\x1b]0;x\x07"])
    first, best = torch.tensor([0]), (torch.tensor([[0, 1, 2]]), torch.tensor([[3.0, 2.0, 1.0]]))
    _print_table("[/c]\x1b", tabulate_recommendations(data, first, *best).drop(columns="user"))
    out = capsys.readouterr().out
    assert [row[1:3] for row in table_cells(out)] == [
        ["[/i]", "Movie [/rec]"],
        ["[b]1", "A [bold] move"],
        [r"\x1b[2J", r"\x1b]0;x\x07"],
    ]
    assert r"user [/c]\x1b" in out and "\x1b" not in out


@pytest.mark.parametrize("verb", ["evaluate", "recommend", "train"])
def test_messages_never_act(verb: str, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, verb, "run=[/b]\x1b[2J\n", "user=1")
    assert outcome == (2, "", "recsweep: run=[/b]\\x1b[2J\\n: no run of recsweep (it has no .hydra/config.yaml)\n")


def test_choices_of_a_run_never_act_in_a_report(tmp_path: Path) -> None:
    choices = ["model=[/b]\x1b[2J", "data=\u202edata", "split=a\nb"]
    write_run(tmp_path / "0", *choices, model="[/b]\x1b[2J", versions={"torch": "\x1b<script>"})
    write_run(tmp_path / "\x1b[2J[/x]", status="failed", error="\x9b31m", objective=None, metrics={})
    outcome = recsweep(tmp_path, "report", ".")
    page = (tmp_path / "report.html").read_text()
    assert outcome.status == 0, outcome.err
    assert r"[/b]\x1b[2J" in outcome.out and r"\x1b[2J[/x]" in outcome.out and r"\u202edata" in outcome.out
    for text in (outcome.out, page):
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert r"[/b]\x1b[2J" in page and page.count("<script>") == 1  # its own


def test_progress_off_a_terminal_is_lines_that_count_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recsweep.terminal.LINE_EVERY", -1)
    assert list(show_progress([[1, 2], [3]], len, 5, "users", done=2)) == [[1, 2], [3]]
    assert [line.rpartition(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "4 of 5 users",
        "5 of 5 users",
    ]
