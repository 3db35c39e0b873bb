"""For how many users one configuration is better."""

from pathlib import Path

from run_folders import compare_runs, leave_evidence, write_run

from recsweep.report.wins import Wins, count_wins


def write_pair(folder: Path, best: list[list[float]], other: list[list[float]], n: list[int]) -> Path:
    """Two values of dropout, of which 0 is best on validation: sums of squared errors by seed and user."""
    for dropout, sums_by_seed in enumerate((best, other)):
        for seed, sums in enumerate(sums_by_seed):
            words = (f"regularization.dropout={dropout}", f"seed={seed}")
            leave_evidence(write_run(folder / f"{dropout}{seed}", *words, value=0.5 + 0.1 * dropout), sums, n)
    return folder


def test_users_are_counted_by_their_own_mean_over_rows_and_seeds(tmp_path: Path) -> None:
    """Sums over 1, 2, 4, 1 rows. Means of the best 1, 1, 2, 3 and of the other 2, 1, 1, 3.5: gains 1, 0, -1, 1/2."""
    write_pair(tmp_path, [[0, 2, 8, 3], [2, 2, 8, 3]], [[2, 1, 4, 3], [2, 3, 4, 4]], [1, 2, 4, 1])
    assert count_wins(*compare_runs(tmp_path)) == Wins("dropout=0", "dropout=1", 2, 1, 1, 2)


def test_a_user_whom_one_side_does_not_count_is_left_out(tmp_path: Path) -> None:
    write_pair(tmp_path, [[1, 0]], [[2, 0]], [1, 0])
    wins = count_wins(*compare_runs(tmp_path))
    assert wins is not None and (wins.better, wins.n_users) == (1, 1)


def test_without_evidence_or_another_configuration_nothing_is_counted(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "regularization.dropout=0")
    assert count_wins(*compare_runs(tmp_path)) is None
    leave_evidence(write_run(tmp_path / "1", "regularization.dropout=1"), [1.0])
    assert count_wins(*compare_runs(tmp_path)) is None
