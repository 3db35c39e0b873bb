"""Groups runs that may be compared, and compares them."""

import shlex
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsweep.errors import UserError
from recsweep.report import stats
from recsweep.report.collect import Runs
from recsweep.report.labels import SEEDS, value
from recsweep.report.protocols import add_protocols
from recsweep.report.read import Run

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
        repeat: what the repetitions are, "seed" or "fold".
        metric: the main metric, such as "test/mse"; the validation metric if no run has a test metric.
        selection: the validation metric that orders the rows, such as "val/mse".
        mode: "min" or "max".
        table: rows of `Runs.table`, completed runs only; `seed` is the fold if folds are the repetitions.
        n_runs: runs by label, including those that did not complete.
        labels: configurations, best on validation first, those without a validation score last.
        baseline: the label that all others are tested against.
        val, test: summaries of `selection` and `metric`, by label.
        tests: of all other labels against the baseline, on `metric`.
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
    baseline: str
    val: dict[str, stats.Summary]
    test: dict[str, stats.Summary]
    tests: dict[str, stats.TTest]
    oracle: float

    def rows(self, label: str) -> pd.DataFrame:
        """The table's rows of one configuration."""
        return self.table[self.table["label"] == label]

    def metrics(self) -> list[str]:
        """Names of the validation and test metrics that the runs have, `metric` and `selection` first.

        Without the ends of a metric's own interval, `_low` and `_high`.
        """
        columns = [str(name) for name in self.table if str(name).startswith(("val/", "test/"))]
        names = dict.fromkeys((self.metric, self.selection, *columns))
        return [name for name in names if not name.endswith(("_low", "_high")) and self.table[name].notna().any()]

    def selects_on_test(self, label: str) -> bool:
        """Whether any run of the configuration chose its epoch by a test metric."""
        return bool((self.rows(label)["selected_on"] == "test").any())

    def best_with_baseline(self, n: int) -> list[str]:
        """The n best configurations; the baseline replaces the last of them if it is not among them."""
        best = self.labels[:n]
        return best if self.baseline in best else [*best[:-1], self.baseline]


def comparisons(runs: Runs, baseline: str | None) -> list[Comparison]:
    """One comparison per protocol, data and objective of the completed runs.

    Args:
        baseline: a model, or a configuration's label; None takes the simple baseline with the fewest parameters, else
            the first run's.
    """
    table = add_protocols(_replace_seeds_by_folds(runs.table))
    completed = table[table["status"] == "completed"]
    if baseline and baseline not in {*completed["model"], *completed["label"]}:
        labels = ", ".join(dict.fromkeys(completed["label"])) or "none"
        raise UserError(f"baseline={baseline}: no completed run has this model or configuration; available: {labels}")
    result = []
    for (_, _, objective), group in completed.groupby(["protocol", "on_data", "objective"], sort=False):
        has_protocol, has_data = (table[key] == group[key].iloc[0] for key in ("protocol", "on_data"))
        is_counted = has_protocol & (has_data | (table["status"] != "completed"))
        n_runs = table.loc[is_counted, "label"].value_counts().to_dict()
        result.append(_compare(str(objective).split("/", 1)[-1], group, n_runs, baseline))
    return result


def best_runs(comparison: Comparison, runs: tuple[Run, ...]) -> list[Run]:
    """The runs of the best configuration."""
    return [runs[index] for index in comparison.rows(comparison.labels[0]).index]


def train_command(comparison: Comparison, runs: tuple[Run, ...]) -> str:
    """The command that trains the best configuration again: on its first fold, without the seeds that differ."""
    best = best_runs(comparison, runs)
    varying_seeds = [key for key in SEEDS if key != "split.fold" and len({value(run, key) for run in best}) > 1]
    overrides = [
        text
        for text in best[0].overrides
        if not text.startswith(NOT_OURS) and text.split("=", 1)[0].lstrip("+") not in varying_seeds
    ]
    flags = [f"--config-dir={best[0].config_dir}"] if best[0].config_dir else []
    return shlex.join(["recsweep", "train", *flags, *overrides])


def _replace_seeds_by_folds(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `repeat`; if there are runs of several folds of a data set, the fold becomes their `seed`."""
    is_published = table["split"].isin(FOLDS)
    split = table["split"].where(~is_published, "cross-validation")
    fold = table["split"].where(is_published)
    if "split.fold" in table:
        fold = fold.fillna(table["split.fold"].map("{:g}".format, na_action="ignore"))
    is_fold = fold.groupby([table["data"], split]).transform("nunique") > 1
    is_fold &= fold.notna()
    return table.assign(
        repeat=np.where(is_fold, "fold", "seed"),
        seed=table["seed"].where(~is_fold, fold),
        split=table["split"].where(~is_fold, split),
    )


def _compare(metric_name: str, table: pd.DataFrame, n_runs: dict[str, int], baseline: str | None) -> Comparison:
    """The comparison of completed runs of one protocol on a metric such as "mse"."""
    first = table.iloc[0]
    selection = f"val/{metric_name}"
    metric = f"test/{metric_name}" if _has_values(table, f"test/{metric_name}") else selection
    table = table.assign(**{name: np.nan for name in (selection, metric) if name not in table})
    val, test = stats.summaries(table, selection), stats.summaries(table, metric)
    sign = 1 if first["mode"] == "min" else -1
    baseline_label = _baseline(table, baseline)
    return Comparison(
        title=" · ".join(filter(None, (first["protocol"], first["on_data"]))),
        evaluation=str(first["evaluation"]),
        repeat=str(first["repeat"]),
        metric=metric,
        selection=selection,
        mode=str(first["mode"]),
        table=table,
        n_runs=n_runs,
        labels=sorted(val, key=lambda label: (np.isnan(val[label].mean), sign * val[label].mean)),
        baseline=baseline_label,
        val=val,
        test=test,
        tests=stats.t_tests(table, metric, baseline_label),
        oracle=oracle_value(table, metric),
    )


def _has_values(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _baseline(table: pd.DataFrame, name: str | None) -> str:
    """The label of the named baseline; else of the simple one with the fewest parameters; else of the first run."""
    by_name = table[(table["label"] == name) | (table["model"] == name)]
    simple = table[table["simple_baseline"]].sort_values("n_parameters", kind="stable")
    return str(pd.concat([by_name, simple, table])["label"].iloc[0])


def oracle_value(table: pd.DataFrame, metric: str) -> float:
    """The metric that the true values themselves reach; NaN if unknown."""
    return float(table[f"oracle/{metric}"].mean()) if f"oracle/{metric}" in table else np.nan
