"""Who runs which trial of a study, where workers come, share it, and die."""

import time
from threading import Event, Thread
from types import TracebackType
from typing import NamedTuple, Self
from uuid import uuid4

from optuna import Study
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

SILENCE = 3  # heartbeats without a sign of life, after which a trial's worker is taken for dead
RELEASED = "released"


class Sign(NamedTuple):
    """A trial's last sign of life, when this process first saw it, and whether it had seen another one before."""

    beat: str | None
    since: float
    moved: bool


def trial_of(study: Study, number: int) -> Trial:
    """The running trial of that number, in whichever process it was begun."""
    return Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


class Crew:
    """This worker among those that share a study, for as long as a `with` block lasts.

    A running trial carries a `beat`, which its worker renews every `seconds`. One whose beat stands still for `SILENCE`
    of them has no worker any more, and whoever notices takes it over: same number, same point, same folder. Clocks of
    different machines are never compared, and no transaction is asked of the storage.
    """

    def __init__(self, study: Study, seconds: float) -> None:
        self.study = study
        self.seconds = seconds
        self.name = uuid4().hex[:8]
        self.mine: dict[int, Trial] = {}
        self.signs: dict[int, Sign] = {}
        self.over = Event()
        self.thread = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self.thread.join()
        for trial in list(self.mine.values()):
            self.leave(trial)

    def _beat(self) -> None:
        count = 0
        while not self.over.wait(self.seconds):
            count += 1
            for trial in list(self.mine.values()):
                _sign(trial, f"{self.name} {count}")

    def begin(self) -> Trial:
        """A new trial, which this worker runs."""
        trial = self.study.ask()
        _sign(trial, f"{self.name} begins")
        self.mine[trial.number] = trial
        return trial

    def leave(self, trial: Trial) -> None:
        """Leaves the trial to the next worker that comes."""
        del self.mine[trial.number]
        _sign(trial, RELEASED)

    def end(self, trial: Trial, values: list[float] | None, state: TrialState | None = None) -> None:
        """Tells the study what became of the trial; without a state it is complete, or failed where a value is NaN."""
        del self.mine[trial.number]
        self.study.tell(trial, values, state, skip_if_finished=True)

    def others(self) -> list[FrozenTrial]:
        """Running trials that are not this worker's, in the order of their numbers."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in trials if trial.number not in self.mine]

    def undecided(self) -> set[int]:
        """The running trials of which it is not known yet whether somebody runs them."""
        return {trial.number for trial in self.others() if not self._seen(trial).moved and not self._orphaned(trial)}

    def orphans(self) -> list[FrozenTrial]:
        """Running trials that nobody runs."""
        return [trial for trial in self.others() if self._orphaned(trial)]

    def _orphaned(self, trial: FrozenTrial) -> bool:
        sign = self._seen(trial)
        return sign.beat == RELEASED or time.monotonic() - sign.since >= SILENCE * self.seconds

    def _seen(self, trial: FrozenTrial) -> Sign:
        beat, known = trial.user_attrs.get("beat"), self.signs.get(trial.number)
        if known is None or known.beat != beat:
            self.signs[trial.number] = Sign(beat, time.monotonic(), known is not None)
        return self.signs[trial.number]

    def take_over(self, orphans: list[FrozenTrial]) -> list[Trial]:
        """Those of the orphans that are now this worker's; others may want them at the same time.

        Fischer's mutual exclusion: of all who sign within a short time the last one's name stays, and after a longer
        time each looks whose it is.
        """
        claim = f"{self.name} claims"
        trials = [trial_of(self.study, orphan.number) for orphan in orphans]
        for trial in trials:
            _sign(trial, claim)
        if trials:
            time.sleep(self.seconds)
        now = self.study.get_trials(deepcopy=False)
        for trial, orphan in zip(trials, orphans, strict=True):
            if now[trial.number].user_attrs["beat"] == claim:
                self.mine[trial.number] = trial
                died = orphan.user_attrs.get("beat") != RELEASED
                trial.set_user_attr("deaths", orphan.user_attrs.get("deaths", 0) + died)
        return [trial for trial in trials if trial.number in self.mine]


def _sign(trial: Trial, beat: str) -> None:
    try:
        trial.set_user_attr("beat", beat)
    except StorageInternalError:  # out of reach for a moment: the next beat may get through
        pass
    except UpdateFinishedTrialError:  # by a worker that had been taken for dead
        pass
