"""Workers that share a study: who runs which trial, and who takes over when a worker dies."""

import time
from threading import Event, Thread
from types import TracebackType
from typing import NamedTuple, Self
from uuid import uuid4

from optuna import Study
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

MISSED_BEATS = 3  # heartbeats that a trial may miss before its worker counts as dead
RELEASED = "released"


class Heartbeat(NamedTuple):
    """The latest heartbeat of a trial, as this process saw it.

    Args:
        text: the trial's attribute `beat`.
        first_seen: by `time.monotonic()`.
        has_changed: whether this process has seen the text change, which proves that a worker is alive.
    """

    text: str | None
    first_seen: float
    has_changed: bool


def load_trial(study: Study, number: int) -> Trial:
    """The running trial of that number, whichever process started it."""
    return Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


class Worker:
    """One of the workers that share a study, for the duration of a `with` block.

    A running trial has an attribute `beat`, which its worker rewrites every `seconds`. If it stays the same for
    `MISSED_BEATS` times as long, the trial is an orphan, and a worker that notices takes it over: same number, same
    point. Clocks of different machines are never compared, and the storage needs no transactions.

    Args:
        seconds: between heartbeats; also the pause after a claim, see `take_over`.
    """

    def __init__(self, study: Study, seconds: float) -> None:
        self.study = study
        self.seconds = seconds
        self.name = uuid4().hex[:8]
        self.trials: dict[int, Trial] = {}
        self.heartbeats: dict[int, Heartbeat] = {}
        self.stop = Event()
        self.thread = Thread(target=self._send_heartbeats, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.thread.join()
        for trial in list(self.trials.values()):
            self.release(trial)

    def _send_heartbeats(self) -> None:
        count = 0
        while not self.stop.wait(self.seconds):
            count += 1
            for trial in list(self.trials.values()):
                _write_heartbeat(trial, f"{self.name} {count}")

    def start_trial(self) -> Trial:
        """A new trial, which this worker runs."""
        trial = self.study.ask()
        _write_heartbeat(trial, f"{self.name} begins")
        self.trials[trial.number] = trial
        return trial

    def release(self, trial: Trial) -> None:
        """Gives the trial up; any worker may take it over at once."""
        del self.trials[trial.number]
        _write_heartbeat(trial, RELEASED)

    def finish(self, trial: Trial, values: list[float] | None, state: TrialState | None = None) -> None:
        """Tells the study the trial's result; without a state it is complete, or failed if a value is NaN."""
        del self.trials[trial.number]
        self.study.tell(trial, values, state, skip_if_finished=True)

    def trials_elsewhere(self) -> list[FrozenTrial]:
        """Running trials that this worker does not run, in the order of their numbers."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in trials if trial.number not in self.trials]

    def silent_trials(self) -> set[int]:
        """Numbers of running trials of which nothing is known yet: no heartbeat has come, but they are no orphans."""
        return {
            trial.number
            for trial in self.trials_elsewhere()
            if not self._latest_heartbeat(trial).has_changed and not self._is_orphan(trial)
        }

    def orphans(self) -> list[FrozenTrial]:
        """Running trials that no worker runs."""
        return [trial for trial in self.trials_elsewhere() if self._is_orphan(trial)]

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        heartbeat = self._latest_heartbeat(trial)
        return heartbeat.text == RELEASED or time.monotonic() - heartbeat.first_seen >= MISSED_BEATS * self.seconds

    def _latest_heartbeat(self, trial: FrozenTrial) -> Heartbeat:
        text, before = trial.user_attrs.get("beat"), self.heartbeats.get(trial.number)
        if before is None or before.text != text:
            self.heartbeats[trial.number] = Heartbeat(text, time.monotonic(), has_changed=before is not None)
        return self.heartbeats[trial.number]

    def take_over(self, orphans: list[FrozenTrial]) -> list[Trial]:
        """Claims the orphans, and returns those that this worker got; others may claim them at the same time.

        This is Fischer's mutual exclusion: write a claim, wait for `seconds`, and go ahead if the claim is still
        there. Of several claims the last one wins.

        It assumes that every claim reaches the storage less than `seconds` (the shortest of all workers' counts) after
        its worker saw the orphan. With a slower storage, two workers may run the same trial. If they share the sweep's
        folder, the job's lock lets the second one wait, and it finds the job completed, or starts it over if it failed
        or was pruned; in folders of their own both run it, at the same point. The study keeps the first result; the
        second worker's search ends with an error, `UpdateFinishedTrialError`, and can be resumed. The same happens
        when a worker that was only suspended comes back after its trial was taken over.
        """
        claim = f"{self.name} claims"
        claimed = [load_trial(self.study, orphan.number) for orphan in orphans]
        for trial in claimed:
            _write_heartbeat(trial, claim)
        if claimed:
            time.sleep(self.seconds)
        trials = self.study.get_trials(deepcopy=False)
        for trial, orphan in zip(claimed, orphans, strict=True):
            if trials[trial.number].user_attrs["beat"] == claim:
                self.trials[trial.number] = trial
                has_died = orphan.user_attrs.get("beat") != RELEASED
                trial.set_user_attr("deaths", orphan.user_attrs.get("deaths", 0) + has_died)
        return [trial for trial in claimed if trial.number in self.trials]


def _write_heartbeat(trial: Trial, text: str) -> None:
    try:
        trial.set_user_attr("beat", text)
    except StorageInternalError:  # out of reach for a moment: the next heartbeat may get through
        pass
    except UpdateFinishedTrialError:  # by a worker that took the trial over
        pass
