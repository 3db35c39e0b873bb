"""The exception for mistakes that the user can fix."""


class UserError(Exception):
    """A mistake that the user can fix. The message says in one line what is wrong, where, and what to do.

    `cli.py` prints the message without a traceback and exits with status 2.
    """
