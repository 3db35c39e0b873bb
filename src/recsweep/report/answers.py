"""What a comparison found, in sentences: which value is better, is it real, and what that speaks of."""

import shlex
from collections.abc import Collection, Iterable

import numpy as np

from recsweep.report.comparisons import Comparison
from recsweep.report.crossed import SIGNIFICANT, Estimate
from recsweep.report.doubts import Doubt
from recsweep.report.effects import Effect, Interaction
from recsweep.report.labels import SEEDS, value
from recsweep.report.numbers import choose_digits, format_difference, format_estimate, format_number, format_p
from recsweep.report.off_policy import HEAVY, labels_in_doubt
from recsweep.report.read import Run

MAX_EFFECTS = 6
"""Effects in words; the table has all."""

NEW = {"users": "new users", "seeds": "new trainings", "folds": "new folds", "splits": "new splits"}
NEW |= {"data sets": "new data sets"}

SIMPLE_MODELS = {
    "recsweep.evaluation.RatingEvaluation": ("means",),
    "recsweep.evaluation.RankingEvaluation": ("popularity", "item_knn", "ease"),
}
"""Simple models that take no training, by the evaluation's `_target_`."""

HOW_TO_READ = "±: 95 % interval. p: two-sided, Holm-corrected."
"""What holds for all tables."""

PROTOCOL_GROUPS = ("data", "split", "evaluation", "filter")


def describe_effects(comparison: Comparison) -> list[str]:
    """A sentence for each effect, and for each interaction, of the swept settings.

    Before them one that says so, where weights with heavy tails leave the main metric without intervals that count.
    """
    c = comparison
    doubt = [f"± and p of {c.metric} do not count: {HEAVY} marks weights in doubt."] if labels_in_doubt(c) else []
    effects = [_describe_effect(effect, c) for effect in c.effects[:MAX_EFFECTS]]
    return [*doubt, *effects, *(_describe_interaction(interaction, c) for interaction in c.interactions[:MAX_EFFECTS])]


def describe_best(comparison: Comparison) -> str:
    """The best configuration on validation, what it reaches, and how far that is from the reference."""
    c, best = comparison, comparison.labels[0]
    mean = f"{c.metric} {format_estimate(c.test[best], choose_digits(c.test.values()))}"
    if len(c.labels) == 1:
        return f"One configuration: {mean}."
    start = f"Best on validation, with {mean}"
    if best == c.reference:
        baseline = " No configuration beats this baseline on validation." if c.baseline else ""
        return f"{start}.{baseline}{_describe_runner_up(c)}"
    test = c.tests[best]
    if not np.isfinite(test.mean):
        return f"{start}; it has no {c.repeat} in common with {c.reference}."
    digits = choose_digits([test])
    side = "below" if test.mean < 0 else "above"
    finding = f"{start}: {format_number(abs(test.mean), digits)} {side} {c.reference}"
    return f"{finding}, {_describe_test(test)}."


def describe_scope(comparison: Comparison) -> str:
    """What ± and p speak of, in one sentence."""
    estimates = [estimate for estimate in _all_estimates(comparison) if estimate.covers]
    scopes = {estimate.covers for estimate in estimates}
    repeats = f"{comparison.repeat}s"
    no_evidence = f"there is no evidence by user for {comparison.metric}"
    if not scopes:
        sizes = {estimate.n_seeds for estimate in _all_estimates(comparison)}
        return f"There are no intervals: {_describe_repeats(sizes, comparison.repeat)}, and {no_evidence}."
    if scopes == {"users"}:
        sizes = {estimate.n_seeds for estimate in estimates}
        return f"± and p speak of new users alone: {_describe_repeats(sizes, comparison.repeat)}."
    if scopes == {repeats}:
        return f"± and p speak of {NEW[repeats]} alone, on these very users: {no_evidence}."
    exceptions = []
    if "users" in scopes:
        exceptions.append(f"of new users alone where there is one {comparison.repeat} or all gave the same")
    if repeats in scopes:
        exceptions.append(f"of {NEW[repeats]} alone where there is no evidence by user")
    return "; ".join([f"± and p speak of new users and {NEW[repeats]}", *exceptions]) + "."


def _describe_repeats(sizes: Collection[int], repeat: str) -> str:
    """Why nothing is known about other repetitions, from how many there are of each configuration or pair."""
    if max(sizes) <= 1:
        return f"one {repeat}"
    return f"{f'one {repeat}, or ' if min(sizes) <= 1 else ''}all {repeat}s gave the same"


def describe_power(comparison: Comparison) -> str:
    """The size of a difference that would have been found; empty if no difference was estimated."""
    differences = _differences(comparison)
    sizes = [estimate.detectable for estimate in differences if np.isfinite(estimate.detectable)]
    if not sizes:
        return ""
    size = float(np.median(sizes))
    return (
        f"With {_describe_size(differences)}, a difference of {size:.2g} in {comparison.metric} "
        "would show (with 80 % power, at 5 %, before the correction for several tests)."
    )


def describe_missing_baseline(comparison: Comparison, runs: tuple[Run, ...]) -> Doubt:
    """That the comparison has no simple model, or no other than its only one, and the command that adds some."""
    c = comparison
    if c.baseline is not None:
        return Doubt("")
    run = runs[c.table.index[0]]
    other = "other " if c.table["simple_baseline"].astype(bool).any() else ""
    sentence = f"No {other}simple model is among these configurations, so the report cannot say whether they beat one."
    evaluation = run.config.get("evaluation")
    simple = SIMPLE_MODELS.get(str(evaluation.get("_target_")) if isinstance(evaluation, dict) else "", ())
    models = ",".join(model for model in simple if model not in set(c.table["model"]))
    typed = {override.split("=", 1)[0].lstrip("+"): override for override in run.overrides}
    if simple and not models:
        return Doubt("")
    if not simple or "experiment" in typed:
        return Doubt(sentence)
    groups = [f"{group}={run.choices[group]}" for group in PROTOCOL_GROUPS if run.choices.get(group)]
    keys = [key for key in typed if key.split(".")[0] in PROTOCOL_GROUPS and "." in key and key not in SEEDS]
    keys += [key for key in ("trainer.refit",) if key in typed]
    seeds = []
    for key in SEEDS:
        values = list(dict.fromkeys(str(value(runs[index], key)) for index in c.table.index))
        if key in typed or len(values) > 1:
            seeds.append(f"{key}={','.join(values)}")
    flags = [f"--config-dir={run.config_dir}"] if run.config_dir else []
    command = ["recsweep", "train", *flags, "-m", *groups, *(typed[key] for key in keys), f"model={models}", *seeds]
    how = "These add some, to compare by recsweep report on a folder that holds both"
    return Doubt(f"{sentence} {how}:", shlex.join(command))


def notes(comparison: Comparison) -> str:
    """How to read the tables, in a few sentences."""
    c = comparison
    better = "lower" if c.mode == "min" else "higher"
    test_use = f"; {c.metric} was computed once, at the end" if c.metric != c.selection else ""
    reference = f"the baseline {c.baseline}" if c.baseline else "the first row"
    models = set(c.table["model"])
    shared = f"All are {models.pop()}." if len(models) == 1 and len(c.labels) > 1 else ""
    sentences = [
        shared,
        f"Ordered by {c.selection} ({better} is better){test_use}.",
        describe_scope(c),
        describe_power(c),
    ]
    if c.tests:
        paired_by = f"user and {c.repeat}" if any(test.n_users for test in _differences(c)) else c.repeat
        sentences.append(f"Differences are to {reference}, paired by {paired_by}.")
    if c.repeat == "fold":
        sentences.append("Folds share training data, so the intervals are somewhat too narrow.")
    if "sampled" in c.evaluation:
        sentences.append("Ranked among sampled candidates: not comparable with full ranking.")
    return " ".join(filter(None, [*sentences, *c.measured.faults]))


def _describe_runner_up(comparison: Comparison) -> str:
    """How far the second on validation is from the first."""
    second = comparison.labels[1]
    test = comparison.tests[second]
    if not np.isfinite(test.mean):
        return ""
    return f" Next, {second}: {format_difference(test, choose_digits([test]))}, {_describe_test(test)}."


def _describe_effect(effect: Effect, comparison: Comparison) -> str:
    setting, value, other, test, wins, n_pairs = effect
    gain = test.mean if comparison.mode == "max" else -test.mean
    if test.mean == 0 and not np.isfinite(test.p):
        return f"{setting}: {value} and {other} gave the same."
    if not np.isfinite(test.p):
        return f"{setting}: {value} against {other} {format_difference(test, 4)}, too few runs for a test."
    digits, found = choose_digits([test]), _describe_test(test)
    if test.p >= SIGNIFICANT:
        return f"{setting}: {value} against {other} {format_difference(test, digits)}, {found}."
    size = f"{format_number(abs(gain), digits)} ± {format_number(test.half_width, digits)}"
    if gain > 0:
        return f"{setting}: {value} is better than {other} by {size} ({found}, in {wins} of {n_pairs} pairs)."
    better = f"{setting}: {other} is better than {value} by {size}"
    return f"{better} ({found}, in {n_pairs - wins} of {n_pairs} pairs), although not on validation."


def _describe_interaction(interaction: Interaction, comparison: Comparison) -> str:
    first, second, test = interaction
    digits = choose_digits([test])
    gain = test.mean if comparison.mode == "max" else -test.mean
    more, less = (second.value, second.other) if gain > 0 else (second.other, second.value)
    return (
        f"{first.setting} and {second.setting} depend on one another: {first.value} gains over {first.other} "
        f"{format_number(abs(test.mean), digits)} ± {format_number(test.half_width, digits)} more at "
        f"{second.setting} {more} than at {less} (p {format_p(test.p, '= ')})."
    )


def _describe_test(test: Estimate) -> str:
    if not np.isfinite(test.p):
        return "too few runs for a test"
    p = f"p {format_p(test.p, '= ')}"
    if test.p < SIGNIFICANT:
        return f"{p} over users, with one seed" if test.covers == "users" and test.n_seeds == 1 else p
    return f"not significant with {_describe_size([test])} ({p})"


def _describe_size(estimates: Iterable[Estimate]) -> str:
    """How many users and repetitions the intervals speak of, at most: "943 users and 3 seeds"."""
    known = [estimate for estimate in estimates if estimate.covers]
    n_users, n_seeds = (max(getattr(estimate, name) for estimate in known) for name in ("n_users", "n_seeds"))
    repeats = {estimate.covers.split(" and ")[-1] for estimate in known} - {"users"}
    words = [f"{n_users:,} users"] if n_users else []
    words += [f"{n_seeds} {name}" for name in sorted(repeats)] or (["one seed"] if n_seeds == 1 else [])
    return " and ".join(words)


def _differences(comparison: Comparison) -> list[Estimate]:
    return [*comparison.tests.values(), *(effect.difference for effect in comparison.effects)]


def _all_estimates(comparison: Comparison) -> list[Estimate]:
    return [*comparison.test.values(), *_differences(comparison)]
