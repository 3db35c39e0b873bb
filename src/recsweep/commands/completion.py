"""`recsweep --shell-completion`: completion at every Tab, so nothing here may load torch."""

import os
import sys

import hydra

from recsweep.errors import UserError
from recsweep.paths import conf_dir


def run(arguments: list[str], verbs: tuple[str, ...]) -> None:
    """`--shell-completion install=bash` (zsh, fish), or the shell's `query=bash` about the line in COMP_LINE.

    The first word is completed to one of our verbs. The rest of the line is Hydra's, which gets it without the verb.
    """
    request, _, shell = arguments[-1].partition("=")
    if request not in ("install", "uninstall", "query") or shell not in ("bash", "zsh", "fish"):
        raise UserError(
            "--shell-completion takes install=, uninstall= or query= with bash, zsh or fish: "
            'eval "$(recsweep --shell-completion install=bash)"'
        )
    if request == "query" and "COMP_LINE" not in os.environ:
        raise UserError("--shell-completion query=…: only shells call this, with the line in COMP_LINE")
    if request == "query":
        program, *rest = os.environ["COMP_LINE"].split(" ", 2)
        if len(rest) < 2:
            print(" ".join(verbs))
            return
        os.environ["COMP_LINE"] = f"{program} {rest[1]}"
    sys.argv = ["recsweep", *arguments]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(lambda cfg: None)()
