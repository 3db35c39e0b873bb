"""A training that starts from the weights of another run, whose users and items may be others (`trainer.start_from`).

Rows of users and items are found by their raw ids. Rows of new ids stay as initialised, those of ids that are gone are
dropped. The optimizer and the schedule start afresh, and buffers, such as the mean rating, are of the new rows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from recsweep.data.datamodules import InteractionData
from recsweep.data.ids import find_ids
from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError
from recsweep.models.base import RecModule
from recsweep.models.identity import check_identity, identity
from recsweep.models.layers import FeatureSum
from recsweep.runs import build
from recsweep.runs.checkpoints import explain_checkpoint, read_checkpoint
from recsweep.runs.folder import BEST
from recsweep.runs.record import read_record
from recsweep.runs.recorded import Recorded


def start_from(folder: Path, model: RecModule, data: InteractionData) -> str:
    """Copies the weights that another run chose on validation (not a refit's) into a new model.

    Returns:
        One line on how many users and items were taken over, are new, or are gone.

    Raises:
        UserError: no such checkpoint, another architecture, nobody in common, or rows that are held out here are among
            those that the other run learned from.
    """
    source = f"trainer.start_from={folder}"
    path = folder / "checkpoints" / BEST
    checkpoint = read_checkpoint(path)
    with explain_checkpoint(path):
        trained_on, weights = checkpoint["recsweep"]["trained_on"], checkpoint["state_dict"]
        ids = {kind: IdMap(np.asarray(trained_on[kind]), kind) for kind in ("user", "item")}
    now = {"user": data.data.user_ids, "item": data.data.item_ids}
    old_row = {kind: torch.from_numpy(find_ids(ids[kind].raw, now[kind].raw)) for kind in now}
    n_common = {kind: int((rows >= 0).sum()) for kind, rows in old_row.items()}
    if not all(n_common.values()):
        raise UserError(f"{source}: no user or no item in common with {data.data.name}; start without it")
    doubt = _check_rows(source, folder, trained_on, data)
    with explain_checkpoint(path):
        _copy_weights(source, model, weights, old_row, {kind: len(of) for kind, of in ids.items()})
    parts = []
    for kind in now:
        n_new, n_gone = len(now[kind]) - n_common[kind], len(ids[kind]) - n_common[kind]
        parts.append(f"{n_common[kind]} {kind}s taken over, {n_new} new, {n_gone} gone")
    return f"{source}: {'; '.join(parts)}{doubt}"


@torch.no_grad()
def _copy_weights(
    source: str, model: RecModule, weights: dict[str, Tensor], old_row: dict[str, Tensor], n_old: dict[str, int]
) -> None:
    """Copies the parameters: row by row in tables of users or items, whole where the shapes are equal.

    A table is an `nn.Embedding` with a row for each user, each item, or each user and then each item, in both runs.

    Args:
        weights: the other run's state.
        old_row: kind -> [n] the row in the other run of each user or item; -1 for a new one.
        n_old: kind -> how many the other run had.
    """
    parameters = dict(model.named_parameters())
    buffers = model.state_dict().keys() - parameters.keys()
    others = sorted(parameters.keys() ^ (weights.keys() - buffers))
    if others:
        difference = f"{others[0]} is in one of the two only"
        raise UserError(f"{source}: another architecture ({difference}); set model and loss as that run did")
    both = torch.where(old_row["item"] >= 0, old_row["item"] + n_old["user"], -1)
    rows_by_size: dict[tuple[int, int], list[Tensor]] = {}
    for rows, n in (
        (old_row["user"], n_old["user"]),
        (old_row["item"], n_old["item"]),
        (torch.cat([old_row["user"], both]), n_old["user"] + n_old["item"]),
    ):
        rows_by_size.setdefault((n, len(rows)), []).append(rows)
    tables = _name_tables(model)
    for name, parameter in parameters.items():
        old = weights[name].to(parameter)
        choices = rows_by_size.get((len(old), len(parameter)), []) if name in tables else []
        if old.shape[1:] != parameter.shape[1:] or (not choices and old.shape != parameter.shape):
            shapes = f"{tuple(old.shape)} there, {tuple(parameter.shape)} here"
            raise UserError(f"{source}: another architecture ({name} is {shapes}); set model as that run did")
        if any(not torch.equal(rows, choices[0]) for rows in choices):
            raise UserError(
                f"{source}: both runs have as many users as items, so {name} could be of either; start anew"
            )
        if choices:
            is_old = (choices[0] >= 0).to(parameter.device)
            parameter[is_old] = old[choices[0].to(parameter.device)[is_old]]
        else:
            parameter.copy_(old)


def _name_tables(model: nn.Module) -> set[str]:
    """Names of the parameters that are tables of entities; the rows of a `FeatureSum` are values of features."""
    features = {module.vectors for module in model.modules() if isinstance(module, FeatureSum)}
    return {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and module not in features
    }


def _check_rows(source: str, folder: Path, trained_on: dict[str, Any], data: InteractionData) -> str:
    """Raises `UserError` where the other run, or one that it started from, learned from rows that are held out here.

    Their data are read again for that. Returns what to add to the line where they are not as they were.
    """
    try:
        check_identity(trained_on, identity(data))
        same_rows = True
    except UserError:
        same_rows = False
    try:
        cfg = Recorded(source, read_record(folder)).build()
        old = data if same_rows else build.data(cfg)
        check_identity(trained_on, identity(old))
    except (UserError, OSError):
        return "; its rows cannot be read again, so whether it learned from rows that are held out here is unknown"
    held_out = data.data.take(torch.cat([data.split.val, data.split.test]))
    n_learned = 0 if same_rows else _count_common(old.train, held_out)
    if n_learned:
        raise UserError(
            f"{source}: it learned from {n_learned} of the {len(held_out)} rows that are held out here, which would "
            "flatter the new run; split by time, at a moment after that run's rows, or hold out the same rows"
        )
    earlier = cfg.trainer.get("start_from")
    if not earlier:
        return ""
    path = Path(earlier) / "checkpoints" / BEST
    try:
        earlier_rows = read_checkpoint(path)["recsweep"]["trained_on"]
    except UserError:
        return f"; it started from {earlier}, which is gone, so whether that learned from rows held out here is unknown"
    return _check_rows(f"trainer.start_from={earlier}", Path(earlier), earlier_rows, data)


def _count_common(train: Interactions, held_out: Interactions) -> int:
    """How many held-out rows are also in `train`, by raw user, raw item, and time where both have times."""
    has_times = train.timestamp is not None and held_out.timestamp is not None
    frames = []
    for rows in (train, held_out):
        user = find_ids(held_out.user_ids.raw, rows.user_ids.raw)[rows.user.numpy()]
        item = find_ids(held_out.item_ids.raw, rows.item_ids.raw)[rows.item.numpy()]
        time = rows.seconds.numpy() if has_times else 0
        frames.append(pd.DataFrame({"user": user, "item": item, "time": time}))
    return len(frames[1].merge(frames[0].drop_duplicates()))
