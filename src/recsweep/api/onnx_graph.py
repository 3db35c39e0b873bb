"""ONNX graphs of models, operator by operator: tables, perceptrons, towers and the layers that read a history.

A graph is a list of nodes and of constants; each tensor in it has a name. Histories lie newest first, with the padding
last, so that column j holds the item of age j.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from recsweep.models.biased_mf import MLP, BiasedMF
from recsweep.models.histories import GRU, Attention, Mean, Pooling
from recsweep.models.transformer import GAPS, Block, Transformer
from recsweep.models.two_tower import Tower, TwoTower

MASKED = torch.tensor(torch.finfo(torch.float32).min)
SHORTEST = torch.tensor(1e-12)  # norm, as of `torch.nn.functional.normalize`


class Graph:
    """Nodes and constants of an ONNX graph; names are numbers in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str | Tensor, outputs: int = 1, **attributes: Any) -> str:
        """Adds a node and returns the name of its last output; a tensor among the inputs becomes a constant."""
        import onnx

        names = [value if isinstance(value, str) else self._add_constant(value) for value in inputs]
        results = [f"{operator}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(onnx.helper.make_node(operator, names, results, **attributes))
        return results[-1]

    def _add_constant(self, values: Tensor) -> str:
        import onnx

        name = f"constant_{len(self.constants)}"
        array = values.detach().contiguous().numpy()
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def look_up(self, table: Tensor, index: str) -> str:
        """Rows [B, …] of a table at the input `index` [B]; -1 is an error, not the last row."""
        is_none = self.add("Less", index, integers(0)[0])
        return self.add("Gather", table, self.add("Where", is_none, integers(len(table))[0], index))

    def add_layers(self, x: str, layers: Iterable[nn.Module]) -> str:
        """Linear layers, LayerNorms and ReLUs, one after another, on the last axis of `x`."""
        for layer in layers:
            match layer:
                case nn.Linear():
                    x = self.add("Add", self.add("MatMul", x, layer.weight.T), layer.bias)
                case nn.LayerNorm():
                    x = self.add("LayerNormalization", x, layer.weight, layer.bias, epsilon=layer.eps)
                case nn.ReLU():
                    x = self.add("Relu", x)
        return x


def integers(*values: int) -> Tensor:
    """A constant [n] int64, such as axes or a shape."""
    return torch.tensor(values, dtype=torch.int64)


def add_ratings(graph: Graph, model: BiasedMF) -> str:
    """mu + b_u + b_i + f(p_u, q_i) [B] of the inputs `user` [B] and `item` [B]."""
    user_bias, item_bias = model.table.users()[1], model.table.items()[1]
    everybody = torch.arange(len(user_bias))
    p, q = graph.look_up(model.user_factors(everybody), "user"), graph.look_up(model.item_factors(), "item")
    products = graph.add("Mul", p, q)
    if isinstance(model, MLP):
        features = graph.add("Concat", p, q, products, axis=1)
        interaction = graph.add("Squeeze", graph.add_layers(features, model.perceptron), integers(1))
    else:
        interaction = graph.add("ReduceSum", products, integers(1), keepdims=0)
    bias = graph.add("Add", graph.look_up(model.mean + user_bias, "user"), graph.look_up(item_bias, "item"))
    return graph.add("Add", bias, interaction)


def add_history_scores(graph: Graph, model: TwoTower) -> str:
    """Scores [B, n_items] by a tower that knows a user by a history alone.

    They are of the input `history` [B, L], and where attention weighs by the time between items of `seconds` [B, L].
    """
    index = _sort_history(graph, model.max_history)
    items = graph.add("GatherElements", "history", index, axis=1)
    is_item = graph.add("GreaterOrEqual", items, integers(0)[0])
    table = model.item_inputs(torch.arange(model.n_items))
    x = graph.add("Gather", table, graph.add("Max", items, integers(0)[0]))
    if model.transformer is not None:
        gap = _add_gaps(graph, index) if model.transformer.has_gaps else None
        vector = _add_transformer(graph, model.transformer, x, is_item, gap)
    else:
        vector = _add_pooling(graph, model.pooling, x, is_item)
    has_items = graph.add("Slice", is_item, integers(0), integers(1), integers(1))
    vector = graph.add("Mul", vector, graph.add("Cast", has_items, to=1))
    vector = _add_tower(graph, model.user_tower, vector)
    if model.is_cosine:
        length = graph.add("Sqrt", graph.add("ReduceSumSquare", vector, axes=[1]))
        vector = graph.add("Div", vector, graph.add("Max", length, SHORTEST))
    return graph.add("MatMul", vector, model.item_vectors().T * model.log_scale.exp())


def _sort_history(graph: Graph, max_history: int) -> str:
    """The columns [B, W] of the input `history` [B, L], the newest item's first and padding last; W ≤ `max_history`."""
    length = graph.add("Gather", graph.add("Shape", "history"), integers(1))
    column = graph.add("Range", integers(0)[0], graph.add("Squeeze", length), integers(1)[0])
    is_given = graph.add("GreaterOrEqual", "history", integers(0)[0])
    column = graph.add("Where", is_given, column, integers(-1)[0])
    width = graph.add("Min", length, integers(max_history))
    return graph.add("TopK", column, width, outputs=2)


def _add_pooling(graph: Graph, layer: Pooling | None, x: str, is_item: str) -> str:
    """The vector [B, d] of item vectors [B, W, d]; any where a row of `is_item` [B, W] has no item."""
    match layer:
        case Mean():
            return _add_mean(graph, x, is_item)
        case Attention():
            return _add_attention(graph, layer, x, is_item)
        case GRU():
            return _add_gru(graph, layer.cell, x, is_item)
    raise TypeError(layer)


def _add_mean(graph: Graph, x: str, is_item: str) -> str:
    mask = graph.add("Cast", graph.add("Unsqueeze", is_item, integers(2)), to=1)
    total = graph.add("ReduceSum", graph.add("Mul", x, mask), integers(1), keepdims=0)
    count = graph.add("Max", graph.add("ReduceSum", mask, integers(1), keepdims=0), torch.tensor(1.0))
    return graph.add("Div", total, graph.add("Sqrt", count))


def _add_attention(graph: Graph, layer: Attention, x: str, is_item: str) -> str:
    heads = layer.recency.shape[1]
    dim = layer.value.out_features
    newest = graph.add("Gather", x, integers(0)[0], axis=1)
    query = graph.add("Reshape", graph.add_layers(newest, [layer.match]), integers(0, heads, dim))
    query = graph.add("Mul", query, torch.tensor(dim**-0.5))
    scores = graph.add("MatMul", query, graph.add("Transpose", x, perm=[0, 2, 1]))
    scores = graph.add("Add", scores, _slice_to_width(graph, layer.recency.T, is_item, axis=1))
    scores = graph.add("Where", graph.add("Unsqueeze", is_item, integers(1)), scores, MASKED)
    pooled = graph.add("MatMul", graph.add("Softmax", scores), x)
    pooled = graph.add("Reshape", pooled, integers(0, heads * dim))
    y = graph.add("Add", newest, graph.add_layers(pooled, [layer.value]))
    return graph.add("Add", y, graph.add_layers(y, [layer.norm, layer.inner, nn.ReLU(), layer.outer]))


def _add_gru(graph: Graph, cell: nn.GRU, x: str, is_item: str) -> str:
    """The last state [B, d]. ONNX has the gates in another order than torch: update, reset, new."""
    gates = (torch.cat([part.chunk(3)[gate] for gate in (1, 0, 2)])[None] for part in cell.parameters())
    inputs, states, *biases = gates
    counts = graph.add("ReduceSum", graph.add("Cast", is_item, to=6), integers(1), keepdims=0)
    counts = graph.add("Max", counts, torch.tensor(1, dtype=torch.int32))
    steps = graph.add("Transpose", x, perm=[1, 0, 2])
    arguments = (steps, inputs, states, torch.cat(biases, 1), counts)
    options: dict[str, Any] = {"hidden_size": cell.hidden_size, "direction": "reverse", "linear_before_reset": 1}
    return graph.add("Squeeze", graph.add("GRU", *arguments, outputs=2, **options), integers(0))


def _add_gaps(graph: Graph, index: str) -> str:
    """Buckets [B, W, W] of the time from each column's item to the row's, as of `bucket_gaps`: how many bits it has."""
    seconds = graph.add("GatherElements", "seconds", index, axis=1)
    rows, columns = (graph.add("Unsqueeze", seconds, integers(axis)) for axis in (2, 1))
    gap = graph.add("Unsqueeze", graph.add("Sub", rows, columns), integers(3))
    has_bit = graph.add("GreaterOrEqual", gap, 2 ** torch.arange(GAPS - 1))
    return graph.add("ReduceSum", graph.add("Cast", has_bit, to=7), integers(3), keepdims=0)


def _add_transformer(graph: Graph, layer: Transformer, x: str, is_item: str, gap: str | None) -> str:
    """The vector [B, d] at the newest item. Positions of padding have values that nothing reads.

    Args:
        gap: [B, W, W] as of `_add_gaps`; None without a gap bias.
    """
    x = graph.add("Mul", x, torch.tensor(float(layer.norm.normalized_shape[0])).sqrt())
    if layer.positions is not None:
        x = graph.add("Add", x, _slice_to_width(graph, layer.positions, is_item, axis=0))
    width = graph.add("Squeeze", graph.add("Gather", graph.add("Shape", is_item), integers(1)))
    age = graph.add("Range", integers(0)[0], width, integers(1)[0])
    distance = graph.add("Sub", age, graph.add("Unsqueeze", age, integers(1)))  # [W, W], of column to row
    is_before = graph.add("GreaterOrEqual", distance, integers(0)[0])
    mask = graph.add("And", is_before, graph.add("Unsqueeze", is_item, integers(1, 2)))  # [B, 1, W, W]
    distance = graph.add("Max", distance, integers(0)[0])
    for block in layer.blocks:
        assert isinstance(block, Block)
        x = _add_block(graph, block, x, mask, distance, gap)
    return graph.add_layers(graph.add("Gather", x, integers(0)[0], axis=1), [layer.norm])


def _add_block(graph: Graph, block: Block, x: str, mask: str, distance: str, gap: str | None) -> str:
    """[B, W, d] of [B, W, d].

    Args:
        mask: [B, 1, W, W] which columns each row attends to.
        distance: [W, W] how much older a column's item is than the row's; at least 0.
        gap: as in `_add_transformer`.
    """
    dim = block.merge.in_features
    mixed = graph.add_layers(x, [block.norm, block.queries_keys_values])
    mixed = graph.add("Reshape", mixed, integers(0, 0, 3, block.heads, dim // block.heads))
    query, key, value = (graph.add("Gather", mixed, integers(number)[0], axis=2) for number in range(3))
    query = graph.add("Transpose", query, perm=[0, 2, 1, 3])
    query = graph.add("Mul", query, torch.tensor((dim // block.heads) ** -0.5))
    scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 3, 1]))
    if block.distance_bias is not None:
        scores = graph.add("Add", scores, graph.add("Gather", block.distance_bias, distance, axis=1))
    if block.gap_bias is not None and gap is not None:
        bias = graph.add("Gather", block.gap_bias, gap, axis=1)
        scores = graph.add("Add", scores, graph.add("Transpose", bias, perm=[1, 0, 2, 3]))
    weight = graph.add("Softmax", graph.add("Where", mask, scores, MASKED))
    attended = graph.add("MatMul", weight, graph.add("Transpose", value, perm=[0, 2, 1, 3]))
    attended = graph.add("Reshape", graph.add("Transpose", attended, perm=[0, 2, 1, 3]), integers(0, 0, dim))
    x = graph.add("Add", x, graph.add_layers(attended, [block.merge]))
    return graph.add("Add", x, graph.add_layers(x, [block.inner_norm, block.inner, nn.ReLU(), block.outer]))


def _add_tower(graph: Graph, tower: Tower, x: str) -> str:
    for layer, norm in zip(tower.linear, tower.norm, strict=True):
        x = graph.add_layers(x, [layer, norm, nn.ReLU()])
    return x


def _slice_to_width(graph: Graph, values: Tensor, is_item: str, axis: int) -> str:
    """The first W of `values` on an axis, where `is_item` is [B, W]."""
    width = graph.add("Gather", graph.add("Shape", is_item), integers(1))
    return graph.add("Slice", values, integers(0), width, integers(axis))
