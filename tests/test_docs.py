"""The site builds without a warning and needs no network; links, names and marked blocks of README and docs are true.

`<!-- run -->` before a block of commands or Python runs it. With `<!-- run: trainer.max_epochs=1 -->` each
`recsweep train` in it gets these overrides in place of its own for the same keys. `<!-- file: NAME -->` makes the block
a file. The blocks of a page share a folder and run in their order.
"""

import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from shell import recsweep

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "docs" / "template"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"^ *<!-- (run|file)\b", re.MULTILINE)
BLOCK = re.compile(r"^<!-- (run|file)(?:: ([^\n]*))? -->\n\n?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
REMOTE = re.compile(r"<(script|link|img|source|iframe)\b[^>]*\b(src|href)=\"?(https?:)?//|url\(\"?(https?:)?//")
TIME = re.compile(r"([\w./]+/)\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}")


class Block(NamedTuple):
    """A marked block; `settings` are overrides, or the name of the file."""

    mark: str
    settings: str
    language: str
    text: str


class Place(NamedTuple):
    """Where the blocks of a page run, and the names that its Python has defined."""

    folder: Path
    names: dict[str, Any]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    return [Block(*match) for match in BLOCK.findall(page.read_text())]


def commands(block: Block, folder: Path) -> list[list[str]]:
    """The words of each command; a folder that is named by a time stands for the newest one there."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    lines = [
        TIME.sub(lambda match: match[1] + max(path.name for path in (folder / match[1]).iterdir()), line)
        for line in lines
    ]
    words = [shlex.split(line, comments=True) for line in lines]
    return [command for command in words if command not in ([], ["export", "PYTHONPATH=$PWD"])]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Place]:
    """The place of a page; that of the template is a copy of it."""

    @cache
    def make(page: Path) -> Place:
        folder = tmp_path_factory.mktemp("page")
        if page.parent == TEMPLATE:
            shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True)
        return Place(folder, {})

    return make


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{name(page)}-{number}", marks=pytest.mark.xdist_group(name(page)))
        for page in PAGES
        for number, block in enumerate(blocks(page), 1)
    ],
)
def test_a_marked_block_runs(
    page: Path, block: Block, place: Callable[[Path], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, names = place(page)
    monkeypatch.syspath_prepend(folder)
    if block.mark == "file":
        path = folder / block.settings
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
    elif block.language == "python":
        with chdir(folder):
            exec(compile(block.text, name(page), "exec"), names)
    else:
        for program, *arguments in commands(block, folder):
            assert program == "recsweep", f"{program}: put it into a block without a mark"
            smaller = shlex.split(block.settings) if arguments[0] == "train" else []
            keys = [setting.partition("=")[0] for setting in smaller]
            kept = [word for word in arguments if word.partition("=")[0] not in keys]
            outcome = recsweep(folder, *kept, *smaller)
            assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_marks_links_and_names_are_true(page: Path) -> None:
    """A mark is followed by a block; a link leads to a file; what is called by its name in the package is there."""
    text = page.read_text()
    assert len(blocks(page)) == len(MARK.findall(text))
    prose = FENCED.sub("", text)
    targets = [(target or source).partition("#")[0] for target, source in LINK.findall(prose)]
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []
    for path in re.findall(r"`(recsweep(?:\.\w+)+)`", prose):
        resolve_name(path)
    if page.parent != TEMPLATE:
        files = re.findall(r"`((?:conf|docs|src|tests|benchmarks|notebooks)/[\w./]+)`", prose)
        assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_site_builds_strictly_and_needs_no_network(tmp_path: Path) -> None:
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    assert config.strict
    build(config)
    files = [path for kind in ("html", "css") for path in tmp_path.rglob(f"*.{kind}")]
    assert len(files) > 20
    assert [path for path in files if REMOTE.search(path.read_text())] == []


def test_every_key_has_a_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "hooks")
    from conf_keys import list_keys

    rows = [line for line in list_keys() if line.startswith("| `")]
    assert len(rows) > 400
    assert [row for row in rows if row.endswith("|  |")] == []
