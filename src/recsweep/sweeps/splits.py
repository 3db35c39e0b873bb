"""The data of a sweep before it starts: what cannot be read or split is found before the first job."""

import json
from collections.abc import Iterable

import torch
from omegaconf import DictConfig, OmegaConf

from recsweep.config import resolve
from recsweep.runs import build
from recsweep.runs.record import Record
from recsweep.sweeps.share import cores


def check_splits(records: Iterable[Record]) -> None:
    """Reads the data sets of the jobs that are on disk, each once, and splits them in every way that a job does.

    It takes as many threads as a job: `data=bandit` trains models of its own, and with a thread a core that took
    minutes instead of seconds on a busy machine.

    Raises:
        UserError: for the first one that cannot be read or split.
    """
    jobs: dict[str, dict[str, DictConfig]] = {}
    for record in records:
        cfg = OmegaConf.create(record.config)
        assert isinstance(cfg, DictConfig)
        jobs.setdefault(_key(cfg, "data", "filter"), {})[_key(cfg, "split")] = cfg
    for cfgs in jobs.values():
        first = next(iter(cfgs.values()))
        torch.set_num_threads(min(first.trainer.threads, cores()))
        source = build.source(first)
        if source.ready():
            data = source.read()
            for cfg in cfgs.values():
                build.split(cfg)(data, source)


def _key(cfg: DictConfig, *groups: str) -> str:
    """Equal where the groups hold the same values."""
    return json.dumps([resolve(cfg[group]) for group in groups if cfg.get(group) is not None])
