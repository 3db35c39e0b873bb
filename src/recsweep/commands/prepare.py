"""`recsweep data prepare`: fetches, verifies and summarises a data set."""

from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from recsweep.commands import compose
from recsweep.commands.flags import pop_option
from recsweep.data.schema import Features, Interactions, Source, Split
from recsweep.data.sequence_files import write_sequences
from recsweep.data.summary import (
    count_items_only_in_test,
    count_repeats,
    count_users_split_within_a_time,
    count_users_unseen_in_train,
    count_users_with_one_row,
    describe_times,
    draw_histogram,
    rating_histogram,
    share_of_the_future,
    share_of_ties,
)
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.terminal import cell

PARTS = ("train", "val", "test")


class Sequences(NamedTuple):
    """A folder to write sequences to, and the longest history to keep."""

    folder: Path
    max_history: int


def run(arguments: list[str]) -> None:
    """`data prepare data=NAME [overrides] [sequences=DIR [max_history=50]]`."""
    sequences = _pop_sequences(arguments)
    if compose.asks_for_help(arguments):
        compose.run_hydra(arguments, lambda _: None)
    else:
        _prepare(OmegaConf.create(compose.prepare_run(arguments).config), sequences)


def _pop_sequences(arguments: list[str]) -> Sequences | None:
    folder = pop_option(arguments, "sequences")
    if folder is None:
        return None
    max_history = pop_option(arguments, "max_history")
    max_history = "50" if max_history is None else max_history
    if not max_history.isdecimal() or int(max_history) < 1:
        raise UserError(f"max_history={max_history}: a whole number from 1 on")
    return Sequences(Path(folder), int(max_history))


def _prepare(cfg: DictConfig, sequences: Sequences | None) -> None:
    torch.set_num_threads(cfg.trainer.threads)
    source = build.source(cfg)
    data = source.read()
    split = _split(cfg, source, data)
    if sequences is not None and not isinstance(split, UserError):
        write_sequences(data, split, *sequences)
    table = Table(title=cell(data.name), show_header=False)
    table.add_row("users", f"{data.n_users:,}, {count_users_with_one_row(data):,} of them with one row")
    table.add_row("items", f"{data.n_items:,}")
    n_repeats = count_repeats(data)
    repeats = f", {n_repeats:,} of them repeat a user and an item" if n_repeats else ""
    table.add_row("interactions", f"{len(data):,}{repeats}")
    table.add_row("density", f"{(len(data) - n_repeats) / data.n_users / data.n_items:.4%}")
    table.add_row("rating", f"{data.rating.min():g} to {data.rating.max():g}, mean {data.rating.mean():.4f}")
    table.add_row("", draw_histogram(rating_histogram(data.rating)))
    if data.timestamp is not None:
        first, last = data.timestamp.aminmax()
        table.add_row("time", describe_times(int(first), int(last)))
        table.add_row("ties in time", _describe_ties(share_of_ties(data)))
    table.add_row("user features", cell(_column_names(data.user_features)))
    table.add_row("item features", cell(_column_names(data.item_features)))
    if isinstance(split, UserError):
        Console().print(table)
        raise split
    table.add_row("split", cell(_describe_split(data, split)))
    if data.timestamp is not None:
        table.add_row("times of parts", _describe_part_times(data, split))
    if sequences is not None:
        table.add_row("sequences", cell(f"data=sequences data.folder={sequences.folder}"))
    Console().print(table)


def _split(cfg: DictConfig, source: Source, data: Interactions) -> Split | UserError:
    """The split of the configuration, or why there is none."""
    try:
        return build.split(cfg)(data, source)
    except UserError as error:
        return error


def _describe_ties(share: float) -> str:
    text = f"{share:.1%} of the rows have the time of their user's row before or after"
    return f"{text}; there the order in the file decides which row is last" if share else text


def _describe_split(data: Interactions, split: Split) -> str:
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in zip(PARTS, split[:3], strict=True))
    text = f"{sizes} rows; {count_items_only_in_test(data, split):,} items only in test"
    if n_unseen := count_users_unseen_in_train(data, split):
        text = f"{text}; {n_unseen:,} users unseen in train"
    if n_left_out := len(data) - sum(map(len, split[:3])):
        text = f"{text}; {n_left_out:,} rows in no part"
    n_users = 0 if data.timestamp is None else count_users_split_within_a_time(data, split)
    return f"{text}; {n_users:,} users have rows of one and the same time in several parts" if n_users else text


def _describe_part_times(data: Interactions, split: Split) -> str:
    lines = []
    for name, rows in zip(PARTS, split[:3], strict=True):
        first, last = data.seconds[rows].aminmax()
        lines.append(f"{name} {describe_times(int(first), int(last))}")
    share = share_of_the_future(data, split)
    return "\n".join([*lines, f"{share:.1%} of the train rows are later than the first test row"])


def _column_names(features: Features | None) -> str:
    return ", ".join(features.columns) if features else "none"
