"""On which data a model was trained: it stands in every checkpoint, and other data are refused."""

from typing import Any

import torch
from torch import Tensor

from recsweep.data.datamodules import InteractionData
from recsweep.errors import UserError

Identity = dict[str, Tensor | list[str] | str]


def identity(data: InteractionData) -> Identity:
    """What identifies the data of a training, in types that `torch.load(weights_only=True)` accepts.

    The raw ids of users and items, in the order of their contiguous ids, the checksum of the training rows, and the
    fingerprint of all parts.
    """
    maps = {"user": data.data.user_ids.raw, "item": data.data.item_ids.raw}
    ids = {kind: torch.from_numpy(raw) if raw.dtype.kind == "i" else raw.tolist() for kind, raw in maps.items()}
    return ids | {"rows": data.train.checksum, "fingerprint": data.fingerprints.split}


def check_identity(saved: Identity, current: Identity) -> None:
    """Raises `UserError` where a model was trained or judged on other data than `current`.

    Checkpoints of earlier versions have no fingerprint.
    """

    def to_list(values: Tensor | list[str] | str) -> list[Any] | str:
        return values.tolist() if isinstance(values, Tensor) else values

    if any(to_list(saved[kind]) != to_list(current[kind]) for kind in ("user", "item")):
        raise UserError("trained on other users or items than the data has now; train again")
    if to_list(saved["rows"]) != to_list(current["rows"]):
        raise UserError("trained on other rows than data and split give now; leave both as the run had them")
    if "fingerprint" in saved and saved["fingerprint"] != current["fingerprint"]:
        raise UserError(
            "trained and judged on other ratings, timestamps, features or held-out rows than data and split give now; "
            "leave both as the run had them"
        )
