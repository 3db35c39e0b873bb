"""`recsweep recommend`: unseen items by raw ids, with titles; what cannot be recommended is refused."""

from pathlib import Path

import pandas as pd
import pytest
from shell import read_metrics, recsweep, table_cells, tiny_config, train_run

from recsweep.data.schema import Interactions
from recsweep.runs import build

pytestmark = pytest.mark.xdist_group("commands")


@pytest.fixture(scope="module")
def data() -> Interactions:
    """The data of `run`."""
    return build.data(tiny_config()).data


def test_recommend_shows_titles_of_items_that_the_user_has_not_seen(
    run: Path, data: Interactions, tmp_path: Path
) -> None:
    outcome = recsweep(tmp_path, "recommend", f"run={run}", "user=3,7", "k=20")
    assert outcome.status == 0
    rows = table_cells(outcome.out)
    assert [rank for rank, *_ in rows] == [str(rank) for rank in range(1, 21)] * 2
    for user, user_rows in (("3", rows[:20]), ("7", rows[20:])):
        seen = data.item[data.user == data.user_ids.encode([user])]
        items = data.item_ids.encode([item for _, item, _, _ in user_rows])
        assert len(seen) > 0 and not set(items.tolist()) & set(seen.tolist())
        assert [title for _, _, title, _ in user_rows] == [data.item_titles[item] for item in items]
        scores = [float(score) for *_, score in user_rows]
        assert scores == sorted(scores, reverse=True)
    assert list(tmp_path.iterdir()) == []


def test_recommend_with_ids_that_are_text(tmp_path: Path) -> None:
    """Ann and Bob have seen two of three items; the third is all that is left."""
    rows = [("ann", "tea", 5), ("ann", "rum", 1), ("bob", "rum", 4), ("bob", "ale", 2), ("eve", "ale", 3)]
    guests = [(f"guest {guest}", item, 3) for guest in range(20) for item in ("tea", "rum", "ale")]
    table = pd.DataFrame([*rows, *guests], columns=["who", "what", "stars"])
    table.to_csv(tmp_path / "t.csv", index=False)
    columns = ["data.user=who", "data.item=what", "data.rating=stars", "split.cold_users=keep"]
    run = train_run(tmp_path, "model=means", "logger=none", "data=table", "data.path=t.csv", *columns)
    outcome = recsweep(tmp_path, "recommend", f"run={run}", "user=bob,ann", "k=1")
    assert [row[:-1] for row in table_cells(outcome.out)] == [["1", "tea"], ["1", "ale"]] and "title" not in outcome.out


def test_recommend_shows_bought_items_where_the_evaluation_ranks_them(tmp_path: Path) -> None:
    """Tea is bought most often, by all; ann comes back to it, and the run leaves seen items among the candidates.

    Its oldest records know no choice of masks; then seen items are left out.
    """
    rows = [(user, item) for user in ("ann", "bob", "eve") for item in ("tea", "rum", "tea", "tea", "tea")]
    rows += [("bob", "ale"), ("guest", "ale"), ("guest", "ale"), ("guest", "rum"), ("guest", "rum")]
    pd.DataFrame(rows, columns=["user", "item"]).assign(time=range(len(rows))).to_csv(tmp_path / "t.csv", index=False)
    table = ["data=table", "data.path=t.csv", "data.rating=null", "data.timestamp=time", "data.duplicates=keep"]
    ranked = ["split=leave_last_out", "evaluation=full_ranking", "evaluation.ks=[1]", "evaluation.objective=mrr"]
    run = train_run(tmp_path, "model=popularity", "logger=none", *table, *ranked, "evaluation.mask_seen=false")
    # held out last: ann tea, bob ale, eve tea, guest rum; train has tea 7, rum 3, ale 2
    assert read_metrics(run)["metrics"]["test/mrr"] == (1 + 1 / 3 + 1 + 1 / 2) / 4
    top = recsweep(tmp_path, "recommend", f"run={run}", "user=ann", "k=1")
    assert [row[1] for row in table_cells(top.out)] == ["tea"]
    record = run / ".hydra" / "config.yaml"
    record.write_text(record.read_text().replace("  mask_seen: false\n", ""))
    top = recsweep(tmp_path, "recommend", f"run={run}", "user=ann", "k=1")
    assert [row[1] for row in table_cells(top.out)] == ["ale"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "",
            "for whom? give user=ID, or several separated by commas, or users=all to=FILE, "
            "or history=FILE of new users",
        ),
        ("users=all", "users=all to=FILE.parquet or FILE.csv writes all users; user=ID,… names some"),
        ("users=all to=r.txt", "to=r.txt: the name of the file ends in .parquet or .csv"),
        ("user=3 to=none/r.csv", "to=none/r.csv: there is no folder none"),
        ("user=3 only=none.csv", "none.csv: no such file"),
        (
            "user=3 filter=a=b index=Flat",
            "index=Flat: leave out to, only, exclude, filter and diversity, which need exact search",
        ),
        ("user=3 k=0", "k=0: a whole number from 1 on"),
        ("user=3 k=ten", "k=ten: a whole number from 1 on"),
        ("user=3,9999", "unknown user id 9999: the data has 60 users, ids such as 1 and 60"),
    ],
)
def test_recommend_refuses(options: str, message: str, run: Path, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "recommend", f"run={run}", *options.split())
    assert outcome == (2, "", f"recsweep: {message}\n")


def test_recommend_no_more_items_than_the_user_has_not_seen(run: Path, data: Interactions, tmp_path: Path) -> None:
    n_unseen = 100 - int((data.user == data.user_ids.encode(["3"])).sum())
    assert recsweep(tmp_path, "recommend", f"run={run}", "user=3", f"k={n_unseen}").status == 0
    outcome = recsweep(tmp_path, "recommend", f"run={run}", "user=3", f"k={n_unseen + 1}")
    assert outcome == (2, "", f"recsweep: k={n_unseen + 1}: a user has only {n_unseen} unseen items of 100\n")


def test_a_user_who_is_given_twice_is_shown_once(run: Path, tmp_path: Path) -> None:
    once, twice = (recsweep(tmp_path, "recommend", f"run={run}", f"user={user}", "k=3") for user in ("3", "3,3"))
    assert once.status == 0
    assert once == twice


def test_a_user_about_whom_the_model_has_learned_nothing(tmp_path: Path) -> None:
    rows = ["user,item"] + [f"{user},{item}" for user in range(8) for item in range(user, user + 6)]
    rows += ["8,20", "9,20"]  # one of them is held out, and item 20 has no other row
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    table = ("data=table", "data.path=rows.csv", "data.rating=null", "split.cold_users=keep", "logger=none")
    run = train_run(
        tmp_path,
        "model=ease",
        *table,
        "split.test_fraction=0.3",
        "split.val_fraction=0.2",
        "evaluation.ks=[5]",
        "evaluation.objective=ndcg@5",
    )
    outcomes = [recsweep(tmp_path, "recommend", f"run={run}", f"user={user}", "k=2") for user in (8, 9)]
    assert {outcome.status for outcome in outcomes} <= {0, 2}
    message = "the model gives every item the same score: it has learned nothing about this user"
    assert any(message in outcome.err for outcome in outcomes)
