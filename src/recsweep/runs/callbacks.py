"""Lightning callbacks: selection, resumable checkpoints, progress."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recsweep.models.base import RecModule
from recsweep.runs.folder import describe_epochs
from recsweep.terminal import format_number, print_line

if TYPE_CHECKING:
    from optuna.trial import Trial


log = logging.getLogger(__name__)

MAX_LINES = 50


class Pruned(Exception):
    """A search stopped this run: its validation curve is not promising.

    Args:
        reason: one line.
        epochs: what metrics.json says about its epochs.
    """

    def __init__(self, reason: str, epochs: dict[str, Any]) -> None:
        super().__init__(reason, epochs)
        self.epochs = epochs

    def __str__(self) -> str:
        return str(self.args[0])


class StopEarly(EarlyStopping):
    """Early stopping that also stops a resumed run which was interrupted after the decision to stop."""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


class SaveBest(Checkpoint):
    """Writes the weights to `path` at the end of each epoch that is the best so far, by `RecModule.best_epoch`.

    It has no state of its own: a resumed module brings its objectives.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, RecModule)
        if module.best_epoch == trainer.current_epoch:
            trainer.save_checkpoint(self.path, weights_only=True)


class ResumePoint(Checkpoint):
    """Writes the whole training state to `path` at the end of an epoch, at most every `seconds`, and of the training.

    A resumed run repeats the epochs since then bit for bit: every random draw depends only on (seed, epoch).
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.seconds = seconds
        self.saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if time.monotonic() - self.saved_at >= self.seconds:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)  # optimizers and loops too
        self.saved_at = time.monotonic()


class Pruning(Callback):
    """Reports the validation objective of every epoch to a trial of a search, and ends the run if it is pruned."""

    def __init__(self, trial: "Trial") -> None:
        self.trial = trial

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Reports the epoch before: when it ended, Lightning called this callback before the module had validated."""
        assert isinstance(module, RecModule)
        if not module.objectives:
            return
        self._report(module.objectives)
        if self.trial.should_prune():
            name, value = f"val/{module.evaluation.objective}", module.objectives[-1]
            reason = f"{name} is {value:.4f} after epoch {len(module.objectives)}, not promising"
            raise Pruned(reason, {**describe_epochs(module), "ended_by": "pruned"})

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, RecModule)
        self._report(module.objectives)

    def _report(self, objectives: list[float]) -> None:
        self.trial.report(objectives[-1], step=len(objectives))


class EpochLines(Callback):
    """A line for an epoch in run.log, and on stderr if asked for: at most about `MAX_LINES` of a training.

    Args:
        mode: of the objective, "min" or "max".
        is_shown: whether the lines also go to stderr.
    """

    def __init__(self, mode: str, is_shown: bool) -> None:
        self.best_of = min if mode == "min" else max
        self.is_shown = is_shown

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert trainer.max_epochs
        self.last = trainer.current_epoch
        self.every = -(-trainer.max_epochs // MAX_LINES)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes about the epoch before: when it ended, Lightning called this callback before the module validated."""
        if trainer.current_epoch % self.every == 0:
            self._write(trainer, module)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._write(trainer, module)

    def _write(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, RecModule)
        n_epochs = len(module.epochs)
        if n_epochs == self.last:
            return
        self.last = n_epochs
        parts = [
            f"epoch {n_epochs}/{trainer.max_epochs}",
            f"train/loss {format_number(module.epochs[-1]['train/loss'])}",
        ]
        if len(module.data.split.val):
            current, best = module.objectives[-1], self.best_of(module.objectives)
            parts += [f"val/{module.evaluation.objective} {format_number(current)}", f"best {format_number(best)}"]
        else:
            parts.append("on train + validation")
        line = "  ".join(parts)
        log.info(line)
        if self.is_shown:
            print_line(line, stderr=True)


class EpochProgress(Callback):
    """One line for the whole training: epochs, the current and the best objective, time left."""

    def __init__(self, name: str, mode: str) -> None:
        self.name = name
        self.best_of = min if mode == "min" else max
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            TextColumn("{task.fields[objective]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self.bar = Progress(*columns, console=console, transient=True)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.bar.start()
        assert isinstance(module, RecModule) and trainer.max_epochs
        per_epoch = len(module.data.batches)
        self.task = self.bar.add_task(
            self.name,
            total=trainer.max_epochs * per_epoch,
            completed=trainer.current_epoch * per_epoch,
            epoch=trainer.current_epoch,
            epochs=trainer.max_epochs,
            objective="",
        )

    def on_train_batch_end(self, *_: Any) -> None:
        self.bar.advance(self.task)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Shows the epoch before: when it ended, Lightning called this callback before the module had validated."""
        assert isinstance(module, RecModule)
        objectives, name = module.objectives, module.evaluation.objective
        text = f"{name} {objectives[-1]:.4f}, best {self.best_of(objectives):.4f}" if objectives else ""
        if not len(module.data.split.val):
            text = "on train + validation"
        self.bar.update(self.task, epoch=trainer.current_epoch + 1, objective=text)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.bar.stop()
