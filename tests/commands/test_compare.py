"""`recsweep report DIR compare=A,B`: the page of a pair, with examples from checkpoints."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from shell import QUIET, SYNTHETIC, tiny_config, train_run

from recsweep.commands import compare, report
from recsweep.commands.compare import find_examples
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons
from recsweep.report.pair import find_pair
from recsweep.runs import build

pytestmark = pytest.mark.xdist_group("commands")


def test_a_pair_has_a_page_of_its_own(
    run: Path, means_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of ratings: a held-out item has its rating, and what both predict."""
    for name, folder in (("0", means_run), ("1", run)):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "report.html").write_text("mine")
    report.run([str(tmp_path), "compare=0,1"])
    text, page = capsys.readouterr().out, (tmp_path / "report_0_vs_1.html").read_text()
    assert "means against " in text and "held-out rows by popularity of the item" in text
    assert all("Lists are the first 5 items by one run of each." in shown for shown in (text, page))
    assert page.count("<article") == 6 and page.count(", predicted ") >= 6 and page.count("<svg") == 6
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "report.html", "report_0_vs_1.html"}
    assert (tmp_path / "report.html").read_text() == "mine"


def test_examples_are_of_the_catalogue_without_what_the_user_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("popularity", "ease"):
        train_run(tmp_path, *SYNTHETIC, *QUIET, "evaluation=full_ranking", f"model={model}")
    runs = collect(tmp_path)
    pair = find_pair("popularity,ease", runs, comparisons(runs, None))
    examples, why = find_examples(pair, runs)
    assert why == "" and [pair.gains[example.position] > 0 for example in examples] == [True] * 3 + [False] * 3
    data = build.data(tiny_config())
    rows, split = data.data, data.split
    titles, count = np.array(rows.item_titles), np.bincount(rows.item[split.train], minlength=rows.n_items)
    n_unseen = []
    for example in examples:
        user = rows.user_ids.encode([str(pair.users[example.position])])
        seen, held_out = (
            rows.item[part[rows.user[part] == user]].numpy()
            for part in (torch.cat([split.train, split.val]), split.test)
        )
        unseen = np.setdiff1d(np.arange(rows.n_items), seen)
        n_unseen.append(len(unseen))
        assert [count[titles == item.name].item() for item in example.left] == sorted(count[unseen], reverse=True)[:5]
        for item in (*example.left, *example.right):
            assert item.name in titles[unseen] and item.is_hit == (item.name in titles[held_out])
        assert {item.name for item in example.held_out} <= set(titles[held_out])
        assert len(example.held_out) + example.n_more == len(held_out)
    monkeypatch.setattr(compare, "K", rows.n_items)
    examples, why = find_examples(pair, runs)
    assert why == "" and [len(example.left) for example in examples] == [min(n_unseen)] * 6


def test_where_no_model_can_be_loaded_there_are_no_examples(
    run: Path, means_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in (("0", means_run), ("1", run)):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "1" / "checkpoints" / "best.ckpt").unlink()
    runs = collect(tmp_path)
    pair = find_pair("0,1", runs, comparisons(runs, None))
    examples, why = find_examples(pair, runs)
    assert examples == [] and why.startswith(f"No examples: {tmp_path}/1/checkpoints/best.ckpt: no such checkpoint")

    def run_out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(compare, "load_final_model", run_out_of_memory)
    examples, why = find_examples(pair, runs)
    assert examples == [] and why.startswith("No examples: the GPU has too little memory for this run")
