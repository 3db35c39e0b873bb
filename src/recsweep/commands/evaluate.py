"""`recsweep evaluate`: the metrics of a finished run's checkpoint."""

from rich.console import Console
from rich.table import Table

from recsweep.commands import compose
from recsweep.runs import build
from recsweep.runs.folder import judge
from recsweep.sweeps import jobs
from recsweep.terminal import cell, print_line


def run(arguments: list[str]) -> None:
    """`evaluate run=DIR [overrides]`: overrides can change the protocol; the rest is as recorded."""
    folder, origin = compose.pop_run(arguments)
    if (jobs.read_outcome(folder) or {}).get("status") != "completed":
        note = f"run={folder} did not complete: these are the metrics of its best epoch so far"
        print_line(note, stderr=True)
    _, cfg = compose.build_config(origin, arguments)
    metrics = judge(cfg, build.data(cfg), folder)
    table = Table("metric", "value", title=cell(str(folder)))
    for name, value in metrics.items():
        table.add_row(cell(name), repr(value))
    Console().print(table)
