"""The notebooks run from nothing, are small, and quote the README as it is."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_every_document_has_a_notebook() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["drr", "multitask", "off_policy", "rating", "retrieval"]


@EACH
def test_it_runs_without_network_or_runs_of_its_own(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECSWEEP_RUNS", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 2
    assert (tmp_path / "outputs" / "notebooks" / path.stem / "report.html").is_file()


@EACH
def test_it_is_small_and_holds_no_outputs(path: Path) -> None:
    assert path.stat().st_size < 100_000
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@EACH
def test_its_results_are_those_of_the_readme(path: Path) -> None:
    results = (ROOT / "README.md").read_text().partition("## Results")[2]
    for cell in nbformat.read(path, as_version=4).cells:
        if "readme" in cell.metadata.get("tags", []):
            for number in re.findall(r"\d\.\d+", cell.source):
                assert number in results, number
