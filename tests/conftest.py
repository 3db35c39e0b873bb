"""Fixtures that several test files share."""

import gc
import os
from pathlib import Path

import pytest
import torch
from checkerboard import write_checkerboard
from hypothesis import settings

if "RECSWEEP_DATA_DIR" in os.environ:  # tests run in folders of their own
    os.environ["RECSWEEP_DATA_DIR"] = str(Path(os.environ["RECSWEEP_DATA_DIR"]).resolve())

settings.register_profile("recsweep", deadline=None, max_examples=50)  # a busy machine is no fault of the code
settings.load_profile("recsweep")

LONG = ("test_quality.py", "test_notebooks.py", "test_experiments.py", "test_launchers.py", "test_search_processes.py")
"""Files whose single tests, or groups of tests that one worker runs, take many seconds."""

collect_ignore = ["pretend_gpu.py"]
"""Registers its device once in a process; collecting its doctests would do so again."""

N = 40
"""Users, and items, of the block data set."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the longest files first, so that both processes end together, and makes `xdist_group` work.

    pytest-xdist 3.8 appends the group to `_nodeid`, which pytest 9.2 no longer reads.
    """
    items.sort(key=lambda item: item.path.name not in LONG)
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        groups = {str(mark.args[0]) for mark in item.iter_markers("xdist_group")}
        suffix = f"@{'_'.join(sorted(groups))}"
        if groups and not item.nodeid.endswith(suffix):
            item._id = type(item._id).parse(item.nodeid + suffix)


@pytest.fixture(autouse=True, scope="session")
def process_as_in_training() -> None:
    """One thread, subnormal numbers flushed, and modules left out of garbage collection: a run ends with one."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    gc.freeze()


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkerboard of `write_checkerboard`."""
    path = tmp_path_factory.mktemp("blocks") / "blocks.csv"
    write_checkerboard(path, N)
    return path


@pytest.fixture(scope="session")
def forkserver() -> None:
    """Starts the server that processes fork from with the package imported, so that they need not import it again."""
    from multiprocessing import forkserver

    import shell  # noqa: F401  (says what to import)

    forkserver.ensure_running()


@pytest.fixture
def blank_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without the HTML page, a fifth of a small sweep's time: for tests of jobs, not of pages."""
    from recsweep.report import html

    monkeypatch.setattr(html, "write", lambda path, *_: path.write_text(""))
