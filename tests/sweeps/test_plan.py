"""The plan of a search: its objectives, and mistakes, each of which is refused in one line."""

import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from searches import EASE, L2, search
from shell import recsweep

from recsweep.config import compose_with_hydra
from recsweep.runs.record import Record, freeze
from recsweep.runs.recorded import Recorded, compose_today
from recsweep.sweeps.plan import Plan, plan_search
from recsweep.sweeps.study import local_storage, open_study


def plan(model: str, *hydra_overrides: str) -> Plan:
    """The plan of a search over the seed of a model."""
    node = compose_with_hydra([f"model={model}", "hydra/sweeper=optuna", *hydra_overrides]).hydra.sweeper
    overrides = OverridesParser.create().parse_overrides([f"model={model}", "seed=0,1"])
    cfg, choices = compose_today([f"model={model}", "seed=0"])
    record = Record(config=freeze(cfg), choices=choices, overrides=[f"model={model}", "seed=0"], cwd="/")
    return plan_search(OmegaConf.to_container(node, resolve=True), overrides, Recorded("the search", record))


@pytest.mark.parametrize(
    ("model", "objectives", "directions"),
    [
        ("ease", "null", {"val/ndcg@10": "maximize"}),
        ("means", "null", {"val/mse": "minimize"}),
        ("means", "[val/mae,val/mse]", {"val/mae": "minimize", "val/mse": "minimize"}),
        ("ease", "[val/mrr,seconds/fit]", {"val/mrr": "maximize", "seconds/fit": "minimize"}),
        ("ease", "[val/beyond/gini@10,val/mrr]", {"val/beyond/gini@10": "minimize", "val/mrr": "maximize"}),
    ],
)
def test_objectives_have_their_metrics_direction(
    model: str, objectives: str, directions: dict[str, str], tmp_path: Path
) -> None:
    """In the plan and in the study."""
    search_plan = plan(model, f"hydra.sweeper.objectives={objectives}")
    assert search_plan.objectives == directions
    study = open_study(search_plan, local_storage(tmp_path))
    assert [direction.name.lower() for direction in study.directions] == list(directions.values())
    assert study.metric_names == list(directions)


MISTAKES = {
    "sampler": ((L2, "hydra.sweeper.sampler=cmaes"), "hydra.sweeper.sampler=cmaes: it should be 'tpe', 'gp', 'random'"),
    "trials": ((L2, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0: it should be greater than or equal to 1"),
    "no space": ((), "nothing to search: give search=NAME"),
    "grid of an interval": ((L2, "hydra.sweeper.sampler=grid"), "model.l2: a grid needs listed values"),
    "grid too large": (("model.l2=range(1,100)", "hydra.sweeper.sampler=grid"), "the grid has 99 points"),
    "test": ((L2, "hydra.sweeper.objectives=[test/ndcg@10]"), "test/ndcg@10: an objective is val/… (never test/…)"),
    "no such metric": ((L2, "hydra.sweeper.objectives=[val/ndgc@10]"), "val/ndgc@10: no such metric; there are val/"),
    "evaluation": (("evaluation=full_ranking,sampled_99",), "evaluation cannot be searched"),
    "split": (("split.seed=0,1",), "split.seed cannot be searched"),
    "data": (("data=synthetic,ml_100k",), "data cannot be searched"),
    "evaluation of models": (("model=ease,means",), "a search must not change evaluation"),
    "range of a key": (("model.l2=interval(-1,1)",), "model.l2=-1.0: it should be greater than"),
    "key": (("model.l3=interval(1,2)",), "model.l3"),
    "interval": (("model.l2=interval(2,1)",), "model.l2=interval(2,1)"),
    "pruner of two": (
        (L2, "hydra.sweeper.objectives=[val/ndcg@10,n_parameters]", "hydra.sweeper.pruner=median"),
        "hydra.sweeper.pruner=median: pruning needs a single objective",
    ),
    "storage": ((L2, "hydra.sweeper.storage=postgresql+psycopg://nobody@127.0.0.1:1/none"), "127.0.0.1"),
    "folder": ((L2, "hydra.sweeper.storage=sqlite:////nowhere/study.db"), "unable to open database file"),
    "address": ((L2, "hydra.sweeper.storage=study.db"), "not an SQLAlchemy URL"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(tmp_path: Path, mistake: str) -> None:
    overrides, message = MISTAKES[mistake]
    outcome = search(tmp_path, *EASE, *overrides, "hydra.sweeper.n_trials=2" if mistake != "trials" else "seed=0")
    assert outcome.status == 2 and message in outcome.err, outcome.err
    assert len(outcome.err.splitlines()) == 1 and "Traceback" not in outcome.err
    assert mistake == "no such metric" or not any(tmp_path.iterdir())


def test_intervals_need_a_search(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "-m", *EASE[:-1], L2)
    assert outcome.status == 2 and "hydra/sweeper=optuna" in outcome.err


def test_a_search_without_m_is_refused(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "search=ease", *EASE[1:-1])
    assert outcome.status == 2 and "model.l2" in outcome.err and "-m" in outcome.err
    assert recsweep(tmp_path, "train", "search=ease", *EASE[1:-1], "model.l2=3.0").status == 0


def test_without_optuna_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "recsweep.sweeps.study")
    monkeypatch.delattr("recsweep.sweeps.study")
    outcome = recsweep(tmp_path, "train", "-m", "search=ease")
    assert outcome == (2, "", "recsweep: a guided search needs Optuna: pip install 'recsweep[search]'\n")
    assert not list(tmp_path.iterdir())
