"""The comparison table on the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from recsweep.report.answers import describe_best, describe_effects, notes
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.doubts import Doubt
from recsweep.report.plots import MAX_CONFIGURATIONS
from recsweep.report.table import Row, Table, effects_table, main_table
from recsweep.terminal import cell, escape

STYLES = {"best": "bold green", "baseline": "cyan", "oracle": "italic dim", "other": ""}

GAP = 2
"""Characters between columns."""

MAX_HEADER = 18
"""Characters of a column's name in one line."""

OPTIONAL_COLUMNS = {"time": 48, "parameters": 48, "seeds": 24, "folds": 24, "splits": 24}
"""Columns that are dropped if they would leave less than this many characters, or than needed, for the labels."""


def print_comparison(console: Console, comparison: Comparison, doubts: Sequence[Doubt]) -> None:
    """Prints one comparison: its title, the findings, the effects of swept settings, the configurations, doubts."""
    console.print(cell(comparison.title, "bold"), "", sep="\n")
    for sentence in (*describe_effects(comparison), f"{comparison.labels[0]}: {describe_best(comparison)}"):
        console.print(cell(sentence, "bold"))
    console.print()
    effects, table = effects_table(comparison), main_table(comparison)
    if effects is not None:
        _print_table(console, effects, effects.rows)
    rows = _top_rows(table, len(comparison.labels))
    _print_table(console, table, rows)
    if n_hidden := len(table.rows) - len(rows):
        console.print(Text(f"{n_hidden} more configurations are in the report.\n"))
    for doubt in doubts:
        console.print(cell(doubt.sentence, "yellow"))
        if doubt.command:
            console.print(cell(f"  {doubt.command}"), "", sep="\n", soft_wrap=True)
    console.print(cell(notes(comparison), "dim"))
    console.print()


def _print_table(console: Console, table: Table, rows: Sequence[Row]) -> None:
    columns = _columns_that_fit(table, console.width)
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    grid.add_column(cell(table.columns[0]), overflow="fold")
    for column in columns:
        grid.add_column(Text(_wrap_header(escape(table.columns[column]))), justify="right", no_wrap=True)
    for row in rows:
        cells = [row.label, *(row.cells[column - 1] for column in columns)]
        grid.add_row(*map(cell, cells), style=STYLES[row.role])
    console.print(grid, "", sep="\n")


def print_incomplete_runs(console: Console, runs: Runs) -> None:
    """Lists the runs that did not complete, with the reason; pruned runs, which a search expects, are only counted."""
    status = runs.table["status"]
    incomplete = runs.table[~status.isin(["completed", "pruned"])]
    if "pruned" in set(status):
        console.print(Text(f"{(status == 'pruned').sum()} of {len(runs.runs)} runs were pruned."))
    if len(incomplete):
        console.print(Text(f"{len(incomplete)} of {len(runs.runs)} runs did not complete:", "yellow"))
    for run in incomplete.itertuples():
        console.print(cell(f"  {run.run}  {run.label} seed={run.seed}  {run.status}: {run.reason}"), soft_wrap=True)


def _top_rows(table: Table, n_labels: int) -> list[Row]:
    """The oracle, the best configurations and the baseline."""
    end = len(table.rows) - n_labels + MAX_CONFIGURATIONS
    return [row for number, row in enumerate(table.rows) if number < end or row.role == "baseline"]


def _wrap_header(name: str) -> str:
    """The name of a column; a long metric's in two lines."""
    return name if len(name) <= MAX_HEADER else "/\n".join(name.rsplit("/", 1))


def _width(cell: str) -> int:
    return max(map(len, cell.split("\n")))


def _columns_that_fit(table: Table, width: int) -> list[int]:
    """Numbers of the columns, after the label's, that leave room for it; a label longer than the room is folded."""
    rows = [("", *map(_wrap_header, table.columns[1:])), *((row.label, *row.cells) for row in table.rows)]
    label_width, *widths = (max(map(_width, column)) for column in zip(*rows, strict=True))
    width_by_name = dict(zip(table.columns[1:], widths, strict=True))
    for name, room in OPTIONAL_COLUMNS.items():
        total = min(label_width, room) + sum(width_by_name.values()) + GAP * len(width_by_name)
        if name in width_by_name and total > width:
            del width_by_name[name]
    return [number for number, name in enumerate(table.columns) if name in width_by_name]
