"""The report as one HTML page."""

import hashlib
import re
from base64 import b64encode
from importlib.resources import files
from pathlib import Path

import pytest
from run_folders import compare_runs, write_run, write_sweep
from torch.utils.tensorboard import SummaryWriter

from recsweep.report import html
from recsweep.report.collect import collect
from recsweep.report.comparisons import comparisons

pytestmark = pytest.mark.xdist_group("report_page")


def render_page(folder: Path) -> str:
    comparison, runs = compare_runs(folder)
    html.write(folder / "report.html", runs, [comparison])
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a sweep with an oracle, a hostile label, a learning curve, a failed run and a pruned run."""
    folder = write_sweep(tmp_path_factory.mktemp("sweep"), oracle={"test/mse": 0.5})
    write_run(folder / "9", "seed=0", "model=svdpp", "loss='<script>alert(1)</script>'", model="svdpp", value=0.1)
    write_run(folder / "10", "seed=7", status="failed", error="it went wrong", objective=None)
    write_run(folder / "11", "seed=8", model="svdpp", status="pruned", error="epoch 2: too far off")
    with SummaryWriter(str(folder / "8" / "tb")) as writer:
        for epoch in (1, 2, 3):
            writer.add_scalar("val/mse", 1 / epoch, epoch)
    return render_page(folder)


def test_the_page_is_one_file_that_loads_nothing(page: str) -> None:
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)


def test_the_only_script_is_that_of_the_page(page: str) -> None:
    """The policy allows this one by its hash, and nothing is loaded; names from files are escaped, in titles, too."""
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    assert script == (files("recsweep.report") / "page.js").read_text() and "<!--" not in script
    assert "innerHTML" not in script and "<title>svdpp loss=&#39;&lt;script&gt;" in page


def test_a_point_says_its_value_and_its_folder(page: str) -> None:
    assert "<title>biased_mf\ntest/mse 0.830\nseed 1, folder 4</title>" in page  # 0.8 + 0.02 + 0.01
    assert "\nfolders 3, 4, 5</title>" in page


def test_commands_stand_alone(page: str) -> None:
    commands = re.findall(r'<div class="command"><code>(.*?)</code></div>', page)
    assert len(commands) == 1 and commands[0].startswith("recsweep train ")


def test_the_page_shows_oracle_plots_and_command(page: str) -> None:
    assert "oracle" in page and ">0.500<" in page and "<svg" in page
    assert "Learning curves" in page
    assert "recsweep train" in page


def test_a_row_links_to_the_folders_of_its_runs(page: str) -> None:
    assert '<a href="./6/">6</a>, <a href="./7/">7</a>, <a href="./8/">8</a>' in page


def test_folders_above_are_named_where_they_change() -> None:
    links = html.link_runs(["a/0", "a/1", "b c/0"])
    assert links == [("a/0", "./a/0/"), ("1", "./a/1/"), ("b c/0", "./b%20c/0/")]


def test_how_to_read_is_said_once(tmp_path: Path) -> None:
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", "evaluation=full_ranking")
    runs = collect(tmp_path)
    text = html.render(runs, comparisons(runs, None), tmp_path)
    assert text.count("two-sided") == 1
    assert text.count('href="#part-') == 2 and 'id="part-2"' in text


def test_failed_and_pruned_runs_are_listed(page: str) -> None:
    assert "it went wrong" in page and "epoch 2: too far off" in page


def test_only_incomplete_runs_make_a_page_too(tmp_path: Path) -> None:
    write_run(tmp_path / "0", status="failed", error="it went wrong", objective=None)
    assert "it went wrong" in html.render(collect(tmp_path), [], tmp_path)


def test_a_large_sweep_is_a_small_page(tmp_path: Path) -> None:
    for number in range(40):
        overrides = (f"regularization.dropout={number / 100}", f"loss={'mse' if number % 3 else 'bpr'}")
        write_run(tmp_path / f"{number}", "model=svdpp", *overrides, model="svdpp", value=0.8 + number / 1e3)
    text = render_page(tmp_path)
    assert "16 more configurations" in text
    assert len(text) < 150_000
