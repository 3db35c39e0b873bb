"""Coat Shopping (Schnabel et al., ICML 2016): ratings of coats that users chose, and of random ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from recsweep.data.features import Entities, FeatureColumn, build_features
from recsweep.data.files import START, read_text
from recsweep.data.fixed_test import FixedTest
from recsweep.data.lines import read_start
from recsweep.data.sheet import INT, TEXT, Format, Sheet, check_exists
from recsweep.errors import UserError

BLANK = Format(separator=" ", header=False, encoding="utf-8", quoted=False)
LINES = Format(separator="\t", header=False, encoding="utf-8", quoted=False)


class Coat(FixedTest):
    """24 ratings a user of coats that they chose (train) and 16 of random coats (test): 290 users, 300 items.

    Users and items are numbered from 0, as the rows and columns of the files.
    """

    name = "coat"
    url = "https://www.cs.cornell.edu/~schnabts/mnar/"
    files = (
        "train.ascii",
        "test.ascii",
        "user_features.ascii",
        "user_features_map.txt",
        "item_features.ascii",
        "item_features_map.txt",
    )
    scale = (1.0, 5.0)

    def _read_train(self) -> Sheet:
        return self._read_ratings("train.ascii")

    def _read_test(self) -> Sheet:
        return self._read_ratings("test.ascii")

    def _read_ratings(self, file: str) -> Sheet:
        """The numbers of a matrix, a user a line, that are not 0."""
        sheet = read_matrix(Path(self.folder) / file)
        matrix = sheet.frame.to_numpy()
        user, item = matrix.nonzero()
        frame = pd.DataFrame({"user": user, "item": item, "rating": matrix[user, item].astype(float)})
        return Sheet(frame, sheet.path, sheet.header_lines, form=sheet.form, rows=user)

    def _read_entities(self) -> tuple[Entities, Entities]:
        return self._read_flags("user"), self._read_flags("item")

    def _read_flags(self, kind: str) -> Entities:
        """Features from a 0/1 matrix whose columns are called `feature:value`."""
        path = Path(self.folder) / f"{kind}_features.ascii"
        names = read_text(path.with_name(f"{kind}_features_map.txt"), LINES, {"name": TEXT}).frame["name"]
        flags = torch.tensor(read_matrix(path).frame.to_numpy(dtype=np.float32))
        if len(names) != flags.shape[1]:
            raise UserError(f"{path}: {flags.shape[1]} columns, but {len(names)} names in {kind}_features_map.txt")
        parts = names.str.strip().str.partition(":")
        features: dict[str, FeatureColumn] = {}
        for feature in parts[0].unique():
            columns = np.flatnonzero(parts[0] == feature)
            features[str(feature)] = encode_flags(flags[:, columns], tuple(parts[2].iloc[columns]))
        return Entities(np.arange(len(flags)), str(path), build_features(features))


def read_matrix(path: Path) -> Sheet:
    """A matrix of whole numbers; columns are called by their numbers from 0."""
    check_exists(path)
    first = read_start(path, "utf-8", START).partition("\n")[0].split()
    return read_text(path, BLANK, {str(column): INT for column in range(len(first))})


def encode_flags(flags: torch.Tensor, labels: tuple[str, ...]) -> FeatureColumn:
    """0/1 columns [n, d] as a category if each row has one of them; else as they are."""
    return (flags.argmax(dim=1), labels) if bool((flags.sum(dim=1) == 1).all()) else (flags, labels)
