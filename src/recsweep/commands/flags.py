"""The flags among a verb's arguments, as Hydra's parser reads them."""

from argparse import Namespace
from contextlib import redirect_stderr
from io import StringIO

from hydra._internal.utils import get_args_parser

from recsweep.config.files import search_path
from recsweep.errors import UserError


def parse_flags(arguments: list[str]) -> Namespace:
    """The arguments as Hydra's own parser reads them; `UserError` for a flag that it does not have."""
    with redirect_stderr(StringIO()) as errors:
        try:
            flags = get_args_parser().parse_intermixed_args(arguments)
        except SystemExit as end:
            if not end.code:  # --version has printed its answer
                raise
            raise UserError(errors.getvalue().rpartition("error: ")[2].strip()) from None
    if flags.multirun and (flags.cfg or flags.info or flags.help or flags.hydra_help or flags.shell_completion):
        raise UserError("-m runs a sweep; leave it out with --help, --hydra-help, --cfg, --info or --shell-completion")
    search_path(flags.config_dir)
    if any(override.lstrip("+").startswith("hydra.mode=") for override in flags.overrides):
        raise UserError("hydra.mode: leave it out; -m runs a sweep, and without -m it is one run")
    return flags


def put_flags_first(arguments: list[str]) -> list[str]:
    """The same arguments, flags before overrides: Hydra's parser wants all overrides in one place."""
    overrides = parse_flags(arguments).overrides
    return [*(argument for argument in arguments if argument not in overrides), *overrides]


def pop_option(arguments: list[str], key: str) -> str | None:
    """Removes `key=value` from the arguments and returns the value; None without one."""
    for argument in arguments:
        if argument.startswith(f"{key}="):
            arguments.remove(argument)
            return argument.removeprefix(f"{key}=")
    return None
