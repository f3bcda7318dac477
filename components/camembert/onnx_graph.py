"""The fine-tuned classifier as an ONNX graph.

The graph is written node by node with the fused operators of ONNX Runtime
(``MultiHeadAttention``, ``SkipLayerNormalization``, ``BiasGelu``, ``MatMulNBits``: the
``com.microsoft`` domain, described in ONNX Runtime's ``docs/ContribOperators.md``) instead of being
traced from PyTorch.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from components.camembert.model import Architecture

if TYPE_CHECKING:
    import onnx

OPSET = 17
INPUT_IDS, ATTENTION_MASK, LOGITS = "input_ids", "attention_mask", "logits"

# Int8: weights of a column that share a scale; what stands for zero in ``MatMulNBits``.
_BLOCK = 128
_ZERO_POINT = 128
_STORED, _SCALES = "_int8", "_scales"


def build_graph(weights: dict[str, np.ndarray], architecture: Architecture) -> onnx.ModelProto:
    """Return the fp32 graph of the classifier.

    Args:
        weights: float32 arrays named ``embeddings.{word,position}`` (rows x hidden),
            ``embeddings.norm.{weight,bias}``; per layer ``layer.N.`` followed by
            ``attention.{qkv,output}.{weight,bias}`` (in x out), ``attention.norm.…``,
            ``feed_forward.{in,out}.…``, ``feed_forward.norm.…``; ``head.weight``
            (hidden x classes) and ``head.bias`` (classes).
        architecture: The shape of the encoder and of the head.

    Returns:
        A model with the inputs ``input_ids`` and ``attention_mask`` (int64, batch x tokens) and
        the output ``logits`` (float32, batch x classes).
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = {
        "one_axis": np.array(1, dtype=np.int64),
        "last_axis": np.array([1], dtype=np.int64),
        "position_offset": np.array(architecture.position_offset, dtype=np.int64),
        "zero": np.array(0, dtype=np.int64),
    }

    add = functools.partial(_add, nodes)

    def skip_norm(hidden: str, residual: str, norm: str, bias: str, output: str) -> str:
        return add(
            "SkipLayerNormalization",
            [hidden, residual, f"{norm}.weight", f"{norm}.bias", bias],
            output,
            domain="com.microsoft",
            epsilon=architecture.layer_norm_eps,
        )

    # Embeddings. Padding gets position 0 or the pad row: it is masked in the attention anyway.
    count = add("CumSum", [ATTENTION_MASK, "one_axis"], "token_count")
    position = add("Mul", [count, ATTENTION_MASK], "token_rank")
    position = add("Add", [position, "position_offset"], "shifted_rank")
    position = add("Max", [position, "zero"], "positions")
    words = add("Gather", ["embeddings.word", INPUT_IDS], "word_vectors")
    positions = add("Gather", ["embeddings.position", position], "position_vectors")
    hidden = add("Add", [words, positions], "embedded")
    hidden = add(
        "LayerNormalization",
        [hidden, "embeddings.norm.weight", "embeddings.norm.bias"],
        "embedded_norm",
        epsilon=architecture.layer_norm_eps,
    )
    mask = add("Cast", [ATTENTION_MASK], "mask_int32", to=TensorProto.INT32)

    for index in range(architecture.layers):
        layer = f"layer.{index}"
        qkv = add("MatMul", [hidden, f"{layer}.attention.qkv.weight"], f"{layer}.qkv")
        parts = [f"{layer}.{part}" for part in ("query", "key", "value")]
        nodes.append(helper.make_node("Split", [qkv], parts, name=f"{layer}.split", axis=-1))
        attention = add(
            "MultiHeadAttention",
            [*parts, f"{layer}.attention.qkv.bias", mask],
            f"{layer}.attended",
            domain="com.microsoft",
            num_heads=architecture.attention_heads,
        )
        projected = add(
            "MatMul", [attention, f"{layer}.attention.output.weight"], f"{layer}.projected"
        )
        hidden = skip_norm(
            projected,
            hidden,
            f"{layer}.attention.norm",
            f"{layer}.attention.output.bias",
            f"{layer}.attention_out",
        )
        inner = add("MatMul", [hidden, f"{layer}.feed_forward.in.weight"], f"{layer}.inner")
        inner = add(
            "BiasGelu",
            [inner, f"{layer}.feed_forward.in.bias"],
            f"{layer}.activated",
            domain="com.microsoft",
        )
        outer = add("MatMul", [inner, f"{layer}.feed_forward.out.weight"], f"{layer}.outer")
        hidden = skip_norm(
            outer,
            hidden,
            f"{layer}.feed_forward.norm",
            f"{layer}.feed_forward.out.bias",
            f"{layer}.out",
        )

    if architecture.pooling == "cls":
        pooled = add("Gather", [hidden, "zero"], "pooled", axis=1)
    else:
        float_mask = add("Cast", [ATTENTION_MASK], "mask_float", to=TensorProto.FLOAT)
        column = add("Unsqueeze", [float_mask, "feature_axis"], "mask_column")
        constants["feature_axis"] = np.array([2], dtype=np.int64)
        total = add("Mul", [hidden, column], "masked")
        total = add("ReduceSum", [total, "last_axis"], "summed", keepdims=0)
        lengths = add("ReduceSum", [float_mask, "last_axis"], "lengths", keepdims=1)
        pooled = add("Div", [total, lengths], "pooled")
    if architecture.head == "cosine":
        pooled = add("LpNormalization", [pooled], "normalised", axis=-1, p=2)
    add("Gemm", [pooled, "head.weight", "head.bias"], LOGITS)

    classes = weights["head.bias"].shape[0]
    graph = helper.make_graph(
        nodes,
        "intent_classifier",
        inputs=[
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in (INPUT_IDS, ATTENTION_MASK)
        ],
        outputs=[helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch", classes])],
        initializer=[
            numpy_helper.from_array(array.copy(order="C"), name)
            for name, array in {**weights, **constants}.items()
        ],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )


def _add(
    nodes: list[Any], op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any
) -> str:
    """Append a node with one output to ``nodes``; return the name of its output."""
    from onnx import helper

    nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
    return output


def quantise(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return an int8 copy of what :func:`build_graph` returned.

    Weights of matrices become int8 in blocks of 128 with a scale each, and so do, token by token,
    the activations that they are multiplied with (``MatMulNBits`` at accuracy level 4):
    with a single scale for all activations, as ``quantize_dynamic`` of ONNX Runtime has it, a few
    large ones leave no precision to the others, and an answer depends on what else is in its batch.
    Embedding tables become int8 row by row, which is most of what makes the file smaller.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    arrays = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
    nodes: list[Any] = []
    add = functools.partial(_add, nodes)

    for node in graph.graph.node:
        weight = {"MatMul": 1, "Gather": 0}.get(node.op_type)
        name = "" if weight is None else node.input[weight]
        if name not in arrays:
            nodes.append(node)
            continue
        (output,) = node.output
        array = arrays.pop(name)
        stored, scales = f"{name}{_STORED}", f"{name}{_SCALES}"
        if node.op_type == "MatMul":
            arrays[stored], arrays[scales] = _in_blocks(array)
            add(
                "MatMulNBits",
                [node.input[0], stored, scales],
                output,
                domain="com.microsoft",
                K=array.shape[0],
                N=array.shape[1],
                bits=8,
                block_size=_BLOCK,
                accuracy_level=4,
            )
        else:
            arrays[stored], arrays[scales] = _in_rows(array)
            rows = add("Gather", [stored, node.input[1]], f"{output}.int8")
            rows = add("Cast", [rows], f"{output}.float", to=TensorProto.FLOAT)
            factors = add("Gather", [scales, node.input[1]], f"{output}.scales")
            add("Mul", [rows, factors], output)

    small = onnx.ModelProto()
    small.CopyFrom(graph)
    del small.graph.node[:], small.graph.initializer[:]
    small.graph.node.extend(nodes)
    small.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in arrays.items()
    )
    return small


def _in_blocks(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix (in x out) as ``MatMulNBits`` has it: uint8 out x blocks x 128, scales."""
    rows, columns = matrix.shape
    padded = np.zeros((columns, -(-rows // _BLOCK) * _BLOCK), np.float32)
    padded[:, :rows] = matrix.T
    integers, scales = _in_rows(padded.reshape(-1, _BLOCK))
    stored = (integers.astype(np.int16) + _ZERO_POINT).astype(np.uint8)
    return stored.reshape(columns, -1, _BLOCK), scales.ravel()


def _in_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a table as int8 with a scale a row, float32, rows x 1."""
    scales = np.abs(table).max(1, keepdims=True) / np.float32(127)
    scales[scales == 0] = 1
    return np.rint(table / scales).astype(np.int8), scales
