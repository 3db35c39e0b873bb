"""Two configurations against each other, as sentences, on the terminal and as a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table

from recsweep.atomic import write_atomically
from recsweep.report import group_plots
from recsweep.report.answers import NEW
from recsweep.report.collect import Runs
from recsweep.report.groups import ACTIVITY, POPULARITY
from recsweep.report.html import render_template
from recsweep.report.numbers import choose_digits, format_difference, format_estimate, format_number, format_p
from recsweep.report.pair import Differences, Example, Item, Pair
from recsweep.terminal import cell, print_line

HIT = "✓"
"""Marks an item that was held out."""


@dataclass(frozen=True)
class ExampleCard:
    """An example as the page prints it: a line about the user, and lists of items by their headings."""

    user: str
    has_gained: bool
    about: str
    held_out: Sequence[Item]
    n_more: int
    lists: dict[str, Sequence[Item]]


@dataclass(frozen=True)
class Section:
    """A pair as the template prints it. Plots come as one for a wide page and one for a narrow one."""

    title: str
    left: str
    right: str
    runs: dict[str, Sequence[str]]
    sentences: Sequence[str]
    gains_plots: Sequence[Markup]
    gains_caption: str
    groups: Sequence[tuple[str, Sequence[Markup]]]
    groups_caption: str
    left_out: Sequence[str]
    examples: Sequence[ExampleCard]
    examples_caption: str
    whole_report: bool


def write_pair(path: Path, runs: Runs, pair: Pair, examples: Sequence[Example], why_no_examples: str) -> None:
    """Writes the page to `path`, atomically."""
    section = _make_section(pair, examples, why_no_examples, (path.parent / "report.html").exists())
    page = render_template(path.parent, runs, sections=[], incomplete=[], pair=section)
    with write_atomically(path) as partial:
        partial.write_text(page, encoding="utf-8")


def print_pair(console: Console, pair: Pair, examples: Sequence[Example], why_no_examples: str) -> None:
    """Prints the difference, where it lies, and examples."""
    console.print(cell(pair.comparison.title, "bold"), "", sep="\n")
    for sentence in describe_pair(pair):
        console.print(cell(sentence, "bold"))
    console.print()
    _print_groups(console, pair)
    for sentence in pair.left_out:
        print_line(sentence)
    if examples:
        console.print(cell(f"Users who gain most by {pair.left}, and who lose most; {HIT}: held out", "bold"))
        console.print(cell(_describe_lists(pair, examples)))
    for example in examples:
        _print_card(console, _make_card(pair, example))
    if why_no_examples:
        print_line(why_no_examples)


def _print_groups(console: Console, pair: Pair) -> None:
    """The differences in groups, as a table."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name in ("", "size", "difference", "p"):
        grid.add_column(name, justify="right" if name else "left", no_wrap=bool(name))
    for head, differences in _name_groups(pair):
        grid.add_row(cell(f"{head}: {differences.metric}", "bold"))
        digits = choose_digits(differences.estimates.values())
        for group, one in differences.estimates.items():
            size = f"{differences.sizes[group]:,}"
            grid.add_row(cell(f"  {group}"), size, format_difference(one, digits), format_p(one.p))
    if grid.rows:
        console.print(grid, "", sep="\n")


def _print_card(console: Console, card: ExampleCard) -> None:
    console.print(cell(f"{card.user}, {card.about}", "green" if card.has_gained else "red"))
    more = f" and {card.n_more:,} more" if card.n_more else ""
    console.print(cell(f"  held out: {'; '.join(item.name for item in card.held_out)}{more}"))
    for label, items in card.lists.items():
        console.print(cell(f"  {label}: {'; '.join(item.name + f' {HIT}' * item.is_hit for item in items)}"))


def describe_pair(pair: Pair) -> list[str]:
    """How large the difference is, what that speaks of, and for how many users it is one."""
    c, one, gains = pair.comparison, pair.difference, pair.gains
    digits = choose_digits([c.test[pair.left], c.test[pair.right]])
    means = " against ".join(format_estimate(c.test[label], digits) for label in (pair.left, pair.right))
    difference = format_difference(one, choose_digits([one]))
    alone = " for this pair alone" if len(c.labels) > 2 else ""  # in the report Holm corrects it
    test = f", p {format_p(one.p, '= ')}{alone}" if np.isfinite(one.p) else ""
    new = " and ".join(NEW[what] for what in one.covers.split(" and ") if what)
    scope = f" ± and p speak of {new}." if new else ""
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    over = f" (means over {len(pair.seeds)} {c.repeat}s)" if len(pair.seeds) > 1 else ""
    return [
        f"{pair.left} against {pair.right}: {c.metric} {means}, a difference of {difference}{test}.{scope}",
        f"Of {len(gains):,} users, {pair.left} is better for {better:,}, the same for {len(gains) - better - worse:,}, "
        f"worse for {worse:,}{over}.",
    ]


def _describe_lists(pair: Pair, examples: Sequence[Example]) -> str:
    """Which runs the values and the lists of the examples are of."""
    n_items = max(len(items) for example in examples for items in (example.left, example.right))
    values = f"Values are means over {len(pair.seeds)} {pair.comparison.repeat}s; " if len(pair.seeds) > 1 else ""
    return f"{values}{'lists' if values else 'Lists'} are the first {n_items} items by one run of each."


def _name_groups(pair: Pair) -> list[tuple[str, Differences]]:
    named = (
        ("users by their number of rows", pair.by_activity),
        ("held-out rows by popularity of the item", pair.by_popularity),
    )
    return [(name, differences) for name, differences in named if differences is not None]


def _make_section(pair: Pair, examples: Sequence[Example], why_no_examples: str, whole_report: bool) -> Section:
    c = pair.comparison
    gains = pair.gains[pair.gains != 0]
    n_same = len(pair.gains) - len(gains)
    sentences = (
        f"Right of 0: users for whom {pair.left} is better; left: users for whom {pair.right} is.",
        f"The {n_same:,} users without a difference are left out." if n_same else "",
        f"Each gain is a mean over {len(pair.seeds)} {c.repeat}s." if len(pair.seeds) > 1 else "",
        "The outermost bars hold the 1 % of the users beyond them.",
    )
    groups = [
        (f"{name[0].upper()}{name[1:]}", _plot_differences(name, differences))
        for name, differences in _name_groups(pair)
    ]
    groups_caption = (
        f"{'Right' if c.mode == 'max' else 'Left'} of 0, {pair.left} is better. Lines: 95 % intervals; in brackets: "
        "users, or held-out rows; grey: not significant at 5 %, Holm-corrected within a plot. "
        f"Users are in quarters by {ACTIVITY}; {POPULARITY}."
    )
    return Section(
        title=c.title,
        left=pair.left,
        right=pair.right,
        runs={label: tuple(c.rows(label)["run"]) for label in (pair.left, pair.right)},
        sentences=describe_pair(pair),
        gains_plots=_plot(lambda width: group_plots.gains_plot(c.metric, gains, width)) if len(gains) else (),
        gains_caption=" ".join(filter(None, sentences)) if len(gains) else "Both are the same for every user.",
        groups=groups,
        groups_caption=groups_caption,
        left_out=pair.left_out,
        examples=[_make_card(pair, example) for example in examples],
        examples_caption=_describe_lists(pair, examples) if examples else why_no_examples,
        whole_report=whole_report,
    )


def _plot_differences(name: str, differences: Differences) -> tuple[Markup, Markup]:
    rows = {f"{group} ({differences.sizes[group]:,})": one for group, one in differences.estimates.items()}
    return _plot(lambda width: group_plots.difference_plot(name, differences.metric, rows, width))


def _plot(draw: Callable[[int], str]) -> tuple[Markup, Markup]:
    """The plot for a wide page and for a narrow one."""
    return Markup(draw(760)), Markup(draw(360))


def _make_card(pair: Pair, example: Example) -> ExampleCard:
    user, position = str(pair.users[example.position]), example.position
    values = " against ".join(format_number(values[position], 3) for values in (pair.left_values, pair.right_values))
    n_rows = f", {pair.n_seen[user]:,} rows" if user in pair.n_seen else ""
    return ExampleCard(
        f"user {user}{n_rows}",
        bool(pair.gains[position] > 0),
        f"{pair.comparison.metric} {values}",
        example.held_out,
        example.n_more,
        {pair.left: example.left, pair.right: example.right},
    )
