"""Exported vectors come back as they were, or not at all; the projector shows what TensorBoard can read."""

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
AGAIN = "export them again by training with callbacks.embeddings=true$"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export_vectors(vectors(5, 4), catalogue(TITLES, ROWS), tmp_path / "embeddings")
    return tmp_path / "embeddings"


def test_what_is_exported_comes_back(exported: Path) -> None:
    found, given = load_vectors(exported), vectors(5, 4)
    assert torch.equal(found.user, given.user) and torch.equal(found.item, given.item)
    assert found.user_ids.raw.tolist() == ["u0", "u1", "u2", "u3", "u4"]
    assert found.item_ids.raw.tolist() == [20, 21, 22, 23] and found.item_ids.raw.dtype == np.int64
    assert (found.user_ids.kind, found.item_ids.kind) == ("user", "item")
    user = torch.tensor([3, 0])
    torch.testing.assert_close(found.score_all(user), given.user[user] @ given.item.T)


def test_the_files_are_plain(exported: Path) -> None:
    files = {path.name: np.load(path, allow_pickle=False) for path in exported.iterdir()}
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
    asked = []

    class Recorded(Vectors):
        def user_vectors(self, user: torch.Tensor) -> torch.Tensor:
            asked.append(len(user))
            return (self.user[user] * torch.ones((), dtype=torch.float64, requires_grad=True)).double()

    monkeypatch.setattr("recsweep.vectors.export.USERS_AT_ONCE", 2)
    export_vectors(Recorded(*vectors(5, 4)), catalogue(None, ROWS), tmp_path)
    assert asked == [2, 2, 1]
    found = load_vectors(tmp_path)
    assert torch.equal(found.user, vectors(5, 4).user)


def test_an_export_that_fails_leaves_the_old_file(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (exported / "user_embeddings.npy").read_bytes()

    def full(file: Any, values: np.ndarray, allow_pickle: bool) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space"):
        export_vectors(vectors(5, 4, seed=1), catalogue(TITLES, ROWS), exported)
    assert (exported / "user_embeddings.npy").read_bytes() == before


def test_vectors_belong_to_the_users_and_items_of_the_data(exported: Path) -> None:
    data = catalogue(TITLES, ROWS)
    assert len(load_vectors_for(data, exported).item) == 4
    for other, kind in ((catalogue(TITLES, ROWS, n_users=6), "user"), (catalogue((*TITLES, "more"), ROWS), "item")):
        with pytest.raises(UserError, match=f"embeddings: embeddings of other {kind}s than toy has now; train again$"):
            load_vectors_for(other, exported)


def without(path: Path) -> None:
    path.unlink()


def text(path: Path) -> None:
    path.write_text("1,2,3\n")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def damaged_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"), }", b"    "))


def of_shape(shape: str) -> Callable[[Path], None]:
    """Puts another shape than (4, 8) into a file's header, which keeps its length."""

    def spoil(path: Path) -> None:
        header = b"(4, 8), }" + b" " * 40
        assert header in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(header, f"{shape}, }}".encode().ljust(len(header))))

    return spoil


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps([1.0]))


def pickled_inside(path: Path) -> None:
    np.save(path, np.array(["u0", None], dtype=object), allow_pickle=True)


PLAIN = r"not a \.npy file of plain values \(.+\): " + AGAIN


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("user_embeddings.npy", without, r"user_embeddings\.npy: no such file: " + AGAIN),
        ("item_ids.npy", without, r"item_ids\.npy: no such file: " + AGAIN),
        ("item_embeddings.npy", text, r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", cut, r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", damaged_header, r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", of_shape(f"({10**14}, 8)"), r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", of_shape(f"({10**20}, 8)"), r"item_embeddings\.npy: " + PLAIN),
        ("item_embeddings.npy", of_shape("(True, 8)"), r"item_embeddings\.npy: " + PLAIN),
        ("user_embeddings.npy", pickled, r"user_embeddings\.npy: " + PLAIN),
        ("user_ids.npy", pickled_inside, r"user_ids\.npy: " + PLAIN),
    ],
)
def test_files_that_cannot_be_read(exported: Path, name: str, spoil: Any, message: str) -> None:
    spoil(exported / name)
    with pytest.raises(UserError, match=message) as caught:
        load_vectors(exported)
    assert "\n" not in str(caught.value)


VECTORS = r"allowed: float32 of shape \(rows, numbers\): " + AGAIN
LABELS = r"allowed: whole numbers or text of shape \(rows,\): " + AGAIN


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("user_embeddings.npy", np.zeros((5, 8)), r"user_embeddings\.npy: float64 of shape \(5, 8\), " + VECTORS),
        ("user_embeddings.npy", np.zeros(5, "f4"), r"user_embeddings\.npy: float32 of shape \(5,\), " + VECTORS),
        ("item_embeddings.npy", np.zeros((4, 0), "f4"), r"item_embeddings\.npy: float32 of shape \(4, 0\), " + VECTORS),
        ("item_ids.npy", np.zeros(4), r"item_ids\.npy: float64 of shape \(4,\), " + LABELS),
        ("item_ids.npy", np.zeros((4, 1), "i8"), r"item_ids\.npy: int64 of shape \(4, 1\), " + LABELS),
        ("user_embeddings.npy", np.zeros((5, 7), "f4"),
         "embeddings: vectors of users hold 7 numbers, but those of items 8: " + AGAIN),
        ("user_embeddings.npy", np.zeros((6, 8), "f4"),
         r"user_embeddings\.npy holds 6 rows, but user_ids\.npy 5: " + AGAIN),
        ("item_embeddings.npy", np.zeros((3, 8), "f4"),
         r"item_embeddings\.npy holds 3 rows, but item_ids\.npy 4: " + AGAIN),
        ("item_embeddings.npy", np.diag(np.array([1, 1, np.nan, 1], "f4")),
         r"item_embeddings\.npy, row 2: NaN or infinite; did training diverge\?$"),
        ("user_embeddings.npy", np.diag(np.array([1, np.inf, 1], "f4")), r"user_embeddings\.npy, row 1: NaN or inf"),
    ],
)  # fmt: skip
def test_files_that_do_not_match(exported: Path, name: str, values: np.ndarray, message: str) -> None:
    np.save(exported / name, values)
    with pytest.raises(UserError, match=message) as caught:
        load_vectors(exported)
    assert "\n" not in str(caught.value)


def shown(folder: Path, model: Vectors, data: Interactions) -> tuple[dict[str, TestResponse], list[str]]:
    """What TensorBoard's projector answers about the run `folder`, and the metadata's lines."""
    with SummaryWriter(str(folder / "run" / "tb")) as writer:
        writer.add_scalar("train/loss", 1.0, 1)
        show_in_projector(writer, model, data)
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder))
    runs.Reload()
    provider = MultiplexerDataProvider(runs, str(folder))
    apps = ProjectorPlugin(TBContext(data_provider=provider, logdir=str(folder))).get_plugin_apps()
    queries = {"runs": "", "info": "?run=run/tb"}
    queries |= dict.fromkeys(("tensor", "metadata"), "?run=run/tb&name=items:00000")
    answers = {route: Client(apps[f"/{route}"]).get(f"/{route}{query}") for route, query in queries.items()}
    return answers, answers["metadata"].get_data(as_text=True).splitlines()


def test_the_projector_shows_titles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of the four items: those with most rows. A title is one line, and where it is blank the id stands."""
    monkeypatch.setattr("recsweep.vectors.export.MAX_POINTS", 3)
    model = vectors(5, 4)
    answers, names = shown(tmp_path, model, catalogue(TITLES, ROWS))
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers["runs"].json == ["run/tb"]
    assert [entry["tensorShape"] for entry in answers["info"].json["embeddings"]] == [[3, 8]]
    assert names == ["Alien", "two parts", "22"]
    sent = np.frombuffer(answers["tensor"].data, "<f4").reshape(3, 8)
    np.testing.assert_allclose(sent, model.item[[3, 1, 2]].numpy(), rtol=1e-5)


def test_the_projector_shows_ids_where_there_are_no_titles(tmp_path: Path) -> None:
    _, names = shown(tmp_path, vectors(5, 4), catalogue(None, ROWS))
    assert names == ["23", "21", "22", "20"]
