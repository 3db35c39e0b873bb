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
    """Prints the best trial, or the Pareto front, as words to paste, and where the study is kept."""
    address = plan.settings.storage or study.beside(folder)
    found = study.begun(plan.settings.study, address, "none")
    trials = [trial for trial in found.get_trials(deepcopy=False) if trial.number < plan.n_trials]
    states = Counter(STATES[trial.state.name] for trial in trials)
    lines = [f"search {found.study_name}: {', '.join(f'{count} {state}' for state, count in states.items())}"]
    best = found.best_trials if states["completed"] else []
    if len(plan.aims) > 1:
        lines.append(f"Pareto front of {' and '.join(plan.aims)}: {len(best)} trials")
    for trial in best if len(plan.aims) > 1 else best[:1]:
        lines += _pasteable(plan, trial)
    lines.append(f"Study: optuna-dashboard {shlex.quote(study.shown(address))}")
    Console(soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)


def _pasteable(plan: Plan, trial: FrozenTrial) -> list[str]:
    reached = ", ".join(f"{name} {value:.6g}" for name, value in zip(plan.aims, trial.values, strict=True))
    return [f"Trial {trial.number}: {reached}", shlex.join(["recsweep", "train", *plan.space.job(trial.params)])]
