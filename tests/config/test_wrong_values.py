"""Every key of `conf/` refuses values of other types and outside of its range, in one line that names the key."""

import pytest
from choices import names
from wrong_values import GROUPS, Case, cases, check, replace, settings

from recsweep.errors import UserError


def complaint(case: Case) -> str:
    """What is wrong with the answer to a case; empty where nothing is."""
    try:
        check(case.group, replace(case.settings, case.key.partition(".")[2], case.value))
    except UserError as error:
        message = str(error)
        return "" if message.startswith(case.key) and "\n" not in message else message
    return "accepted"


@pytest.mark.parametrize("group", GROUPS)
def test_a_value_that_a_key_does_not_take_is_one_line(group: str) -> None:
    found = {(case.key, repr(case.value)): complaint(case) for case in cases() if case.group == group}
    assert {case: text for case, text in found.items() if text} == {}


@pytest.mark.parametrize("group", GROUPS)
def test_the_settings_themselves_are_accepted(group: str) -> None:
    for choice in names(group):
        check(group, settings(group, choice))
