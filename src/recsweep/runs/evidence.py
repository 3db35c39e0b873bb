"""Writes what a run's metrics are means of, a row a user: `evidence/val.parquet` and `evidence/test.parquet`.

Columns: `user`, the raw id as text; `n`, the user's held-out rows, int32; then float32 columns. The metadata `holds` of
such a column says how a metric follows from it:
    value: the metric is the mean over users; a user with NaN does not count.
    mean: of the user's lists, one a held-out row; the metric is the mean over all lists.
    sum: over the user's rows; divided by the rows of all users, `squared_error` gives mse and the square of rmse,
        `absolute_error` gives mae, `error` gives calibration/bias, and `cross_entropy` gives log_loss.
    group: over the user's held-out rows of the items that the name ends with: `head`, the most popular fifth by rows
        that the model may know, `tail`, the less popular half, or `middle`. Divided by the rows `n/head` of all users,
        `squared_error/head` gives mse of the head and so on, and `recall@k/head` the share of held-out rows whose item
        was among the first k.
Last come int32 columns: `n_seen`, the user's rows that the model may know (on test, those of validation too), and
`n/head`, `n/middle`, `n/tail`, which add up to `n`.

Off-policy estimates leave a row a logged row, as the metadata `row` of the file says: `user` and the terms of
`metrics.off_policy`, with `true` where a simulator tells the policy's value. A run with both kinds of rows has the
logged ones in `val_log.parquet` and `test_log.parquet`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import torch
from torch import Tensor

from recsweep.atomic import write_atomically
from recsweep.evaluation import Evidence, Rows, Target, Unit
from recsweep.metrics.beyond import group_by_popularity

FOLDER = "evidence"
USER = pa.field("user", pa.string())
HOLDS: dict[Unit, str] = {"user": "value", "list": "mean", "row": "sum"}
GROUPS = ("head", "middle", "tail")
"""Of items, by `group_by_popularity`."""


def write_evidence(
    run_folder: Path, part: Literal["val", "test"], target: Target, evidence: Sequence[Evidence]
) -> None:
    """Writes the files of one part from the evidence of its batches."""
    folder = run_folder / FOLDER
    folder.mkdir(exist_ok=True)
    rows = _concatenate(evidence)
    logged = rows.pop("logged row", None)
    if rows:
        _write(folder / f"{part}.parquet", _user_table(rows, target))
    if logged:
        _write(folder / f"{part}{'_log' if rows else ''}.parquet", _log_table(logged, target))


def _concatenate(evidence: Sequence[Evidence]) -> dict[Unit, Rows]:
    """The rows of all batches, on the CPU."""
    units = dict.fromkeys(unit for batch in evidence for unit in batch)
    rows: dict[Unit, Rows] = {}
    for unit in units:
        batches = [batch[unit] for batch in evidence if unit in batch]
        values = {name: torch.cat([batch.values[name] for batch in batches]).cpu() for name in batches[0].values}
        items = [batch.item for batch in batches if batch.item is not None]
        item = torch.cat(items).cpu() if items else None
        rows[unit] = Rows(torch.cat([batch.user for batch in batches]).cpu(), values, item)
    return rows


def _user_table(rows_by_unit: dict[Unit, Rows], target: Target) -> pa.Table:
    """A row a user with held-out rows, in the order of their ids."""
    users, n = torch.unique(target.data.user[target.held_out], return_counts=True)
    columns: dict[str, tuple[str, Tensor]] = {}
    for unit, rows in rows_by_unit.items():
        if unit == "hit":
            continue
        index = torch.searchsorted(users, rows.user)
        for name, values in rows.values.items():
            sums = torch.bincount(index, values, len(users))
            columns[name] = HOLDS[unit], sums / n if unit == "list" else sums
    by_group, counts = _sum_by_group(rows_by_unit, users, target)
    columns |= {name: ("group", sums) for name, sums in by_group.items()}
    fields = [USER, pa.field("n", pa.int32())]
    fields += [pa.field(name, pa.float32(), metadata={"holds": holds}) for name, (holds, _) in columns.items()]
    fields += [pa.field(name, pa.int32()) for name in counts]
    arrays = [_raw_ids(users, target), n.int().numpy(), *(values.float().numpy() for _, values in columns.values())]
    return pa.table([*arrays, *(count.int().numpy() for count in counts.values())], pa.schema(fields, {"row": "user"}))


def _sum_by_group(
    rows_by_unit: dict[Unit, Rows], users: Tensor, target: Target
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The columns that hold "group", and the counts; the latter are n_seen alone where no unit has items."""
    data, n_users, n_groups = target.data, len(users), len(GROUPS)
    group_of_item = group_by_popularity(torch.bincount(data.item[target.seen], minlength=data.n_items))

    def add_up(user: Tensor, item: Tensor, values: Tensor | None) -> Tensor:
        """Sums over rows, or their number, [n_groups, n_users]."""
        cell = torch.searchsorted(users, user) + n_users * group_of_item[item]
        return torch.bincount(cell, values, n_groups * n_users).view(n_groups, n_users)

    user, item = data.user[target.held_out], data.item[target.held_out]
    sums: dict[str, Tensor] = {}
    for unit, rows in rows_by_unit.items():
        if rows.item is None:
            continue
        for name, values in rows.values.items():
            if unit == "hit":  # an item that is held out in several rows counts in each
                found = torch.isin(user * data.n_items + item, rows.user * data.n_items + rows.item)
                sums[name] = add_up(user, item, found.double())
            else:
                sums[name] = add_up(rows.user, rows.item, values)
    counts = {"n_seen": torch.bincount(data.user[target.seen], minlength=data.n_users)[users]}
    if sums:
        counts |= {f"n/{group}": count for group, count in zip(GROUPS, add_up(user, item, None), strict=True)}
    by_group = {f"{name}/{group}": row for name, rows in sums.items() for group, row in zip(GROUPS, rows, strict=True)}
    return by_group, counts


def _log_table(rows: Rows, target: Target) -> pa.Table:
    fields = [USER, *(pa.field(name, pa.float32()) for name in rows.values)]
    arrays = [_raw_ids(rows.user, target), *(values.float().numpy() for values in rows.values.values())]
    return pa.table(arrays, pa.schema(fields, {"row": "logged row"}))


def _raw_ids(users: Tensor, target: Target) -> pa.Array:
    return pa.array(target.data.user_ids.decode(users).astype(str))


def _write(path: Path, table: pa.Table) -> None:
    with write_atomically(path) as partial:
        pa_parquet.write_table(table, partial, compression="zstd", write_page_checksum=True)
