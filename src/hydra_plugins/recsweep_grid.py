"""`hydra/sweeper=grid`. Hydra takes sweepers from the package `hydra_plugins` only."""

from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from recsweep.sweeps import jobs


class Grid(BasicSweeper):
    """Every combination, in the order of Hydra's own sweeper; `recsweep train` has composed and checked the jobs."""

    def sweep(self, arguments: list[str]) -> None:
        """Runs the jobs batch by batch; a job whose process is killed does not stop the others."""
        from recsweep.config.files import save_config  # it loads torch, and Hydra imports this file at every Tab

        assert self.config and self.hydra_context and self.launcher, "Hydra calls setup first"
        folder = Path(self.config.hydra.sweep.dir)
        save_config(self.config, folder / "multirun.yaml")
        overrides = OverridesParser.create(self.hydra_context.config_loader).parse_overrides(arguments)
        first = 0
        for batch in self.split_arguments(overrides, self.max_batch_size):
            jobs.run_jobs(self.launcher, folder, {number: list(job) for number, job in enumerate(batch, first)})
            first += len(batch)
