"""A CSV or Parquet log of bandit feedback: item shown, propensity, reward and context."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recsweep.data.assemble import assemble, unknown_split_error
from recsweep.data.features import Entities, build_features, encode_categories
from recsweep.data.ids import ID
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Features, IdMap, Interactions, Split
from recsweep.data.sheet import ANY, FLOAT, TEXT, Sheet, Types
from recsweep.data.sniff import Layout
from recsweep.data.tables import FeatureFile, encode_feature, read_entities, read_table
from recsweep.errors import UserError

POSITION = "position"
"""The context feature that holds the position of the item on the page."""


@dataclass(frozen=True)
class BanditTable:
    """Bandit feedback from one file. Each row is a separate context.

    Args:
        path: a table as in `tables.Table`, with named columns.
        item: column of raw ids, text exactly as it stands in the file.
        propensity: column of probabilities, in (0, 1], with which the logging policy showed the item in this context.
        reward: column of finite numbers, at least one of them above 0.
        position: column that becomes the context feature `position`, a category; None if there is only one position.
        context: columns that become context features. Text becomes a category, numbers stay numbers.
        items: a table of item features. It lists the whole catalogue, all logged items included; None: the catalogue is
            the logged items.
        separator, encoding, decimal_comma: see `sniff.Layout`; they hold for `path`.
    """

    path: str
    item: str
    propensity: str
    reward: str
    position: str | None
    context: list[str]
    items: FeatureFile | None
    separator: str | None
    encoding: str | None
    decimal_comma: bool | None

    name: ClassVar[str] = "bandit_table"
    ships: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        columns = [self.item, self.propensity, self.reward, *self.context]
        if self.position is not None:
            columns.append(self.position)
            if POSITION in self.context:
                raise UserError(f"data.context names {POSITION!r}, a name reserved for data.position: remove it")
        if len(set(columns)) < len(columns):
            raise UserError(
                f"data.item, propensity, reward, context and position name columns {columns}, allowed: each column once"
            )
        self._layout()

    def ready(self) -> bool:
        """Whether the table is on disk."""
        return Path(self.path).exists()

    def read(self) -> BanditLog:
        """The log, validated."""
        sheet = read_table(Path(self.path), self._types(), self._layout())
        ratings = replace(sheet, frame=sheet.frame[[self.item, self.reward]])
        ratings = ratings.rename({self.item: "item", self.reward: "rating"})
        ratings.frame["user"] = np.arange(len(ratings.frame))
        contexts = Entities(ratings.frame["user"].to_numpy(), self.path, self._context_features(sheet))
        data = assemble(self.name, ratings, None, "error", contexts, read_entities(self.items))
        if not (data.rating > 0).any():
            raise UserError(
                f"{self.path}, column {self.reward}: no reward is above 0, so there is nothing to learn from; "
                "allowed: at least one above 0"
            )
        columns = vars(data) | {"user_ids": IdMap(contexts.ids, "context")}
        return BanditLog(**columns, propensity=_propensities(sheet, self.propensity), recurring=False)

    def parts(self, name: str, data: Interactions) -> Split:
        """Raises `UserError`: a table ships no split."""
        raise unknown_split_error(self, name)

    def _layout(self) -> Layout:
        return Layout(self.separator, self.encoding, header=True, decimal_comma=self.decimal_comma)

    def _types(self) -> Types:
        types = (
            {self.item: ID} | dict.fromkeys(self.context, ANY) | dict.fromkeys([self.propensity, self.reward], FLOAT)
        )
        return types if self.position is None else types | {self.position: TEXT}

    def _context_features(self, sheet: Sheet) -> Features | None:
        columns = {name: encode_feature(sheet, sheet.frame[name]) for name in self.context}
        if self.position is not None:
            columns[POSITION] = encode_categories(sheet.frame[self.position])
        return build_features(columns) if columns else None


def _propensities(sheet: Sheet, column: str) -> Tensor:
    """A column as float32 [N] in (0, 1]. Subnormal numbers are refused: flushed to 0, they could not be divided by."""
    values = sheet.frame[column].to_numpy(dtype=np.float32)
    is_bad = ~((values >= np.finfo(np.float32).tiny) & (values <= 1))
    if is_bad.any():
        raise sheet.value_error(int(is_bad.argmax()), column, "above 0 and at most 1, in single precision")
    return torch.from_numpy(values)
