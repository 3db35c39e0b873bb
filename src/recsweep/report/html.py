"""The report as one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from recsweep.atomic import write_atomically
from recsweep.report import panels, plots
from recsweep.report.answers import describe_best, describe_effects, describe_missing_baseline, notes
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison, train_command
from recsweep.report.doubts import Doubt, find_doubts
from recsweep.report.table import TESTED, Table, effects_table, main_table, metrics_tables
from recsweep.terminal import escape


@dataclass(frozen=True)
class Section:
    """A comparison as the template prints it; `more_table` holds the `n_hidden` configurations that are folded away."""

    title: str
    answers: Sequence[str]
    best: str
    verdict: str
    command: str
    missing_baseline: str
    doubts: Sequence[Doubt]
    facts: Mapping[str, str]
    effects: Table | None
    importances: Mapping[str, float]
    table: Table
    more_table: Table | None
    n_hidden: int
    notes: str
    metrics: Mapping[str, Table]
    wide_plot: Markup
    narrow_plot: Markup
    panels: Sequence[panels.Panel]


def write(
    path: Path,
    runs: Runs,
    comparisons: Sequence[Comparison],
    importances: Mapping[str, float] | None = None,
    edges: Sequence[str] = (),
) -> None:
    """Writes the report to `path`, atomically.

    Args:
        importances: of a search's settings, adding up to 1.
        edges: of the search's space at which its best lies, in words.
    """
    page = render(runs, comparisons, path.parent, importances, edges)
    with write_atomically(path) as partial:
        partial.write_text(page, encoding="utf-8")


def render(
    runs: Runs,
    comparisons: Sequence[Comparison],
    folder: Path,
    importances: Mapping[str, float] | None = None,
    edges: Sequence[str] = (),
) -> str:
    """The page. Text from runs is escaped by jinja2, inside the plots by matplotlib, and then without controls."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("recsweep.report") / "template.html.j2").read_text(encoding="utf-8"))
    incomplete = runs.table[runs.table["status"] != "completed"]
    page = template.render(
        folder=folder.resolve().name,
        date=datetime.now().astimezone().strftime("%-d %B %Y, %H:%M %Z"),
        n_runs=len(runs.runs),
        n_configurations=runs.table["label"].nunique(),
        sections=[_section(comparison, runs, importances or {}, edges) for comparison in comparisons],
        tested=TESTED,
        incomplete=incomplete[["run", "label", "seed", "status", "reason"]].to_dict("records"),
        versions=_versions(runs),
    )
    return "\n".join(map(escape, page.split("\n")))


def _section(comparison: Comparison, runs: Runs, importances: Mapping[str, float], edges: Sequence[str]) -> Section:
    table = main_table(comparison)
    n_hidden = max(0, len(comparison.labels) - plots.MAX_CONFIGURATIONS)
    end = len(table.rows) - n_hidden
    return Section(
        title=comparison.title,
        best=comparison.labels[0],
        answers=describe_effects(comparison),
        verdict=describe_best(comparison),
        command=train_command(comparison, runs.runs),
        missing_baseline=describe_missing_baseline(comparison, runs.runs),
        doubts=find_doubts(comparison, runs, edges),
        facts=_facts(comparison, runs),
        effects=effects_table(comparison),
        importances=importances,
        table=Table(table.columns, table.rows[:end]),
        more_table=Table(table.columns, table.rows[end:]) if n_hidden else None,
        n_hidden=n_hidden,
        notes=notes(comparison),
        metrics=metrics_tables(comparison),
        wide_plot=Markup(plots.comparison_plot(comparison, width=760)),
        narrow_plot=Markup(plots.comparison_plot(comparison, width=360)),
        panels=panels.panels(comparison, runs),
    )


def _facts(comparison: Comparison, runs: Runs) -> dict[str, str]:
    """Sizes of the data; a range if they differ between the runs."""
    records = [runs.runs[index].record for index in comparison.table.index]
    names = {"n_users": "users", "n_items": "items", "n_interactions": "interactions"}
    names |= {part: f"in {part}" for part in ("train", "val", "test")}
    facts = {}
    for key, name in names.items():
        sizes = {getattr(record.data, key) for record in records if record}
        values = sorted(size for size in sizes if isinstance(size, int))
        if values:
            facts[name] = " – ".join(f"{value:,}" for value in dict.fromkeys((values[0], values[-1])))
    return facts


def _versions(runs: Runs) -> dict[str, str]:
    """The version of each package; all of its versions if runs differ."""
    pairs = dict.fromkeys(pair for run in runs.runs if run.record for pair in run.record.versions.items())
    packages = dict.fromkeys(package for package, _ in pairs)
    return {package: ", ".join(version for name, version in pairs if name == package) for package in packages}
