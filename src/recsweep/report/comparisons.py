"""Which runs may be compared, and what the comparison says."""

import shlex
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsweep.errors import UserError
from recsweep.report import stats
from recsweep.report.collect import SEEDS, Run, Runs

BASELINES = ("means", "popularity", "item_knn", "ease", "ials", "bpr_mf")
"""Simple models, the first of which is the default baseline."""

FOLDS = ("u1", "u2", "u3", "u4", "u5")
"""Splits that are the folds of one cross-validation: repetitions, not protocols of their own."""


@dataclass(frozen=True)
class Comparison:
    """Configurations judged by one protocol.

    Args:
        protocol: what all runs share, `{"data": "ml_100k", "split": "u1", "evaluation": "rating"}`.
        repeat: what the repetitions are, "seed" or "fold".
        metric: the metric shown, such as "test/mse"; the validation metric where no run tested.
        selection: the validation metric that orders the rows, such as "val/mse".
        mode: "min" or "max".
        table: `Runs.table`'s rows of the completed runs; `seed` names the fold where folds are the repetitions.
        started: runs by label, the failed ones included.
        labels: configurations, best on validation first, those without a validation score last.
        baseline: the label that the others are tested against.
        val, test: `stats.summarise` of both metrics.
        tests: `stats.against` the baseline, on `metric`.
        swept: the keys that a configuration consists of.
        oracle: the best reachable value of `metric`; NaN where unknown.
    """

    protocol: dict[str, str]
    repeat: str
    metric: str
    selection: str
    mode: str
    table: pd.DataFrame
    started: pd.Series
    labels: list[str]
    baseline: str
    val: pd.DataFrame
    test: pd.DataFrame
    tests: pd.DataFrame
    swept: tuple[str, ...]
    oracle: float

    @property
    def title(self) -> str:
        return " · ".join(self.protocol.values())

    def selected_on_test(self, label: str) -> bool:
        return bool((self.table.loc[self.table["label"] == label, "selected_on"] == "test").any())


def comparisons(runs: Runs, baseline: str | None) -> list[Comparison]:
    """One comparison for every protocol and objective among the completed runs.

    Args:
        baseline: a model, or a configuration's label; None takes the first of `BASELINES`, else the first run's.
    """
    table = _with_folds(runs.table)
    keys = [*runs.protocol, "goal", "mode"]
    table["goal"] = table["objective"].astype("string").str.split("/", n=1).str[-1]
    done = table[table["status"] == "completed"]
    if baseline and baseline not in {*done["model"], *done["label"]}:
        known = ", ".join(dict.fromkeys(done["label"])) or "no completed run"
        raise UserError(f"baseline={baseline}: no completed run has this model or configuration; there is: {known}")
    found = []
    for key, group in done.groupby(keys, sort=False, dropna=False):
        same = (table[list(runs.protocol)] == group[list(runs.protocol)].iloc[0]).all(axis=1)
        started = table[same & table["label"].isin(group["label"])]["label"].value_counts()
        protocol = dict(zip(runs.protocol, map(str, key), strict=False))
        found.append(_compare(protocol, str(key[-2]), group, started, runs.swept, baseline))
    return found


def command(comparison: Comparison, runs: tuple[Run, ...]) -> str:
    """The command that trains the best configuration again; its seed is left to the reader."""
    best = comparison.table.index[comparison.table["label"] == comparison.labels[0]][0]
    words = [word for word in runs[best].overrides if word.split("=", 1)[0].lstrip("+") not in SEEDS]
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


def _compare(
    protocol: dict[str, str],
    goal: str,
    table: pd.DataFrame,
    started: pd.Series,
    swept: tuple[str, ...],
    baseline: str | None,
) -> Comparison:
    mode = table["mode"].iloc[0]
    selection = f"val/{goal}"
    metric = f"test/{goal}" if _has(table, f"test/{goal}") else selection
    table = table.assign(**{name: np.nan for name in (selection, metric) if name not in table})
    val, test = stats.summarise(table, selection), stats.summarise(table, metric)
    sign = 1 if mode == "min" else -1
    order = pd.DataFrame({"val": sign * val["mean"], "test": sign * test["mean"]}).sort_values(["val", "test"])
    chosen = _baseline(table, baseline)
    oracle = float(table[f"oracle/{metric}"].mean()) if f"oracle/{metric}" in table else np.nan
    return Comparison(
        protocol, table["repeat"].iloc[0], metric, selection, mode, table, started, list(order.index), chosen,
        val, test, stats.against(table, metric, chosen), swept, oracle,
    )  # fmt: skip


def _has(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _baseline(table: pd.DataFrame, wanted: str | None) -> str:
    """The baseline's label in this comparison."""
    for name in (wanted, *BASELINES):
        labels = table.loc[(table["label"] == name) | (table["model"] == name), "label"]
        if len(labels):
            return str(labels.iloc[0])
    return str(table["label"].iloc[0])
