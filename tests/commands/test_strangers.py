"""Folders from strangers: nothing in them runs, and no verb writes outside of the folder that it was given."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import yaml
from omegaconf import OmegaConf
from shell import Outcome, recsweep

from recsweep.errors import UserError
from recsweep.runs import recorded
from recsweep.runs.record import read_record
from recsweep.runs.recorded import Recorded
from recsweep.terminal import escape

pytestmark = pytest.mark.xdist_group("commands")

CANARY = Path("home", "canary")  # relative to the folder in which the test works
LOAD = {"_target_": "pandas.read_pickle", "filepath_or_buffer": "theirs/x.pkl"}
DOWNLOAD = {"_target_": "recsweep.data.movielens.ML100K", "folder": "home/ml", "duplicates": "error"}
DATA = {  # reads when it is built
    "_target_": "recsweep.data.datamodules.InteractionData",
    "source": DOWNLOAD,
    "split": {"_target_": "recsweep.data.splits.Rows", "shares": [3, 1, 1], "cold_users": "keep"},
    **{"batch_size": 1, "steps": 1, "limit": None, "seed": 0, "shuffle": "rows"},
}
RANDOM = {"_target_": "recsweep.data.splits.Random", "val_fraction": 0.1, "test_fraction": 0.1, "cold_users": DOWNLOAD}
BANDIT = {"_target_": "recsweep.models.two_stage.bandit.Bandit", "base": DOWNLOAD, "cache": "home/cache"}
POSITIVES = {"_target_": "recsweep.data.positives.Positives", "above": 3}


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(CANARY),)


@pytest.fixture
def theirs(means_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's run, in a folder beside one that holds a file of the user's; the test works above both."""
    shutil.copytree(means_run, tmp_path / "theirs")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "victim").write_text("mine\n")
    with (tmp_path / "theirs" / "x.pkl").open("wb") as file:
        pickle.dump(_Bomb(), file)
    monkeypatch.setattr(requests, "get", lambda *_, **__: (tmp_path / CANARY).mkdir())
    monkeypatch.chdir(tmp_path)
    return Path("theirs")


def _check_home() -> None:
    assert os.listdir("home") == ["victim"] and Path("home", "victim").read_text() == "mine\n"


def test_the_canary_sings(theirs: Path) -> None:
    with (theirs / "x.pkl").open("rb") as file:
        pickle.load(file)
    assert CANARY.is_dir()


def _put(config: dict[str, Any], key: str, value: Any) -> None:
    """Sets `a.b.c` in a tree of plain dictionaries."""
    *parents, last = key.split(".")
    node = config
    for name in parents:
        node = node[name] if isinstance(node.get(name), dict) else node.setdefault(name, {})
    node[last] = value


TARGETS: dict[str, tuple[str, Any]] = {
    **{f"{group} a function": (group, LOAD) for group in ("model", "loss", "data", "split", "evaluation")},
    **{f"{group} a function": (group, LOAD) for group in ("optimizer", "scheduler", "trainer", "callbacks", "logger")},
    "regularization": ("regularization.dropout", LOAD),
    "a new group": ("theirs", LOAD),
    "hydra": ("hydra", {"callbacks": {"x": LOAD}}),
    "deep": ("data.a.b.c.d", LOAD),
    "in a list": ("model.x", [LOAD]),
    "in a list of lists": ("model.x", [[1, [LOAD]]]),
    "in a list's mapping": ("callbacks.compare_with", [{"model": "means", "x": {"y": LOAD}}]),
    "base without target": ("data", {**POSITIVES, "base": {"y": LOAD}}),
    "partial": ("data.x", {**LOAD, "_partial_": True}),
    "joblib": ("data.x", {"_target_": "joblib.load", "filename": "theirs/x.pkl"}),
    "numpy": ("data.x", {"_target_": "numpy.load", "file": "theirs/x.pkl", "allow_pickle": True}),
    "torch": ("data.x", {"_target_": "torch.load", "f": "theirs/x.pkl", "weights_only": False}),
    "hub": ("data.x", {"_target_": "torch.hub.load", "repo_or_dir": "theirs", "model": "x", "source": "local"}),
    "a file": ("data.x", {"_target_": "pathlib.Path.write_text", "self": "home/victim", "data": "x"}),
    "a log": ("data.x", {"_target_": "logging.FileHandler", "filename": "home/canary"}),
    "os": ("data.x", {"_target_": "os.mkdir", "path": "home/canary"}),
    "builtins": ("data.x", {"_target_": "builtins.eval", "_args_": ["1"]}),
    "hydra's get": ("data.x", {"_target_": "hydra.utils.instantiate", "config": LOAD}),
    "pandas in a module": ("data.x", {**LOAD, "_target_": "recsweep.data.files.pd.read_pickle"}),
    "torch in a module": ("loss", {"_target_": "recsweep.losses.rating.torch.load", "f": "theirs/x.pkl"}),
    "a helper": ("data.x", {"_target_": "recsweep.data.download.fetch", "folder": "home/ml"}),
    "commands": ("data.x", {"_target_": "recsweep.commands.train.run", "arguments": []}),
    "atomic": ("data.x", {"_target_": "recsweep.atomic.write_json", "path": "home/canary", "content": {}}),
    "classmethod": ("model", {"_target_": "recsweep.models.base.RecModule.load_from_checkpoint", "_partial_": True}),
    "method": ("data.x", {"_target_": "recsweep.data.movielens.ML100K.read", "self": DOWNLOAD}),
    "optimizer's method": ("optimizer", {"_target_": "torch.optim.Optimizer.load_state_dict"}),
    "torch in optim": ("optimizer", {"_target_": "torch.optim.optimizer.torch.load", "f": "theirs/x.pkl"}),
    "loader of optimizers": ("optimizer", {"_target_": "pytorch_optimizer.load_optimizer", "optimizer": "adamw"}),
    "prefix": ("model._target_", "recsweep.models_evil.Model"),
    "empty": ("model._target_", ""),
    "null": ("model._target_", None),
    "number": ("model._target_", 1),
    "list": ("model._target_", ["pandas.read_pickle"]),
    "interpolated target": ("model._target_", "${loss._target_}"),
    "half interpolated": ("model._target_", "pandas.${name}"),
    "spaces": ("model._target_", " pandas.read_pickle"),
    "relative": ("model._target_", "recsweep.models..base"),
    "dunder": ("model._target_", "recsweep.models.base.__builtins__.eval"),
    "args": ("model._args_", ["x"]),
    "recursive": ("model._recursive_", False),
    "convert": ("model._convert_", "none"),
    "partial text": ("model._partial_", "true"),
    "in a group of lists": ("data.base", {**POSITIVES, "base": [DATA]}),
    "environment": ("model.x", "${oc.env:HOME}"),
    "nested resolver": ("model.x", "${${name}:HOME}"),
    "split resolver": ("model.x", "${oc.${name}:HOME}"),
    "resolver in a list": ("model.x", ["${oc.${name}\t:HOME}"]),
    "now": ("name", "${now:%Y}"),
    "name": ("name", "../../home/canary"),
    "name with a line": ("name", "x\n"),
    "download": ("data", DOWNLOAD),
    "download below": ("data", {**POSITIVES, "base": DOWNLOAD}),
    "download by ..": ("data", {**DOWNLOAD, "folder": "${paths.data_dir}/../home/ml"}),
    "download by a check": ("split.seed", DATA),
    "download without target": ("data", {**POSITIVES, "base": {"y": DATA}}),
    "download by a reference": ("split", {**RANDOM, "seed": {**DATA, "source": "${split.cold_users}"}}),
    "download by a model": ("model.source", DOWNLOAD),
    "date": ("model.x", yaml.safe_load("2020-01-01")),
    "set": ("model.x", {1, 2}),
    "null key": ("model.x", {None: 1}),
    "bad reference": ("model.x", "${"),
    "endless reference": ("seed", "${seed}"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_record_may_not_say(name: str, theirs: Path) -> None:
    key, value = TARGETS[name]
    record = read_record(theirs)
    _put(record.config, key, value)
    with pytest.raises(UserError) as error:
        Recorded("run=theirs", record).build()
    assert "\n" not in escape(str(error.value))
    _check_home()


CACHES: dict[str, tuple[str, Any]] = {
    "paths": ("paths.cache_dir", "home/cache"),
    "data": ("data", BANDIT),
    "a reference": ("data", {**BANDIT, "cache": "${name}"}),
    "below": ("data", {**POSITIVES, "base": BANDIT}),
    "without target": ("data", {**POSITIVES, "base": {"y": BANDIT}}),
    "a model": ("model.source", BANDIT),
    "a key with a point": ("data", {"a.b": BANDIT}),
    "a split": ("split.seed", {**DATA, "source": BANDIT}),
}


@pytest.mark.parametrize("name", CACHES)
def test_a_record_does_not_choose_the_cache(
    name: str, theirs: Path, means_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[dict[str, Any]] = []
    monkeypatch.setattr(recorded, "check_config", lambda cfg: built.append(OmegaConf.to_container(cfg, resolve=True)))
    monkeypatch.setattr(recorded.Recorded, "_check_downloads", lambda *_: None)
    monkeypatch.setattr(recorded.build, "source", lambda _: SimpleNamespace(ready=lambda: True))
    record = read_record(theirs)
    key, value = CACHES[name]
    _put(record.config, key, value)
    Recorded("run=theirs", record).build()
    assert "home/cache" not in str(built)
    assert built[0]["paths"]["cache_dir"] == "outputs/cache"


WORDS_OF_HYDRA = {
    "callback": "+hydra.callbacks.x={_target_:pandas.read_pickle,filepath_or_buffer:theirs/x.pkl}",
    "callback of a file": "+hydra.callbacks.x={_target_:logging.FileHandler,filename:home/canary}",
    "handler": "+hydra.job_logging.handlers.x={class:logging.FileHandler,filename:home/canary}",
    "run folder": "hydra.run.dir=home",
    "sweep folder": "hydra.sweep.dir=home",
    "output folder": "hydra.output_subdir=../home",
    "search path": "hydra.searchpath=[file://conf]",
    "package": "hydra.searchpath=[pkg://theirs]",
    "launcher": "hydra/launcher=submitit_local",
    "launcher's setup": "hydra.launcher.setup=[touch home/canary]",
    "sweeper": "hydra.sweeper.storage=sqlite:///home/canary",
    "environment": "hydra.job.env_set.HOME=home",
    "plugins": "plugins=pandas",
    "flag": "--config-dir=conf",
    "cache": "paths.cache_dir=home/cache",
}
OWN_WORDS = {"a group's package": "+model@hydra.callbacks.x=means", "experiment": "+experiment=theirs"}
MISTAKES = {
    "target": "+model.x={_target_:pandas.read_pickle,filepath_or_buffer:theirs/x.pkl}",
    "path": "model=../../theirs/model",
    "a deep value": f"model.x={'[' * 3000}",
    "not Hydra's": "\x1b]0;x\x07=}{",
}


@pytest.mark.parametrize("words", [WORDS_OF_HYDRA, OWN_WORDS, MISTAKES], ids=["Hydra's", "ours", "mistakes"])
def test_words_of_a_record_are_data(words: dict[str, str], theirs: Path) -> None:
    Path("conf", "experiment").mkdir(parents=True)
    callback = {"hydra": {"callbacks": {"x": LOAD}, "run": {"dir": "home"}}}
    Path("conf", "experiment", "theirs.yaml").write_text("# @package _global_\n" + yaml.dump(callback))
    path = theirs / ".hydra" / "overrides.yaml"
    path.write_text(yaml.dump([*yaml.safe_load(path.read_text()), *words.values()]))
    path = theirs / ".hydra" / "hydra.yaml"
    hydra = yaml.safe_load(path.read_text())
    hydra["hydra"]["callbacks"] = {"x": LOAD}
    hydra["hydra"]["runtime"] |= {"cwd": str(Path.cwd()), "config_dir": "conf"}
    path.write_text(yaml.dump(hydra))
    outcome = _run("evaluate", "run=theirs")
    assert outcome.status == 0, outcome.err
    outcome = _run("train", "run=theirs", "seed=1")
    assert outcome.status == 0, outcome.err
    assert sorted(os.listdir()) == ["conf", "home", "outputs", "theirs"]


def _run(*arguments: str) -> Outcome:
    """What a verb says, once its home is as it was, and a refusal is one line."""
    outcome = recsweep(Path.cwd(), *arguments)
    _check_home()
    assert outcome.status in (0, 2)
    if outcome.status == 2:
        assert outcome.err.splitlines()[-1].startswith("recsweep: ") and "Traceback" not in outcome.err
    return outcome
