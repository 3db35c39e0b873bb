"""Two configurations against each other: how large is the difference, and who gains and who loses by it?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recsweep.errors import UserError
from recsweep.report.by_user import Layout, subtract
from recsweep.report.collect import Runs
from recsweep.report.comparisons import Comparison
from recsweep.report.crossed import Estimate, estimate
from recsweep.report.groups import Groups, group_items, group_users, read_repeats
from recsweep.report.measure import correct, estimate_difference
from recsweep.report.wins import TIE, pair_users

MAX_NAMES = 8
"""Configurations that a message names."""


class Differences(NamedTuple):
    """Differences of a metric in groups, by group; p is Holm's over the groups. `sizes` are users, or held-out rows."""

    metric: str
    sizes: Mapping[str, int]
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Pair:
    """Configuration `left` minus configuration `right` on the main metric of a comparison.

    Args:
        left, right: labels.
        names: what the user called them.
        difference: over users and seeds.
        users: [n_users] raw ids as text; the users that both configurations judged.
        left_values, right_values: [n_users] each user's own metric, a mean over `seeds`.
        seeds: the repetitions that both have.
        n_seen: rows of each user that the models may know; empty if unknown.
        by_activity, by_popularity: in groups of users and of held-out items; None if the evidence does not tell.
        left_out: why one of those is None; a sentence each.
    """

    comparison: Comparison
    left: str
    right: str
    names: tuple[str, str]
    difference: Estimate
    users: np.ndarray
    left_values: np.ndarray
    right_values: np.ndarray
    seeds: tuple[str, ...]
    n_seen: Mapping[str, int]
    by_activity: Differences | None
    by_popularity: Differences | None
    left_out: Sequence[str]

    @property
    def gains(self) -> np.ndarray:
        """[n_users], positive for a user for whom `left` is better."""
        gains = (self.left_values - self.right_values) * (1 if self.comparison.mode == "max" else -1)
        return np.where(np.abs(gains) > TIE, gains, 0)

    def extreme_users(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of up to n users with the largest gains and of up to n with the largest losses, largest first."""
        gains = self.gains
        order = np.argsort(-gains, kind="stable")
        best, worst = order[:n], order[::-1][:n]
        return best[gains[best] > 0], worst[gains[worst] < 0]


class Item(NamedTuple):
    """An item in words: its title, or its raw id where there are no titles; and whether it was held out."""

    name: str
    is_hit: bool = False


@dataclass(frozen=True)
class Example:
    """What a user's held-out items are, and what each configuration puts on top.

    Args:
        position: of the user in `Pair.users`.
        held_out: some of the held-out items, those first that a configuration puts on top.
        n_more: further held-out items.
        left, right: the best items of each configuration, best first; unseen ones if seen items are masked.
    """

    position: int
    held_out: Sequence[Item]
    n_more: int
    left: Sequence[Item]
    right: Sequence[Item]


def find_pair(text: str, runs: Runs, comparisons: Sequence[Comparison]) -> Pair:
    """The pair that `compare=TEXT` asks for.

    Args:
        text: two names separated by a comma. A name is a run's number or folder, which stands for its configuration, a
            configuration as the tables name it, or a model that has one configuration.

    Raises:
        UserError: not two names, a name of nothing, the same configuration twice, two that were not judged in the same
            way, or without evidence by user.
    """
    names = _split(text, runs, comparisons)
    try:
        (comparison, left), (other, right) = (_find(name, runs, comparisons) for name in names)
    except UserError as error:
        raise UserError(f"compare={text}: {error}") from None
    if comparison is not other:
        raise UserError(
            f"compare={text}: not comparable: {names[0]} was judged on {comparison.title}, {names[1]} on {other.title}"
        )
    if left == right:
        raise UserError(f"compare={text}: both are runs of {left}; name two configurations")
    return _compare(comparison, runs, (left, right), names)


def _split(text: str, runs: Runs, comparisons: Sequence[Comparison]) -> tuple[str, str]:
    """The two names; a comma may also stand in the name of a configuration, as in `mlp hidden=[64, 32]`."""
    commas = [position for position, letter in enumerate(text) if letter == ","]
    splits = [(text[:comma].strip(), text[comma + 1 :].strip()) for comma in commas]
    known = {*runs.table["run"], *runs.table["model"], *(label for c in comparisons for label in c.labels)}
    n_known = [len(known.intersection(split)) for split in splits]
    fitting = [split for split, n in zip(splits, n_known, strict=True) if n == max(n_known)]
    if len(fitting) != 1 or not all(fitting[0]):
        raise UserError(f"compare={text}: name two configurations, as in compare=3,7")
    return fitting[0]


def _find(name: str, runs: Runs, comparisons: Sequence[Comparison]) -> tuple[Comparison, str]:
    """The comparison and the label that a name stands for; `UserError` where it stands for none or for several."""
    for run in runs.table[runs.table["run"] == name].itertuples():
        if run.status != "completed":
            raise UserError(f"run {name} did not complete ({run.status}: {run.reason})")
        for comparison in comparisons:
            if run.Index in comparison.table.index:
                return comparison, str(comparison.table.at[run.Index, "label"])
    every = [(comparison, label) for comparison in comparisons for label in comparison.labels]
    found = [(comparison, label) for comparison, label in every if label == name]
    found = found or [pair for pair in every if name in set(pair[0].rows(pair[1])["model"])]
    if len(found) == 1:
        return found[0]
    ordered = sorted(found or every, key=lambda pair: pair[0].rows(pair[1]).index[0])
    options = [f"{comparison.rows(label)['run'].iloc[0]} ({label})" for comparison, label in ordered]
    more = f" and {len(options) - MAX_NAMES} more" if len(options) > MAX_NAMES else ""
    problem = "stands for several configurations" if found else "no run, configuration or model here"
    raise UserError(f"{name}: {problem}; choose from {', '.join(options[:MAX_NAMES])}{more}")


def _compare(comparison: Comparison, runs: Runs, labels: tuple[str, str], names: tuple[str, str]) -> Pair:
    c = comparison
    try:
        repeats = read_repeats(c, runs, labels)
        pair = pair_users(c, runs, *labels)
    except UserError as error:
        raise UserError(f"compare={','.join(names)}: {error}") from None
    if pair is None:
        metric = f"{c.metric} by user"
        raise UserError(f"compare={','.join(names)}: no evidence of {metric}, or no user and {c.repeat} in common")
    layouts, means = c.measured.layouts, c.measured.seed_means
    left, right = labels
    difference = estimate_difference((layouts.get(left), layouts.get(right)), (means[left], means[right]), c.repeat)
    differences: list[Differences | None] = []
    left_out = []
    for what, group in (("users by activity", group_users), ("items by popularity", group_items)):
        try:
            groups = group(c, repeats)
        except UserError as error:
            differences.append(None)
            left_out.append(f"No differences of {what}: {error}.")
        else:
            differences.append(_subtract(groups, labels, c.repeat))
    first = repeats[left][0][1]
    n_seen = {} if first.n_seen is None else dict(zip(first.users.tolist(), first.n_seen.tolist(), strict=True))
    return Pair(
        c,
        left,
        right,
        names,
        difference,
        pair[0].users,
        pair[0].values.mean(1),
        pair[1].values.mean(1),
        pair[0].seeds,
        n_seen,
        differences[0],
        differences[1],
        left_out,
    )


def _subtract(groups: Groups, labels: tuple[str, str], repeat: str) -> Differences:
    layouts: list[dict[str, Layout]] = [groups.layouts[label] for label in labels]
    pairs = {group: subtract(layouts[0][group], layouts[1][group]) for group in layouts[0] if group in layouts[1]}
    estimates = {group: estimate(layout.values, repeat) for group, layout in pairs.items() if layout is not None}
    return Differences(groups.metric, groups.sizes, correct(estimates))
