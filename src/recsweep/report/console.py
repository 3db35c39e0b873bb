"""The comparison table on the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.table import how_to_read, main_table, verdict

STYLES = {"best": "bold green", "baseline": "cyan", "oracle": "italic dim", "other": ""}


def show(console: Console, comparison: Comparison) -> None:
    """Print one comparison: what was compared, the table, the finding."""
    table = main_table(comparison)
    columns = len(table.columns) - 2  # parameters and time stand on the page alone: they do not fit 80 columns
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(comparison.title, "bold"), title_justify="left")
    for number, name in enumerate(table.columns[:columns]):
        grid.add_column(Text(name), justify="right" if number else "left", no_wrap=number > 0)
    for row in table.rows:
        cells = [Text(cell) for cell in (row.label, *row.cells[: columns - 1])]
        grid.add_row(*cells, style=STYLES[row.role])
    console.print(grid)
    console.print(Text(f"{comparison.labels[0]}: {verdict(comparison)}", "bold"))
    console.print(Text(how_to_read(comparison), "dim"))
    console.print()


def show_broken(console: Console, runs: Runs) -> None:
    """List the runs that did not complete, with the reason."""
    broken = runs.table[runs.table["status"] != "completed"]
    if len(broken):
        console.print(Text(f"{len(broken)} of {len(runs.runs)} runs did not complete:", "yellow"))
    for run in broken.itertuples():
        console.print(Text(f"  {run.run}  {run.label} seed={run.seed}  {run.status}: {run.reason}"))
