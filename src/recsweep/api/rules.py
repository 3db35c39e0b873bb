"""Which items may be recommended: lists of ids, also from a file, and conditions on features."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from recsweep.api.tables import Ids, encode_ids
from recsweep.data.files import read_text
from recsweep.data.ids import ID
from recsweep.data.parquet import is_parquet, parquet_column_names, read_parquet
from recsweep.data.schema import Interactions
from recsweep.data.sniff import find_format, layout_column_names
from recsweep.errors import UserError


def allow_items(data: Interactions, only: Ids | None, exclude: Ids | None, conditions: Sequence[str]) -> Tensor:
    """[n_items] bool, whether an item may be recommended; `UserError` for an unknown id, or a wrong condition.

    Args:
        only: the items to choose from; None for all.
        exclude: items to leave out.
        conditions: as `match_condition` reads them; all of them must hold.
    """
    is_allowed = torch.full((data.n_items,), only is None)
    if only is not None:
        is_allowed[encode_ids(only, data.item_ids)] = True
    if exclude is not None:
        is_allowed[encode_ids(exclude, data.item_ids)] = False
    for condition in conditions:
        is_allowed &= match_condition(data, condition)
    return is_allowed


def match_condition(data: Interactions, condition: str) -> Tensor:
    """[n_items] bool, for which items `FEATURE=LABEL` or `FEATURE!=LABEL` holds.

    A multi-hot feature, such as `genres`, has a label if its entry is not 0.

    Raises:
        UserError: the condition is of another form, the data have no such feature, or it has no such label.
    """
    name, separator, label = condition.partition("=")
    is_negated, name = name.endswith("!"), name.removesuffix("!")
    if not (name and separator and label):
        raise UserError(f"filter {condition}: write FEATURE=LABEL or FEATURE!=LABEL, such as genres!=Horror")
    features = data.item_features
    labels = features.labels if features else {}
    if features is None or name not in labels:
        there = ", ".join(labels) or "none"
        raise UserError(f"filter {condition}: no item feature {name} that has labels; {data.name} has {there}")
    if label not in labels[name]:
        some = ", ".join(labels[name][:30])
        raise UserError(f"filter {condition}: {name} has no label {label}; there are {some}")
    code, column = labels[name].index(label), features.columns[name]
    has_label = column == code if column.dim() == 1 else column[:, code] != 0
    return ~has_label if is_negated else has_label


def read_item_ids(path: Path) -> list[int | str]:
    """The ids in the column `item` of a CSV or Parquet file, or in its only column.

    A text file without that name in its first line is a list of ids, one a line.

    Raises:
        UserError: the file is missing, empty or damaged, or has several columns, none of them called `item`.
    """
    if is_parquet(path):
        names = parquet_column_names(path)
        name = "item" if "item" in names else names[0]
        _check_one_column(path, names)
        return list(read_parquet(path, {name: ID}).frame[name].dropna())
    form = find_format(path, {"item": ID})
    names = layout_column_names(path, form)
    _check_one_column(path, names)
    if "item" not in names:
        form = replace(form, header=False, columns=("item",))
    return list(read_text(path, form, {"item": ID}).frame["item"].dropna())


def _check_one_column(path: Path, names: list[str]) -> None:
    if "item" not in names and len(names) > 1:
        raise UserError(f"{path}: no column item; the file has {', '.join(names)}")
