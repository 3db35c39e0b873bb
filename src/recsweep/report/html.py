"""The report as one self-contained HTML file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from recsweep.atomic import replaced
from recsweep.report import lines, off_policy, plots
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison, command
from recsweep.report.table import Table, how_to_read, main_table, metrics_tables, verdict

GLYPHS = "●■▲◆▼✚"
"""`svg.MARKERS` as text, for the legends."""


@dataclass(frozen=True)
class Panel:
    """Plots that share a legend, and what they show."""

    caption: str
    plots: Sequence[Markup]
    legend: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A comparison as the template prints it."""

    title: str
    best: str
    verdict: str
    command: str
    facts: Mapping[str, str]
    table: Table
    notes: str
    metrics: Mapping[str, Table]
    wide: Markup
    narrow: Markup
    hidden: int
    panels: Sequence[Panel]


def write(path: Path, runs: Runs, found: Sequence[Comparison]) -> None:
    """Write the report to `path`, in one step: never half a file."""
    page = render(runs, found, path.parent)
    with replaced(path) as partial:
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
    return Section(
        title=comparison.title,
        best=comparison.labels[0],
        verdict=verdict(comparison),
        command=command(comparison, runs.runs),
        facts=_facts(comparison, runs),
        table=main_table(comparison),
        notes=how_to_read(comparison),
        metrics=metrics_tables(comparison),
        wide=Markup(plots.comparison_plot(comparison, width=760)),
        narrow=Markup(plots.comparison_plot(comparison, width=360)),
        hidden=max(0, len(comparison.labels) - plots.SHOWN),
        panels=[
            *_off_policy_panels(comparison),
            *_numeric_panels(comparison, runs),
            *_curve_panels(comparison, runs),
        ],
    )


def _numeric_panels(comparison: Comparison, runs: Runs) -> list[Panel]:
    panels = []
    for key in runs.swept:
        drawn = lines.numeric_lines(comparison, runs, key)
        if drawn:
            plot = Markup(plots.numeric_plot(key, comparison.metric, list(drawn.values())))
            caption = f"{comparison.metric} along {key}: mean and 95 % interval over {comparison.repeat}s."
            panels.append(Panel(caption, [plot], _legend(drawn)))
    return panels


def _curve_panels(comparison: Comparison, runs: Runs) -> list[Panel]:
    curves = lines.curve_lines(comparison, runs)
    if not curves:
        return []
    names = comparison.top(lines.LINES)
    flat = {name: comparison.val[name].mean for name in names if name not in curves.get(comparison.selection, {})}
    drawn = [
        Markup(plots.curve_plot(tag, names, by_name, flat if tag == comparison.selection else {}))
        for tag, by_name in curves.items()
    ]
    caption = (
        f"Learning curves: mean and 95 % interval over {comparison.repeat}s, as far as every run of a configuration "
        f"went. The first, steep epochs are cut.{' Dashed: no curve was logged, the final value.' if flat else ''}"
    )
    return [Panel(caption, drawn, _legend(names))]


def _off_policy_panels(comparison: Comparison) -> list[Panel]:
    runs = off_policy.estimated(comparison)
    runs = runs[runs["label"].isin(runs["label"].unique()[: lines.LINES])]
    known = runs.dropna(subset="true")
    if len(known):
        caption = (
            "What the log alone told of each policy, against its true value: a point a run, with the estimate's 95 % "
            "interval. On the dashed diagonal the log told the truth. Dotted: the log's own mean reward."
        )
        drawn = [Markup(plot) for plot in off_policy.truth_plots(comparison.title, known)]
        return [Panel(caption, drawn, _legend(known["label"].unique()))]
    if len(runs):
        caption = (
            f"What the log alone tells of each policy: estimates with their 95 % intervals, ends averaged over "
            f"{comparison.repeat}s. Dashed: the log's own mean reward."
        )
        plot = Markup(off_policy.forest_plot(comparison.title, runs))
        return [Panel(caption, [plot], _legend(off_policy.shown(runs).values()))]
    return []


def _legend(names: Iterable[str]) -> list[tuple[str, str]]:
    return list(zip(GLYPHS, names, strict=False))


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
