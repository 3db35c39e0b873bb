"""`hydra/sweeper=optuna`. Hydra takes sweepers from the package `hydra_plugins` only, and imports it at every start."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GuidedSearch(Sweeper):
    """Optuna proposes the jobs; the launcher runs them.

    Args:
        settings: the keys of `conf/hydra/sweeper/optuna.yaml`; the search reads them from its configuration.
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
        from recsweep.sweeps.search import run_search  # importing Optuna takes a second

        assert self.config and self.hydra_context and self.launcher, "Hydra calls setup first"
        run_search(self.config, self.hydra_context.config_loader, self.launcher)
