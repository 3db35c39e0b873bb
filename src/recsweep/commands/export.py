"""`recsweep export`: the model of a finished run as an ONNX file."""

from recsweep.api.run import Run
from recsweep.commands import compose
from recsweep.commands.flags import pop_option
from recsweep.errors import UserError
from recsweep.terminal import print_line


def run(arguments: list[str]) -> None:
    """`export run=DIR to=FILE.onnx`."""
    folder, origin = compose.pop_run(arguments)
    to = pop_option(arguments, "to")
    if to is None:
        raise UserError("into which file? give to=model.onnx")
    changed, cfg = compose.build_config(origin, arguments)
    Run(folder, changed, cfg).export(to)
    print_line(to)
