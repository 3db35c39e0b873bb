"""Guided search: Optuna proposes the jobs, Hydra's launcher runs them, their metrics.json says what they came to."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from optuna import Study
from optuna.exceptions import StorageInternalError
from optuna.trial import Trial, TrialState
from rich.console import Console

from recsweep.errors import UserError
from recsweep.runs.callbacks import Pruning
from recsweep.sweeps import jobs, study
from recsweep.sweeps.crew import Crew, trial_of
from recsweep.sweeps.plan import Plan, planned
from recsweep.sweeps.share import cores, workers

DEATHS = 3
"""Workers that a trial may take with it."""


def run(words: list[str], cfg: DictConfig, loader: ConfigLoader, launcher: Launcher) -> None:
    """Makes what is missing of the search that `hydra.sweeper` and the words ask for."""
    settings = cast(dict[str, Any], OmegaConf.to_container(cfg.hydra.sweeper, resolve=True))
    overrides = OverridesParser.create(loader).parse_overrides(words)
    plan = planned(settings, overrides, partial(loader.load_sweep_config, cfg))
    folder = Path(cfg.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    address = plan.settings.storage or study.beside(folder)
    opened = study.opened(plan, address)
    OmegaConf.save(cfg, folder / "multirun.yaml")
    try:
        Search(plan, opened, folder, launcher, _at_once(plan, cfg)).run()
    except StorageInternalError as error:
        raise UserError(f"hydra.sweeper.storage={study.shown(address)}: {str(error).splitlines()[0]}") from None


def pruning(hydra: HydraConf) -> Pruning:
    """What reports the epochs of a running job to its trial.

    Args:
        hydra: the job's node `hydra`, which every launcher hands on.
    """
    asked = hydra.sweeper
    address = asked.storage or study.beside(Path(hydra.sweep.dir))
    return Pruning(trial_of(study.begun(asked.study, address, asked.pruner), asked.trial))


def _at_once(plan: Plan, cfg: DictConfig) -> int:
    """Trials that the launcher is given at a time: as many as joblib has workers, where the user does not say."""
    return plan.settings.max_batch_size or workers(cfg.hydra.launcher.get("n_jobs", 1), cores())


@dataclass(frozen=True)
class Search:
    """A search at work.

    Args:
        folder: of the sweep; trial n has its folder n there.
        at_once: trials that the launcher is given at a time.
    """

    plan: Plan
    study: Study
    folder: Path
    launcher: Launcher
    at_once: int

    def run(self) -> None:
        """Makes the trials that are missing, and waits for those that other workers make."""
        pause = self.plan.settings.heartbeat
        with Crew(self.study, pause) as crew:
            if undecided := crew.undecided():
                _say(f"search: waiting for signs of life of trials {', '.join(map(str, sorted(undecided)))}")
            while undecided & crew.undecided():  # what was interrupted comes first, as it did before
                time.sleep(pause / 2)
            while True:
                if batch := self._batch(crew):
                    self._make(crew, batch)
                elif any(trial.number < self.plan.n_trials for trial in crew.others()):
                    time.sleep(pause)
                else:
                    return

    def _batch(self, crew: Crew) -> list[Trial]:
        orphans = [trial for trial in crew.orphans() if trial.number < self.plan.n_trials]
        batch = []
        for trial in crew.take_over(orphans[: self.at_once]):
            if trial.user_attrs["deaths"] < DEATHS:
                batch.append(trial)
            else:
                folder = self._folder(trial)
                folder.mkdir(parents=True, exist_ok=True)
                jobs.fail(folder, UserError(f"{DEATHS} workers died over it"))
                self._tell(crew, trial)
        while len(batch) < self.at_once and len(self.study.get_trials(deepcopy=False)) < self.plan.n_trials:
            trial = crew.begin()
            if trial.number >= self.plan.n_trials:  # another worker was faster
                crew.leave(trial)
                break
            batch.append(trial)
        return batch

    def _make(self, crew: Crew, batch: list[Trial]) -> None:
        asked = {
            trial.number: [*self.plan.space.job(self.plan.space.point(trial)), f"hydra.sweeper.trial={trial.number}"]
            for trial in batch
        }
        jobs.made(self.launcher, self.folder, asked)
        for trial in batch:
            self._tell(crew, trial)

    def _folder(self, trial: Trial) -> Path:
        return self.folder / str(trial.number)

    def _tell(self, crew: Crew, trial: Trial) -> None:
        found = jobs.outcome(self._folder(trial)) or {"status": "failed", "error": "ended without metrics.json"}
        trial.set_user_attr("folder", str(self._folder(trial).resolve()))
        if found["status"] == "completed":
            crew.end(trial, [_value(found, name) for name in self.plan.aims])
        else:
            trial.set_user_attr("error", found["error"])
            crew.end(trial, None, TrialState.PRUNED if found["status"] == "pruned" else TrialState.FAIL)


def _say(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(line, markup=False, highlight=False)


def _value(found: Mapping[str, Any], name: str) -> float:
    """A metric of what metrics.json says."""
    known = {
        **found["metrics"],
        "n_parameters": found["n_parameters"],
        **{f"seconds/{part}": seconds for part, seconds in found["seconds"].items()},
    }
    if name not in known:
        there = ", ".join(key for key in known if not key.startswith("test/"))
        raise UserError(f"hydra.sweeper.objectives: {name}: no such metric; there are {there}")
    return known[name]
