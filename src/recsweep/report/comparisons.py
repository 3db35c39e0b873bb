"""Groups runs that may be compared, and compares them."""

import shlex
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsweep.errors import UserError
from recsweep.report.collect import Runs
from recsweep.report.crossed import Estimate, estimate_over_seeds
from recsweep.report.effects import Effect, Interaction, find_effects, find_interactions
from recsweep.report.labels import SEEDS, Value, value
from recsweep.report.labels import labels as name_configurations
from recsweep.report.measure import Measurements, mean_by_seed, measure
from recsweep.report.protocols import DATA_SEEDS, add_protocols
from recsweep.report.read import Run
from recsweep.runs.record import describe_given_scores

NOT_OURS = ("hydra", "+hydra", "++hydra", "~hydra", "plugins=", "-")
"""Starts of words that a stranger may have written into a record, and that nobody should type."""

FOLDS = ("u1", "u2", "u3", "u4", "u5")
"""Splits that are folds of one cross-validation: repetitions of one protocol, not protocols of their own."""


@dataclass(frozen=True)
class Comparison:
    """Configurations evaluated by one protocol on the same data.

    Args:
        title: the protocol of all runs, such as "ml_100k · u1 · rating", and what tells their data from that of others.
        evaluation: the evaluation's name, such as "rating".
        repeat: what the repetitions are, "seed", "fold", "data set" or "split".
        metric: the main metric, such as "test/mse"; the validation metric if no run has a test metric.
        selection: the validation metric that orders the rows, such as "val/mse".
        mode: "min" or "max".
        table: rows of `Runs.table`, completed runs only; `seed` is the fold or split if those are the repetitions.
        n_runs: runs by label, including those that did not complete.
        labels: configurations, best on validation first, those without a validation score last.
        baseline: the label of the simple configuration that others are measured by; None without one.
        reference: the label that all others are tested against: the baseline, else the best on validation.
        measured: estimates of the metrics, and of the differences to the reference.
        effects, interactions: of the swept settings on `metric`.
        oracle: the oracle's value of `metric`; NaN if unknown.
    """

    title: str
    evaluation: str
    repeat: str
    metric: str
    selection: str
    mode: str
    table: pd.DataFrame
    n_runs: dict[str, int]
    labels: list[str]
    baseline: str | None
    reference: str
    measured: Measurements
    effects: list[Effect]
    interactions: list[Interaction]
    oracle: float

    @property
    def val(self) -> dict[str, Estimate]:
        """Estimates of `selection`, by label."""
        return self.measured.estimates[self.selection]

    @property
    def test(self) -> dict[str, Estimate]:
        """Estimates of `metric`, by label."""
        return self.measured.estimates[self.metric]

    @property
    def tests(self) -> dict[str, Estimate]:
        """Differences to the reference on `metric`, of all other labels."""
        return self.measured.differences[self.metric]

    def rows(self, label: str) -> pd.DataFrame:
        """The table's rows of one configuration."""
        return self.table[self.table["label"] == label]

    def metrics(self) -> list[str]:
        """Names of the validation and test metrics that the runs have, `metric` and `selection` first."""
        return list(self.measured.estimates)

    def estimates(self, name: str) -> dict[str, Estimate]:
        """Estimates by label: of a metric, or of another column of the table over seeds alone."""
        if name in self.measured.estimates:
            return self.measured.estimates[name]
        means = mean_by_seed(self.table, name)
        return {label: estimate_over_seeds(np.array(list(values.values()))) for label, values in means.items()}

    def best_with_reference(self, n: int) -> list[str]:
        """The n best configurations; the reference replaces the last of them if it is not among them."""
        best = self.labels[:n]
        return best if self.reference in best else [*best[:-1], self.reference]


def comparisons(runs: Runs, baseline: str | None) -> list[Comparison]:
    """One comparison per protocol, data and objective of the completed runs.

    Args:
        baseline: a model, or a configuration's label; None takes the simple configuration that is best on validation,
            if there are several models.
    """
    table = add_protocols(_name_repetitions(runs.table))
    completed = table[table["status"] == "completed"]
    result = []
    names: dict[str, None] = {}
    for (_, _, objective), group in completed.groupby(["protocol", "on_data", "objective"], sort=False):
        has_protocol, has_data = (table[key] == group[key].iloc[0] for key in ("protocol", "on_data"))
        is_counted = has_protocol & (has_data | (table["status"] != "completed"))
        label = pd.Series(name_configurations([runs.runs[i] for i in table.index[is_counted]], runs.sweep_keys))
        label.index = table.index[is_counted]
        names |= dict.fromkeys((*label[group.index], *group["model"]))
        group, n_runs = (
            group.assign(label=label[group.index]),
            {str(name): int(n) for name, n in label.value_counts().items()},
        )
        result.append(_compare(str(objective).split("/", 1)[-1], group, n_runs, runs, baseline))
    if baseline and baseline not in names:
        available = ", ".join(names) or "none"
        raise UserError(
            f"baseline={baseline}: no completed run has this model or configuration; available: {available}"
        )
    return result


def best_runs(comparison: Comparison, runs: tuple[Run, ...]) -> list[Run]:
    """The runs of the best configuration."""
    return [runs[index] for index in comparison.rows(comparison.labels[0]).index]


def train_command(comparison: Comparison, runs: tuple[Run, ...]) -> str:
    """The command that trains the best configuration again: on its first fold, without the seeds that differ.

    Of scores from elsewhere and of an ensemble, which nothing here trains, a comment says where they come from.
    """
    best = best_runs(comparison, runs)
    if scores := describe_given_scores(best[0].config):
        return f"# nothing to train: {scores}"
    varying_seeds = [key for key in SEEDS if key != "split.fold" and len({value(run, key) for run in best}) > 1]
    overrides = [
        text
        for text in best[0].overrides
        if not text.startswith(NOT_OURS) and text.split("=", 1)[0].lstrip("+") not in varying_seeds
    ]
    flags = [f"--config-dir={best[0].config_dir}"] if best[0].config_dir else []
    return shlex.join(["recsweep", "train", *flags, *overrides])


def _name_repetitions(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `repeat`; where folds, data sets or splits vary, those become the `seed`.

    Their runs differ in more than the seeds of trainings; these count once, as their mean.
    """
    is_published = table["split"].isin(FOLDS)
    split = table["split"].where(~is_published, "cross-validation")
    fold = table["split"].where(is_published)
    if "split.fold" in table:
        fold = fold.fillna(table["split.fold"].map("{:g}".format, na_action="ignore"))
    seeds = {"fold": fold, "data set": _join(table, DATA_SEEDS), "split": _join(table, ("split.seed",))}
    repeat, seed = pd.Series("seed", table.index), table["seed"]
    for name, column in seeds.items():
        varies = _varies(column, table, split) & (repeat == "seed")
        repeat, seed = repeat.where(~varies, name), seed.where(~varies, column)
    return table.assign(repeat=repeat, seed=seed, split=table["split"].where(repeat != "fold", split))


def _join(table: pd.DataFrame, keys: tuple[str, ...]) -> pd.Series:
    """The values of those keys that the table has, as text."""
    columns = [table[key].map(str, na_action="ignore") for key in keys if key in table]
    if not columns:
        return pd.Series(np.nan, table.index, dtype=object)
    return columns[0] if len(columns) == 1 else columns[0] + "/" + columns[1]


def _varies(column: pd.Series, table: pd.DataFrame, split: pd.Series) -> pd.Series:
    """Whether a run has one of several values of its data set, split and evaluation."""
    keys = [table["data"], split, table["evaluation"], table["settings"]]
    return (column.groupby(keys).transform("nunique") > 1) & column.notna()


def _compare(
    metric_name: str, table: pd.DataFrame, n_runs: dict[str, int], runs: Runs, baseline: str | None
) -> Comparison:
    """The comparison of completed runs of one protocol on a metric such as "mse"."""
    first = table.iloc[0]
    selection = f"val/{metric_name}"
    metric = f"test/{metric_name}" if _has_values(table, f"test/{metric_name}") else selection
    table = table.assign(**{name: np.nan for name in (selection, metric) if name not in table})
    mode, repeat = str(first["mode"]), str(first["repeat"])
    scores = {label: _mean(values) for label, values in mean_by_seed(table, selection).items()}
    sign = 1 if mode == "min" else -1
    labels = sorted(scores, key=lambda label: (np.isnan(scores[label]), sign * scores[label]))
    baseline_label = _baseline(table, labels, baseline)
    reference = baseline_label or labels[0]
    measured = measure(table, runs.runs, _metrics(table, metric, selection), metric, reference, repeat)
    settings = _settings(table, labels, runs)
    effects = find_effects(settings, scores, measured, mode, repeat)
    return Comparison(
        title=" · ".join(filter(None, (first["protocol"], first["on_data"]))),
        evaluation=str(first["evaluation"]),
        repeat=repeat,
        metric=metric,
        selection=selection,
        mode=mode,
        table=table,
        n_runs=n_runs,
        labels=labels,
        baseline=baseline_label,
        reference=reference,
        measured=measured,
        effects=effects,
        interactions=find_interactions(settings, effects, measured, repeat),
        oracle=oracle_value(table, metric),
    )


def _mean(values: dict[str, float]) -> float:
    return float(np.mean(list(values.values()))) if values else np.nan


def _metrics(table: pd.DataFrame, metric: str, selection: str) -> list[str]:
    """Names of the metrics with values, without the ends of a metric's own interval, `_low` and `_high`."""
    columns = [str(name) for name in table if str(name).startswith(("val/", "test/"))]
    names = [name for name in columns if not name.endswith(("_low", "_high")) and table[name].notna().any()]
    return list(dict.fromkeys((metric, selection, *names)))


def _settings(table: pd.DataFrame, labels: list[str], runs: Runs) -> dict[str, dict[str, Value]]:
    """The settings that differ between configurations, by label."""
    first_runs = {label: runs.runs[table.index[table["label"] == label][0]] for label in labels}
    settings = {
        label: {key: value(run, key) for key in ("model", *runs.sweep_keys)} for label, run in first_runs.items()
    }
    varying = [key for key in next(iter(settings.values())) if len({values[key] for values in settings.values()}) > 1]
    return {label: {key: values[key] for key in varying} for label, values in settings.items()}


def _has_values(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _baseline(table: pd.DataFrame, labels: list[str], name: str | None) -> str | None:
    """The named baseline, else the simple configuration that is best on validation, if there are several models.

    Args:
        labels: best on validation first.
    """
    models = dict(zip(table["label"], table["model"], strict=True))
    named = [label for label in labels if name is not None and name in (label, models[label])]
    is_simple = set(table.loc[table["simple_baseline"].astype(bool), "label"])
    simple = [label for label in labels if label in is_simple] if len(set(models.values())) > 1 else []
    return next(iter([*named, *simple]), None)


def oracle_value(table: pd.DataFrame, metric: str) -> float:
    """The metric that the true values themselves reach; NaN if unknown."""
    return float(table[f"oracle/{metric}"].mean()) if f"oracle/{metric}" in table else np.nan
