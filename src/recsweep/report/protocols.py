"""Says in words which runs may be compared: what their protocol is, and on which data they were."""

import pandas as pd

SIZES = {"n_users": "users", "n_items": "items", "n_interactions": "rows"}
DATA_SEEDS = ("data.seed", "filter.seed")
DIGITS = 8  # of a fingerprint in a title


def add_protocols(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `protocol`, what a run was asked for, and `on_data`, what it found.

    Both are words for a title. `protocol` says whether a run was refitted if the runs differ in that, and whether it
    was a dry run. `on_data` is empty where completed runs of one protocol had the same data, as far as they recorded
    it, and for all others.

    Args:
        table: of `Runs`, with `repeat`; if folds are the repetitions, `seed` is the fold.
    """
    protocol = table[["data", "split", "evaluation", "settings"]].agg(" · ".join, axis="columns")
    protocol = protocol.str.removesuffix(" · ")
    is_completed = table["status"] == "completed"
    if table.loc[is_completed, "refit"].nunique() > 1:
        protocol += table["refit"].map({True: " · refitted", False: " · not refitted"})
    protocol += table["is_dry"].map({True: " · dry run, no result", False: ""})
    table = table.assign(protocol=protocol, on_data="")
    for _, runs in table[is_completed].groupby("protocol", sort=False):
        table.loc[runs.index, "on_data"] = _describe_data(runs)
    return table


def _describe_data(runs: pd.DataFrame) -> pd.Series:
    """For each run of one protocol, what tells its data from those of the others.

    Other seeds of data and filter give other rows, another `split.seed` or fold another split: these are repetitions.
    """
    seeds = pd.DataFrame({key: runs.get(key, "") for key in (*DATA_SEEDS, "split.seed")}, runs.index)
    seeds["fold"] = runs["seed"].where(runs["repeat"] == "fold", "")
    words = _describe_sizes(runs)
    words = _add_fingerprint(words, runs["fingerprint"], "data", seeds[list(DATA_SEEDS)])
    return _add_fingerprint(words, runs["split_fingerprint"], "split", seeds)


def _describe_sizes(runs: pd.DataFrame) -> pd.Series:
    known = runs[list(SIZES)].dropna()
    if len(known.drop_duplicates()) < 2:
        return pd.Series("", index=runs.index)
    texts = [
        ", ".join(f"{int(n):,} {name}" for n, name in zip(row, SIZES.values(), strict=True)) for row in known.values
    ]
    return pd.Series(texts, known.index).reindex(runs.index, fill_value="data of unknown size")


def _add_fingerprint(words: pd.Series, fingerprint: pd.Series, name: str, seeds: pd.DataFrame) -> pd.Series:
    """The words, with the start of the fingerprint where runs of the same words and seeds have different ones."""
    keys = [words, *(seeds[key] for key in seeds)]
    differs = fingerprint.groupby(keys, dropna=False).transform("nunique") > 1
    differs = differs.groupby(words).transform("any")
    text = (name + " " + fingerprint.str[:DIGITS]).fillna(f"{name} without a fingerprint")
    separator = words.map(lambda before: " · " if before else "")
    return words.where(~differs, words + separator + text)
