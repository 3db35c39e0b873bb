"""The result of a guided search, printed on the terminal."""

import shlex
from collections import Counter
from pathlib import Path

from optuna.trial import FrozenTrial

from recsweep.parse import name_file
from recsweep.sweeps.plan import Plan
from recsweep.sweeps.study import hide_password, load_study, local_storage
from recsweep.terminal import print_line

STATES = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "not finished"}


def show(plan: Plan, folder: Path) -> None:
    """Prints the best trial or the Pareto front, and how to open the study.

    It adds the command that runs a trial again if the report of this sweep does not show it.
    """
    with name_file(folder / "study.db"):  # somebody else may have written it
        for line in _describe(plan, folder):
            print_line(line)


def _describe(plan: Plan, folder: Path) -> list[str]:
    url = plan.settings.storage or local_storage(folder)
    study = load_study(plan.settings.study, url, "none")
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.number < plan.n_trials]
    states = Counter(STATES[trial.state.name] for trial in trials)
    lines = [f"Search {study.study_name}: {', '.join(f'{count} {state}' for state, count in states.items())}"]
    best = study.best_trials if states["completed"] else []
    if len(plan.objectives) > 1:
        lines.append(f"Pareto front of {' and '.join(plan.objectives)}: {len(best)} trials")
        lines += [line for trial in best for line in (_result(plan, trial), _command(plan, trial))]
    elif best:
        lines.append(f"Best: {_result(plan, best[0])}")
        if not Path(best[0].user_attrs["folder"]).is_relative_to(folder.resolve()):  # another worker ran it
            lines.append(_command(plan, best[0]))
    lines.append(f"Study: optuna-dashboard {shlex.quote(hide_password(url))}")
    return lines


def _result(plan: Plan, trial: FrozenTrial) -> str:
    values = ", ".join(f"{name} {value:.6g}" for name, value in zip(plan.objectives, trial.values, strict=True))
    return f"trial {trial.number}, {values}"


def _command(plan: Plan, trial: FrozenTrial) -> str:
    return shlex.join(["recsweep", "train", *plan.space.job_overrides(trial.params)])
