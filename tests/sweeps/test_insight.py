"""Which settings of a search mattered, and whether its best lies at an end of its space."""

from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from searches import space

from recsweep.sweeps.insight import Insight, describe_edge, describe_search
from recsweep.sweeps.study import local_storage

RANGES = {"lr": FloatDistribution(0, 1), "dropout": FloatDistribution(0, 1)}


def write_study(folder: Path, n_trials: int, n_objectives: int = 1) -> None:
    """Trials on a grid whose objective is lr alone."""
    study = optuna.create_study(study_name="s", storage=local_storage(folder), directions=["maximize"] * n_objectives)
    for number in range(n_trials):
        params = {"lr": number / n_trials, "dropout": number * 7 % n_trials / n_trials}
        values = [params["lr"]] * n_objectives
        study.add_trial(create_trial(params=params, distributions=RANGES, values=values))


def test_the_setting_that_matters_comes_first(tmp_path: Path) -> None:
    write_study(tmp_path, 30)
    shares, edges, is_log = describe_search(tmp_path)
    assert is_log == {key: values.log for key, values in RANGES.items()}
    assert next(iter(shares)) == "lr" and shares["lr"] > 0.6
    assert sum(shares.values()) == 1
    assert edges == ["lr=0.9667 is at the upper end of what was searched, 0 to 1"]  # 29/30; dropout is 7 · 29 % 30 / 30


def test_a_few_trials_and_several_objectives_have_none(tmp_path: Path) -> None:
    for number, arguments in enumerate(((5,), (20, 2))):
        (tmp_path / str(number)).mkdir()
        write_study(tmp_path / str(number), *arguments)
        assert describe_search(tmp_path / str(number))[0] == {}


def test_a_file_that_is_no_study_has_none(tmp_path: Path) -> None:
    for content in (b"", b"no database" * 500):
        (tmp_path / "study.db").write_bytes(content)
        assert describe_search(tmp_path) == Insight()


@pytest.mark.parametrize(
    ("override", "value", "end"),
    [
        ("x=interval(0,2)", 1.95, "upper"),  # the last twentieth begins at 1.9
        ("x=interval(0,2)", 1.85, None),
        ("x=interval(0,2)", 0.05, "lower"),
        ("x=interval(0,2)", 0.0, None),  # nothing lies below 0
        ("x=tag(log,interval(1e-4,1))", 1.4e-4, "lower"),  # a twentieth of four decades ends at 1.58e-4
        ("x=tag(log,interval(1e-4,1))", 1.7e-4, None),
        ("x=int(interval(8,64))", 64, "upper"),
        ("x=int(interval(8,64))", 12, None),
        ("x=range(1,4)", 1, "lower"),
        ("x=8,32,16", "32", "upper"),
        ("x=8,32,16", "16", None),
        ("x=8,16", "16", None),  # of two numbers each is an end
        ("x=bpr,mse,bce", "bpr", None),
        ("x=choice([64],[64,32],none)", "none", None),
        ("x=interval(3,3)", 3.0, None),
    ],
)
def test_a_value_at_an_end_of_the_space_is_named(override: str, value: object, end: str | None) -> None:
    sentence = describe_edge("x", space(override).distributions["x"], value)
    assert sentence.split(" of what")[0] == (f"x={value} is at the {end} end" if end else "")
