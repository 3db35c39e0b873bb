"""Approximate search compared with exact search, index files, and `recommend index=`."""

import ast
import shutil
import sys
from pathlib import Path

import pytest
import torch
from random_vectors import DIM, EVERYONE, MODEL, N_ITEMS, N_USERS, K, seen_best_items, vectors
from shell import SYNTHETIC, recsweep, table_cells, train_run

import recsweep as package
from recsweep.config import compose_config
from recsweep.errors import UserError
from recsweep.runs import build
from recsweep.sampling import UserItems, group_items
from recsweep.vectors.approximate import build_index, load_index, open_index, recall, save_index, search_index
from recsweep.vectors.exact import top_k
from recsweep.vectors.export import export_vectors


@pytest.fixture(scope="module")
def seen() -> UserItems:
    return seen_best_items()


def test_a_flat_index_is_exact(seen: UserItems) -> None:
    users = torch.tensor([5, 140, 0, 5, 77])
    items, scores = search_index(build_index("Flat", MODEL.item), MODEL.user[users], users, seen, K)
    exact = top_k(MODEL.score_all, users, seen, N_ITEMS, K)
    assert torch.equal(items, exact[0])
    torch.testing.assert_close(scores, exact[1])


@pytest.mark.parametrize(("factory", "least"), [("HNSW16", 0.95), ("IVF8,Flat", 0.1), ("IVF16,Flat", 0.1)])
def test_an_index_finds_unseen_items_only(factory: str, least: float, seen: UserItems) -> None:
    """Rows with too few items end in -1, which an IVF index leads to, since it searches an eighth of the cells."""
    items, scores = search_index(build_index(factory, MODEL.item), MODEL.user, EVERYONE, seen, K)
    missing = items < 0
    assert torch.equal(missing, scores == -torch.inf)
    assert (missing.sort(1).values == missing).all()
    user, column = (~missing).nonzero().T
    item = items[user, column]
    assert len(torch.unique(user * N_ITEMS + item)) == len(item)
    seen_pairs = torch.arange(N_USERS).repeat_interleave(seen.start.diff()) * N_ITEMS + seen.item
    assert not torch.isin(user * N_ITEMS + item, seen_pairs).any()
    torch.testing.assert_close(scores[user, column], (MODEL.user[user] * MODEL.item[item]).sum(1))
    assert (scores.diff(dim=1)[~missing[:, 1:]] <= 0).all()
    exact, _ = top_k(MODEL.score_all, EVERYONE, seen, N_ITEMS, K)
    assert least < recall(items, exact) <= 1
    assert missing.any() == factory.startswith("IVF")


def test_an_index_may_find_seen_items_only() -> None:
    """Items 0 to 2 are in one cell, 3 to 5 in the other; both users search the first, which user 0 has seen."""
    item = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.1], [0.0, 1.0], [0.1, 0.9], [0.1, 0.8]])
    seen = group_items(torch.zeros(3, dtype=torch.int64), torch.arange(3), 2, 6)
    items, scores = search_index(build_index("IVF2,Flat", item), item[[0, 0]], torch.arange(2), seen, k=2)
    assert items.tolist() == [[-1, -1], [0, 1]]
    assert scores[0].tolist() == [-torch.inf] * 2


def test_recall_by_hand() -> None:
    """Both 7 and 9 of user 0 are found, and none of user 1, for whom item 7 is wrong: 2 of 6."""
    items, exact = torch.tensor([[9, 4, 7], [7, -1, -1]]), torch.tensor([[7, 9, 0], [8, 9, 0]])
    assert recall(items, exact) == pytest.approx(2 / 6)
    assert recall(torch.full((2, 3), -1), exact) == 0
    assert recall(exact.flip(1), exact) == 1


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "IVF8,Flat"])
def test_an_index_is_built_once(factory: str, seen: UserItems, tmp_path: Path) -> None:
    lines: list[str] = []
    new, loaded = (open_index(tmp_path, factory, MODEL.item, lines.append) for _ in range(2))
    assert lines == [f"built {tmp_path}/{factory}.faiss"]
    assert [path.name for path in tmp_path.iterdir()] == [f"{factory}.faiss"]
    indexes = (new, loaded, build_index(factory, MODEL.item))
    first, second, third = (search_index(index, MODEL.user, EVERYONE, seen, K)[0] for index in indexes)
    assert torch.equal(first, second) and torch.equal(first, third)


REMEDY = "delete it, and it will be built again$"


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
    with pytest.raises(UserError, match=r"HNSW8\.faiss: " + message + REMEDY):
        load_index(tmp_path / "HNSW8.faiss", item)


@pytest.mark.parametrize("n_bytes", [0, 3, 100, 5000])
def test_a_truncated_index(n_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "Flat.faiss"
    save_index(build_index("Flat", MODEL.item), path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(UserError, match=r"Flat\.faiss: not an index of faiss: " + REMEDY):
        load_index(path, MODEL.item)


@pytest.mark.parametrize(
    "factory",
    ["", "flat", "HNSW", "HNSW0", "HNSW1", "HNSW1000", "IVF0,Flat", "IVF8", "PQ8", "../Flat", "Flat\n", "LSH"],
)
def test_an_index_that_does_not_exist(factory: str, tmp_path: Path) -> None:
    """faiss would crash the process on some of these."""
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


def module_imports(path: Path) -> set[str]:
    """Packages that a module imports outside its functions."""
    packages, nodes = set(), list(ast.parse(path.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages.add((node.module or "").split(".")[0])
        elif not isinstance(node, ast.FunctionDef):
            nodes += ast.iter_child_nodes(node)
    return packages


def test_no_module_imports_faiss_before_it_is_used() -> None:
    imports = {path: module_imports(path) for path in Path(package.__file__).parent.rglob("*.py")}
    assert any("torch" in packages for packages in imports.values())
    assert [path for path, packages in imports.items() if "faiss" in packages] == []


# ---- recommend index=

in_one_process = pytest.mark.xdist_group("recommend_by_index")  # tests share a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 users and 100 items with random vectors."""
    run = train_run(tmp_path_factory.mktemp("run"), *SYNTHETIC, "model=popularity", "logger=none")
    data = build.data(compose_config([*SYNTHETIC, "model=popularity"])).data
    export_vectors(vectors(60, 100), data, run / "embeddings")
    return run


@in_one_process
def test_recommend_by_an_index(run: Path) -> None:
    """A flat index finds what exact search over the same vectors finds, and its recall is 1."""
    arguments = ["recommend", f"run={run}", "user=3,7", "k=4", "index=Flat"]
    first, second = recsweep(run.parent, *arguments), recsweep(run.parent, *arguments)
    assert (first.status, first.err, second.status) == (0, "", 0)
    assert first.out.startswith(f"built {run}/embeddings/Flat.faiss\n") and "built" not in second.out
    line = "Flat: recall@4 against exact search: 1.0000 for these users, 1.0000 for 60 random users; a search takes"
    assert line in first.out and line in second.out
    data = build.data(compose_config([*SYNTHETIC, "model=popularity"])).data
    seen = group_items(data.user, data.item, 60, 100)
    user = data.user_ids.encode(["3", "7"])
    items, scores = top_k(vectors(60, 100).score_all, user, seen, 100, 4)
    expected = zip(data.item_ids.decode(items.flatten()), scores.flatten().tolist(), strict=True)
    assert [(row[1], row[3]) for row in table_cells(second.out)] == [
        (str(item), f"{score:.4f}") for item, score in expected
    ]


@in_one_process
def test_an_index_and_exact_search_know_the_same_histories(tmp_path: Path) -> None:
    """The validation rows, too, which the exported vectors of users do not know."""
    towers = [
        "model=two_tower",
        "model.history=mean",
        "model.hidden=[]",
        "model.embedding_dim=8",
        "model.user_ids=false",
    ]
    training = ["split=leave_last_out", "trainer.max_epochs=1", "callbacks.embeddings=true", "logger=none"]
    run = train_run(tmp_path, *SYNTHETIC, *towers, *training, "callbacks.compare_with=[]")
    arguments = ["recommend", f"run={run}", "user=3,7", "k=5"]
    exact, by_index = (recsweep(tmp_path, *arguments, *more).out for more in ([], ["index=Flat"]))
    assert [row[1] for row in table_cells(exact)] == [row[1] for row in table_cells(by_index)]


@in_one_process
def test_an_index_that_finds_fewer_than_k(run: Path) -> None:
    """Two of 16 cells hold far fewer than 30 of the 100 items; the table is shorter."""
    outcome = recsweep(run.parent, "recommend", f"run={run}", "user=3", "k=30", "index=IVF16,Flat")
    assert outcome.status == 0
    rows = table_cells(outcome.out)
    assert 0 < len(rows) < 30 and not any("inf" in cell for row in rows for cell in row)


@in_one_process
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["index=HNSW0"], "index=HNSW0: allowed are Flat, HNSW2 to HNSW999, and IVF1,Flat upwards"),
        (["index=Flat", "k=101"], "k=101: a user has only "),
        (["index=Flat", "data.n_users=61"], "embeddings of other users than synthetic has now; train again"),
    ],
)
def test_mistakes_are_one_line(overrides: list[str], message: str, run: Path) -> None:
    outcome = recsweep(run.parent, "recommend", f"run={run}", "user=3", *overrides)
    assert outcome.status == 2
    assert outcome.err.startswith("recsweep: ") and message in outcome.err and outcome.err.count("\n") == 1


@in_one_process
def test_a_run_without_embeddings(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("embeddings"))
    outcome = recsweep(tmp_path, "recommend", f"run={copy}", "user=3", "index=Flat")
    assert outcome.status == 2
    assert outcome.err == (
        f"recsweep: {copy}/embeddings/user_embeddings.npy: no such file: "
        "export them again by training with callbacks.embeddings=true\n"
    )
