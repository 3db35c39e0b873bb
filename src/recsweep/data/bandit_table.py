"""A log of the user's own, CSV or Parquet: what a policy showed, with what probability and to what reward."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recsweep.data.assemble import assemble, not_shipped
from recsweep.data.features import Entities, as_features, categorical
from recsweep.data.files import ANY, FLOAT, TEXT, Sheet, Types
from recsweep.data.logged import BanditLog
from recsweep.data.schema import Features, IdMap, Interactions, Split
from recsweep.data.tables import FeatureFile, encoded, read_entities, read_table
from recsweep.errors import UserError

POSITION = "position"
"""The feature of a context that says where on the page its item was shown."""


@dataclass(frozen=True)
class BanditTable:
    """Bandit feedback from one file, whose every row is a context of its own.

    Args:
        path: ends in `.csv` (UTF-8, separated by commas, with a header) or `.parquet`.
        item: column of raw ids, whole numbers or text.
        propensity: column of the probabilities, in (0, 1], with which the policy showed these items there.
        reward: column of finite numbers, of which one at least is above 0.
        position: column that becomes the category `position` of a context; None where there was one place only.
        context: columns that become features of a context: text a category, numbers a number.
        items: a table whose columns all become features of items. It lists the whole catalogue, and every logged item
            must stand there; without it, the catalogue is what was logged.
    """

    path: str
    item: str
    propensity: str
    reward: str
    position: str | None
    context: list[str]
    items: FeatureFile | None

    name: ClassVar[str] = "bandit_table"
    ships: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        named = [self.item, self.propensity, self.reward, *self.context]
        if self.position is not None:
            named.append(self.position)
            if POSITION in self.context:
                raise UserError(f"data.context names {POSITION!r}, which is data.position's own: name it there only")
        if len(set(named)) < len(named):
            raise UserError(
                f"data.item, propensity, reward, context and position name columns {named}, allowed: each once"
            )

    def ready(self) -> bool:
        """Whether the table is on disk."""
        return Path(self.path).is_file()

    def read(self) -> BanditLog:
        """The log, validated."""
        sheet = read_table(Path(self.path), self._types())
        shown = replace(sheet, frame=sheet.frame[[self.item, self.reward]])
        shown = shown.renamed({self.item: "item", self.reward: "rating"})
        shown.frame["user"] = np.arange(len(shown.frame))
        contexts = Entities(shown.frame["user"].to_numpy(), self.path, self._features(sheet))
        data = assemble(self.name, shown, None, "error", contexts, read_entities(self.items))
        if not (data.rating > 0).any():
            raise UserError(
                f"{self.path}, column {self.reward}: no reward is above 0, so there is nothing to learn from; "
                "allowed: one at least"
            )
        columns = vars(data) | {"user_ids": IdMap(contexts.ids, "context")}
        return BanditLog(**columns, propensity=_propensities(sheet, self.propensity), recurring=False)

    def parts(self, name: str, data: Interactions) -> Split:
        """`UserError`: a table ships no split."""
        raise not_shipped(self, name)

    def _types(self) -> Types:
        types = dict.fromkeys([self.item, *self.context], ANY) | dict.fromkeys([self.propensity, self.reward], FLOAT)
        return types if self.position is None else types | {self.position: TEXT}

    def _features(self, sheet: Sheet) -> Features | None:
        columns = {name: encoded(sheet, sheet.frame[name]) for name in self.context}
        if self.position is not None:
            columns[POSITION] = categorical(sheet.frame[self.position])
        return as_features(columns) if columns else None


def _propensities(sheet: Sheet, column: str) -> Tensor:
    """A column as float32 [N] in (0, 1]; what single precision takes for 0, if flushed, could not be divided by."""
    values = sheet.frame[column].to_numpy(dtype=np.float32)
    wrong = ~((values >= np.finfo(np.float32).tiny) & (values <= 1))
    if wrong.any():
        raise sheet.wrong(int(wrong.argmax()), column, "above 0 and at most 1, in single precision")
    return torch.from_numpy(values)
