"""Weights of a BERT encoder -> an ONNX graph of it that multiplies in 8 bits.

Reads: matrices by name, as `encoder_training` names them. Returns the serialised graph: [1, pieces, width] of summed
embeddings in, one logit out. Weights have a scale per output, what they are multiplied with one per matrix, found as it
comes; sums are integers, and so the same on every machine. Operators: onnx.ai/onnx/operators, and ONNX Runtime's
ContribOperators.md for those of `com.microsoft`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_OPSET, _IR_VERSION = 18, 10
_FUSED = "com.microsoft"
# Processors without VNNI add two products in 16 bits: with 7 bits and a sign for weights none overflows.
_MAX_CODE = 63
_NORM_EPSILON = 1e-12


def encoder_graph(weights: Mapping[str, Floats], num_layers: int, num_heads: int) -> bytes:
    """Return the graph with the weights inside."""
    graph = _Graph(weights)
    states = graph.add("LayerNormalization", "embedded", *graph.norm("embedding"), epsilon=_NORM_EPSILON)
    for layer in map(str, range(num_layers)):
        joint = graph.affine(f"{layer}.attention", states)
        parts = graph.add_split(joint, 3)
        heard = graph.affine(f"{layer}.heard", graph.add("MultiHeadAttention", *parts, num_heads=num_heads))
        states = graph.added_norm(f"{layer}.attention", states, heard)
        inner = graph.add("FastGelu", graph.affine(f"{layer}.inner", states))
        states = graph.added_norm(f"{layer}.outer", states, graph.affine(f"{layer}.outer", inner))
    axis = graph.constant("pieces", np.array([1], np.int64))
    read = [graph.add(kind, states, axis, keepdims=0) for kind in ("ReduceMean", "ReduceMax")]
    head = graph.constant("head.weight", weights["head.weight"][:, None])
    product = graph.add("MatMul", graph.add("Concat", *read, axis=-1), head)
    return graph.serialised(graph.add("Add", product, graph.constant("head.bias", weights["head.bias"])))


class _Graph:
    """Nodes in order, each with one output that is named after its number."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self._add(kind, inputs, 1, attributes)[0]

    def add_split(self, joint: str, num_parts: int) -> list[str]:
        """Return equal parts of the last axis."""
        return self._add("Split", [joint], num_parts, {"axis": -1, "num_outputs": num_parts})

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def affine(self, name: str, states: str) -> str:
        """Multiply with a matrix in 8 bits and add its bias."""
        matrix = self._weights[f"{name}.weight"]
        scales = np.maximum(np.abs(matrix).max(axis=0) / _MAX_CODE, np.finfo(np.float32).tiny)
        return self.add(
            "DynamicQuantizeMatMul",
            states,
            self.constant(f"{name}.codes", np.round(matrix / scales).astype(np.int8)),
            self.constant(f"{name}.scales", scales),
            self.constant(f"{name}.zeros", np.zeros(matrix.shape[1], np.int8)),
            self.constant(f"{name}.bias", self._weights[f"{name}.bias"]),
        )

    def norm(self, name: str) -> tuple[str, str]:
        kinds = (f"{name}.norm.weight", f"{name}.norm.bias")
        return self.constant(kinds[0], self._weights[kinds[0]]), self.constant(kinds[1], self._weights[kinds[1]])

    def added_norm(self, name: str, states: str, change: str) -> str:
        added = self.add("Add", states, change)
        return self.add("LayerNormalization", added, *self.norm(name), epsilon=_NORM_EPSILON)

    def serialised(self, output: str) -> bytes:
        width = self._weights["positions"].shape[1]
        kind = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            self._nodes,
            "encoder",
            [onnx.helper.make_tensor_value_info("embedded", kind, [1, "pieces", width])],
            [onnx.helper.make_tensor_value_info(output, kind, [1, 1])],
            self._constants,
        )
        opsets = [onnx.helper.make_opsetid("", _OPSET), onnx.helper.make_opsetid(_FUSED, 1)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        serialised: bytes = model.SerializeToString()
        return serialised

    def _add(self, kind: str, inputs: Any, num_outputs: int, attributes: dict[str, Any]) -> list[str]:
        outputs = [f"{kind}_{len(self._nodes)}_{number}" for number in range(num_outputs)]
        # What ONNX does not define is ONNX Runtime's own.
        domain = "" if onnx.defs.has(kind) else _FUSED
        self._nodes.append(onnx.helper.make_node(kind, inputs, outputs, domain=domain, **attributes))
        return outputs
