"""Folders from strangers: nothing in them runs, and no verb writes outside of the folder that it was given."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import torch
import yaml
from omegaconf import OmegaConf
from shell import TINY, Outcome, recsweep

from recsweep.commands import sweep
from recsweep.data.sheet import check_exists
from recsweep.errors import UserError
from recsweep.runs import recorded
from recsweep.runs.record import read_record
from recsweep.runs.recorded import Recorded
from recsweep.terminal import escape
from recsweep.vectors.export import load_vectors

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


@pytest.fixture(scope="session")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unfinished grid and an unfinished search."""
    folder = tmp_path_factory.mktemp("sweeps")
    for name, words in (("grid", ["seed=0,1"]), ("search", ["search=means", "hydra.sweeper.n_trials=1"])):
        outcome = recsweep(folder, "train", "-m", *TINY, "model=means", *words, f"hydra.sweep.dir={name}")
        assert outcome.status == 0, outcome.err
        (folder / name / "0" / "metrics.json").unlink()
    return folder


def _edit(path: Path, *changes: tuple[str, Any]) -> None:
    content = json.loads(path.read_text())
    for key, value in changes:
        _put(content, key, value)
    path.write_text(json.dumps(content))


REFUSED_SWEEPS: dict[str, list[tuple[str, Any]]] = {
    "target": [("record.config.data.x", LOAD)],
    "target of a job": [("differences", [{"config": {"data": LOAD}, "choices": {}}, {"config": {}, "choices": {}}])],
    "plugins": [("record.config.data.x", LOAD), ("record.plugins", ["pandas"]), ("plugins", ["pandas"])],
    "trusted": [("record.config.data.x", LOAD), ("is_trusted", True)],
    "no jobs": [("jobs", []), ("differences", [])],
    "many jobs": [("jobs", [[]] * 10_001), ("differences", [{"config": {}, "choices": {}}] * 10_001)],
    "a number for a job": [("jobs", [0, 1])],
    "processes": [("hydra", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=100000", "hydra/sweeper=grid"])],
}
HARMLESS = [
    *WORDS_OF_HYDRA.values(),
    "hydra.sweeper={storage:'sqlite:///home/canary'}",
    "hydra.launcher={_target_:pandas.read_pickle}",
    "hydra.launcher._target_=pandas.read_pickle",
    "hydra.launcher.pre_dispatch='open(\"home/canary\",\"w\")'",
    "hydra.launcher.ray.init.address=10.0.0.1",
    "hydra.launcher.submitit_folder=home",
    "hydra.sweeper._target_=pandas.read_pickle",
    "hydra.sweeper.params={model.x:'1,2'}",
    "+hydra/callbacks=theirs",
    "hydra/launcher=../../theirs/launcher",
    "~hydra.launcher",
]


@pytest.fixture
def their_sweeps(theirs: Path, sweeps: Path) -> Path:
    shutil.copytree(sweeps, theirs, dirs_exist_ok=True)
    return theirs


@pytest.mark.parametrize("name", REFUSED_SWEEPS)
def test_what_a_sweep_may_not_say(name: str, their_sweeps: Path) -> None:
    _edit(their_sweeps / "grid" / "sweep.json", *REFUSED_SWEEPS[name])
    assert _run("train", "sweep.resume=theirs/grid").status == 2


@pytest.mark.parametrize("kind", ["grid", "search"])
def test_words_of_a_sweep_are_data(kind: str, their_sweeps: Path) -> None:
    path = their_sweeps / kind / "sweep.json"
    hydra = json.loads(path.read_text())["hydra"]
    _edit(path, ("words", list(HARMLESS)), ("hydra", [*HARMLESS[4:], *hydra]))
    if kind == "search":
        assert "give it again" in _run("train", "sweep.resume=theirs/search").err  # the database that they name
        _edit(path, ("hydra", [word for word in [*HARMLESS, *hydra] if "hydra.sweeper.storage" not in word]))
    outcome = _run("train", f"sweep.resume=theirs/{kind}")
    assert outcome.status == 0, outcome.err
    assert sorted(os.listdir()) == ["home", "theirs"]


SEARCHES = {
    "targets": ["loss._target_=pandas.read_pickle,recsweep.losses.rating.mse"],
    "a value": ["+data.x={_target_:pandas.read_pickle,filepath_or_buffer:theirs/x.pkl},1"],
    "endless range": ["model.user_shrinkage=range(0,1000000000000)"],
    "endless grid": [f"+model.x{i}=range(0,1000)" for i in range(9)],
}


@pytest.mark.parametrize("name", SEARCHES)
def test_what_a_search_may_not_say(name: str, their_sweeps: Path) -> None:
    path = their_sweeps / "search" / "sweep.json"
    hydra = json.loads(path.read_text())["hydra"]
    words = [*(word for word in hydra if "sampler" not in word), *["hydra.sweeper.sampler=grid"] * ("grid" in name)]
    _edit(path, ("search", SEARCHES[name]), ("hydra", words))
    assert _run("train", "sweep.resume=theirs/search").status == 2


def test_a_search_from_their_run_checks_each_trial(theirs: Path) -> None:
    words = ["-m", "run=theirs", "model.user_shrinkage=1,2", "hydra/sweeper=optuna"]
    assert sweep.prepare_sweep(words).plugins == ()


def _link(path: Path, target: str) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(Path(target).absolute())


FILES: dict[str, Callable[[Path], None]] = {
    "link of weights": lambda run: _link(run / "checkpoints" / "best.ckpt", "home/victim"),
    "link of checkpoints": lambda run: _link(run / "checkpoints", "home"),
    "link of the log": lambda run: _link(run / "run.log", "home/victim"),
    "link of the lock": lambda run: _link(run / ".hydra" / "job.lock", "home/victim"),
    "link of metrics": lambda run: _link(run / "metrics.json", "home/victim"),
    "link of curves": lambda run: _link(run / "tb", "home"),
    "link of vectors": lambda run: _link(run / "embeddings", "home"),
    "link to nothing": lambda run: _link(run / "run.log", "home/canary"),
    "a device": lambda run: _link(run / "checkpoints" / "last.ckpt", "/dev/zero"),
    "a pipe for weights": lambda run: _pipe(run / "checkpoints" / "best.ckpt"),
    "a pipe for vectors": lambda run: _pipe(run / "item_embeddings.npy"),
    "a pipe for the lock": lambda run: _pipe(run / ".hydra" / "job.lock"),
    "a pipe for metrics": lambda run: _pipe(run / "metrics.json"),
}


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("verb", ["resume", "sweep.resume"])
def test_links_and_pipes(name: str, verb: str, theirs: Path, request: pytest.FixtureRequest) -> None:
    if verb == "sweep.resume":
        request.getfixturevalue("their_sweeps")
    folder = theirs if verb == "resume" else theirs / "grid" / "0"
    (folder / "metrics.json").unlink(missing_ok=True)
    FILES[name](folder)
    words = ["run=theirs", "resume=true"] if verb == "resume" else ["sweep.resume=theirs/grid"]
    assert _run("train", *words).status == 2


def test_links_of_a_sweep(their_sweeps: Path) -> None:
    """A job that is somebody's own run: it would be trained anew."""
    _link(their_sweeps / "grid" / "0", "home")
    assert "a link out of" in _run("train", "sweep.resume=theirs/grid").err


def test_pipes_for_data(theirs: Path) -> None:
    _pipe(Path("pipe"))
    _pipe(Path("user_embeddings.npy"))
    with pytest.raises(UserError, match="not a file"):
        load_vectors(Path())
    with pytest.raises(UserError, match="neither a file nor a folder"):
        check_exists(Path("pipe"))


NUMPY = {
    "a pickle": pickle.dumps(_Bomb()),
    "an object": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(128) + b"\n",
    "a deep header": b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 10000,
    "huge": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (9**18,), }".ljust(127) + b"\n",
}


@pytest.mark.parametrize("name", NUMPY)
def test_vectors_are_not_unpickled(name: str, theirs: Path) -> None:
    (theirs / "embeddings").mkdir()
    (theirs / "embeddings" / "user_embeddings.npy").write_bytes(NUMPY[name])
    assert _run("recommend", "run=theirs", "user=1", "index=Flat").status == 2


def test_checkpoints_are_not_unpickled(theirs: Path) -> None:
    torch.save({"state_dict": _Bomb()}, theirs / "checkpoints" / "best.ckpt")
    for verb in ("evaluate", "recommend"):
        assert _run(verb, "run=theirs", *["user=1"] * (verb == "recommend")).status == 2


def test_submitit_does_not_unpickle_what_lies_there(their_sweeps: Path) -> None:
    """It takes a file named after the process of a job for the job's result."""
    path = their_sweeps / "grid" / "sweep.json"
    _edit(path, ("hydra", ["hydra/launcher=submitit_local", "hydra/sweeper=grid", "hydra.launcher.submitit_folder=home"]))
    arguments = sweep.resume_sweep(their_sweeps / "grid", []).arguments
    (folder,) = (word for word in arguments if word.startswith("hydra.launcher.submitit_folder="))
    assert re.search(r"/theirs/grid/\.submitit/[0-9a-f]{8}/%j'$", folder)


def test_report_shows_and_types_nothing(theirs: Path) -> None:
    path = theirs / ".hydra" / "overrides.yaml"
    path.write_text(yaml.dump([*yaml.safe_load(path.read_text()), *WORDS_OF_HYDRA.values(), "name=<script>$x_{$"]))
    content = (theirs / "metrics.json").read_text().replace('"test/mse"', '"test/<script>$\\\\frac{$"')
    (theirs / "metrics.json").write_text(content)
    outcome = _run("report", "theirs")
    assert outcome.status == 0 and "hydra" not in outcome.out and "--config-dir" not in outcome.out
    assert "<script>$" not in (theirs / "report.html").read_text()
