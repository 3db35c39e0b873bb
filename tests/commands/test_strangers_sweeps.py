"""Sweeps and files from strangers."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from strangers import LOAD, WORDS_OF_HYDRA, Bomb, edit, run_verb

from recsweep.commands import sweep
from recsweep.data.sheet import check_exists
from recsweep.errors import UserError
from recsweep.vectors.export import load_vectors

pytestmark = pytest.mark.xdist_group("commands")

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
    'hydra.launcher.pre_dispatch=\'open("home/canary","w")\'',
    "hydra.launcher.ray.init.address=10.0.0.1",
    "hydra.launcher.submitit_folder=home",
    "hydra.sweeper._target_=pandas.read_pickle",
    "hydra.sweeper.params={model.x:'1,2'}",
    "+hydra/callbacks=theirs",
    "hydra/launcher=../../theirs/launcher",
    "~hydra.launcher",
]


@pytest.mark.parametrize("name", REFUSED_SWEEPS)
def test_what_a_sweep_may_not_say(name: str, their_sweeps: Path) -> None:
    edit(their_sweeps / "grid" / "sweep.json", *REFUSED_SWEEPS[name])
    assert run_verb("train", "sweep.resume=theirs/grid").status == 2


@pytest.mark.parametrize("kind", ["grid", "search"])
def test_words_of_a_sweep_are_data(kind: str, their_sweeps: Path) -> None:
    path = their_sweeps / kind / "sweep.json"
    hydra = json.loads(path.read_text())["hydra"]
    edit(path, ("words", list(HARMLESS)), ("hydra", [*HARMLESS[4:], *hydra]))
    if kind == "search":
        assert "give it again" in run_verb("train", "sweep.resume=theirs/search").err  # the database that they name
        edit(path, ("hydra", [word for word in [*HARMLESS, *hydra] if "hydra.sweeper.storage" not in word]))
    outcome = run_verb("train", f"sweep.resume=theirs/{kind}")
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
    edit(path, ("search", SEARCHES[name]), ("hydra", words))
    assert run_verb("train", "sweep.resume=theirs/search").status == 2


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
def test_links_and_pipes(name: str, theirs: Path) -> None:
    (theirs / "metrics.json").unlink()
    FILES[name](theirs)
    assert run_verb("train", "run=theirs", "resume=true").status == 2


def test_links_of_a_sweep(their_sweeps: Path) -> None:
    """A job that is somebody's own run: it would be trained anew."""
    _link(their_sweeps / "grid" / "0", "home")
    assert "a link out of" in run_verb("train", "sweep.resume=theirs/grid").err


def test_pipes_for_data(theirs: Path) -> None:
    _pipe(Path("pipe"))
    _pipe(Path("user_embeddings.npy"))
    with pytest.raises(UserError, match="not a file"):
        load_vectors(Path())
    with pytest.raises(UserError, match="neither a file nor a folder"):
        check_exists(Path("pipe"))


NUMPY = {
    "a pickle": pickle.dumps(Bomb()),
    "an object": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(128) + b"\n",
    "a deep header": b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 10000,
    "huge": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (9**18,), }".ljust(127) + b"\n",
}


@pytest.mark.parametrize("name", NUMPY)
def test_vectors_are_not_unpickled(name: str, theirs: Path) -> None:
    (theirs / "embeddings").mkdir()
    (theirs / "embeddings" / "user_embeddings.npy").write_bytes(NUMPY[name])
    assert run_verb("recommend", "run=theirs", "user=1", "index=Flat").status == 2


def test_checkpoints_are_not_unpickled(theirs: Path) -> None:
    torch.save({"state_dict": Bomb()}, theirs / "checkpoints" / "best.ckpt")
    for verb in ("evaluate", "recommend"):
        assert run_verb(verb, "run=theirs", *["user=1"] * (verb == "recommend")).status == 2


def test_submitit_does_not_unpickle_what_lies_there(their_sweeps: Path) -> None:
    """It takes a file named after the process of a job for the job's result."""
    path = their_sweeps / "grid" / "sweep.json"
    words = ["hydra/launcher=submitit_local", "hydra/sweeper=grid", "hydra.launcher.submitit_folder=home"]
    edit(path, ("hydra", words))
    arguments = sweep.resume_sweep(their_sweeps / "grid", []).arguments
    (folder,) = (word for word in arguments if word.startswith("hydra.launcher.submitit_folder="))
    assert re.search(r"/theirs/grid/\.submitit/[0-9a-f]{8}/%j'$", folder)


def test_report_shows_and_types_nothing(theirs: Path) -> None:
    path = theirs / ".hydra" / "overrides.yaml"
    path.write_text(yaml.dump([*yaml.safe_load(path.read_text()), *WORDS_OF_HYDRA.values(), "name=<script>$x_{$"]))
    content = (theirs / "metrics.json").read_text().replace('"test/mse"', '"test/<script>$\\\\frac{$"')
    (theirs / "metrics.json").write_text(content)
    outcome = run_verb("report", "theirs")
    assert outcome.status == 0 and "hydra" not in outcome.out and "--config-dir" not in outcome.out
    assert "<script>$" not in (theirs / "report.html").read_text()
