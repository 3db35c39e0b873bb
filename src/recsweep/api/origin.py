"""The record of an earlier run as its user asks for it, with changes; it loads no torch."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from recsweep.config.overrides import check_single
from recsweep.errors import UserError
from recsweep.runs.record import check_files, describe_given_scores, has_record, read_record
from recsweep.runs.recorded import Recorded, key_of
from recsweep.sweeps.request import REQUEST_FILE


def read_origin(
    folder: Path, plugins: tuple[str, ...] = (), config_dir: str | None = None, key: str = "run"
) -> Recorded:
    """What is recorded of a run.

    Args:
        key: what the user calls the folder.
        plugins: modules that the user trusts besides the project's own.
        config_dir: --config-dir of today; None takes the recorded one, if that is there.

    Raises:
        UserError: the folder is not that of a run with a model.
    """
    if (folder / REQUEST_FILE).is_file():
        raise UserError(f"{key}={folder}: a sweep, not a run; name one of its jobs, as in {key}={folder / '0'}")
    if not has_record(folder):
        raise UserError(f"{key}={folder}: no run of recsweep (it has no .hydra/config.yaml)")
    check_files(folder)
    record = read_record(folder)
    if scores := describe_given_scores(record.config):
        missing = "without a model of its own that could be trained, evaluated or asked"
        raise UserError(f"{key}={folder}: {scores}, {missing}")
    return Recorded(f"{key}={folder}", record, plugins, config_dir)


def change_settings(origin: Recorded, overrides: Sequence[str]) -> tuple[Recorded, DictConfig]:
    """An earlier run with these overrides, and its checked configuration; `UserError` for a mistake in them.

    One line on stderr says where today's files say something else than the record.
    """
    for override in overrides:
        if key_of(override).startswith(("hydra.", "hydra/")):
            raise UserError(f"{override}: no job is started here; leave it out")
    check_single(overrides)
    origin.print_drift()
    changed = origin.change(overrides)
    return changed, changed.build()
