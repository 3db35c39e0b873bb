"""`recsweep recommend`: the best unseen items of users, by the model of a finished run."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from recsweep.api.histories import read_file
from recsweep.api.rules import read_item_ids
from recsweep.api.run import Run
from recsweep.api.similar import read_vectors
from recsweep.api.tables import tabulate_recommendations
from recsweep.commands import compose
from recsweep.commands.flags import pop_option
from recsweep.errors import UserError
from recsweep.seeding import generator
from recsweep.terminal import cell, print_line
from recsweep.vectors.approximate import compare_with_exact, open_index
from recsweep.vectors.exact import check_unseen
from recsweep.vectors.export import load_vectors_for

SAMPLE = 1000  # users on whom an index is compared with exact search


def run(arguments: list[str]) -> None:
    """`recommend run=DIR user=ID[,ID…]|users=all k=10 to=FILE only=FILE exclude=FILE filter=F!=LABEL index=HNSW32`.

    `diversity=0.3` chooses items that differ.

    Ids are raw ids, as in the data set.

    `history=FILE` in place of `user` has the rows of users who were not in training.

    Items that a user has are left out, unless the run's evaluation ranks them, too (`evaluation.mask_seen=false`).
    """
    folder, origin = compose.pop_run(arguments)
    users, history, to = _pop_users(arguments)
    k, factory, rules = _pop_k(arguments), pop_option(arguments, "index"), _pop_rules(arguments)
    if factory is not None and (to is not None or any(rules.values())):
        raise UserError(f"index={factory}: leave out to, only, exclude, filter and diversity, which need exact search")
    if factory is not None and history is not None:
        raise UserError(f"index={factory}: new users have no vectors in embeddings/; leave it out")
    changed, cfg = compose.build_config(origin, arguments)
    trained = Run(folder, changed, cfg)
    if history is not None:
        table = trained.recommend(histories=read_file(Path(history)), k=k, **rules)
        for raw_user, rows in table.groupby("user", sort=False):
            _print_table(str(raw_user), rows.drop(columns="user"))
    elif to is not None:
        trained.write_recommendations(to, users or "all", k, **rules)
        print_line(to)
    else:
        _print_known_users(trained, users, k, rules, factory)


def _pop_users(arguments: list[str]) -> tuple[list[str], str | None, str | None]:
    """Removes who gets recommendations: raw ids (none for all users), a file of histories, a file to write."""
    users, everybody, history, to = (pop_option(arguments, key) for key in ("user", "users", "history", "to"))
    if (users is None and everybody is None) == (history is None):
        raise UserError(
            "for whom? give user=ID, or several separated by commas, or users=all to=FILE, or history=FILE of new users"
        )
    if everybody is not None and (everybody != "all" or users is not None or to is None):
        raise UserError("users=all to=FILE.parquet or FILE.csv writes all users; user=ID,… names some")
    if history is not None and to is not None:
        raise UserError("to=FILE takes users of the run; leave it out with history=FILE")
    return users.split(",") if users is not None else [], history, to


def _pop_k(arguments: list[str]) -> int:
    k = pop_option(arguments, "k")
    k = "10" if k is None else k
    if not k.isdecimal() or int(k) < 1:
        raise UserError(f"k={k}: a whole number from 1 on")
    return int(k)


def _pop_rules(arguments: list[str]) -> dict[str, Any]:
    """Removes the arguments `only`, `exclude`, `filter` and `diversity` of `Run.recommend`."""
    files = ((key, pop_option(arguments, key)) for key in ("only", "exclude"))
    rules: dict[str, Any] = {key: read_item_ids(Path(file)) for key, file in files if file}
    conditions = pop_option(arguments, "filter") or ""
    diversity = pop_option(arguments, "diversity") or "0"
    try:
        rules["diversity"] = float(diversity)
    except ValueError:
        raise UserError(f"diversity={diversity}: a number from 0, the best scores, to 1") from None
    return rules | {"filter": [text for text in conditions.split(",") if text]}


def _print_known_users(trained: Run, users: list[str], k: int, rules: dict[str, Any], factory: str | None) -> None:
    data = trained.data.data
    raw_users = list(dict.fromkeys(users))
    user = data.user_ids.encode(raw_users)
    if factory is None:
        table = trained.recommend(raw_users, k, **rules)
        if not any(rules.values()):
            check_unseen(user, trained.left_out, data.n_items, k)
    else:
        items, scores = _search_index(factory, trained, user, k)
        table = tabulate_recommendations(data, user, items, scores)
    for raw_user, rows in zip(raw_users, _split_by_user(table, data.user_ids.decode(user)), strict=True):
        _print_table(raw_user, rows)


def _search_index(factory: str, trained: Run, user: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Items and scores [B, k] from an index over the exported vectors; prints its recall and speed.

    A model with histories encodes its users anew: exported vectors know the training rows alone.
    """
    data, seen, folder = trained.data.data, trained.left_out, trained.folder / "embeddings"
    vectors = load_vectors_for(data, folder)
    if trained.config.model.get("history", "none") != "none":
        vectors = replace(vectors, user=read_vectors(trained.model, data).user)
    index = open_index(folder, factory, vectors.item, print_line)
    result = compare_with_exact(index, vectors, user, seen, k)
    eligible = (data.n_items - seen.start.diff() >= k).nonzero()[:, 0]
    sample_users = eligible[torch.randperm(len(eligible), generator=generator("recall"))[:SAMPLE]]
    sample = compare_with_exact(index, vectors, sample_users, seen, k)
    print_line(
        f"{factory}: recall@{k} against exact search: {result.recall:.4f} for these users, {sample.recall:.4f} for "
        f"{len(sample_users)} random users; a search takes {1e3 * sample.seconds:.3f} ms a user, exact search "
        f"{1e3 * sample.exact_seconds:.3f} ms"
    )
    return result.items, result.scores


def _split_by_user(table: pd.DataFrame, users: Iterable[int | str]) -> list[pd.DataFrame]:
    """The rows of each user; none for a user of whom an index finds no item."""
    return [table[table["user"] == user].drop(columns="user") for user in users]


def _print_table(raw_user: str, rows: pd.DataFrame) -> None:
    """The recommendations for one user."""
    columns = ["" if name == "rank" else str(name) for name in rows]
    table = Table(*columns, title=cell(f"user {raw_user}"))
    for row in rows.assign(score=rows["score"].map("{:.4f}".format)).itertuples(index=False):
        table.add_row(*(cell(str(value)) for value in row))
    Console().print(table)
