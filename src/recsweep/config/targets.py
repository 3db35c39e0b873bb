"""Which classes and functions a recorded configuration may name: somebody else may have written it."""

import importlib.util
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra.utils import get_object

from recsweep.errors import UserError
from recsweep.terminal import escape

OWN_MODULES = ("recsweep.data", "recsweep.evaluation", "recsweep.losses", "recsweep.models")
LIBRARIES = ("torch.optim", "pytorch_optimizer")
CALLED_BY_HYDRA = ("_target_", "_args_", "_convert_", "_partial_", "_recursive_")


def check_plugins(plugins: Iterable[str]) -> None:
    """Raises `UserError` for the first name that is no module's."""
    for name in plugins:
        try:
            is_found = bool(name) and importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            is_found = False
        if not is_found:
            raise UserError(f"plugins={name}: no module of that name can be imported; is its folder on PYTHONPATH?")


def check_targets(config: Any, plugins: Sequence[str]) -> None:
    """Raises `UserError` for the first `_target_` anywhere in the configuration that is not to be trusted.

    Trusted are classes of the project (of its losses also functions), the optimizers and schedules of torch and
    pytorch_optimizer, and what lies in the modules `plugins`. Nothing is imported before its name was found to be in
    one of them. An object that such a module only imports, such as `recsweep.data.files.pd`, is not trusted.
    """
    refused = []
    for key, name, argument in _calls(config, ""):
        if argument != "_target_":
            _check_call_argument(key, argument, name)
        elif not (isinstance(name, str) and _is_trusted(name, plugins, is_listed="[" in key)):
            refused.append((f"{key}.{argument}={escape(str(name))}", str(name).partition(".")[0]))
    if refused:
        modules = ",".join(dict.fromkeys([*plugins, *(module for _, module in refused if module)]))
        advice = f"; if you trust it: plugins={escape(modules)}" if modules else ""
        raise UserError(f"{refused[0][0]}: only classes of recsweep, optimizers and schedules are trusted{advice}")


def _calls(node: Any, key: str) -> Iterator[tuple[str, Any, str]]:
    """Every key in the tree that says what Hydra calls, and how."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in CALLED_BY_HYDRA:
                yield key, value, name
            else:
                yield from _calls(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _calls(value, f"{key}[{index}]")


def _check_call_argument(key: str, argument: str, value: Any) -> None:
    if argument != "_partial_" or not isinstance(value, bool):
        raise UserError(f"{key}.{argument}={escape(str(value))}: a record may say _target_ and _partial_ only")


def _is_trusted(path: str, plugins: Sequence[str], is_listed: bool) -> bool:
    if not all(part.isidentifier() for part in path.split(".")):
        return False
    if _is_in(path, plugins):
        return True
    if is_listed or not _is_in(path, (*OWN_MODULES, *LIBRARIES)):  # no class of the project takes a list of nodes
        return False
    try:
        target = get_object(path)
    except Exception:  # whatever an import raises; `check_node` says it to the user
        return False
    if inspect.isclass(target):
        return _is_in(target.__module__, (*OWN_MODULES, *LIBRARIES)) and target.__qualname__ == target.__name__
    return inspect.isfunction(target) and _is_in(target.__module__, ("recsweep.losses",))


def _is_in(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)
