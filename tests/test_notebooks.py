"""The notebooks run from nothing, are small, and quote the results of the README."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from shell import recsweep

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.xdist_group("notebooks")  # tests share a kernel
for_each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def command(notebook: NotebookNode, runs: str) -> list[str]:
    """The arguments of the one `!recsweep …` in the notebook's cells, with {RUNS} filled in."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code" and "!recsweep" in cell.source]
    (source,) = cells
    line = source.partition("!recsweep ")[2].replace("\\\n", " ").replace("{RUNS}", runs)
    return shlex.split(line)


def with_two_seeds(argument: str) -> str:
    return "seed=0,1" if argument.startswith("seed=") else argument


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """Executes cells in one kernel, which imports the libraries once for all notebooks."""
    folder = tmp_path_factory.mktemp("notebooks")
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=300, resources={"metadata": {"path": folder}})
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if name != "RECSWEEP_RUNS"}
    with client.setup_kernel(env={**environment, "PATH": path}):
        yield client


def test_there_are_five_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["drr", "multitask", "off_policy", "rating", "retrieval"]


@for_each_notebook
def test_it_runs_without_network_or_earlier_runs(path: Path, client: NotebookClient) -> None:
    """Its sweep runs in this process, which has imported everything; the notebook then finds the runs."""
    folder = client.resources["metadata"]["path"]
    client.nb = nbformat.read(path, as_version=4)
    runs = folder / "outputs" / "notebooks" / path.stem
    arguments = map(with_two_seeds, command(client.nb, str(runs.relative_to(folder))))
    outcome = recsweep(folder, *arguments, "trainer.max_epochs=2")
    assert outcome.status == 0, outcome.err
    assert (runs / "report.html").is_file()
    client.execute_cell(nbformat.v4.new_code_cell("%reset -f"), 0)  # names of the notebook before
    for index, cell in enumerate(client.nb.cells):
        client.execute_cell(cell, index)
    outputs = [output for cell in client.nb.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not any("Report: " in output.get("text", "") for output in outputs), "it made the runs again"


@for_each_notebook
def test_it_is_small_and_has_no_outputs(path: Path) -> None:
    assert path.stat().st_size < 100_000
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@for_each_notebook
def test_its_results_are_those_of_the_readme(path: Path) -> None:
    results = (ROOT / "README.md").read_text().partition("## Results")[2]
    for cell in nbformat.read(path, as_version=4).cells:
        if "readme" in cell.metadata.get("tags", []):
            for number in re.findall(r"\d\.\d+", cell.source):
                assert number in results, number
