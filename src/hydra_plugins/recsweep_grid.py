"""`hydra/sweeper=grid`. Hydra takes sweepers from the package `hydra_plugins` only."""

from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from recsweep.sweeps import jobs
from recsweep.sweeps.request import read_request


class Grid(BasicSweeper):
    """The jobs in sweep.json, batch by batch. Each takes its settings from there: Hydra only launches it."""

    def sweep(self, arguments: list[str]) -> None:
        """Runs the jobs that are not completed; one whose process is killed does not stop the others."""
        from recsweep.config.files import save_config  # it loads torch, and Hydra imports this file at every Tab

        assert self.config and self.hydra_context and self.launcher, "Hydra calls setup first"
        folder = Path(self.config.hydra.sweep.dir)
        if not (folder / "multirun.yaml").exists():
            save_config(self.config, folder / "multirun.yaml")
        numbers = [
            number
            for number in range(len(read_request(folder).records))
            if (jobs.outcome(folder / str(number)) or {}).get("status") != "completed"
        ]
        size = self.max_batch_size or max(1, len(numbers))
        for start in range(0, len(numbers), size):
            jobs.run_jobs(self.launcher, folder, {number: [] for number in numbers[start : start + size]})
