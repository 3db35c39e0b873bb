"""Approximate search beside exact search, and the files an index lives in."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from random_vectors import vectors
from shell import SYNTHETIC, recsweep, train_run

from recsweep.config import compose_config
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.sampling import UserItems, group_items
from recsweep.vectors.approximate import build_index, load_index, open_index, recall, save_index, search_index
from recsweep.vectors.exact import top_k
from recsweep.vectors.export import export_vectors

N_USERS, N_ITEMS, DIM, K = 150, 300, 8, 10
MODEL = vectors(N_USERS, N_ITEMS, DIM)
EVERYONE = torch.arange(N_USERS)


@pytest.fixture(scope="module")
def seen() -> UserItems:
    """User u has seen the u items that he likes best, so none of his first u may be found."""
    best = MODEL.score_all(EVERYONE).argsort(1, descending=True)
    row, place = (torch.arange(N_ITEMS) < EVERYONE[:, None]).nonzero().T
    return group_items(row, best[row, place], N_USERS, N_ITEMS)


def test_exact_search_leaves_out_what_is_seen(seen: UserItems, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: of all items by score, user u's are those from place u on. The size of chunks does not matter."""
    monkeypatch.setattr("recsweep.vectors.exact.MAX_SCORES", 7 * N_ITEMS)
    users = torch.tensor([5, 140, 0, 5, 77, 3, 8, 9, 10])
    items, scores = top_k(MODEL.score_all, users, seen, N_ITEMS, K)
    order = MODEL.score_all(users).sort(1, descending=True)
    for row, user in enumerate(users.tolist()):
        assert items[row].tolist() == order.indices[row, user : user + K].tolist()
        assert scores[row].tolist() == order.values[row, user : user + K].tolist()


def test_fewer_unseen_items_than_asked_for(seen: UserItems) -> None:
    assert top_k(MODEL.score_all, torch.tensor([149]), seen, N_ITEMS, 151)[0].shape == (1, 151)
    with pytest.raises(UserError, match=r"^k=152: a user has only 151 unseen items of 300$"):
        top_k(MODEL.score_all, torch.tensor([0, 149]), seen, N_ITEMS, 152)


def test_a_flat_index_is_exact(seen: UserItems) -> None:
    users = torch.tensor([5, 140, 0, 5, 77])
    found = search_index(build_index("Flat", MODEL.item), MODEL.user[users], users, seen, K)
    items, scores = top_k(MODEL.score_all, users, seen, N_ITEMS, K)
    assert torch.equal(found[0], items)
    torch.testing.assert_close(found[1], scores)


@pytest.mark.parametrize(("factory", "least"), [("HNSW16", 0.95), ("IVF8,Flat", 0.1), ("IVF16,Flat", 0.1)])
def test_an_index_finds_unseen_items_only(factory: str, least: float, seen: UserItems) -> None:
    """Where it finds too few, -1 stands at the end; an IVF index searches an eighth of the cells."""
    items, scores = search_index(build_index(factory, MODEL.item), MODEL.user, EVERYONE, seen, K)
    missing = items < 0
    assert torch.equal(missing, scores == -torch.inf)
    assert (missing.sort(1).values == missing).all()
    row, place = (~missing).nonzero().T
    found = items[row, place]
    assert len(torch.unique(row * N_ITEMS + found)) == len(found)
    own = torch.arange(N_USERS).repeat_interleave(seen.start.diff()) * N_ITEMS + seen.item
    assert not torch.isin(row * N_ITEMS + found, own).any()
    torch.testing.assert_close(scores[row, place], (MODEL.user[row] * MODEL.item[found]).sum(1))
    assert (scores.diff(dim=1)[~missing[:, 1:]] <= 0).all()
    exact, _ = top_k(MODEL.score_all, EVERYONE, seen, N_ITEMS, K)
    assert least < recall(items, exact) <= 1
    assert missing.any() == factory.startswith("IVF")


def test_all_that_an_index_finds_may_be_seen() -> None:
    """Items 0 to 2 lie in one cell, 3 to 5 in the other; user 0 is led to the first and has seen it, user 1 has not."""
    item = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.1], [0.0, 1.0], [0.1, 0.9], [0.1, 0.8]])
    seen = group_items(torch.zeros(3, dtype=torch.int64), torch.arange(3), 2, 6)
    items, scores = search_index(build_index("IVF2,Flat", item), item[[0, 0]], torch.arange(2), seen, k=2)
    assert items.tolist() == [[-1, -1], [0, 1]]
    assert scores[0].tolist() == [-torch.inf] * 2


def test_recall_by_hand() -> None:
    """Of user 0's three both 7 and 9 are found, of user 1's none: item 7 is another user's. 2 of 6."""
    found, exact = torch.tensor([[9, 4, 7], [7, -1, -1]]), torch.tensor([[7, 9, 0], [8, 9, 0]])
    assert recall(found, exact) == pytest.approx(2 / 6)
    assert recall(torch.full((2, 3), -1), exact) == 0
    assert recall(exact.flip(1), exact) == 1


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "IVF8,Flat"])
def test_an_index_is_built_once(factory: str, seen: UserItems, tmp_path: Path) -> None:
    said: list[str] = []
    built, loaded = (open_index(tmp_path, factory, MODEL.item, said.append) for _ in range(2))
    assert said == [f"built {tmp_path}/{factory}.faiss"]
    assert [path.name for path in tmp_path.iterdir()] == [f"{factory}.faiss"]
    first, second = (search_index(index, MODEL.user, EVERYONE, seen, K) for index in (built, loaded))
    again = search_index(build_index(factory, MODEL.item), MODEL.user, EVERYONE, seen, K)
    assert torch.equal(first[0], second[0]) and torch.equal(first[0], again[0])


ANOTHER = "delete it, and it will be built again$"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (MODEL.item[:-1], r"an index of 300 vectors of 8 numbers, but item_embeddings\.npy holds 299 of 8: "),
        (MODEL.item[:, :4].clone(), r"an index of 300 vectors of 8 numbers, but item_embeddings\.npy holds 300 of 4: "),
        (vectors(1, N_ITEMS, DIM, seed=1).item, r"an index of other vectors than item_embeddings\.npy: "),
    ],
)
def test_an_index_of_other_vectors(item: torch.Tensor, message: str, tmp_path: Path) -> None:
    save_index(build_index("HNSW8", MODEL.item), tmp_path / "HNSW8.faiss")
    with pytest.raises(UserError, match=r"HNSW8\.faiss: " + message + ANOTHER):
        load_index(tmp_path / "HNSW8.faiss", item)


@pytest.mark.parametrize("keep", [0, 3, 100, 5000])
def test_a_file_that_is_no_whole_index(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "Flat.faiss"
    save_index(build_index("Flat", MODEL.item), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"Flat\.faiss: not an index of faiss: " + ANOTHER):
        load_index(path, MODEL.item)


@pytest.mark.parametrize(
    "factory",
    ["", "flat", "HNSW", "HNSW0", "HNSW1", "HNSW1000", "IVF0,Flat", "IVF8", "PQ8", "../Flat", "Flat\n", "LSH"],
)
def test_an_index_there_is_not(factory: str, tmp_path: Path) -> None:
    """Some of these would end the process inside faiss."""
    with pytest.raises(UserError, match=r": allowed are Flat, HNSW2 to HNSW999, and IVF1,Flat upwards$"):
        open_index(tmp_path, factory, MODEL.item, print)


def test_more_cells_than_items(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^index=IVF301,Flat: more cells than the 300 items; allowed: up to IVF300,Flat$"
    ):
        open_index(tmp_path, "IVF301,Flat", MODEL.item, print)
    assert build_index("IVF300,Flat", MODEL.item).ntotal == 300


def test_without_faiss(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"^index= needs faiss: pip install 'recsweep\[ann\]', or leave index= out$"):
        open_index(tmp_path, "Flat", MODEL.item, print)


def test_faiss_is_imported_when_it_is_needed() -> None:
    code = "import sys, recsweep.cli, recsweep.commands.recommend; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 users and 100 items, whose vectors are random."""
    folder = tmp_path_factory.mktemp("run")
    made = train_run(folder, *SYNTHETIC, "model=popularity", "logger=none")
    data = build.data(compose_config([*SYNTHETIC, "model=popularity"])).data
    export_vectors(vectors(60, 100), data, made / "embeddings")
    return made


def test_recommend_by_an_index(run: Path) -> None:
    """A flat index shows what exact search over the same vectors finds, and says that it is exact."""
    words = ["recommend", f"run={run}", "user=3,7", "k=4", "index=Flat"]
    first, second = recsweep(run.parent, *words), recsweep(run.parent, *words)
    assert (first.status, first.err, second.status) == (0, "", 0)
    assert first.out.startswith(f"built {run}/embeddings/Flat.faiss\n") and "built" not in second.out
    line = (
        r"Flat: recall@4 against exact search 1.0000 for the given users, 1.0000 for 60 drawn at random, where a user"
    )
    assert line in first.out and line in second.out
    data = build.data(compose_config([*SYNTHETIC, "model=popularity"])).data
    seen = group_items(data.user, data.item, 60, 100)
    user = data.user_ids.encode(["3", "7"])
    items, scores = top_k(vectors(60, 100).score_all, user, seen, 100, 4)
    rows = [line.split("│")[1:-1] for line in second.out.splitlines() if line.startswith("│")]
    shown = [(row[1].strip(), row[3].strip()) for row in rows]
    expected = zip(data.item_ids.decode(items.flatten()), scores.flatten().tolist(), strict=True)
    assert shown == [(str(item), f"{score:.4f}") for item, score in expected]


def test_an_index_that_finds_fewer_than_k(run: Path) -> None:
    """Two of 16 cells hold far fewer than 30 of the 100 items; what is not found is not shown."""
    found = recsweep(run.parent, "recommend", f"run={run}", "user=3", "k=30", "index=IVF16,Flat")
    assert found.status == 0
    rows = [line for line in found.out.splitlines() if line.startswith("│")]
    assert 0 < len(rows) < 30 and not any("inf" in row for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["index=HNSW0"], "index=HNSW0: allowed are Flat, HNSW2 to HNSW999, and IVF1,Flat upwards"),
        (["index=Flat", "k=101"], "k=101: a user has only "),
        (["index=Flat", "data.n_users=61"], "embeddings of other users than synthetic has now; train again"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, run: Path) -> None:
    found = recsweep(run.parent, "recommend", f"run={run}", "user=3", *words)
    assert found.status == 2
    assert found.err.startswith("recsweep: ") and message in found.err and found.err.count("\n") == 1


def test_a_run_without_embeddings(tmp_path: Path) -> None:
    bare = train_run(tmp_path, *SYNTHETIC, "model=popularity", "logger=none")
    found = recsweep(tmp_path, "recommend", f"run={bare}", "user=3", "index=Flat")
    assert found.status == 2
    assert found.err == (
        f"recsweep: {bare}/embeddings/user_embeddings.npy: no such file: "
        "export them again by training with callbacks.embeddings=true\n"
    )
