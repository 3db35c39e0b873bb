"""What made the difference: the effect of every swept setting, everything else equal."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from recsweep.report.by_user import Layout, average, subtract
from recsweep.report.crossed import NOTHING, SIGNIFICANT, Estimate, estimate, estimate_over_seeds
from recsweep.report.labels import Value, format_values, shorten_keys
from recsweep.report.measure import Measurements, correct

MAX_INTERACTIONS = 300
"""Of a sweep with more pairs of values, interactions are not looked for."""

Settings = Mapping[str, Value]
Pair = tuple[str, str]
"""Labels of two configurations that differ in one setting only."""


class Effect(NamedTuple):
    """The effect of one value of a setting against another, on the main metric.

    Args:
        setting: its name, shortened as in labels.
        value, other: two of its values, `value` the best of all on validation.
        difference: value minus other, over all pairs of runs that agree in seed and every other setting; Holm's p over
            all effects of the sweep.
        wins: pairs of runs in which `value` is better.
        n_pairs: of runs; one for two configurations that give the same with every seed.
    """

    setting: str
    value: str
    other: str
    difference: Estimate
    wins: int
    n_pairs: int


class Interaction(NamedTuple):
    """How much the effect of `first` depends on the value of `second`: Holm's p over all that were looked at.

    Args:
        first, second: with `value` and `other` as in the effects.
        difference: the effect of `first` at `second.value`, minus that at `second.other`.
    """

    first: Effect
    second: Effect
    difference: Estimate


def find_effects(
    settings: Mapping[str, Settings], scores: Mapping[str, float], measured: Measurements, mode: str, seed: str
) -> list[Effect]:
    """The effect of every setting's best value against each other one, in the order of the settings.

    Values are compared where configurations agree in all other settings. Those of different models agree if they do so
    in the settings that all models have. A setting in which most configurations have no partner, as in a random search,
    has no effects.

    Args:
        settings: of each configuration, by label; all have the same keys.
        scores: on validation, by label.
        mode: "min" or "max".
        seed: what a repetition is.
    """
    effects: dict[str, Effect] = {}
    keys = list(next(iter(settings.values()), {}))
    names, texts = shorten_keys(keys), _texts_by_key(settings)
    for key in keys:
        groups = [group for group in _group(settings, key) if len(group) > 1]
        if 2 * sum(len(labels) for group in groups for labels in group.values()) < len(settings):
            continue
        best = _best_value(groups, scores, mode)
        for other in _sort(dict.fromkeys(value for group in groups for value in group if value != best)):
            pairs = [pair for group in groups for pair in product(group.get(best, []), group.get(other, []))]
            if pairs:
                difference = _estimate([[pair] for pair in pairs], measured, seed)
                wins, n_pairs = _count_wins(pairs, measured, mode)
                effect = Effect(names[key], texts[key][best], texts[key][other], difference, wins, n_pairs)
                effects[f"{key} {other!r}"] = effect
    corrected = correct({name: effect.difference for name, effect in effects.items()})
    return [effect._replace(difference=corrected[name]) for name, effect in effects.items()]


def find_interactions(
    settings: Mapping[str, Settings], effects: Sequence[Effect], measured: Measurements, seed: str
) -> list[Interaction]:
    """The significant interactions between the values of two effects."""
    candidates = [pair for pair in combinations(effects, 2) if pair[0].setting != pair[1].setting]
    if len(candidates) > MAX_INTERACTIONS:
        return []
    texts = _texts_by_key(settings)
    order = list(shorten_keys(texts).values())
    labels = {tuple(texts[key][value] for key, value in values.items()): label for label, values in settings.items()}
    found: dict[str, Interaction] = {}
    for first, second in candidates:
        positions = order.index(first.setting), order.index(second.setting)
        squares = list(_squares(labels, positions, first, second))
        if squares:
            found[str(len(found))] = Interaction(first, second, _estimate(squares, measured, seed))
    corrected = correct({name: interaction.difference for name, interaction in found.items()})
    interactions = [found[name]._replace(difference=difference) for name, difference in corrected.items()]
    return [interaction for interaction in interactions if interaction.difference.p < SIGNIFICANT]


def _squares(
    labels: Mapping[tuple[str, ...], str], positions: tuple[int, int], first: Effect, second: Effect
) -> Iterator[list[Pair]]:
    """Of four configurations that differ in two settings only, the two pairs whose differences add to an interaction.

    Args:
        labels: by the values of all settings, as text.
        positions: of the two settings among them.
    """
    for values in labels:
        corners = {}
        for pair in product((first.value, first.other), (second.value, second.other)):
            corner = list(values)
            corner[positions[0]], corner[positions[1]] = pair
            corners[pair] = labels.get(tuple(corner))
        both, one, two, none = corners.values()
        if labels[values] == both and one is not None and two is not None and none is not None:
            yield [(labels[values], two), (none, one)]


def _group(settings: Mapping[str, Settings], key: str) -> Iterator[dict[Value, list[str]]]:
    """Configurations that agree in all settings besides `key`, as labels by its value."""
    rest = [other for other in next(iter(settings.values())) if other != key]
    if key == "model":
        rest = [other for other in rest if all(values[other] is not None for values in settings.values())]
    groups: dict[tuple[Value, ...], dict[Value, list[str]]] = defaultdict(lambda: defaultdict(list))
    for label, values in settings.items():
        if values[key] is not None:
            groups[tuple(values[other] for other in rest)][values[key]].append(label)
    yield from groups.values()


def _sort(values: Iterable[Value]) -> list[Value]:
    """Numbers by size; other values in the order that they have."""
    in_order = list(values)
    numbers = [value for value in in_order if isinstance(value, int | float)]
    return [*sorted(numbers)] if len(numbers) == len(in_order) else in_order


def _best_value(groups: Sequence[Mapping[Value, list[str]]], scores: Mapping[str, float], mode: str) -> Value:
    """The value with the best mean score; None without groups."""
    by_value: dict[Value, list[float]] = defaultdict(list)
    for group in groups:
        for value, labels in group.items():
            by_value[value] += [scores[label] for label in labels]
    sign = -1 if mode == "min" else 1
    means = {value: sign * float(np.mean(values)) for value, values in by_value.items()}
    return max(means, key=lambda value: -np.inf if np.isnan(means[value]) else means[value]) if means else None


def _estimate(sums: Sequence[Sequence[Pair]], measured: Measurements, seed: str) -> Estimate:
    """The mean over `sums` of the sum of the pairs' differences: over users and seeds, if all have evidence."""
    labels = {label for pairs in sums for pair in pairs for label in pair}
    if all(label in measured.layouts for label in labels):
        layouts = [
            _sum_layouts([subtract(*(measured.layouts[label] for label in pair)) for pair in pairs]) for pairs in sums
        ]
        layout = average(layout for layout in layouts if layout is not None)
        return NOTHING if layout is None else estimate(layout.values, seed)
    by_seed: dict[str, list[float]] = defaultdict(list)
    for pairs in sums:
        means = [(measured.seed_means[left], measured.seed_means[right]) for left, right in pairs]
        for name in means[0][0]:
            if all(name in side for both in means for side in both):
                by_seed[name].append(sum(left[name] - right[name] for left, right in means))
    return estimate_over_seeds(np.array([np.mean(values) for values in by_seed.values()]), seed)


def _sum_layouts(layouts: Sequence[Layout | None]) -> Layout | None:
    """The sum over the seeds that all have; None if one is missing or no seed is common."""
    total, *others = layouts
    for layout in others:
        total = None if total is None or layout is None else subtract(total, layout._replace(values=-layout.values))
    return total


def _count_wins(pairs: Sequence[Pair], measured: Measurements, mode: str) -> tuple[int, int]:
    """Pairs of runs with the same seed in which the left one is better, and all pairs.

    Two configurations that both give the same with every seed are one pair.
    """
    sign = -1 if mode == "min" else 1
    gains: list[float] = []
    for left, right in ((measured.seed_means[left], measured.seed_means[right]) for left, right in pairs):
        seeds = [seed for seed in left if seed in right]
        have_no_seed = len(set(left.values())) == len(set(right.values())) == 1
        gains += [sign * (left[seed] - right[seed]) for seed in seeds[: 1 if have_no_seed else None]]
    return sum(gain > 0 for gain in gains), len(gains)


def _texts_by_key(settings: Mapping[str, Settings]) -> dict[str, dict[Value, str]]:
    keys = next(iter(settings.values()), {})
    return {key: format_values(values[key] for values in settings.values()) for key in keys}
