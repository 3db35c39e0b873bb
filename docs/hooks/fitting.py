"""Which choices go together, by the rules that the program itself checks a configuration with."""

from collections.abc import Iterable, Iterator
from typing import Any

from conf_files import names, read_choice
from hydra.utils import get_object
from plain_markdown import code, escape, table

from recsweep.config.combinations import fits
from recsweep.models.base import RecModule
from recsweep.models.regularization import Regularization


def list_models() -> Iterator[str]:
    """A row a model: what it is trained and judged by, first what it chooses itself."""
    rows = []
    for name in names("model"):
        model = _target("model", name)
        chosen = dict(entry.split("=", 1) for entry in read_choice("model", name).sets)
        is_trained = issubclass(model, RecModule)
        losses = [loss for loss in names("loss") if is_trained and fits(_target("loss", loss), model.losses)]
        judges = [judge for judge in names("evaluation") if _target("evaluation", judge) in model.evaluations]
        keys = [] if "regularization" in model.ignores else Regularization.model_fields
        used = [key for key in keys if f"regularization.{key}" not in model.ignores]
        rows.append(
            [
                code(name),
                _list(losses, chosen.get("loss", "mse")) if losses else "computed at once",
                _list(judges, chosen.get("evaluation", "rating")),
                _list([chosen.get("data", "synthetic")]),
                _list(used),
            ]
        )
    yield from table(["model", "losses", "evaluations", "data, if nothing is said", "regularisers that count"], rows)


def list_evaluations() -> Iterator[str]:
    """A row an evaluation: the models that it judges."""
    rows = []
    for name in names("evaluation"):
        judge = _target("evaluation", name)
        models = [model for model in names("model") if judge in _target("model", model).evaluations]
        rows.append([code(name), escape(read_choice("evaluation", name).text), _list(models)])
    yield from table(["evaluation", "what it measures", "models"], rows)


def list_data() -> Iterator[str]:
    """A row a data set: the splits that it ships, and the one that it is split by if nothing is said."""
    rows = []
    for name in names("data"):
        choice = read_choice("data", name)
        chosen = dict(entry.split("=", 1) for entry in choice.sets)
        ships = getattr(_target("data", name), "ships", ())
        text = choice.text.partition(" data=")[0]  # an example of a command may follow
        rows.append([code(name), escape(text), code(chosen.get("split", "random")), _list(ships)])
    yield from table(["data", "what it is", "split, if nothing is said", "splits that come with it"], rows)


def _target(group: str, name: str) -> Any:
    return get_object(read_choice(group, name).node["_target_"])


def _list(choices: Iterable[str], first: str = "") -> str:
    """The choices as code, the one that counts if nothing is said first and in bold."""
    return ", ".join([f"**{code(first)}**"] * bool(first) + [code(choice) for choice in choices if choice != first])
