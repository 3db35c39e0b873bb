"""What varies between the jobs of a sweep, and the names that say it."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from pydantic import BaseModel, ConfigDict

from recsweep.errors import UserError
from recsweep.parse import name_file, read_json
from recsweep.runs.recorded import key_of
from recsweep.sweeps.request import REQUEST_FILE

MAX_BYTES = 150
"""Of a job's name: a file system takes 255, and a page shows fewer."""

NOT_IN_FILE_NAMES = re.compile(r"[^\w=.,+\-\[\] ]+")
"""Also what a shell or Lightning would expand, such as `$HOME` and `~`."""


class _Asked(BaseModel):
    """What this file takes from a sweep.json."""

    model_config = ConfigDict(strict=True)
    search: list[str] | None
    jobs: list[list[str]]


def read_varied_keys(folder: Path) -> list[str]:
    """Keys that vary between the jobs of the sweep that `folder` is a job of, in the order as typed.

    Of a search: the keys that it searches. None where the folder is no job of a sweep, or its sweep.json is broken.
    """
    path = folder.resolve().parent / REQUEST_FILE
    if not (folder.name.isdigit() and path.is_file()):
        return []
    try:
        with name_file(path):
            asked = _Asked.model_validate(read_json(path))
        return _find_varied_keys(asked)
    except (UserError, HydraException):
        return []


def _find_varied_keys(asked: _Asked) -> list[str]:
    if asked.search is not None:
        overrides = OverridesParser.create().parse_overrides(asked.search)
        return list(dict.fromkeys(o.get_key_element().lstrip("+") for o in overrides if o.is_sweep_override()))
    n_jobs_with = Counter(override for job in asked.jobs for override in set(job))
    overrides_in_order = dict.fromkeys(override for job in asked.jobs for override in job)
    varied = [override for override in overrides_in_order if n_jobs_with[override] < len(asked.jobs)]
    return list(dict.fromkeys(map(key_of, varied)))


def name_job(overrides: Sequence[str], varied_keys: Sequence[str]) -> str:
    """The values of the varied keys in words, `loss=bpr dropout=0.2 seed=1`, as the name of a folder.

    Keys are cut to their last part where that is unambiguous, numbers to four digits, and the whole to `MAX_BYTES`.
    Empty where the job has none of the keys.

    >>> name_job(["data=ml_1m", "loss=bpr", "regularization.dropout=0.2"], ["loss", "regularization.dropout"])
    'loss=bpr dropout=0.2'
    """
    value_by_key = {key_of(override): override.partition("=")[2] for override in overrides}
    last_parts = [key.rpartition(".")[2] for key in varied_keys]
    words = [
        f"{last if last_parts.count(last) == 1 else key}={_shorten(value_by_key[key])}"
        for key, last in zip(varied_keys, last_parts, strict=True)
        if key in value_by_key
    ]
    name = NOT_IN_FILE_NAMES.sub("_", " ".join(words))
    return name.encode()[:MAX_BYTES].decode(errors="ignore").strip(" .")


def _shorten(value: str) -> str:
    """A fraction with four digits; any other value as it is.

    >>> _shorten("0.00123456"), _shorten("123456"), _shorten("'a b'")
    ('0.001235', '123456', 'a b')
    """
    value = value.strip("'\"")
    try:
        return value if value.isdecimal() else f"{float(value):.4g}"
    except ValueError:
        return value
