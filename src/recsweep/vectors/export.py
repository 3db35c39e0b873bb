"""The vectors of a trained model as plain files, with the ids they belong to, and in TensorBoard's projector."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from recsweep.atomic import write_atomically
from recsweep.data.schema import IdMap, Interactions
from recsweep.errors import UserError

USERS_AT_ONCE = 1024  # 52 MB where each has a history of 50 vectors of 256 numbers
MAX_SHOWN = 10_000  # points that the projector still turns smoothly

DAMAGED = (ValueError, TypeError, SyntaxError, TokenError, MemoryError, OverflowError)
"""What NumPy raises on a damaged file; all but the first come from its header."""

AGAIN = "export them again by training with callbacks.embeddings=true"


@runtime_checkable
class Embedded(Protocol):
    """A model whose score of a pair is the dot product of two vectors."""

    def user_vectors(self, user: Tensor) -> Tensor:
        """Vectors [B, d] of users [B]."""

    def item_vectors(self) -> Tensor:
        """Vectors [n_items, d] of the catalogue."""


@dataclass(frozen=True)
class Embeddings:
    """Vectors and what they are of.

    Args:
        user: [n_users, d] float32.
        item: [n_items, d] float32.
        user_ids, item_ids: raw ids by row.
    """

    user: Tensor
    item: Tensor
    user_ids: IdMap
    item_ids: IdMap

    def score_all(self, user: Tensor) -> Tensor:
        """Dot products [B, n_items] of users [B] with the catalogue."""
        return self.user[user] @ self.item.T


@torch.inference_mode()
def export_vectors(model: Embedded, train: Interactions, folder: Path) -> None:
    """Writes `user_embeddings.npy` [n_users, d] and `item_embeddings.npy` [n_items, d], float32, a row's raw id in
    `user_ids.npy` and `item_ids.npy`, and the check sums of the rows that the model was trained on in `trained_on.npy`;
    `item_titles.npy` too where the data has titles.

    A model with dropout must be in eval mode already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    item = model.item_vectors()
    users = torch.arange(train.n_users, device=item.device).split(USERS_AT_ONCE)
    user = torch.cat([model.user_vectors(some).float().cpu() for some in users])
    _write(folder / "user_embeddings.npy", user.numpy())
    _write(folder / "item_embeddings.npy", item.float().cpu().numpy())
    _write(folder / "user_ids.npy", _plain(train.user_ids.raw))
    _write(folder / "item_ids.npy", _plain(train.item_ids.raw))
    _write(folder / "trained_on.npy", train.checksum.numpy())
    if train.item_titles is not None:
        _write(folder / "item_titles.npy", _plain(train.item_titles))


def load_vectors(folder: Path) -> Embeddings:
    """What `export_vectors` wrote; `UserError` for a file that is missing, damaged, or does not match its ids."""
    user, item = _vectors(folder / "user_embeddings.npy"), _vectors(folder / "item_embeddings.npy")
    if user.shape[1] != item.shape[1]:
        raise UserError(
            f"{folder}: vectors of users hold {user.shape[1]} numbers, but those of items {item.shape[1]}: {AGAIN}"
        )
    user_ids = _labels(folder, "user_ids.npy", "user_embeddings.npy", len(user))
    item_ids = _labels(folder, "item_ids.npy", "item_embeddings.npy", len(item))
    vectors = torch.from_numpy(user), torch.from_numpy(item)
    return Embeddings(*vectors, IdMap(user_ids, "user"), IdMap(item_ids, "item"))


def load_vectors_for(data: Interactions, folder: Path) -> Embeddings:
    """`load_vectors`, and `UserError` where the vectors are of other users or items than those of `data`."""
    found = load_vectors(folder)
    for ids, present in ((found.user_ids, data.user_ids), (found.item_ids, data.item_ids)):
        if not np.array_equal(ids.raw, _plain(present.raw)):
            raise UserError(f"{folder}: embeddings of other {ids.kind}s than {data.name} has now; train again")
    return found


def load_vectors_trained_on(train: Interactions, folder: Path) -> Embeddings:
    """`load_vectors_for`, and `UserError` where the vectors come from other rows: they could know what is held out."""
    found = load_vectors_for(train, folder)
    rows = _read(folder / "trained_on.npy")
    if rows.dtype != np.int64 or rows.shape != (2,):
        raise _unexpected(folder / "trained_on.npy", rows, "int64 of shape (2,)")
    if rows.tolist() != train.checksum.tolist():
        raise UserError(
            f"{folder}: embeddings of a model trained on other rows, which may be held out here: give both runs the "
            "same data and split, and trainer.refit=false"
        )
    return found


@torch.inference_mode()
def show_in_projector(writer: SummaryWriter, model: Embedded, data: Interactions) -> None:
    """Shows the items with most rows, at most `MAX_SHOWN`, with titles, or else ids, in TensorBoard's projector."""
    count = torch.bincount(data.item, minlength=data.n_items)
    shown = count.topk(min(MAX_SHOWN, data.n_items)).indices
    names = data.item_ids.decode(shown).tolist()
    if data.item_titles is not None:
        # A line each, for the projector drops empty ones, and shifts those behind.
        titles = [" ".join(data.item_titles[item].split()) for item in shown.tolist()]
        names = [title or str(name) for title, name in zip(titles, names, strict=True)]
    item = model.item_vectors()
    writer.add_embedding(item[shown.to(item.device)].float(), names, tag="items")


def _plain(values: np.ndarray | Sequence[str]) -> np.ndarray:
    """int64 or fixed-width text, which needs no pickle."""
    array = np.asarray(values)
    return array if array.dtype.kind == "i" else array.astype(str)


def _write(path: Path, values: np.ndarray) -> None:
    with write_atomically(path) as partial, partial.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def _read(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {AGAIN}") from None
    except DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not a .npy file of plain values ({reason}): {AGAIN}") from None


def _vectors(path: Path) -> np.ndarray:
    found = _read(path)
    if found.dtype != np.float32 or found.ndim != 2 or not found.size:
        raise _unexpected(path, found, "float32 of shape (rows, numbers)")
    wrong = ~np.isfinite(found).all(1)
    if wrong.any():
        raise UserError(f"{path}, row {int(wrong.argmax())}: NaN or infinite; did training diverge?")
    return found


def _labels(folder: Path, name: str, vectors: str, n_rows: int) -> np.ndarray:
    found = _read(folder / name)
    if found.dtype.kind not in "iU" or found.ndim != 1:
        raise _unexpected(folder / name, found, "whole numbers or text of shape (rows,)")
    if len(found) != n_rows:
        raise UserError(f"{folder / vectors} holds {n_rows} rows, but {name} {len(found)}: {AGAIN}")
    return found


def _unexpected(path: Path, found: np.ndarray, allowed: str) -> UserError:
    return UserError(f"{path}: {found.dtype} of shape {found.shape}, allowed: {allowed}: {AGAIN}")
