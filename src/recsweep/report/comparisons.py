"""Which runs may be compared, and what the comparison says."""

import shlex
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsweep.errors import UserError
from recsweep.report import stats
from recsweep.report.collect import Runs
from recsweep.report.labels import SEEDS, value
from recsweep.report.read import Run

BASELINES = ("means", "popularity", "item_knn", "ease", "ials", "bpr_mf")
"""Simple models, the first of which is the default baseline."""

FOLDS = ("u1", "u2", "u3", "u4", "u5")
"""Splits that are the folds of one cross-validation: repetitions, not protocols of their own."""


@dataclass(frozen=True)
class Comparison:
    """Configurations judged by one protocol.

    Args:
        title: what all runs share, "ml_100k · u1 · rating".
        evaluation: the evaluation's name, such as "rating".
        repeat: what the repetitions are, "seed" or "fold".
        metric: the metric shown, such as "test/mse"; the validation metric where no run tested.
        selection: the validation metric that orders the rows, such as "val/mse".
        mode: "min" or "max".
        table: `Runs.table`'s rows of the completed runs; `seed` names the fold where folds are the repetitions.
        started: runs by label, the failed ones included.
        labels: configurations, best on validation first, those without a validation score last.
        baseline: the label that the others are tested against.
        val, test: both metrics by label.
        tests: of the other labels against the baseline, on `metric`.
        ceiling: the oracle's value of `metric`; NaN where unknown.
    """

    title: str
    evaluation: str
    repeat: str
    metric: str
    selection: str
    mode: str
    table: pd.DataFrame
    started: dict[str, int]
    labels: list[str]
    baseline: str
    val: dict[str, stats.Spread]
    test: dict[str, stats.Spread]
    tests: dict[str, stats.Paired]
    ceiling: float

    def of(self, label: str) -> pd.DataFrame:
        """The table's rows of one configuration."""
        return self.table[self.table["label"] == label]

    def metrics(self) -> list[str]:
        """What the runs measured on validation and test, `metric` and `selection` first.

        The ends of a metric's own interval, `_low` and `_high`, are no metrics.
        """
        measured = [str(name) for name in self.table if str(name).startswith(("val/", "test/"))]
        names = dict.fromkeys((self.metric, self.selection, *measured))
        return [name for name in names if not name.endswith(("_low", "_high")) and self.table[name].notna().any()]

    def selected_on_test(self, label: str) -> bool:
        return bool((self.of(label)["selected_on"] == "test").any())

    def top(self, n: int) -> list[str]:
        """The n best configurations; the baseline takes the last place if it is not among them."""
        best = self.labels[:n]
        return best if self.baseline in best else [*best[:-1], self.baseline]


def comparisons(runs: Runs, baseline: str | None) -> list[Comparison]:
    """One comparison for every protocol and objective among the completed runs.

    Args:
        baseline: a model, or a configuration's label; None takes the first of `BASELINES`, else the first run's.
    """
    table = _with_folds(runs.table)
    protocol = table[["data", "split", "evaluation", "settings"]].agg(" · ".join, axis="columns")
    table = table.assign(protocol=protocol.str.removesuffix(" · "))
    done = table[table["status"] == "completed"]
    if baseline and baseline not in {*done["model"], *done["label"]}:
        known = ", ".join(dict.fromkeys(done["label"])) or "no completed run"
        raise UserError(f"baseline={baseline}: no completed run has this model or configuration; there is: {known}")
    found = []
    for (_, objective), group in done.groupby(["protocol", "objective"], sort=False):
        same = table["protocol"] == group["protocol"].iloc[0]
        started = table.loc[same, "label"].value_counts().to_dict()
        found.append(_compare(str(objective).split("/", 1)[-1], group, started, baseline))
    return found


def command(comparison: Comparison, runs: tuple[Run, ...]) -> str:
    """The command that trains the best configuration again; a seed of which it had several is left to the reader."""
    best = [runs[place] for place in comparison.of(comparison.labels[0]).index]
    several = [key for key in SEEDS if len({value(run, key) for run in best}) > 1]
    words = [word for word in best[0].overrides if word.split("=", 1)[0].lstrip("+") not in several]
    return shlex.join(["recsweep", "train", *words])


def _with_folds(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `repeat`; where several folds of one data set were run, the fold takes the seed's place."""
    fold = table["split"].isin(FOLDS)
    fold &= table[fold].groupby("data")["split"].transform("nunique").reindex(table.index, fill_value=0) > 1
    return table.assign(
        repeat=np.where(fold, "fold", "seed"),
        seed=table["seed"].where(~fold, table["split"]),
        split=table["split"].where(~fold, "cross-validation"),
    )


def _compare(goal: str, table: pd.DataFrame, started: dict[str, int], baseline: str | None) -> Comparison:
    """The comparison of completed runs of one protocol on `goal`, such as "mse"."""
    first = table.iloc[0]
    selection = f"val/{goal}"
    metric = f"test/{goal}" if _has(table, f"test/{goal}") else selection
    table = table.assign(**{name: np.nan for name in (selection, metric) if name not in table})
    val, test = stats.summarise(table, selection), stats.summarise(table, metric)
    sign = 1 if first["mode"] == "min" else -1
    chosen = _baseline(table, baseline)
    return Comparison(
        title=str(first["protocol"]),
        evaluation=str(first["evaluation"]),
        repeat=str(first["repeat"]),
        metric=metric,
        selection=selection,
        mode=str(first["mode"]),
        table=table,
        started=started,
        labels=sorted(val, key=lambda label: (np.isnan(val[label].mean), sign * val[label].mean)),
        baseline=chosen,
        val=val,
        test=test,
        tests=stats.against(table, metric, chosen),
        ceiling=oracle(table, metric),
    )


def _has(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _baseline(table: pd.DataFrame, wanted: str | None) -> str:
    """The baseline's label in this comparison."""
    for name in (wanted, *BASELINES):
        labels = table.loc[(table["label"] == name) | (table["model"] == name), "label"]
        if len(labels):
            return str(labels.iloc[0])
    return str(table["label"].iloc[0])


def oracle(table: pd.DataFrame, metric: str) -> float:
    """What the truth itself reaches; NaN where nobody knows it."""
    return float(table[f"oracle/{metric}"].mean()) if f"oracle/{metric}" in table else np.nan
