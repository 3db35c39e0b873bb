"""Chooses the plots that a comparison calls for, with their legends and captions."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd
from markupsafe import Markup

from recsweep.errors import UserError
from recsweep.report import group_plots, lines, off_policy, parallel, plots, trade_off
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.crossed import estimate
from recsweep.report.groups import ACTIVITY, POPULARITY, Groups, Repeats, group_items, group_users, read_repeats
from recsweep.report.hover import describe_configurations, list_folders
from recsweep.report.scale import is_numeric

GLYPHS = "●■▲◆▼✚"
"""`svg.MARKERS` as text, for the legends."""

MIN_CONFIGURATIONS = 4
"""Fewer make no scatter plot and no parallel coordinates."""


@dataclass(frozen=True)
class Panel:
    """Plots that share a legend, with their caption."""

    caption: str
    plots: Sequence[Markup]
    legend: Sequence[tuple[str, str]]


def panels(comparison: Comparison, runs: Runs, is_log: Mapping[str, bool] = MappingProxyType({})) -> list[Panel]:
    """All panels that the runs have data for.

    Args:
        is_log: whether a setting was searched in logarithms, of those that were searched in an interval.
    """
    return [
        *_trade_off_panels(comparison, runs),
        *_off_policy_panels(comparison),
        *_value_panels(comparison, runs, is_log),
        *_group_panels(comparison, runs),
        *_curve_panels(comparison, runs),
    ]


def _trade_off_panels(comparison: Comparison, runs: Runs) -> list[Panel]:
    goals = trade_off.goals(comparison, runs)
    if goals is None:
        return []
    table = trade_off.trade_off_table(comparison, goals)
    if len(table) < 2:
        return []
    caption = (
        "Both goals of each configuration, with 95 % intervals. Filled, on the dashed line: "
        "the Pareto front, where no other configuration is better in one goal and no worse in the other."
    )
    titles = describe_configurations(comparison, *(goal.metric for goal in goals))
    plot = Markup(trade_off.trade_off_plot(comparison.title, goals, table, titles))
    return [Panel(caption, [plot], _legend(table.index))]


def _off_policy_panels(comparison: Comparison) -> list[Panel]:
    runs = off_policy.estimates(comparison)
    runs = runs[runs["label"].isin(runs["label"].unique()[: lines.MAX_LINES])]
    runs_with_truth = runs.dropna(subset="true")
    if len(runs_with_truth):
        caption = (
            "Each policy's value as estimated from the log, against its true value: a point per run, with the "
            "estimate's 95 % interval. On the dashed diagonal the estimate is exact. Dotted: the log's own mean reward."
            f"{_describe_weights(runs)}"
        )
        truth_plots = [Markup(plot) for plot in off_policy.truth_plots(comparison.title, runs_with_truth)]
        return [Panel(caption, truth_plots, _legend(runs_with_truth["label"].unique()))]
    if len(runs):
        caption = (
            "Each policy's value as estimated from the log alone: means of the estimates and of their 95 % intervals "
            f"over {comparison.repeat}s. Dashed: the log's own mean reward.{_describe_weights(runs)}"
        )
        plot = Markup(off_policy.forest_plot(comparison.title, runs))
        return [Panel(caption, [plot], _legend(off_policy.estimators(runs).values()))]
    return []


def _describe_weights(runs: pd.DataFrame) -> str:
    """What a caption adds where bounds are drawn, and where intervals do not count."""
    bounds = (
        " Thin and grey: bounds that hold with 95 % confidence for any weights."
        if runs["bounds_low"].notna().any()
        else ""
    )
    has_doubts = (runs["doubt"] != "").any()
    return f"{bounds}{' Hollow and dotted: intervals that do not count, for the reasons above.' if has_doubts else ''}"


def _value_panels(comparison: Comparison, runs: Runs, is_log: Mapping[str, bool]) -> list[Panel]:
    """The metric against each swept value: lines if the sweep was a grid, a scatter plot per key if it was a search.

    A search has parallel coordinates, too; those of a grid would say nothing.
    """
    c = comparison
    panels: list[Panel] = []
    scatter_plots: list[Markup] = []
    titles = describe_configurations(c, c.selection, c.metric)
    for key in runs.sweep_keys:
        points = lines.value_points(c, runs, key)
        grid = lines.grid_lines(points)
        if len(grid) > 1 or (grid and is_numeric(list(points["value"]))):  # else the comparison plot shows the same
            drawn = dict(list(grid.items())[: lines.MAX_LINES])
            has_intervals = any(line["half_width"].notna().any() for line in drawn.values())
            caption = f"{c.metric} by {key}: mean{' and 95 % interval' if has_intervals else ''}"
            caption += f"; {len(drawn)} of {len(grid)} lines." if len(drawn) < len(grid) else "."
            plot = Markup(plots.value_plot(key, c.metric, list(drawn.values()), titles))
            panels.append(Panel(caption, [plot], _legend(drawn)))
        elif points["name"].nunique() >= MIN_CONFIGURATIONS and points["value"].nunique() > 1:
            scatter_plots.append(Markup(plots.scatter_plot(key, c.selection, points, titles, is_log.get(key))))
    if scatter_plots:
        caption = f"{c.selection} against each searched value: a point per configuration, the best one large."
        panels += [Panel(caption, scatter_plots, []), *_parallel_panels(comparison, runs, is_log)]
    return panels


def _parallel_panels(comparison: Comparison, runs: Runs, is_log: Mapping[str, bool]) -> list[Panel]:
    table = parallel.settings_table(comparison, runs)
    if len(table) < MIN_CONFIGURATIONS or len(table.columns) < 3:
        return []
    better = "lower" if comparison.mode == "min" else "higher"
    n_drawn = min(len(table), parallel.MAX_LINES)
    drawn = "Every configuration" if n_drawn == len(table) else f"{n_drawn} of {len(table)} configurations, each"
    caption = (
        f"{drawn} as a line through its settings, down to its {comparison.selection} ({better} is better): "
        "better ones have stronger lines, the best one is orange."
    )
    titles = describe_configurations(comparison, comparison.selection, comparison.metric)
    return [Panel(caption, [Markup(parallel.parallel_plot(comparison.title, table, titles, is_log))], [])]


def _curve_panels(comparison: Comparison, runs: Runs) -> list[Panel]:
    names, curves = lines.curve_lines(comparison, runs)
    if not curves:
        return []
    levels = {name: comparison.val[name].mean for name in names if name not in curves.get(comparison.selection, {})}
    folders = {name: list_folders(comparison, name) for name in names}
    curve_plots: list[Markup] = []
    is_cut = has_bands = False
    for tag, curve_by_name in curves.items():
        for title, group in _split_by_loss(tag, curve_by_name, comparison, runs).items():
            plot_levels = levels if tag == comparison.selection else {}
            curve_plots.append(Markup(plots.curve_plot(title, names, group, plot_levels, folders)))
            low, high = plots.limits_without_start(group.values(), plot_levels.values())
            is_cut |= any((curve["mean"] < low).any() or (curve["mean"] > high).any() for curve in group.values())
            has_intervals = any(curve["half_width"].notna().any() for curve in group.values())
            has_bands |= has_intervals and len(group) <= plots.MAX_BANDS
    n_all = len(comparison.labels)
    sentences = (
        f"Learning curves{f' of {len(names)} of {n_all} configurations' if len(names) < n_all else ''}: means over "
        f"{comparison.repeat}s, up to the last epoch that all runs of a configuration reached.",
        "Bands: 95 % intervals." if has_bands else "",
        "The first, steep epochs are cut off." if is_cut else "",
        "Dashed: the final value of a configuration without a curve." if levels else "",
    )
    return [Panel(" ".join(filter(None, sentences)), curve_plots, _legend(names))]


def _split_by_loss(
    tag: str, curves: Mapping[str, pd.DataFrame], comparison: Comparison, runs: Runs
) -> dict[str, dict[str, pd.DataFrame]]:
    """Curves by the title of their plot: of the training loss a plot for each loss, since their scales differ."""
    if tag != "train/loss":
        return {tag: dict(curves)}
    by_loss: dict[str, dict[str, pd.DataFrame]] = {}
    for name, curve in curves.items():
        loss = runs.runs[comparison.rows(name).index[0]].choices.get("loss", "?")
        by_loss.setdefault(loss, {})[name] = curve
    return {f"{tag} of {loss}" if len(by_loss) > 1 else tag: group for loss, group in by_loss.items()}


def _group_panels(comparison: Comparison, runs: Runs) -> list[Panel]:
    """Users by activity and items by popularity; what evidence does not tell is left out, and the caption says so."""
    repeats: Repeats = {}
    for label in comparison.best_with_reference(lines.MAX_LINES):
        with suppress(UserError):  # no evidence, or damaged: the notes say so
            repeats |= read_repeats(comparison, runs, [label])
    if not repeats:
        return []
    drawn: list[Markup] = []
    sentences: list[str] = []
    try:
        users = group_users(comparison, repeats)
        drawn.append(_plot_groups("rows of the user", users, comparison.repeat))
        sentences.append(f"{users.metric} of users by activity, in quarters by {ACTIVITY}.")
    except UserError as error:
        sentences.append(f"No plot of users by activity: {error}.")
    try:
        items = group_items(comparison, repeats)
        drawn.append(_plot_groups("popularity of the item", items, comparison.repeat))
        sizes = ", ".join(f"{size:,} in the {group}" for group, size in items.sizes.items())
        sentences.append(f"{items.metric} of held-out items by popularity: {POPULARITY}. Held-out rows: {sizes}.")
    except UserError as error:
        sentences.append(f"No plot of items by popularity: {error}.")
    if not drawn:
        return [Panel(" ".join(sentences), [], [])]
    n_drawn, n_all = len(repeats), len(comparison.labels)
    sentences.append(f"Means{f' of {n_drawn} of {n_all} configurations' * (n_drawn < n_all)} with 95 % intervals.")
    return [Panel(" ".join(sentences), drawn, _legend(repeats))]


def _plot_groups(name: str, groups: Groups, repeat: str) -> Markup:
    estimates = {
        label: {group: estimate(layout.values, repeat) for group, layout in of_label.items()}
        for label, of_label in groups.layouts.items()
    }
    return Markup(group_plots.group_plot(name, groups.metric, estimates))


def _legend(names: Iterable[str]) -> list[tuple[str, str]]:
    return list(zip(GLYPHS, names, strict=False))
