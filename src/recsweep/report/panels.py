"""Which plots a comparison calls for, with their legends and what they show in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from recsweep.report import lines, off_policy, parallel, plots, trade_off
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.scale import numeric

GLYPHS = "●■▲◆▼✚"
"""`svg.MARKERS` as text, for the legends."""

ENOUGH = 4
"""Configurations that make a cloud of points, or a bundle of lines."""


@dataclass(frozen=True)
class Panel:
    """Plots that share a legend, and what they show."""

    caption: str
    plots: Sequence[Markup]
    legend: Sequence[tuple[str, str]]


def panels(comparison: Comparison, runs: Runs) -> list[Panel]:
    """All that the runs have something to show for."""
    return [
        *_trade_off(comparison, runs),
        *_off_policy(comparison),
        *_values(comparison, runs),
        *_parallel(comparison, runs),
        *_curves(comparison, runs),
    ]


def _trade_off(comparison: Comparison, runs: Runs) -> list[Panel]:
    aims = trade_off.goals(comparison, runs)
    if aims is None:
        return []
    table = trade_off.reached(comparison, aims)
    if len(table) < 2:
        return []
    caption = (
        f"What each configuration reaches of both aims, with 95 % intervals over {comparison.repeat}s. Filled, on the "
        "dashed line: the Pareto front, which no other configuration beats in both."
    )
    return [Panel(caption, [Markup(trade_off.trade_off_plot(comparison.title, aims, table))], _legend(table.index))]


def _off_policy(comparison: Comparison) -> list[Panel]:
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


def _values(comparison: Comparison, runs: Runs) -> list[Panel]:
    """The metric against each swept value: lines over a grid, one cloud of points a key where values were searched."""
    c, found = comparison, []
    clouds: dict[str, Markup] = {}
    for key in runs.swept:
        points = lines.along(c, runs, key)
        drawn = lines.grid_lines(points)
        if len(drawn) > 1 or (drawn and numeric(list(points["value"]))):  # else the comparison itself shows it
            plot = Markup(plots.value_plot(key, c.metric, list(drawn.values())))
            caption = f"{c.metric} along {key}: mean and 95 % interval over {c.repeat}s."
            found.append(Panel(caption, [plot], _legend(drawn)))
        elif points["name"].nunique() >= ENOUGH and points["value"].nunique() > 1:
            clouds[key] = Markup(plots.scatter_plot(key, c.selection, points))
    if clouds:
        caption = f"{c.selection} against each searched value: a point a configuration, large the best."
        found.append(Panel(caption, list(clouds.values()), []))
    return found


def _parallel(comparison: Comparison, runs: Runs) -> list[Panel]:
    table = parallel.settings(comparison, runs)
    if len(table) < ENOUGH or len(table.columns) < 3:
        return []
    better = "lower" if comparison.mode == "min" else "higher"
    caption = (
        f"Every configuration as a line through its settings, down to its {comparison.selection} ({better} is better): "
        "the stronger the better, orange the best."
    )
    return [Panel(caption, [Markup(parallel.parallel_plot(comparison.title, table))], [])]


def _curves(comparison: Comparison, runs: Runs) -> list[Panel]:
    names, curves = lines.curve_lines(comparison, runs)
    if not curves:
        return []
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


def _legend(names: Iterable[str]) -> list[tuple[str, str]]:
    return list(zip(GLYPHS, names, strict=False))
