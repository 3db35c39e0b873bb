"""The exception for mistakes that the user can fix."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake that the user can fix. The message says in one line what is wrong, where, and what to do.

    `cli.py` prints the message without a traceback and exits with status 2.
    """


def summarize_error(error: Exception) -> str:
    """An unforeseen error in one line: its type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


@contextmanager
def explain(message: str) -> Iterator[None]:
    """Whatever a block raises that reads a file becomes a `UserError`: `message`, and the error in brackets.

    A broken file can raise nearly anything, so this is no list of types. `UserError` passes.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{message} ({summarize_error(error)})") from None
