"""What the projector says about the items that it shows: by its columns one labels, colours and searches points."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, bincount

from recsweep.data.features import UNKNOWN
from recsweep.data.schema import Interactions


def describe_items(data: Interactions, items: Tensor) -> dict[str, list[str]]:
    """Columns of text about these items [n]: title, or raw id without one; features; popularity.

    A feature of several labels, such as genres, also has a column of its first label alone, for the projector colours
    at most 50 distinct values. `popularity` is the number of rows, and `log10 popularity` spreads its long tail.
    Features that are vectors of numbers are left out.
    """
    ids = [str(raw) for raw in data.item_ids.decode(items).tolist()]
    columns = {"item": ids}
    if data.item_titles is not None:
        titles = _join_lines([data.item_titles[item] for item in items.tolist()])
        columns = {"title": [title or raw for title, raw in zip(titles, ids, strict=True)]}
    if (features := data.item_features) is not None:
        for name, values in features.columns.items():
            columns |= _describe_feature(name, values[items].cpu().numpy(), features.labels.get(name))
    n_rows = bincount(data.item, minlength=data.n_items)[items].cpu().numpy()
    columns["popularity"] = n_rows.astype(str).tolist()
    columns["log10 popularity"] = [f"{value:.3f}" for value in np.log10(n_rows.clip(min=1))]
    return columns


def _describe_feature(name: str, values: np.ndarray, labels: Sequence[str] | None) -> dict[str, list[str]]:
    """The columns of a feature: codes or numbers [n], or flags [n, d] of labels; an unknown value is empty."""
    if labels is None:
        return {name: [f"{value:.6g}" for value in values.tolist()]} if values.ndim == 1 else {}
    texts = np.array(["" if label == UNKNOWN else label for label in _join_lines(labels)], dtype=object)
    if values.ndim == 1:
        return {name: texts[values].tolist()}
    has_label = values > 0
    first = np.where(has_label.any(1), texts[has_label.argmax(1)], "")
    joined = has_label.astype(object) @ np.array([f"{text}|" for text in texts], dtype=object)
    return {name: [text.strip("|") for text in joined], f"first of {name}": first.tolist()}


def _join_lines(texts: Sequence[str]) -> list[str]:
    """Each text on one line without tabs, which separate the projector's columns."""
    return [" ".join(text.split()) for text in texts]
