"""`recsweep --shell-completion`: what a shell asks while a line is typed, so nothing here may load torch."""

import os
import sys

import hydra

from recsweep.errors import UserError
from recsweep.paths import conf_dir


def run(words: list[str], verbs: tuple[str, ...]) -> None:
    """`--shell-completion install=bash` (zsh, fish), or its `query=bash` about the line in COMP_LINE.

    Verbs are ours; what may follow them is Hydra's, which does not expect a verb.
    """
    asked, _, shell = words[-1].partition("=")
    if asked not in ("install", "uninstall", "query") or shell not in ("bash", "zsh", "fish"):
        raise UserError(
            '--shell-completion: what for? eval "$(recsweep --shell-completion install=bash)", or zsh, fish'
        )
    if asked == "query" and "COMP_LINE" not in os.environ:
        raise UserError("--shell-completion query=…: is what a shell asks, with its line in COMP_LINE")
    if asked == "query":
        program, *typed = os.environ["COMP_LINE"].split(" ", 2)
        if len(typed) < 2:
            print(" ".join(verbs))
            return
        os.environ["COMP_LINE"] = f"{program} {typed[1]}"
    sys.argv = ["recsweep", *words]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(lambda cfg: None)()
