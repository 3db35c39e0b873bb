"""The one exception that a user's mistake ends in."""


class UserError(Exception):
    """Something the user can mend: what is wrong, where, and what to do, in one line.

    `cli.py` prints the message without a traceback and exits with status 2.
    """
