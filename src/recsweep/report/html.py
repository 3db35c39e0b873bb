"""The report as one self-contained HTML file."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recsweep.atomic import write_atomically
from recsweep.report import panels, plots
from recsweep.report.answers import HOW_TO_READ, describe_best, describe_effects, describe_missing_baseline, notes
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison, train_command
from recsweep.report.doubts import Doubt, find_doubts
from recsweep.report.table import TESTED, Table, effects_table, main_table, metrics_tables
from recsweep.report.wins import Wins, count_wins
from recsweep.terminal import escape


@dataclass(frozen=True)
class Section:
    """A comparison as the template prints it; `more_table` holds the `n_hidden` configurations that are folded away."""

    title: str
    n_configurations: int
    better_side: str
    repeat: str
    answers: Sequence[str]
    best: str
    best_runs: Sequence[str]
    verdict: str
    command: str
    doubts: Sequence[Doubt]
    facts: Mapping[str, str]
    effects: Table | None
    effects_plots: Sequence[Markup]
    wins: Wins | None
    importances: Mapping[str, float]
    table: Table
    more_table: Table | None
    n_hidden: int
    notes: str
    metrics: Mapping[str, Table]
    comparison_plots: Sequence[Markup]
    caption: str
    panels: Sequence[panels.Panel]


def write(
    path: Path,
    runs: Runs,
    comparisons: Sequence[Comparison],
    suffix: str = "",
    importances: Mapping[str, float] | None = None,
    edges: Sequence[str] = (),
    is_log: Mapping[str, bool] = MappingProxyType({}),
) -> None:
    """Writes the report to `path`, atomically.

    Args:
        suffix: of the files that depend on the baseline.
        importances: of a search's settings, adding up to 1.
        edges: of the search's space at which its best lies, in words.
        is_log: whether a setting was searched in logarithms, of those that were searched in an interval.
    """
    page = render(runs, comparisons, path.parent, suffix, importances, edges, is_log)
    with write_atomically(path) as partial:
        partial.write_text(page, encoding="utf-8")


def render(
    runs: Runs,
    comparisons: Sequence[Comparison],
    folder: Path,
    suffix: str = "",
    importances: Mapping[str, float] | None = None,
    edges: Sequence[str] = (),
    is_log: Mapping[str, bool] = MappingProxyType({}),
) -> str:
    """The page. Text from runs is escaped by jinja2, inside the plots by matplotlib, and then without controls."""
    incomplete = runs.table[runs.table["status"] != "completed"]
    return render_template(
        folder,
        runs,
        sections=[_section(comparison, runs, importances or {}, edges, is_log) for comparison in comparisons],
        suffix=suffix,
        how_to_read=HOW_TO_READ,
        tested=TESTED,
        max_rows=plots.MAX_CONFIGURATIONS,
        incomplete=incomplete[["run", "label", "seed", "status", "reason"]].to_dict("records"),
        pair=None,
    )


def render_template(folder: Path, runs: Runs, **content: Any) -> str:
    """The page with this content. It is escaped by jinja2, and control characters are made visible."""
    loader = PackageLoader("recsweep", "report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.filters["link_runs"] = link_runs
    script = (files("recsweep.report") / "page.js").read_text(encoding="utf-8")
    page = environment.get_template("template.html.j2").render(
        folder=folder.resolve().name,
        date=datetime.now().astimezone().strftime("%-d %B %Y, %H:%M %Z"),
        n_runs=len(runs.runs),
        n_configurations=runs.table["label"].nunique(),
        versions=_versions(runs),
        script=Markup(script),
        script_hash=f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}",
        **content,
    )
    return "\n".join(map(escape, page.split("\n")))


def _section(
    comparison: Comparison,
    runs: Runs,
    importances: Mapping[str, float],
    edges: Sequence[str],
    is_log: Mapping[str, bool],
) -> Section:
    table = main_table(comparison)
    doubts = [*find_doubts(comparison, runs, edges), describe_missing_baseline(comparison, runs.runs)]
    n_hidden = len(comparison.labels) - len(plots.choose_labels(comparison))
    end = len(table.rows) - n_hidden
    return Section(
        title=comparison.title,
        n_configurations=len(comparison.labels),
        better_side="Right" if comparison.mode == "max" else "Left",
        repeat=comparison.repeat,
        best=comparison.labels[0],
        best_runs=tuple(comparison.rows(comparison.labels[0])["run"]),
        answers=describe_effects(comparison),
        verdict=describe_best(comparison),
        command=train_command(comparison, runs.runs),
        doubts=[doubt for doubt in doubts if doubt.sentence],
        facts=_facts(comparison, runs),
        effects=effects_table(comparison),
        effects_plots=_plot(plots.effects_plot, comparison) if comparison.effects else (),
        wins=count_wins(comparison, runs),
        importances=importances,
        table=Table(table.columns, table.rows[:end]),
        more_table=Table(table.columns, table.rows[end:]) if n_hidden else None,
        n_hidden=n_hidden,
        notes=notes(comparison),
        metrics=metrics_tables(comparison),
        comparison_plots=_plot(plots.comparison_plot, comparison) if len(comparison.labels) > 1 else (),
        caption=_caption(comparison),
        panels=panels.panels(comparison, runs, is_log),
    )


def _plot(draw: Callable[[Comparison, int], str], comparison: Comparison) -> tuple[Markup, Markup]:
    """The plot for a wide page and for a narrow one."""
    return Markup(draw(comparison, 900)), Markup(draw(comparison, 360))


def _caption(comparison: Comparison) -> str:
    """What the comparison plot shows."""
    c = comparison
    labels = plots.choose_labels(c)
    has_intervals = any(np.isfinite(c.test[label].half_width) for label in labels)
    has_repeats = any(len(c.rows(label)) > 1 for label in labels)
    left_out = len(c.labels) - len(labels)
    sentences = (
        "Large points: means" if has_repeats else "A point for each run",
        ", with 95 % intervals." if has_intervals else ".",
        " Small points: single runs." if has_repeats else "",
        f" {len(labels)} of {len(c.labels)} configurations; the others are only in the table." if left_out else "",
    )
    return "".join(sentences)


def link_runs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Texts and relative addresses of runs' folders: the folders above only where they change."""
    parents = ["", *(name.rpartition("/")[0] for name in names)]
    return [
        (name.rpartition("/")[2] if parent == name.rpartition("/")[0] else name, f"./{quote(name)}/")
        for name, parent in zip(names, parents, strict=False)
    ]


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
