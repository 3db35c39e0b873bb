"""How many bad inputs the tests hold in tables: each ends in one line that says what is wrong."""

from broken_files import BROKEN_JSON, BROKEN_YAML
from damages import DAMAGES, SWEEP
from data_damages import TABLES
from wrong_arguments import TABLE
from wrong_values import cases


def test_there_are_more_than_500_in_files_and_words() -> None:
    """Those of single keys of `conf/` come on top."""
    words = {" ".join(line) for lines in TABLE.values() for line in lines}
    of_runs = sum(map(len, DAMAGES.values())) + len(SWEEP)
    of_tables = sum(len(damaged()) for damaged in TABLES.values())
    broken = 3 * len(BROKEN_YAML) + len(BROKEN_JSON)  # each kind in three files of a run, and in its metrics.json
    assert len(words) == sum(map(len, TABLE.values()))  # none twice
    assert len(words) + of_runs + of_tables + broken >= 500
    assert len({(case.key, repr(case.value)) for case in cases()}) >= 1000
