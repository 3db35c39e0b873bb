"""Whether a class has the methods of its base classes and protocols, and they take what the project hands over."""

from collections.abc import Callable, Iterable, Mapping
from inspect import getattr_static, isfunction, signature
from typing import Any

from recsweep.data.schema import Source
from recsweep.errors import UserError
from recsweep.evaluation.binary import TimedScorer
from recsweep.evaluation.protocol import RatingScorer
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.vectors.export import Embedded


def check_model(model: type[RecModule | Baseline], settings: Mapping[str, Any]) -> None:
    """Raises `UserError` for a model that lacks something of its base class, or that cannot be called like it.

    Args:
        settings: what the configuration sets of it.
    """
    missing = [name for base in model.__mro__ for name in vars(base) if _is_abstract(getattr_static(model, name))]
    attributes = ["evaluations"]
    if issubclass(model, RecModule):
        attributes += ["losses", "sparse"]
        if model.training_step is not RecModule.training_step:
            missing = [name for name in missing if name != "training_loss"]
    missing = [*dict.fromkeys(missing), *(name for name in attributes if not hasattr(model, name))]
    if missing:
        raise UserError(f"model {model.__name__} does not define {', '.join(missing)}")
    _check_constructor(model, settings)
    check_methods("model", model, (RatingScorer, TimedScorer, Embedded))


def check_source(key: str, path: str, source: Any) -> None:
    """Raises `UserError` for a data set that is no `Source`.

    Args:
        key: of its node, such as "data.base".
        path: its name in the configuration.
    """
    missing = [name for name in ("ships", *_methods(Source)) if not hasattr(source, name)]
    if missing:
        raise UserError(f"{key}._target_={path}: as a Source of data/schema.py it needs {', '.join(missing)}")
    check_methods(key, source, (Source,))


def check_methods(key: str, own: type, protocols: Iterable[type] = ()) -> None:
    """Raises `UserError` for the first method that cannot be called like that of a base class of the project.

    Args:
        key: what the class is, for the message.
        protocols: whose methods the class may have, besides those of its base classes.
    """
    bases = [base for base in own.__mro__[1:] if base.__module__.startswith("recsweep.")]
    for base in (*bases, *protocols):
        for name, method in _methods(base).items():
            if hasattr(own, name) and not _takes(own, name, positional_names(method)):
                arguments = ", ".join(signature(getattr(own, name)).parameters)
                expected = ", ".join(signature(method).parameters)
                raise UserError(f"{key} {own.__name__}: {name}({arguments}) should be {name}({expected})")


def positional_names(function: Callable[..., Any]) -> list[str]:
    """The arguments that a function takes by position, without `self`."""
    arguments = signature(function).parameters.values()
    return [a.name for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD and a.name != "self"]


def _check_constructor(model: type[RecModule | Baseline], settings: Mapping[str, Any]) -> None:
    """Raises `UserError` for a constructor without `data`, or without `training` where it trains by steps."""
    given = positional_names(RecModule.__init__ if issubclass(model, RecModule) else Baseline.fit)
    arguments = signature(model)
    try:
        arguments.bind(*given, **settings)
    except TypeError:
        own = ", ".join(["self", *arguments.parameters])
        expected = ", ".join(["self", *given, *(["*", *settings] if settings else [])])
        raise UserError(f"model {model.__name__}: __init__({own}) should be __init__({expected})") from None


def _methods(interface: type) -> dict[str, Callable[..., Any]]:
    """The methods that others call, by name."""
    return {
        name: value
        for name, value in vars(interface).items()
        if isfunction(value) and (name == "__call__" or not name.startswith("_"))
    }


def _takes(own: type, name: str, arguments: list[str]) -> bool:
    """Whether a method takes these arguments by position."""
    method = getattr(own, name)
    if not callable(method):
        return False
    instance = ["self"] if isfunction(getattr_static(own, name)) else []
    try:
        signature(method).bind(*instance, *arguments)
    except TypeError:
        return False
    except ValueError:  # of a builtin, nothing is known
        return True
    return True


def _is_abstract(method: Any) -> bool:
    return getattr(method, "__isabstractmethod__", False)
