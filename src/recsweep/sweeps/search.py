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
from omegaconf import DictConfig
from optuna import Study
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, Trial, TrialState

from recsweep.config import resolve
from recsweep.config.files import save_config
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

NO_OUTCOME = {"status": "failed", "error": "it left no metrics.json", "lost_to": "disk"}
MAX_DEATHS = 3
"""Workers that may die while running a trial before the trial fails."""


def run_search(cfg: DictConfig, loader: ConfigLoader, launcher: Launcher) -> None:
    """Runs the trials that are missing from the search that `hydra.sweeper` and the folder's sweep.json describe."""
    settings = cast(dict[str, Any], resolve(cfg.hydra.sweeper))
    folder = Path(cfg.hydra.sweep.dir)
    request = read_request(folder)
    assert request.search is not None
    base = Recorded(f"sweep.resume={folder}", request.records[0], is_trusted=True)  # commands/sweep.py has checked it
    plan = plan_search(settings, OverridesParser.create(loader).parse_overrides(request.search), base)
    url = plan.settings.storage or local_storage(folder)
    if not (folder / "multirun.yaml").exists():
        save_config(cfg, folder / "multirun.yaml")
    try:
        study = open_study(plan, url)
        Search(plan, base, study, folder, launcher, _batch_size(plan, cfg)).run()
    except StorageInternalError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"hydra.sweeper.storage={hide_password(url)}: {reason}") from None


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
        finished_before = self._find_ended_jobs()
        self._repeat_deleted()
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
                    break
        for folder in self._find_ended_jobs() - finished_before:
            if not (folder / jobs.METRICS_FILE).is_file():
                raise UserError(f"{folder}: somebody deleted it while the search ran; the study has its values")

    def _repeat_deleted(self) -> None:
        """Runs completed trials again whose folders in this sweep are deleted; the study keeps their values."""
        deleted = [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if (folder := Path(trial.user_attrs["folder"])).parent == self.folder.resolve()
            and not (folder / jobs.METRICS_FILE).is_file()
        ]
        for start in range(0, len(deleted), self.batch_size):
            batch = deleted[start : start + self.batch_size]
            for trial in batch:
                record = self.base.change(self.plan.space.overrides_at(trial.params)).record
                write_record(self._folder(trial), record)
            jobs.run_jobs(self.launcher, self.folder, {trial.number: [] for trial in batch})

    def _find_ended_jobs(self) -> set[Path]:
        """The folders of the trials that have ended in this search's folder."""
        folders = {Path(trial.user_attrs.get("folder", "")) for trial in self.study.get_trials(deepcopy=False)}
        return {folder for folder in folders if folder.parent == self.folder.resolve()}

    def _next_batch(self, worker: Worker) -> list[Trial]:
        orphans = [trial for trial in worker.orphans() if trial.number < self.plan.n_trials]
        batch = []
        for trial in worker.take_over(orphans[: self.batch_size]):
            if trial.user_attrs["deaths"] < MAX_DEATHS:
                batch.append(trial)
            else:
                folder = self._folder(trial)
                folder.mkdir(parents=True, exist_ok=True)
                reason = f"{MAX_DEATHS} workers died while running it"
                jobs.record_failure(folder, UserError(reason))
                self._finish(worker, trial, {"status": "failed", "error": reason})
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
        outcomes = [jobs.outcome(self._folder(trial)) or NO_OUTCOME for trial in batch]
        for trial, outcome in zip(batch, outcomes, strict=True):
            if "lost_to" not in outcome:
                self._finish(worker, trial, outcome)
        for trial, outcome in zip(batch, outcomes, strict=True):
            if "lost_to" in outcome:  # it stays as it is in the study, to be taken over
                if outcome["lost_to"] == "memory":
                    trial.set_user_attr("deaths", trial.user_attrs.get("deaths", 0) + 1)
                raise UserError(
                    f"trial {trial.number} of the search ended through no fault of its own ({outcome['error']}); "
                    f"recsweep train sweep.resume={self.folder} takes it up again"
                )

    def _folder(self, trial: Trial | FrozenTrial) -> Path:
        return self.folder / str(trial.number)

    def _finish(self, worker: Worker, trial: Trial, outcome: Mapping[str, Any]) -> None:
        """Tells the study what the trial's metrics.json says."""
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
