"""The notebooks run from nothing, read other sweeps of their family, and quote the published results."""

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


COMMAND = re.compile(r"^ *!recsweep (.*)", re.MULTILINE)
SMALLER = {"seed": "0", "trainer.max_epochs": "2", "trainer.limit_batches": "4"}
"""Settings of the sweeps, in place of the notebooks' own."""


def command(source: str, runs: Path) -> list[str]:
    """The arguments of the one `!recsweep …` in a cell, with {NAMES} filled in and smaller settings."""
    names = {"RUNS": str(runs), "CSV": "ratings.csv", **dict(re.findall(r'^(\w+) = "(.*)"$', source, re.MULTILINE))}
    (line,) = COMMAND.findall(source.replace("\\\n", " "))
    line = re.sub(r"\{(\w+)\}", lambda match: names[match[1]], line)
    verb, *arguments = shlex.split(line)
    if verb != "train":
        return [verb, *arguments]
    kept = [argument for argument in arguments if argument.partition("=")[0] not in SMALLER]
    return [verb, *kept, *(f"{key}={value}" for key, value in SMALLER.items())]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """Executes cells in one kernel, which imports the libraries once for all notebooks."""
    folder = tmp_path_factory.mktemp("notebooks")
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=300, resources={"metadata": {"path": folder}})
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if name != "RECSWEEP_RUNS"}
    with client.setup_kernel(env={**environment, "PATH": path}):
        yield client


def test_there_are_seven_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "drr",
        "multitask",
        "off_policy",
        "own_csv",
        "rating",
        "retrieval",
        "sequences",
    ]


def run_code(client: NotebookClient, source: str) -> None:
    client.nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    client.execute_cell(client.nb.cells[0], 0)


def execute(client: NotebookClient, notebook: NotebookNode, runs: Path) -> list[NotebookNode]:
    """The outputs of all cells. `!recsweep …` runs in this process, which has imported everything."""
    folder = client.resources["metadata"]["path"]
    run_code(client, "%reset -f")  # names of the notebook before
    client.nb = notebook
    for index, cell in enumerate(notebook.cells):
        if COMMAND.search(cell.source) and not runs.exists():
            outcome = recsweep(folder, *command(cell.source, runs.relative_to(folder)))
            assert outcome.status == 0, outcome.err
            assert (runs / "report.html").is_file() or "!recsweep train" not in cell.source
        if "!recsweep data" not in cell.source:  # it asks nothing of the kernel
            client.execute_cell(cell, index)
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@for_each_notebook
def test_it_runs_without_network_or_earlier_runs(path: Path, client: NotebookClient) -> None:
    runs = client.resources["metadata"]["path"] / "outputs" / "notebooks" / path.stem
    outputs = execute(client, nbformat.read(path, as_version=4), runs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not any("Report: " in output.get("text", "") for output in outputs), "it made the runs again"


def test_retrieval_reads_a_sweep_that_left_no_vectors(client: NotebookClient) -> None:
    folder = client.resources["metadata"]["path"]
    runs = folder / "other"
    sizes = ["data.n_users=60", "data.n_items=40", "data.n_interactions=600", "trainer.max_epochs=1"]
    outcome = recsweep(folder, "train", "-m", "model=bpr_mf", "seed=0", *sizes, f"hydra.sweep.dir={runs}")
    assert outcome.status == 0, outcome.err
    run_code(client, f"import os; os.environ['RECSWEEP_RUNS'] = {str(runs)!r}")
    outputs = execute(client, nbformat.read(ROOT / "notebooks" / "retrieval.ipynb", as_version=4), runs)
    run_code(client, "del os.environ['RECSWEEP_RUNS']")
    assert any("callbacks.embeddings=true" in output.get("text", "") for output in outputs)


@for_each_notebook
def test_it_is_stored_with_small_outputs(path: Path) -> None:
    """`make notebooks` writes them; no path of the machine that did is in them."""
    assert path.stat().st_size < 200_000
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not any(output.output_type == "error" for output in outputs)
    assert not re.search(r"(/tmp/|/home/|/root/|/work/)", path.read_text())


@for_each_notebook
def test_its_results_are_those_that_the_docs_publish(path: Path) -> None:
    results = (ROOT / "docs" / "results.md").read_text()
    for cell in nbformat.read(path, as_version=4).cells:
        if "readme" in cell.metadata.get("tags", []):
            for number in re.findall(r"\d\.\d+", cell.source):
                assert number in results, number
