"""The vectors of a trained model: as plain files with raw ids, and in TensorBoard's projector."""

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
from recsweep.vectors.description import describe_items

USERS_AT_ONCE = 1024  # 52 MB if each has a history of 50 vectors of 256 numbers
MAX_POINTS = 10_000  # the projector still rotates as many smoothly

DAMAGED = (RecursionError, ValueError, TypeError, SyntaxError, TokenError, MemoryError, OverflowError)
"""What NumPy raises for a damaged file; all but `ValueError` come from the header."""

REMEDY = "export them again by training with callbacks.embeddings=true"


@runtime_checkable
class Embedded(Protocol):
    """A model whose score of a pair is the dot product of two vectors."""

    def user_vectors(self, user: Tensor) -> Tensor:
        """Vectors [B, d] of users [B]."""

    def item_vectors(self) -> Tensor:
        """Vectors [n_items, d] of all items."""


@dataclass(frozen=True)
class Embeddings:
    """Vectors of users and items with their raw ids.

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
        """Dot products [B, n_items] of users [B] with all items."""
        return self.user[user] @ self.item.T


@torch.inference_mode()
def compute_vectors(model: Embedded, data: Interactions) -> Embeddings:
    """The vectors of all users and items, on the CPU. A model with dropout must be in eval mode."""
    item = model.item_vectors()
    chunks = torch.arange(data.n_users, device=item.device).split(USERS_AT_ONCE)
    user = torch.cat([model.user_vectors(chunk).float().cpu() for chunk in chunks])
    return Embeddings(user.detach(), item.detach().float().cpu(), data.user_ids, data.item_ids)


def export_vectors(model: Embedded, train: Interactions, folder: Path) -> None:
    """Writes the vectors of a model, and the ids and rows that they belong to.

    Files: `user_embeddings.npy` [n_users, d] and `item_embeddings.npy` [n_items, d], float32; the raw id of each row in
    `user_ids.npy` and `item_ids.npy`; checksums of the training rows in `trained_on.npy`; `item_titles.npy` if the data
    has titles.

    A model with dropout must be in eval mode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vectors = compute_vectors(model, train)
    _save_array(folder / "user_embeddings.npy", vectors.user.numpy())
    _save_array(folder / "item_embeddings.npy", vectors.item.numpy())
    _save_array(folder / "user_ids.npy", _to_plain_array(train.user_ids.raw))
    _save_array(folder / "item_ids.npy", _to_plain_array(train.item_ids.raw))
    _save_array(folder / "trained_on.npy", train.checksum.numpy())
    if train.item_titles is not None:
        _save_array(folder / "item_titles.npy", _to_plain_array(train.item_titles))


def load_vectors(folder: Path) -> Embeddings:
    """What `export_vectors` wrote; `UserError` if a file is missing, damaged, or does not match its ids."""
    user, item = _load_matrix(folder / "user_embeddings.npy"), _load_matrix(folder / "item_embeddings.npy")
    if user.shape[1] != item.shape[1]:
        raise UserError(
            f"{folder}: vectors of users hold {user.shape[1]} numbers, but those of items {item.shape[1]}: {REMEDY}"
        )
    user_ids = _load_ids(folder, "user_ids.npy", "user_embeddings.npy", len(user))
    item_ids = _load_ids(folder, "item_ids.npy", "item_embeddings.npy", len(item))
    vectors = torch.from_numpy(user), torch.from_numpy(item)
    return Embeddings(*vectors, IdMap(user_ids, "user"), IdMap(item_ids, "item"))


def load_vectors_for(data: Interactions, folder: Path) -> Embeddings:
    """`load_vectors`; also `UserError` if the vectors are of other users or items than those of `data`."""
    vectors = load_vectors(folder)
    for ids, expected in ((vectors.user_ids, data.user_ids), (vectors.item_ids, data.item_ids)):
        if not np.array_equal(ids.raw, _to_plain_array(expected.raw)):
            raise UserError(f"{folder}: embeddings of other {ids.kind}s than {data.name} has now; train again")
    return vectors


def load_vectors_for_rows(train: Interactions, folder: Path) -> Embeddings:
    """`load_vectors_for`; also `UserError` if the model was trained on other rows, which may be held out here."""
    vectors = load_vectors_for(train, folder)
    path = folder / "trained_on.npy"
    checksum = _load_array(path)
    if checksum.dtype != np.int64 or checksum.shape != (2,):
        raise _array_error(path, checksum, "int64 of shape (2,)")
    if checksum.tolist() != train.checksum.tolist():
        raise UserError(
            f"{folder}: embeddings of a model trained on other rows, which may be held out here: give both runs the "
            "same data and split, and trainer.refit=false"
        )
    return vectors


def load_initial_vectors(train: Interactions, folder: str, dim: int) -> tuple[Tensor, Tensor]:
    """Vectors of users [n_users, dim] and items [n_items, dim] for a model of the rows `train` to start from.

    They are those of `load_vectors_for_rows`, each kind scaled to a mean length of 1 over the rows.

    Args:
        folder: the value of `model.pretrained`.

    Raises:
        UserError: vectors of another size, or of other rows.
    """
    vectors = load_vectors_for_rows(train, Path(folder))
    if vectors.item.shape[1] != dim:
        raise UserError(
            f"model.pretrained={folder}: vectors of {vectors.item.shape[1]} numbers; set model.embedding_dim to that, "
            f"not to {dim}"
        )
    user, item = (
        table / table.norm(dim=1)[row].mean() for table, row in ((vectors.user, train.user), (vectors.item, train.item))
    )
    return user, item


@torch.inference_mode()
def show_in_projector(writer: SummaryWriter, model: Embedded, data: Interactions) -> None:
    """Adds the items with most rows, at most `MAX_POINTS`, to TensorBoard's projector, with `describe_items`."""
    n_rows = torch.bincount(data.item, minlength=data.n_items)
    items = n_rows.topk(min(MAX_POINTS, data.n_items)).indices
    columns = describe_items(data, items)
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    vectors = model.item_vectors()
    writer.add_embedding(vectors[items.to(vectors.device)].float(), rows, tag="items", metadata_header=list(columns))


def _to_plain_array(values: np.ndarray | Sequence[str]) -> np.ndarray:
    """An array of int64 or fixed-width text, which NumPy saves without pickle."""
    array = np.asarray(values)
    return array if array.dtype.kind == "i" else array.astype(str)


def _save_array(path: Path, values: np.ndarray) -> None:
    with write_atomically(path) as partial, partial.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def _load_array(path: Path) -> np.ndarray:
    if path.exists() and not path.is_file():  # a pipe would never end
        raise UserError(f"{path}: not a file")
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {REMEDY}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: {REMEDY}") from None
    except DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not a .npy file of plain values ({reason}): {REMEDY}") from None


def _load_matrix(path: Path) -> np.ndarray:
    matrix = _load_array(path)
    if matrix.dtype != np.float32 or matrix.ndim != 2 or not matrix.size:
        raise _array_error(path, matrix, "float32 of shape (rows, numbers)")
    is_broken = ~np.isfinite(matrix).all(1)
    if is_broken.any():
        raise UserError(f"{path}, row {int(is_broken.argmax())}: NaN or infinite; did training diverge?")
    return matrix


def _load_ids(folder: Path, name: str, vectors: str, n_rows: int) -> np.ndarray:
    """The raw ids in file `name`, which must match the `n_rows` rows of file `vectors`."""
    ids = _load_array(folder / name)
    if ids.dtype.kind not in "iU" or ids.ndim != 1:
        raise _array_error(folder / name, ids, "whole numbers or text of shape (rows,)")
    if len(ids) != n_rows:
        raise UserError(f"{folder / vectors} holds {n_rows} rows, but {name} {len(ids)}: {REMEDY}")
    return ids


def _array_error(path: Path, array: np.ndarray, allowed: str) -> UserError:
    return UserError(f"{path}: {array.dtype} of shape {array.shape}, allowed: {allowed}: {REMEDY}")
