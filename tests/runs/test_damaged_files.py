"""Every file of a run, damaged in every way: its reader says it in one line that names the file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damages import DAMAGES, READ_BY_VERBS, WORDS, fold
from shell import QUIET, SYNTHETIC, read_metrics, recsweep, train_run

from recsweep.errors import UserError
from recsweep.runs.checkpoints import read_checkpoint
from recsweep.runs.record import read_record, write_start
from recsweep.sweeps.jobs import read_outcome
from recsweep.vectors.export import load_vectors

pytestmark = pytest.mark.xdist_group("damaged files")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run with vectors."""
    words = ("model=bpr_mf", "evaluation=full_ranking", "callbacks.embeddings=true", "trainer.max_epochs=1")
    return train_run(tmp_path_factory.mktemp("run"), *SYNTHETIC, *QUIET, *words)


@pytest.fixture
def victim(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def reader(name: str, folder: Path) -> Callable[[], object]:
    """What reads this file of the run."""
    if name.startswith(".hydra/start"):
        return lambda: write_start(folder, {"data": read_metrics(folder)["data"]})
    if name.startswith(".hydra"):
        return lambda: read_record(folder)
    if name.endswith(".ckpt"):
        return lambda: read_checkpoint(folder / name)
    return lambda: read_outcome(folder) if name == "metrics.json" else load_vectors(folder / "embeddings")


@pytest.mark.parametrize("name", DAMAGES)
def test_a_reader_names_the_file(name: str, run: Path, victim: Path) -> None:
    path, answers = victim / name, {}
    for kind, damage in DAMAGES[name].items():
        shutil.copy(run / name, path)
        damage(path)
        try:
            reader(name, victim)()
            answers[kind] = "accepted"
        except UserError as error:
            message = str(error)
            if not message.startswith(str(victim)) or "\n" in message or len(message) > 500:
                answers[kind] = message
        if path.is_dir():
            path.rmdir()
    assert answers == {}


@pytest.mark.parametrize(("name", "verb"), [(name, verb) for name, verbs in READ_BY_VERBS.items() for verb in verbs])
def test_a_verb_says_so_and_writes_nothing(name: str, verb: str, victim: Path, tmp_path: Path) -> None:
    if verb == "resume" and name != "metrics.json":
        (victim / "metrics.json").unlink()
    fold(victim / name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    outcome = recsweep(tmp_path, *WORDS[verb])
    *_, last = outcome.err.splitlines()
    assert outcome.status == 2 and last.startswith("recsweep: ") and outcome.err.count("recsweep: ") == 1
    assert Path(name).name in last or "no run of recsweep" in last
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    own = {victim / "metrics.json", victim / "run.log", victim / ".hydra" / "job.lock"}  # of a run that resumes
    assert {path: content for path, content in after.items() if path not in own} == {
        path: content for path, content in before.items() if path not in own
    }
