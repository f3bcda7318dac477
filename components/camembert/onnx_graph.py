"""The fine-tuned classifier as an ONNX graph, and back.

The graph is written node by node with the fused operators of ONNX Runtime (``Attention``,
``SkipLayerNormalization``, ``BiasGelu``: the ``com.microsoft`` domain, described in ONNX Runtime's
``docs/ContribOperators.md``) instead of being traced from PyTorch. That keeps a stable name for
every weight, so that a served model can be read back and trained further, and needs no exporter.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSET = 17
INPUT_IDS, ATTENTION_MASK, LOGITS = "input_ids", "attention_mask", "logits"


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What the graph needs to know about an encoder of the BERT family (post-layer-norm)."""

    layers: int
    attention_heads: int
    layer_norm_eps: float
    # Added to the running count of tokens: RoBERTa numbers positions from ``pad id + 1``,
    # BERT from 0.
    position_offset: int
    pooling: str
    head: str


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

    def add(op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        nodes.append(
            helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes)
        )
        return output

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
        attention = add(
            "Attention",
            [hidden, f"{layer}.attention.qkv.weight", f"{layer}.attention.qkv.bias", mask],
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


def quantise(source: Path, target: Path) -> None:
    """Write an int8 copy of the graph in ``source`` (dynamic quantisation, weights per channel).

    Embedding tables become int8 as well, which is most of what makes the file four times smaller.
    """
    import logging

    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The library logs a recommendation through the root logger at each call.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Attention", "Gather"],
            per_channel=True,
            # Seven bits: without VNNI (AVX2), eight-bit products overflow their 16-bit sums.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            # Shape inference cannot see through the fused operators.
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
    finally:
        root.setLevel(level)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the weights of a graph made by :func:`build_graph`, float32, quantised or not."""
    import onnx
    from onnx import numpy_helper

    stored = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    weights: dict[str, np.ndarray] = {}
    for name, array in stored.items():
        if name.endswith("_quantized"):
            base = name.removesuffix("_quantized")
            zero_point = stored[f"{base}_zero_point"].astype(np.float32)
            scale = stored[f"{base}_scale"]
            weights[base] = (array.astype(np.float32) - zero_point) * scale
        elif array.dtype == np.float32 and not name.endswith("_scale"):
            weights[name] = array
    return weights
