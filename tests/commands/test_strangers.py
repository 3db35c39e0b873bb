"""Runs from strangers: nothing in them runs, and no verb writes outside of the folder that it was given."""

import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from strangers import BANDIT, CANARY, DATA, DOWNLOAD, LOAD, POSITIVES, RANDOM, WORDS_OF_HYDRA, check_home, put, run_verb

from recsweep.errors import UserError
from recsweep.runs import build, recorded
from recsweep.runs.record import read_record
from recsweep.runs.recorded import Recorded
from recsweep.terminal import escape

pytestmark = pytest.mark.xdist_group("commands")


def test_the_canary_sings(theirs: Path) -> None:
    with (theirs / "x.pkl").open("rb") as file:
        pickle.load(file)
    assert CANARY.is_dir()


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
    put(record.config, key, value)
    with pytest.raises(UserError) as error:
        Recorded("run=theirs", record).build()
    assert "\n" not in escape(str(error.value))
    check_home()


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
    built: list[Any] = []
    monkeypatch.setattr(recorded, "check_config", lambda cfg: built.append(OmegaConf.to_container(cfg, resolve=True)))
    monkeypatch.setattr(recorded.Recorded, "_check_downloads", lambda *_: None)
    monkeypatch.setattr(build, "source", lambda _: SimpleNamespace(ready=lambda: True))
    record = read_record(theirs)
    key, value = CACHES[name]
    put(record.config, key, value)
    Recorded("run=theirs", record).build()
    assert "home/cache" not in str(built)
    assert built[0]["paths"]["cache_dir"] == "outputs/cache"


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
    outcome = run_verb("evaluate", "run=theirs")
    assert outcome.status == 0, outcome.err
    outcome = run_verb("train", "run=theirs", "seed=1")
    assert outcome.status == 0, outcome.err
    assert sorted(os.listdir()) == ["conf", "home", "outputs", "theirs"]
