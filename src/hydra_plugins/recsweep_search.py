"""`hydra/sweeper=optuna`, in the one package that Hydra takes sweepers from; Hydra loads it at every start."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GuidedSearch(Sweeper):
    """Optuna proposes the jobs; the launcher runs them.

    Args:
        settings: those of `conf/hydra/sweeper/optuna.yaml`, which the search reads where it is begun.
    """

    def __init__(self, **settings: Any) -> None:
        pass

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from recsweep.sweeps import search  # takes a second

        assert self.config and self.hydra_context and self.launcher, "Hydra calls setup first"
        search.run(arguments, self.config, self.hydra_context.config_loader, self.launcher)
