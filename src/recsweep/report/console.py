"""The comparison table on the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.plots import SHOWN
from recsweep.report.table import Row, Table, how_to_read, main_table, verdict

STYLES = {"best": "bold green", "baseline": "cyan", "oracle": "italic dim", "other": ""}

GAP = 2
"""Characters between columns."""

MAX_HEADER = 18
"""Characters of a column's name in one line."""

DISPENSABLE = {"time": 48, "parameters": 48, "d": 24, "seeds": 24, "folds": 24}
"""What is left out where a configuration would have fewer characters than its label needs, or than these."""


def show(console: Console, comparison: Comparison) -> None:
    """Print one comparison: what was compared, the table, the finding."""
    table = main_table(comparison)
    shown = _fitting(table, console.width)
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    grid.add_column(table.columns[0], overflow="fold")
    for number in shown:
        grid.add_column(Text(_header(table.columns[number])), justify="right", no_wrap=True)
    rows, hidden = _best(table, len(comparison.labels))
    for row in rows:
        cells = [row.label, *(row.cells[number - 1] for number in shown)]
        grid.add_row(*map(Text, cells), style=STYLES[row.role])
    console.print(Text(comparison.title, "bold"), "", grid, "", sep="\n")
    if hidden:
        console.print(Text(f"{hidden} more configurations are in the report.\n"))
    console.print(Text(f"{comparison.labels[0]}: {verdict(comparison)}", "bold"))
    console.print(Text(how_to_read(comparison), "dim"))
    console.print()


def show_broken(console: Console, runs: Runs) -> None:
    """List the runs that did not complete, with the reason; pruned ones are counted, for a search is meant to prune."""
    status = runs.table["status"]
    broken = runs.table[~status.isin(["completed", "pruned"])]
    if "pruned" in set(status):
        console.print(Text(f"{(status == 'pruned').sum()} of {len(runs.runs)} runs were pruned."))
    if len(broken):
        console.print(Text(f"{len(broken)} of {len(runs.runs)} runs did not complete:", "yellow"))
    for run in broken.itertuples():
        console.print(Text(f"  {run.run}  {run.label} seed={run.seed}  {run.status}: {run.reason}"), soft_wrap=True)


def _best(table: Table, n_labels: int) -> tuple[list[Row], int]:
    """The oracle, the best configurations and the baseline; and how many are left out."""
    last = len(table.rows) - n_labels + SHOWN
    kept = [row for place, row in enumerate(table.rows) if place < last or row.role == "baseline"]
    return kept, len(table.rows) - len(kept)


def _header(name: str) -> str:
    """A long name of a metric in two lines."""
    return name if len(name) <= MAX_HEADER else "/\n".join(name.rsplit("/", 1))


def _width(cell: str) -> int:
    return max(map(len, cell.split("\n")))


def _fitting(table: Table, width: int) -> list[int]:
    """The columns beside the configuration that leave room for it; a label longer than the room is folded."""
    rows = [("", *map(_header, table.columns[1:])), *((row.label, *row.cells) for row in table.rows)]
    label, *others = (max(map(_width, column)) for column in zip(*rows, strict=True))
    needed = dict(zip(table.columns[1:], others, strict=True))
    for name, room in DISPENSABLE.items():
        if name in needed and min(label, room) + sum(needed.values()) + GAP * len(needed) > width:
            del needed[name]
    return [number for number, name in enumerate(table.columns) if name in needed]
