"""The exception for mistakes that the user can fix."""


class UserError(Exception):
    """A mistake that the user can fix. The message says in one line what is wrong, where, and what to do.

    `cli.py` prints the message without a traceback and exits with status 2.
    """


def summarize_error(error: Exception) -> str:
    """An unforeseen error in one line: its type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
