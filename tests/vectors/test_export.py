"""Exported vectors are read back unchanged or not at all; TensorBoard can read the projector's files."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_vectors import Vectors, catalogue, vectors
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from torch.utils.tensorboard import SummaryWriter
from werkzeug.test import Client, TestResponse

from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.vectors.export import export_vectors, load_vectors, load_vectors_for, show_in_projector

TITLES = ("Amélie", " two\tparts\n", "", "Alien")
ROWS = [(0, 3), (1, 3), (2, 3), (0, 1), (1, 1), (0, 2)]  # item 3 has most rows, then 1, then 2, and 0 has none
RUN = "0/tb/loss=bpr dropout=0.2 seed=1"
REMEDY = "export them again by training with callbacks.embeddings=true$"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export_vectors(vectors(5, 4), catalogue(TITLES, ROWS), tmp_path / "embeddings")
    return tmp_path / "embeddings"


def test_exported_vectors_are_read_back(folder: Path) -> None:
    loaded, model = load_vectors(folder), vectors(5, 4)
    assert torch.equal(loaded.user, model.user) and torch.equal(loaded.item, model.item)
    assert loaded.user_ids.raw.tolist() == ["u0", "u1", "u2", "u3", "u4"]
    assert loaded.item_ids.raw.tolist() == [20, 21, 22, 23] and loaded.item_ids.raw.dtype == np.int64
    assert (loaded.user_ids.kind, loaded.item_ids.kind) == ("user", "item")
    user = torch.tensor([3, 0])
    torch.testing.assert_close(loaded.score_all(user), model.user[user] @ model.item.T)


def test_the_files_are_plain(folder: Path) -> None:
    files = {path.name: np.load(path, allow_pickle=False) for path in folder.iterdir()}
    assert {name: (values.dtype.kind, values.shape) for name, values in files.items()} == {
        "user_embeddings.npy": ("f", (5, 8)),
        "item_embeddings.npy": ("f", (4, 8)),
        "user_ids.npy": ("U", (5,)),
        "item_ids.npy": ("i", (4,)),
        "item_titles.npy": ("U", (4,)),
        "trained_on.npy": ("i", (2,)),
    }


def test_users_are_encoded_a_few_at_a_time_and_without_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    class Recorder(Vectors):
        def user_vectors(self, user: torch.Tensor) -> torch.Tensor:
            sizes.append(len(user))
            return (self.user[user] * torch.ones((), dtype=torch.float64, requires_grad=True)).double()

    monkeypatch.setattr("recsweep.vectors.export.USERS_AT_ONCE", 2)
    export_vectors(Recorder(*vectors(5, 4)), catalogue(None, ROWS), tmp_path)
    assert sizes == [2, 2, 1]
    assert torch.equal(load_vectors(tmp_path).user, vectors(5, 4).user)


def test_an_export_that_fails_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "user_embeddings.npy").read_bytes()

    def fail(file: Any, values: np.ndarray, allow_pickle: bool) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="no space"):
        export_vectors(vectors(5, 4, seed=1), catalogue(TITLES, ROWS), folder)
    assert (folder / "user_embeddings.npy").read_bytes() == before


def test_vectors_belong_to_the_users_and_items_of_the_data(folder: Path) -> None:
    data = catalogue(TITLES, ROWS)
    assert len(load_vectors_for(data, folder).item) == 4
    for changed, kind in ((catalogue(TITLES, ROWS, n_users=6), "user"), (catalogue((*TITLES, "more"), ROWS), "item")):
        with pytest.raises(UserError, match=f"embeddings: embeddings of other {kind}s than toy has now; train again$"):
            load_vectors_for(changed, folder)


def remove(path: Path) -> None:
    path.unlink()


def write_text(path: Path) -> None:
    path.write_text("1,2,3\n")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def damage_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"), }", b"    "))


def change_shape(shape: str) -> Callable[[Path], None]:
    """Replaces the shape (4, 8) in a file's header, without changing its length."""

    def spoil(path: Path) -> None:
        header = b"(4, 8), }" + b" " * 40
        assert header in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(header, f"{shape}, }}".encode().ljust(len(header))))

    return spoil


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps([1.0]))


def write_objects(path: Path) -> None:
    np.save(path, np.array(["u0", None], dtype=object), allow_pickle=True)


PLAIN = r"not a \.npy file of plain values \(.+\): " + REMEDY


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("user_embeddings.npy", remove, r"user_embeddings\.npy: no such file: " + REMEDY),
        ("item_ids.npy", remove, r"item_ids\.npy: no such file: " + REMEDY),
        ("item_embeddings.npy", write_text, r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", truncate, r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", damage_header, r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", change_shape(f"({10**14}, 8)"), r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", change_shape(f"({10**20}, 8)"), r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", change_shape("(True, 8)"), r"item_embeddings\.npy: " + PLAIN),
        ("user_embeddings.npy", write_pickle, r"user_embeddings\.npy: " + PLAIN),
        ("user_ids.npy", write_objects, r"user_ids\.npy: " + PLAIN),
    ],
)
def test_files_that_cannot_be_read(folder: Path, name: str, spoil: Any, message: str) -> None:
    spoil(folder / name)
    with pytest.raises(UserError, match=message) as caught:
        load_vectors(folder)
    assert "\n" not in str(caught.value)


VECTORS = r"allowed: float32 of shape \(rows, numbers\): " + REMEDY
LABELS = r"allowed: whole numbers or text of shape \(rows,\): " + REMEDY


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("user_embeddings.npy", np.zeros((5, 8)), r"user_embeddings\.npy: float64 of shape \(5, 8\), " + VECTORS),
        ("user_embeddings.npy", np.zeros(5, "f4"), r"user_embeddings\.npy: float32 of shape \(5,\), " + VECTORS),
        ("item_embeddings.npy", np.zeros((4, 0), "f4"), r"item_embeddings\.npy: float32 of shape \(4, 0\), " + VECTORS),
        ("item_ids.npy", np.zeros(4), r"item_ids\.npy: float64 of shape \(4,\), " + LABELS),
        ("item_ids.npy", np.zeros((4, 1), "i8"), r"item_ids\.npy: int64 of shape \(4, 1\), " + LABELS),
        ("user_embeddings.npy", np.zeros((5, 7), "f4"),
         "embeddings: vectors of users hold 7 numbers, but those of items 8: " + REMEDY),
        ("user_embeddings.npy", np.zeros((6, 8), "f4"),
         r"user_embeddings\.npy holds 6 rows, but user_ids\.npy 5: " + REMEDY),
        ("item_embeddings.npy", np.zeros((3, 8), "f4"),
         r"item_embeddings\.npy holds 3 rows, but item_ids\.npy 4: " + REMEDY),
        ("item_embeddings.npy", np.diag(np.array([1, 1, np.nan, 1], "f4")),
         r"item_embeddings\.npy, row 2: NaN or infinite; did training diverge\?$"),
        ("user_embeddings.npy", np.diag(np.array([1, np.inf, 1], "f4")), r"user_embeddings\.npy, row 1: NaN or inf"),
    ],
)  # fmt: skip
def test_files_that_do_not_match(folder: Path, name: str, values: np.ndarray, message: str) -> None:
    np.save(folder / name, values)
    with pytest.raises(UserError, match=message) as caught:
        load_vectors(folder)
    assert "\n" not in str(caught.value)


def ask_projector(folder: Path, model: Vectors, data: Interactions) -> tuple[dict[str, TestResponse], list[str]]:
    """Responses of TensorBoard's projector plugin for a run, and the lines of its metadata."""
    with SummaryWriter(str(folder / RUN)) as writer:
        writer.add_scalar("train/loss", 1.0, 1)
        show_in_projector(writer, model, data)
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder))
    runs.Reload()
    provider = MultiplexerDataProvider(runs, str(folder))
    apps = ProjectorPlugin(TBContext(data_provider=provider, logdir=str(folder))).get_plugin_apps()
    queries = {"runs": "", "info": f"?run={RUN}"}
    queries |= dict.fromkeys(("tensor", "metadata"), f"?run={RUN}&name=items:00000")
    answers = {route: Client(apps[f"/{route}"]).get(f"/{route}{query}") for route, query in queries.items()}
    return answers, answers["metadata"].get_data(as_text=True).splitlines()


def test_the_projector_shows_titles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three items with most rows; titles are put on one line, and ids replace blank ones."""
    monkeypatch.setattr("recsweep.vectors.export.MAX_POINTS", 3)
    model = vectors(5, 4)
    answers, names = ask_projector(tmp_path, model, catalogue(TITLES, ROWS))
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers["runs"].json == [RUN]
    assert [entry["tensorShape"] for entry in answers["info"].json["embeddings"]] == [[3, 8]]
    assert names == [
        "title\tpopularity\tlog10 popularity",
        "Alien\t3\t0.477",
        "two parts\t2\t0.301",
        "22\t1\t0.000",
    ]
    points = np.frombuffer(answers["tensor"].data, "<f4").reshape(3, 8)
    np.testing.assert_allclose(points, model.item[[3, 1, 2]].numpy(), rtol=1e-5)


def test_the_projector_shows_ids_if_there_are_no_titles(tmp_path: Path) -> None:
    _, names = ask_projector(tmp_path, vectors(5, 4), catalogue(None, ROWS))
    assert [name.split("\t")[0] for name in names] == ["item", "23", "21", "22", "20"]
