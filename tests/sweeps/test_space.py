"""The space of a search: where the values of a key come from."""

import pytest
from choices import configure, names, node
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from searches import space

from recsweep.config import check_config, compose_with_hydra, conf_dir
from recsweep.errors import UserError

SPACES = sorted(path.stem for path in (conf_dir() / "search").glob("*.yaml"))


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("x=interval(0,2)", FloatDistribution(0.0, 2.0)),
        ("x=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("x=int(interval(8,64))", IntDistribution(8, 64)),
        ("x=int(tag(log,interval(8,64)))", IntDistribution(8, 64, log=True)),
        ("x=range(0,5,2)", IntDistribution(0, 4, step=2)),  # 0, 2, 4
        ("x=range(1,4)", IntDistribution(1, 3)),  # Hydra excludes the end
        ("x=range(4,1,-1)", IntDistribution(2, 4)),
        ("x=range(0.0,1.0,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("x=8,16", CategoricalDistribution(("8", "16"))),
        ("x=choice([64],[64,32],none,[64])", CategoricalDistribution(("[64]", "[64,32]", "none"))),
    ],
)
def test_hydra_syntax_becomes_a_distribution(override: str, distribution: object) -> None:
    assert space(override).distributions == {"x": distribution}


def test_the_last_override_of_a_key_counts() -> None:
    assert space("a=1,2", "b=1", "a=3", "b=interval(0,1)", "~c").fixed == ("a=3", "~c")
    assert list(space("a=1,2", "b=1", "a=3", "b=interval(0,1)").distributions) == ["b"]


@pytest.mark.parametrize(
    "override",
    ["x=interval(2,1)", "x=tag(log,interval(0,1))", "x=range(3,3)", "x=tag(log,range(1,9))", "x=tag(ln,interval(1,2))"],
)
def test_meaningless_ranges_are_refused(override: str) -> None:
    with pytest.raises(UserError, match="x"):
        space(override)


def test_probes_have_both_ends_and_every_choice() -> None:
    probes = space("a=interval(0,1)", "b=u,v,w").probes()
    assert {probe["a"] for probe in probes} == {0.0, 1.0} and {probe["b"] for probe in probes} == {"u", "v", "w"}


def test_a_grid_has_every_combination_once() -> None:
    grid = space("x=5,10,20", "y=range(0.0,2.0,1.0)").grid()
    assert [(point["x"], point["y"]) for point in grid] == [
        ("5", 0.0),
        ("5", 1.0),
        ("10", 0.0),
        ("10", 1.0),
        ("20", 0.0),
        ("20", 1.0),
    ]


def test_every_model_that_trains_has_a_space() -> None:
    """But for the first stages of data=bandit, a policy behind a log, and models without settings."""
    without_space = {"simulator", "logging_policy", "logged_policy"}
    has_settings = {name for name in names("model") if node("model", name).keys() - {"_target_", "_partial_"}}
    assert has_settings - without_space <= set(SPACES) <= set(names("model"))


@pytest.mark.parametrize("name", SPACES)
def test_every_space_composes_at_its_ends_and_choices(name: str) -> None:
    node = compose_with_hydra([f"search={name}"]).hydra
    assert node.runtime.choices.model == name and node.runtime.choices["hydra/sweeper"] == "optuna"
    model_space = space(f"search={name}", *(f"{key}={values}" for key, values in node.sweeper.params.items()))
    for point in model_space.probes():
        check_config(configure(*model_space.job_overrides(point)))
