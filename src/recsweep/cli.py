"""The command line: `recsweep VERB …`. A user's mistake ends as one line on stderr and status 2."""

import importlib
import os
import sys
from importlib.metadata import version

from recsweep.errors import UserError
from recsweep.terminal import announce, escape

HELP = """recsweep: recommender models side by side under one honest protocol

usage: recsweep VERB [key=value …] [Hydra's flags]

  train [overrides]               one run; with -m a sweep over values
                                  separated by commas
  train run=DIR key=value …       a new run (-m: sweep) with changed settings;
                                  the changes are shown and recorded
  train run=DIR resume=true       resumes an interrupted run
  train sweep.resume=DIR          resumes a sweep: runs the jobs that are not
                                  completed
  evaluate run=DIR [overrides]    metrics of a finished run's checkpoint, under
                                  the same or another protocol
  recommend run=DIR user=ID k=10  the best unseen items of a user
  recommend … index=HNSW32        the same by an approximate index over
                                  embeddings/ (Flat, HNSW32, IVF64,Flat)
  export run=DIR to=model.onnx    the model as an ONNX file with its ids, which
                                  runs without recsweep
  report DIR [baseline=NAME]      compares runs: table with intervals and paired
                                  tests, plots, one HTML file
  report DIR compare=A,B          two configurations: who gains by each
  data list                       the data sets, and which of them are on disk
  data prepare data=NAME          fetches, verifies and summarises a data set
                                  (sequences=DIR max_history=50: writes its
                                  parts as sequences in Parquet)

choices (`recsweep train --help` lists them, with every key): data, filter,
split, model, loss, regularization, optimizer, scheduler, evaluation, trainer,
callbacks, logger, debug, experiment, search, hydra/launcher (joblib,
submitit_local, submitit_slurm, ray: jobs side by side), hydra/sweeper (optuna)

examples:
  recsweep train model=svdpp data=ml_100k regularization.dropout=0.2
  recsweep train -m experiment=rating_synthetic model=svdpp,mlp seed=0,1,2
  recsweep train --cfg job experiment=rating_ml_100k

Tab completion: eval "$(recsweep --shell-completion install=bash)", also for zsh
and fish. `recsweep VERB --help` explains a verb's options, `recsweep --version`
says which version this is. Raw data is read from $RECSWEEP_DATA_DIR, or from
data/ where that is unset; results go to outputs/.
"""

VERBS = ("train", "evaluate", "recommend", "export", "report", "data")


def main() -> int:
    """Runs the verb that `sys.argv` names; returns 0, 2 for a user's mistake, 130 when interrupted."""
    verb, *arguments = sys.argv[1:] or ["--help"]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises exceptions instead of printing them
    try:
        if verb in ("--help", "-h", "help"):
            print(HELP, end="")
        elif verb == "--version":
            print(f"recsweep {version('recsweep')}")
        elif verb in VERBS and verb != "report" and {"--help", "-h"} & set(arguments):
            importlib.import_module("recsweep.commands.help").run(verb, arguments)
        elif verb in ("--shell-completion", "-sc"):
            importlib.import_module("recsweep.commands.completion").run([verb, *arguments], VERBS)
        elif verb not in VERBS:
            raise UserError(f"{verb}: no such verb; there are {', '.join(VERBS)}")
        else:
            with announce(f"recsweep {verb}: loading …"):
                command = importlib.import_module(f"recsweep.commands.{verb}")
            command.run(arguments)
    except (UserError, OSError, MemoryError) as error:  # OSError: such as no permission to write, or a full disk
        print(escape(f"recsweep: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        advice = f"; go on with `{interrupt}`" if str(interrupt) else ""
        print(escape(f"recsweep: interrupted{advice}"), file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
