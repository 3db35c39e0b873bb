"""A trained model as one ONNX file with the raw ids, which programs run without recsweep and without torch.

Before the file gets its name, onnxruntime computes the scores of some users from it, and they are compared with the
model's own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recsweep.api.onnx_graph import Graph, add_history_scores, add_ratings
from recsweep.atomic import write_atomically
from recsweep.data.schema import Interactions
from recsweep.errors import UserError
from recsweep.evaluation.protocol import MAX_SCORES
from recsweep.models.base import RecModule
from recsweep.models.baselines import Baseline
from recsweep.models.biased_mf import BiasedMF
from recsweep.models.histories import windows
from recsweep.models.two_tower import TwoTower
from recsweep.vectors.export import Embedded, compute_vectors

OPSET, IR_VERSION = 17, 8  # the first with LayerNormalization; tried with onnxruntime 1.15 and 1.32
MAX_BYTES = 2**31  # of a protobuf message
CHECKED = 256  # users, or pairs, at most
TOLERANCE = 1e-5  # of the largest score


class Sample(NamedTuple):
    """Inputs of some users or pairs, and the scores that the model gives them."""

    inputs: Mapping[str, Tensor]
    scores: Tensor


def check_export(path: Path) -> None:
    """`UserError` unless a file of this name can be written, and what writes and checks it is installed."""
    if path.suffix != ".onnx":
        raise UserError(f"to={path}: the name of the file ends in .onnx")
    if not path.parent.is_dir():
        raise UserError(f"to={path}: there is no folder {path.parent}")
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        raise UserError("export needs onnx and onnxruntime: pip install 'recsweep[onnx]'") from None


@torch.inference_mode()
def export_onnx(model: RecModule | Baseline, data: Interactions, path: Path) -> None:
    """Writes the model to an ONNX file; raw ids are in its metadata as JSON lists, `user_ids` and `item_ids`.

    A model of ratings has the inputs `user` [B] and `item` [B] and the output `score` [B]. A model of vectors has the
    output `scores` [B, n_items] and the input `user` [B]; if it knows users by a history alone `history` [B, L], and
    with `time_gaps` the times `seconds` [B, L]. Users and items are numbers, their places in the lists of ids; all
    inputs are int64.

    Args:
        model: on the CPU.
        path: as `check_export` allows it; a file that is there is replaced.

    Raises:
        UserError: the model is of another kind, the file would have 2 GB or more, or its scores differ from the
            model's.
    """
    graph = Graph()
    match model:
        case BiasedMF():
            output, sample = add_ratings(graph, model), _sample_pairs(model, data)
        case TwoTower() if model.users is None:
            output, sample = add_history_scores(graph, model), _sample_histories(model)
        case Embedded():
            output, sample = _add_scores(graph, model, data), _sample_users(model, data)
        case _:
            raise UserError(
                f"model {type(model).__name__} has no form as ONNX: it neither ranks by vectors nor predicts ratings "
                "from them; biased_mf, svdpp, mlp, bpr_mf, ials, drr and two_tower do"
            )
    ids = {"item_ids": data.item_ids} | ({} if "history" in sample.inputs else {"user_ids": data.user_ids})
    proto = _make_model(graph, output, sample, {key: json.dumps(value.raw.tolist()) for key, value in ids.items()})
    with write_atomically(path) as partial:
        partial.write_bytes(proto.SerializeToString())
        _check_scores(partial, path, sample)


def _add_scores(graph: Graph, model: Embedded, data: Interactions) -> str:
    vectors = compute_vectors(model, data)
    return graph.add("MatMul", graph.look_up(vectors.user, "user"), vectors.item.T)


def _sample_pairs(model: BiasedMF, data: Interactions) -> Sample:
    user, item = (_spread(n, CHECKED) for n in (data.n_users, data.n_items))
    n = max(len(user), len(item))
    user, item = user.repeat(n)[:n], item.repeat(n)[:n]
    return Sample({"user": user, "item": item}, model.score(user, item))


def _sample_users(model: Any, data: Interactions) -> Sample:
    user = _spread(data.n_users, MAX_SCORES // data.n_items)
    return Sample({"user": user}, model.score_all(user))


def _sample_histories(model: TwoTower) -> Sample:
    """The histories of some users in the data, padded to the longest; of long ones more than the items that count."""
    user = _spread(len(model.start) - 1, MAX_SCORES // max(model.n_items, model.longest_history**2))
    arguments = (model.start[user], model.start[user + 1], 2 * model.longest_history)
    item, count = windows(model.events, *arguments)
    is_padding = torch.arange(item.shape[1]) >= count[:, None]
    inputs = {"history": item.masked_fill(is_padding, -1)}
    if model.transformer is not None and model.transformer.has_gaps:
        inputs["seconds"] = windows(model.seconds, *arguments)[0]
    return Sample(inputs, model.score_all(user))


def _spread(n: int, at_most: int) -> Tensor:
    """Numbers below n at equal distances, at least one."""
    return torch.arange(0, n, -(-n // max(1, min(CHECKED, at_most))))


def _make_model(graph: Graph, output: str, sample: Sample, metadata: Mapping[str, str]) -> Any:
    """The ONNX model; the first axis of inputs and output is the batch, the second of a history has any length."""
    import onnx

    size = sum(constant.ByteSize() for constant in graph.constants) + sum(map(len, metadata.values()))
    if size >= MAX_BYTES - 2**20:
        raise UserError(f"the model takes {size / 1e9:.1f} GB, and an ONNX file less than 2.1 GB: train a smaller one")
    scored: list[str | int | None] = ["batch", *sample.scores.shape[1:]]
    name = "score" if len(scored) == 1 else "scores"
    graph.nodes.append(onnx.helper.make_node("Identity", [output], [name]))
    axes = {key: ["batch", "length"][: values.dim()] for key, values in sample.inputs.items()}
    inputs = [onnx.helper.make_tensor_value_info(key, onnx.TensorProto.INT64, names) for key, names in axes.items()]
    scores = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, scored)
    content = onnx.helper.make_graph(graph.nodes, "recsweep", inputs, [scores], graph.constants)
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(content, producer_name="recsweep", opset_imports=opset, ir_version=IR_VERSION)
    onnx.helper.set_model_props(model, dict(metadata))
    return model


def _check_scores(file: Path, path: Path, sample: Sample) -> None:
    """`UserError` where onnxruntime has other scores from the file than the model."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {key: values.numpy() for key, values in sample.inputs.items()})
    expected = sample.scores.float().numpy()
    difference, largest = np.abs(given - expected).max(), np.abs(expected).max()
    if not difference <= TOLERANCE * largest:
        raise UserError(
            f"{path}: not written: onnxruntime's scores differ from the model's by up to {difference:.2g}, where the "
            f"largest is {largest:.2g}"
        )
