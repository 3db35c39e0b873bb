"""Guided search: Optuna proposes trials, Hydra's launcher runs them as jobs, the study learns from their metrics."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
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

from recsweep.errors import UserError
from recsweep.runs.callbacks import Pruning
from recsweep.runs.record import write_record
from recsweep.runs.recorded import Recorded
from recsweep.sweeps import jobs
from recsweep.sweeps.plan import Plan, plan_search
from recsweep.sweeps.request import read_request
from recsweep.sweeps.share import cores, n_workers
from recsweep.sweeps.study import hide_password, load_study, local_storage, open_study
from recsweep.sweeps.worker import Worker, load_trial
from recsweep.terminal import print_line

MAX_DEATHS = 3
"""Workers that may die while running a trial before the trial fails."""


def run_search(cfg: DictConfig, loader: ConfigLoader, launcher: Launcher) -> None:
    """Runs the trials that are missing from the search that `hydra.sweeper` and the folder's sweep.json describe."""
    settings = cast(dict[str, Any], OmegaConf.to_container(cfg.hydra.sweeper, resolve=True))
    folder = Path(cfg.hydra.sweep.dir)
    request = read_request(folder)
    assert request.search is not None
    base = Recorded(f"sweep.resume={folder}", request.records[0], is_trusted=True)  # commands/sweep.py has checked it
    plan = plan_search(settings, OverridesParser.create(loader).parse_overrides(request.search), base)
    url = plan.settings.storage or local_storage(folder)
    study = open_study(plan, url)
    if not (folder / "multirun.yaml").exists():
        OmegaConf.save(cfg, folder / "multirun.yaml")
    try:
        Search(plan, base, study, folder, launcher, _batch_size(plan, cfg)).run()
    except StorageInternalError as error:
        raise UserError(f"hydra.sweeper.storage={hide_password(url)}: {str(error).splitlines()[0]}") from None


def pruning_callback(hydra: HydraConf) -> Pruning:
    """The callback that reports a job's epochs to its trial.

    Args:
        hydra: the job's node `hydra`, which every launcher passes on.
    """
    settings = hydra.sweeper
    url = settings.storage or local_storage(Path(hydra.sweep.dir))
    return Pruning(load_trial(load_study(settings.study, url, settings.pruner), settings.trial))


def _batch_size(plan: Plan, cfg: DictConfig) -> int:
    """Trials per call of the launcher: the number of joblib's workers unless the user sets it."""
    return plan.settings.max_batch_size or n_workers(cfg.hydra.launcher.get("n_jobs", 1), cores())


@dataclass(frozen=True)
class Search:
    """This process's part in a guided search.

    Args:
        base: the settings that the trials change.
        folder: of the sweep; trial n has the subfolder n.
        batch_size: trials per call of the launcher.
    """

    plan: Plan
    base: Recorded
    study: Study
    folder: Path
    launcher: Launcher
    batch_size: int

    def run(self) -> None:
        """Runs the missing trials, and waits for those that other workers run."""
        pause = self.plan.settings.heartbeat
        with Worker(self.study, pause) as worker:
            if silent := worker.silent_trials():
                names = ", ".join(map(str, sorted(silent)))
                print_line(f"search: waiting for heartbeats of trials {names}", stderr=True)
            while silent & worker.silent_trials():  # interrupted trials go first, as they did before
                time.sleep(pause / 2)
            while True:
                if batch := self._next_batch(worker):
                    self._run_batch(worker, batch)
                elif any(trial.number < self.plan.n_trials for trial in worker.trials_elsewhere()):
                    time.sleep(pause)
                else:
                    return

    def _next_batch(self, worker: Worker) -> list[Trial]:
        orphans = [trial for trial in worker.orphans() if trial.number < self.plan.n_trials]
        batch = []
        for trial in worker.take_over(orphans[: self.batch_size]):
            if trial.user_attrs["deaths"] < MAX_DEATHS:
                batch.append(trial)
            else:
                folder = self._folder(trial)
                folder.mkdir(parents=True, exist_ok=True)
                jobs.record_failure(folder, UserError(f"{MAX_DEATHS} workers died while running it"))
                self._finish(worker, trial)
        while len(batch) < self.batch_size and len(self.study.get_trials(deepcopy=False)) < self.plan.n_trials:
            trial = worker.start_trial()
            if trial.number >= self.plan.n_trials:  # another worker was faster
                worker.release(trial)
                break
            batch.append(trial)
        return batch

    def _run_batch(self, worker: Worker, batch: list[Trial]) -> None:
        space = self.plan.space
        for trial in batch:
            write_record(self._folder(trial), self.base.change(space.overrides_at(space.suggest(trial))).record)
        overrides_by_job = {trial.number: [f"hydra.sweeper.trial={trial.number}"] for trial in batch}
        jobs.run_jobs(self.launcher, self.folder, overrides_by_job)
        for trial in batch:
            self._finish(worker, trial)

    def _folder(self, trial: Trial) -> Path:
        return self.folder / str(trial.number)

    def _finish(self, worker: Worker, trial: Trial) -> None:
        """Tells the study what the trial's metrics.json says."""
        outcome = jobs.outcome(self._folder(trial)) or {"status": "failed", "error": "ended without metrics.json"}
        trial.set_user_attr("folder", str(self._folder(trial).resolve()))
        if outcome["status"] == "completed":
            worker.finish(trial, [_value(outcome, name) for name in self.plan.objectives])
        else:
            trial.set_user_attr("error", outcome["error"])
            worker.finish(trial, None, TrialState.PRUNED if outcome["status"] == "pruned" else TrialState.FAIL)


def _value(outcome: Mapping[str, Any], objective: str) -> float:
    """The value of an objective in the content of metrics.json."""
    values = {
        **outcome["metrics"],
        "n_parameters": outcome["n_parameters"],
        **{f"seconds/{part}": seconds for part, seconds in outcome["seconds"].items()},
    }
    if objective not in values:
        choices = ", ".join(name for name in values if not name.startswith("test/"))
        raise UserError(f"hydra.sweeper.objectives: {objective}: no such metric; there are {choices}")
    return values[objective]
