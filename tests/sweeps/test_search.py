"""Guided search: which points are tried, by whom, how often, and what ends up in the study."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise, product
from math import log10
from pathlib import Path
from statistics import median
from threading import Barrier, Thread

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from shell import SYNTHETIC, TINY, Outcome, read_metrics, recsweep, start_program, wait_for

from recsweep.config import compose_config, compose_with_hydra, conf_dir
from recsweep.errors import UserError
from recsweep.sweeps.crew import SILENCE, Crew, trial_of
from recsweep.sweeps.samplers import GUIDED, ByNumber
from recsweep.sweeps.search import DEATHS
from recsweep.sweeps.space import Space, parsed
from recsweep.sweeps.study import storage

EASE = ("model=ease", *SYNTHETIC, "logger=none", "hydra.sweeper.heartbeat=0.2")
L2 = "model.l2=tag(log,interval(1,1e5))"
BPR = ("model=bpr_mf", *TINY, "hydra.sweeper.heartbeat=0.2")
SPACES = sorted(path.stem for path in (conf_dir() / "search").glob("*.yaml"))


def search(folder: Path, *words: str, into: str = "sweep") -> Outcome:
    """Runs `recsweep train -m hydra/sweeper=optuna WORDS`."""
    return recsweep(folder, "train", "-m", "hydra/sweeper=optuna", *words, f"hydra.sweep.dir={into}")


def study(database: Path) -> optuna.Study:
    """The one study of an SQLite file."""
    return optuna.load_study(study_name=None, storage=f"sqlite:///{database}")


def points(sweep: Path) -> list[dict[str, object]]:
    """The parameters of each trial of a sweep's study, by number."""
    return [trial.params for trial in study(sweep / "study.db").trials]


def space(*words: str) -> Space:
    return parsed(OverridesParser.create().parse_overrides(list(words)))


# The space.


@pytest.mark.parametrize(
    ("word", "distribution"),
    [
        ("x=interval(0,2)", FloatDistribution(0.0, 2.0)),
        ("x=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("x=int(interval(8,64))", IntDistribution(8, 64)),
        ("x=int(tag(log,interval(8,64)))", IntDistribution(8, 64, log=True)),
        ("x=range(0,5,2)", IntDistribution(0, 4, step=2)),  # 0, 2, 4
        ("x=range(1,4)", IntDistribution(1, 3)),  # the end is left out, as Hydra does
        ("x=range(4,1,-1)", IntDistribution(2, 4)),
        ("x=range(0.0,1.0,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("x=8,16", CategoricalDistribution(("8", "16"))),
        ("x=choice([64],[64,32],none,[64])", CategoricalDistribution(("[64]", "[64,32]", "none"))),
    ],
)
def test_hydra_s_syntax_says_where_values_come_from(word: str, distribution: object) -> None:
    assert space(word).searched == {"x": distribution}


def test_the_last_word_of_a_key_counts() -> None:
    assert space("a=1,2", "b=1", "a=3", "b=interval(0,1)", "~c").fixed == ("a=3", "~c")
    assert list(space("a=1,2", "b=1", "a=3", "b=interval(0,1)").searched) == ["b"]


@pytest.mark.parametrize(
    "word",
    ["x=interval(2,1)", "x=tag(log,interval(0,1))", "x=range(3,3)", "x=tag(log,range(1,9))", "x=tag(ln,interval(1,2))"],
)
def test_ranges_that_mean_nothing_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="x"):
        space(word)


def test_probes_have_both_ends_and_every_choice() -> None:
    probes = space("a=interval(0,1)", "b=u,v,w").probes()
    assert {probe["a"] for probe in probes} == {0.0, 1.0} and {probe["b"] for probe in probes} == {"u", "v", "w"}


def test_every_trained_model_has_a_space() -> None:
    searched_elsewhere = {"simulator", "logging_policy"}  # stages of data=bandit
    nothing_to_search = {"popularity", "logged_policy"}
    assert {path.stem for path in (conf_dir() / "model").glob("*.yaml")} == {
        *SPACES,
        *searched_elsewhere,
        *nothing_to_search,
    }


@pytest.mark.parametrize("name", SPACES)
def test_every_space_composes_at_its_ends_and_choices(name: str) -> None:
    node = compose_with_hydra([f"search={name}"]).hydra
    assert node.runtime.choices.model == name and node.runtime.choices["hydra/sweeper"] == "optuna"
    whole = space(f"search={name}", *(f"{key}={values}" for key, values in node.sweeper.params.items()))
    for point in whole.probes():
        compose_config(whole.job(point))


# Which points are tried.


def test_a_grid_has_every_combination_once(tmp_path: Path) -> None:
    words = ("model=item_knn", *EASE[1:], "model.neighbours=5,10,20", "model.shrinkage=range(0.0,2.0,1.0)")
    assert search(tmp_path, *words, "hydra.sweeper.sampler=grid").status == 0
    made = [(trial["model.neighbours"], trial["model.shrinkage"]) for trial in points(tmp_path / "sweep")]
    assert made == list(product(("5", "10", "20"), (0.0, 1.0)))
    runs = [(tmp_path / "sweep" / str(number) / "metrics.json").is_file() for number in range(6)]
    assert all(runs) and not (tmp_path / "sweep" / "6").exists()


def drawn(sampler: str, seed: int, n_trials: int, interrupted_at: int | None = None) -> list[float]:
    """The values of x in a search for the least (log10 x - 2)², whatever y, in this process."""
    numbers = space("y=interval(0,1)", "x=tag(log,interval(1,1e5))")
    found = optuna.create_study(sampler=ByNumber(GUIDED[sampler], seed))
    for number in range(n_trials):
        trial = found.ask()
        if number == interrupted_at:  # and another process goes on
            if sampler != "gp":  # in the middle of the point
                space("y=interval(0,1)").point(trial)
            found.sampler = ByNumber(GUIDED[sampler], seed)
            trial = trial_of(found, number)
        found.tell(trial, (log10(numbers.point(trial)["x"]) - 2) ** 2)
    return [trial.params["x"] for trial in found.trials]


@pytest.mark.parametrize("sampler", sorted(GUIDED))
def test_a_seed_fixes_the_points_of_a_search_also_through_an_interruption(sampler: str) -> None:
    first = drawn(sampler, 0, 14)
    assert drawn(sampler, 0, 14) == first == drawn(sampler, 0, 14, interrupted_at=12)
    assert len({*first, *drawn(sampler, 1, 14)}) == 28


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_guided_samplers_come_closer_than_chance(sampler: str) -> None:
    """By chance, half of the points of five decades would be farther than 1.25 of them from 10²: 2 · 1.25 / 5 = 1/2."""
    after_the_random_ones = drawn(sampler, 0, 25)[10:]
    assert median(abs(log10(point) - 2) for point in after_the_random_ones) < 1.25 / 2


def test_the_direction_is_the_evaluation_s_own(tmp_path: Path) -> None:
    assert search(tmp_path, *EASE, L2, "hydra.sweeper.n_trials=1", into="ranks").status == 0
    words = ("model=means", *EASE[1:], "model.user_shrinkage=interval(0,9)", "hydra.sweeper.n_trials=1")
    assert search(tmp_path, *words, into="rates").status == 0
    assert search(tmp_path, *words, "hydra.sweeper.objectives=[val/mae,val/mse]", into="both").status == 0
    asked = [study(tmp_path / into / "study.db").directions for into in ("ranks", "rates", "both")]
    names = [[direction.name for direction in directions] for directions in asked]
    assert names == [["MAXIMIZE"], ["MINIMIZE"], ["MINIMIZE", "MINIMIZE"]]
    assert study(tmp_path / "rates" / "study.db").metric_names == ["val/mse"]


def test_what_a_user_gives_replaces_what_the_space_says(tmp_path: Path) -> None:
    words = ("search=ials", *EASE[1:], "model.embedding_dim=4", "model.epochs=1,2", "hydra.sweeper.n_trials=2")
    assert recsweep(tmp_path, "train", "-m", *words, "hydra.sweep.dir=sweep").status == 0
    for trial in points(tmp_path / "sweep"):
        assert "model.embedding_dim" not in trial and trial["model.epochs"] in ("1", "2")
        assert 1e-4 <= float(str(trial["model.l2"])) <= 0.3


# How many, and what becomes of them.


def test_trials_are_counted_over_the_whole_study(tmp_path: Path) -> None:
    words = (*EASE, L2, f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db")
    assert search(tmp_path, *words, "hydra.sweeper.n_trials=3", into="one").status == 0
    assert search(tmp_path, *words, "hydra.sweeper.n_trials=5", into="two").status == 0
    assert [trial.state.name for trial in study(tmp_path / "shared.db").trials] == ["COMPLETE"] * 5
    assert [sorted(path.name for path in (tmp_path / into).glob("[0-9]")) for into in ("one", "two")] == [
        ["0", "1", "2"],
        ["3", "4"],
    ]
    assert len({trial.params["model.l2"] for trial in study(tmp_path / "shared.db").trials}) == 5
    idle = search(tmp_path, *words, "hydra.sweeper.n_trials=5", into="three")
    best = study(tmp_path / "shared.db").best_trial
    assert idle.status == 0, idle.err
    assert re.findall(r"recsweep train model=.* model.l2=(\S+)", idle.out) == [str(best.params["model.l2"])]


def test_a_failed_job_is_a_failed_trial_and_the_search_goes_on(tmp_path: Path) -> None:
    words = (*BPR, "model.embedding_dim=2048,4,8", "callbacks.checkpoint.max_mb=0.1", "hydra.sweeper.sampler=grid")
    outcome = search(tmp_path, *words)
    trials = study(tmp_path / "sweep" / "study.db").trials
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert "max_mb" in trials[0].user_attrs["error"] and "max_mb" in outcome.out
    assert outcome.status == 2 and outcome.err.splitlines()[-1].startswith("recsweep: 1 of 3")


def test_points_that_do_not_go_together_are_failed_trials(tmp_path: Path) -> None:
    """sparse_adam goes with no weight decay alone; each value by itself is fine at one end."""
    words = (*BPR, "optimizer=adamw,sparse_adam", "regularization.weight_decay=0.1,0.0", "hydra.sweeper.sampler=grid")
    search(tmp_path, *words)
    trials = study(tmp_path / "sweep" / "study.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert "SparseAdam knows none" in trials[2].user_attrs["error"]


def test_the_best_trial_is_printed_ready_to_paste(tmp_path: Path) -> None:
    outcome = search(tmp_path, *EASE, L2, "hydra.sweeper.n_trials=4")
    best = max(range(4), key=lambda number: read_metrics(tmp_path / "sweep" / str(number))["objective"]["value"])
    (words,) = re.findall(r"recsweep (train model=.*)", outcome.out)
    assert f"Best: trial {best}, val/ndcg@10" in outcome.out and "study.db" in outcome.out
    again = recsweep(tmp_path, *words.split(), "hydra.run.dir=again")
    assert again.status == 0, again.err
    assert read_metrics(tmp_path / "again")["metrics"] == read_metrics(tmp_path / "sweep" / str(best))["metrics"]


def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one is nowhere worse, and somewhere better."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def test_several_objectives_give_the_pareto_front(tmp_path: Path) -> None:
    words = (*BPR, "model.embedding_dim=int(interval(2,12))", "optimizer.lr=interval(1e-3,0.1)")
    asked = ("hydra.sweeper.objectives=[val/ndcg@10,n_parameters]", "hydra.sweeper.n_trials=8")
    outcome = search(tmp_path, *words, *asked, "hydra.sweeper.sampler=nsgaii")
    assert outcome.status == 0, outcome.err
    made = [read_metrics(tmp_path / "sweep" / str(number)) for number in range(8)]
    value = [(run["metrics"]["val/ndcg@10"], -run["n_parameters"]) for run in made]
    front = {mine for mine in range(8) if not any(beats(other, value[mine]) for other in value)}
    found = study(tmp_path / "sweep" / "study.db")
    assert {trial.number for trial in found.best_trials} == front
    assert {int(number) for number in re.findall(r"^trial (\d+),", outcome.out, re.MULTILINE)} == front


# Pruning.

BAD = (*BPR, "trainer.max_epochs=6", "optimizer.lr=1e-2,2e-2,3e-2,4e-2,5e-2,1e-9", "hydra.sweeper.sampler=grid")


def test_a_bad_trial_is_stopped_early(tmp_path: Path) -> None:
    """The median pruner compares from the sixth trial on; the sixth hardly moves from where it began."""
    outcome = search(tmp_path, *BAD, "hydra.sweeper.pruner=median")
    assert outcome.status == 0, outcome.err
    trials = study(tmp_path / "sweep" / "study.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 5 + ["PRUNED"]
    assert [len(trial.intermediate_values) for trial in trials[:5]] == [6] * 5
    assert len(trials[5].intermediate_values) < 6
    record = read_metrics(tmp_path / "sweep" / "5")
    assert record["status"] == "pruned" and "promises little" in record["error"]
    assert "pruned" in outcome.out and "failed" not in outcome.out


def test_without_a_pruner_nothing_is_reported(tmp_path: Path) -> None:
    assert search(tmp_path, *BAD).status == 0
    trials = study(tmp_path / "sweep" / "study.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 6 and not trials[0].intermediate_values


def test_a_process_of_its_own_prunes_too(tmp_path: Path) -> None:
    words = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.max_batch_size=5")
    outcome = search(tmp_path, *BAD, *words, "hydra.sweeper.pruner=median")
    assert outcome.status == 0, outcome.err
    assert read_metrics(tmp_path / "sweep" / "5")["status"] == "pruned"


# Workers that share a study, and die.


@pytest.fixture
def shared(tmp_path: Path) -> str:
    """The address of a study that any process may open."""
    address = f"sqlite:///{tmp_path / 'shared.db'}"
    optuna.create_study(study_name="shared", storage=address)
    return address


def test_workers_that_begin_a_study_at_the_same_time_all_find_it(tmp_path: Path) -> None:
    together, opened = Barrier(4), []

    def begin() -> None:
        together.wait()
        opened.append(storage(f"sqlite:///{tmp_path / 'new.db'}"))

    threads = [Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4 and not opened[-1].get_all_studies()


def worker(address: str, seconds: float = 1.0) -> Crew:
    return Crew(optuna.load_study(study_name="shared", storage=address), seconds)


def test_who_gives_signs_of_life_keeps_the_trial(shared: str) -> None:
    other = worker(shared, seconds=1.0)
    with worker(shared, seconds=0.2) as mine:
        trial = mine.begin()
        assert other.undecided() and not other.orphans()
        wait_for(lambda: not other.undecided())
        end = time.monotonic() + (SILENCE + 1) * other.seconds
        while time.monotonic() < end:
            assert not other.orphans()
            time.sleep(0.1)
        mine.end(trial, [1.0])
    assert not other.others()


def test_a_silent_trial_is_an_orphan_after_three_beats(shared: str) -> None:
    mine, other = worker(shared), worker(shared, seconds=0.5)
    mine.begin()  # and never beats, as if killed
    began = time.monotonic()
    assert other.undecided() and not other.orphans()
    wait_for(other.orphans)
    assert time.monotonic() - began >= SILENCE * 0.5 and not other.undecided()


def test_a_trial_that_was_left_is_an_orphan_at_once(shared: str) -> None:
    with worker(shared) as mine:
        mine.begin()
    assert [trial.number for trial in worker(shared).orphans()] == [0]


def test_an_orphan_goes_to_one_of_those_who_want_it(shared: str) -> None:
    dead = worker(shared)
    dead.leave(dead.begin())
    crews = [worker(shared, seconds=2.0) for _ in range(4)]
    together, taken = Barrier(len(crews)), []

    def take(crew: Crew) -> None:
        orphans = crew.orphans()
        together.wait()
        taken.append(len(crew.take_over(orphans)))

    threads = [Thread(target=take, args=(crew,)) for crew in crews]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [0, 0, 0, 1]


def test_a_trial_that_kills_its_workers_fails_in_the_end(tmp_path: Path) -> None:
    words = (*EASE, L2, f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db")
    assert search(tmp_path, *words, "hydra.sweeper.n_trials=1", into="first").status == 0
    Crew(study(tmp_path / "shared.db"), 1.0).begin().set_user_attr("deaths", DEATHS - 1)  # and never beats
    found = search(tmp_path, *words, "hydra.sweeper.n_trials=3", into="sweep")
    reason = f"{DEATHS} workers died over it"
    assert found.status == 2 and f"failed: {reason}" in found.out
    trials = study(tmp_path / "shared.db").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials[1].user_attrs["error"] == reason


def test_a_search_that_was_killed_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    words = (*BPR, "trainer.max_epochs=6", "optimizer.lr=tag(log,interval(1e-4,0.1))", "hydra.sweeper.n_trials=4")
    assert search(tmp_path, *words, into="undisturbed").status == 0
    for killed_in in ("1", "2"):
        begun = "sweep.resume=killed" if killed_in != "1" else "hydra.sweep.dir=killed"
        asked = [begun] if killed_in != "1" else ["-m", "hydra/sweeper=optuna", *words, begun]
        process = start_program(tmp_path, "train", *asked)
        wait_for((tmp_path / "killed" / killed_in / ".hydra" / "overrides.yaml").is_file, process)
        process.kill()
        process.join()
    assert recsweep(tmp_path, "train", "sweep.resume=killed").status == 0
    trials = study(tmp_path / "killed" / "study.db").trials
    assert all(one.datetime_complete < other.datetime_start for one, other in pairwise(trials))  # who learn from it
    assert points(tmp_path / "killed") == points(tmp_path / "undisturbed")
    for number in map(str, range(4)):
        assert (
            read_metrics(tmp_path / "killed" / number)["metrics"]
            == read_metrics(tmp_path / "undisturbed" / number)["metrics"]
        )
    assert not (tmp_path / "killed" / "4").exists()


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of a database of a server that runs as long as the test."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("no PostgreSQL is installed (Debian: apt-get install postgresql)")
    if os.geteuid() == 0 and not Path("/usr/sbin/runuser").exists():
        pytest.skip("PostgreSQL refuses to run as root, and there is no runuser to be somebody else")
    home = Path(tempfile.mkdtemp(prefix="recsweep_postgresql_"))  # a folder below pytest's is open to its user alone
    somebody = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if somebody:
        shutil.chown(home, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = [*somebody, str(programs[-1] / "pg_ctl"), "-D", str(home / "data"), "-w", "-l", str(home / "log")]
    subprocess.run(
        [*somebody, str(programs[-1] / "initdb"), "-D", str(home / "data"), "-A", "trust", "-U", "recsweep"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    subprocess.run(
        [*server, "-o", f"-p {port} -k {home} -c fsync=off", "start"], check=True, stdout=subprocess.DEVNULL, cwd="/"
    )
    try:
        yield f"postgresql+psycopg://recsweep@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*server, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        shutil.rmtree(home)


def test_two_workers_share_a_study_on_postgresql(tmp_path: Path, postgresql: str) -> None:
    searched = ("optimizer.lr=tag(log,interval(1e-4,0.1))", "hydra.sweeper.n_trials=8")
    shared = (f"hydra.sweeper.storage={postgresql}", "hydra.sweeper.heartbeat=3")
    words = ("-m", "hydra/sweeper=optuna", *BPR, "trainer.max_epochs=10", *searched, *shared)
    workers = []
    for folder in (tmp_path / "worker_0", tmp_path / "worker_1"):
        folder.mkdir()
        workers.append(start_program(folder, "train", *words, "hydra.sweep.dir=sweep"))
    for place, process in enumerate(workers):
        process.join(300)
        assert process.exitcode == 0, (tmp_path / f"worker_{place}" / "said").read_text()
    trials = optuna.load_study(study_name="bpr_mf", storage=postgresql).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8
    assert len({trial.params["optimizer.lr"] for trial in trials}) == 8
    made = [sorted(int(path.name) for path in tmp_path.glob(f"worker_{place}/sweep/[0-9]*")) for place in (0, 1)]
    assert made[0] and made[1] and sorted(made[0] + made[1]) == list(range(8))
    for trial in trials:
        assert trial.value == read_metrics(Path(trial.user_attrs["folder"]))["objective"]["value"]


# Mistakes.

MISTAKES = {
    "sampler": ((L2, "hydra.sweeper.sampler=cmaes"), "hydra.sweeper.sampler=cmaes: it should be 'tpe', 'gp', 'random'"),
    "trials": ((L2, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0: it should be greater than or equal to 1"),
    "no space": ((), "nothing to search: give search=NAME"),
    "grid of an interval": ((L2, "hydra.sweeper.sampler=grid"), "model.l2: a grid takes listed values"),
    "grid too large": (("model.l2=range(1,100)", "hydra.sweeper.sampler=grid"), "the grid has 99 points"),
    "test": ((L2, "hydra.sweeper.objectives=[test/ndcg@10]"), "test/ndcg@10: a search looks at val/"),
    "no such metric": ((L2, "hydra.sweeper.objectives=[val/ndgc@10]"), "val/ndgc@10: no such metric; there are val/"),
    "evaluation": (("evaluation=full_ranking,sampled_99",), "evaluation cannot be searched"),
    "split": (("split.seed=0,1",), "split.seed cannot be searched"),
    "data": (("data=synthetic,ml_100k",), "data cannot be searched"),
    "evaluation of models": (("model=ease,means",), "what is searched must not change evaluation"),
    "range of a key": (("model.l2=interval(-1,1)",), "model.l2=-1.0: it should be greater than"),
    "key": (("model.l3=interval(1,2)",), "model.l3"),
    "interval": (("model.l2=interval(2,1)",), "model.l2=interval(2,1)"),
    "pruner of two": (
        (L2, "hydra.sweeper.objectives=[val/ndcg@10,n_parameters]", "hydra.sweeper.pruner=median"),
        "pruner",
    ),
    "storage": ((L2, "hydra.sweeper.storage=postgresql+psycopg://nobody@127.0.0.1:1/none"), "127.0.0.1"),
    "folder": ((L2, "hydra.sweeper.storage=sqlite:////nowhere/study.db"), "unable to open database file"),
    "address": ((L2, "hydra.sweeper.storage=study.db"), "no SQLAlchemy URL"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(tmp_path: Path, mistake: str) -> None:
    words, message = MISTAKES[mistake]
    outcome = search(tmp_path, *EASE, *words, "hydra.sweeper.n_trials=2" if mistake != "trials" else "seed=0")
    assert outcome.status == 2 and message in outcome.err, outcome.err
    assert len(outcome.err.splitlines()) == 1 and "Traceback" not in outcome.err
    assert mistake == "no such metric" or not any(tmp_path.iterdir())


def test_the_study_of_another_search_is_left_alone(tmp_path: Path) -> None:
    words = (*EASE, f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db", "hydra.sweeper.n_trials=1")
    assert search(tmp_path, *words, L2, into="one").status == 0
    outcome = search(tmp_path, *words, "model.l2=interval(5,6)", into="two")
    assert outcome.status == 2 and "hydra.sweeper.study=ease: is another search" in outcome.err
    assert "low=5.0" in outcome.err and "low=1.0" in outcome.err
    assert search(tmp_path, *words, "model.l2=interval(5,6)", "hydra.sweeper.study=other", into="three").status == 0


def test_intervals_need_a_search(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "-m", *EASE[:-1], L2)
    assert outcome.status == 2 and "hydra/sweeper=optuna" in outcome.err


def test_a_search_without_m_is_refused(tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "train", "search=ease", *EASE[1:-1])
    assert outcome.status == 2 and "model.l2" in outcome.err and "-m" in outcome.err
    assert recsweep(tmp_path, "train", "search=ease", *EASE[1:-1], "model.l2=3.0").status == 0


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "recsweep.sweeps.study")
    monkeypatch.delattr("recsweep.sweeps.study")
    found = recsweep(tmp_path, "train", "-m", "search=ease")
    assert found == (2, "", "recsweep: a guided search needs Optuna: pip install 'recsweep[search]'\n")
    assert not list(tmp_path.iterdir())
