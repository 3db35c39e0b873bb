"""The report as one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from recsweep.atomic import write_atomically
from recsweep.report import panels, plots
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison, command
from recsweep.report.table import Table, how_to_read, main_table, metrics_tables, verdict


@dataclass(frozen=True)
class Section:
    """A comparison as the template prints it."""

    title: str
    best: str
    verdict: str
    command: str
    facts: Mapping[str, str]
    table: Table
    more: Table | None
    notes: str
    metrics: Mapping[str, Table]
    wide: Markup
    narrow: Markup
    hidden: int
    panels: Sequence[panels.Panel]


def write(path: Path, runs: Runs, found: Sequence[Comparison]) -> None:
    """Write the report to `path`, in one step: never half a file."""
    page = render(runs, found, path.parent)
    with write_atomically(path) as partial:
        partial.write_text(page, encoding="utf-8")


def render(runs: Runs, found: Sequence[Comparison], folder: Path) -> str:
    """The page. What runs supply is escaped by jinja2, and inside the plots by matplotlib."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("recsweep.report") / "template.html.j2").read_text(encoding="utf-8"))
    broken = runs.table[runs.table["status"] != "completed"]
    return template.render(
        folder=folder.resolve().name,
        date=datetime.now().astimezone().strftime("%-d %B %Y, %H:%M %Z"),
        n_runs=len(runs.runs),
        n_configurations=runs.table["label"].nunique(),
        sections=[_section(comparison, runs) for comparison in found],
        broken=broken[["run", "label", "seed", "status", "reason"]].to_dict("records"),
        versions=_versions(runs),
    )


def _section(comparison: Comparison, runs: Runs) -> Section:
    table = main_table(comparison)
    hidden = max(0, len(comparison.labels) - plots.SHOWN)
    shown = len(table.rows) - hidden
    return Section(
        title=comparison.title,
        best=comparison.labels[0],
        verdict=verdict(comparison),
        command=command(comparison, runs.runs),
        facts=_facts(comparison, runs),
        table=Table(table.columns, table.rows[:shown]),
        more=Table(table.columns, table.rows[shown:]) if hidden else None,
        notes=how_to_read(comparison),
        metrics=metrics_tables(comparison),
        wide=Markup(plots.comparison_plot(comparison, width=760)),
        narrow=Markup(plots.comparison_plot(comparison, width=360)),
        hidden=hidden,
        panels=panels.panels(comparison, runs),
    )


def _facts(comparison: Comparison, runs: Runs) -> dict[str, str]:
    """Sizes of the data; a range where they differ between the runs."""
    records = [runs.runs[position].record for position in comparison.table.index]
    sizes = pd.DataFrame([record.data for record in records if record])
    shown = {"n_users": "users", "n_items": "items", "n_interactions": "interactions"}
    shown |= {part: f"in {part}" for part in ("train", "val", "test")}
    facts = {}
    for key, name in shown.items():
        values = sorted({int(value) for value in sizes[key].dropna()}) if key in sizes else []
        if values:
            facts[name] = " – ".join(f"{value:,}" for value in dict.fromkeys((values[0], values[-1])))
    return facts


def _versions(runs: Runs) -> dict[str, str]:
    """Each package's version, all of them where runs differ."""
    pairs = dict.fromkeys(pair for run in runs.runs if run.record for pair in run.record.versions.items())
    names = dict.fromkeys(name for name, _ in pairs)
    return {name: ", ".join(version for other, version in pairs if other == name) for name in names}
