"""What a guided search came to, on the terminal."""

import shlex
from collections import Counter
from pathlib import Path

from optuna.trial import FrozenTrial
from rich.console import Console

from recsweep.sweeps import study
from recsweep.sweeps.plan import Plan

STATES = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "not finished"}


def show(plan: Plan, folder: Path) -> None:
    """Prints the best trial, or the Pareto front, and where the study is kept.

    Words to paste stand beside it where the report of the sweep's own runs does not give them.
    """
    address = plan.settings.storage or study.beside(folder)
    found = study.begun(plan.settings.study, address, "none")
    trials = [trial for trial in found.get_trials(deepcopy=False) if trial.number < plan.n_trials]
    states = Counter(STATES[trial.state.name] for trial in trials)
    lines = [f"Search {found.study_name}: {', '.join(f'{count} {state}' for state, count in states.items())}"]
    best = found.best_trials if states["completed"] else []
    if len(plan.aims) > 1:
        lines.append(f"Pareto front of {' and '.join(plan.aims)}: {len(best)} trials")
        lines += [line for trial in best for line in (_reached(plan, trial), _again(plan, trial))]
    elif best:
        lines.append(f"Best: {_reached(plan, best[0])}")
        if not Path(best[0].user_attrs["folder"]).is_relative_to(folder.resolve()):  # another worker's
            lines.append(_again(plan, best[0]))
    lines.append(f"Study: optuna-dashboard {shlex.quote(study.shown(address))}")
    Console(soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)


def _reached(plan: Plan, trial: FrozenTrial) -> str:
    values = ", ".join(f"{name} {value:.6g}" for name, value in zip(plan.aims, trial.values, strict=True))
    return f"trial {trial.number}, {values}"


def _again(plan: Plan, trial: FrozenTrial) -> str:
    return shlex.join(["recsweep", "train", *plan.space.job(trial.params)])
