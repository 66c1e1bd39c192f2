"""What PyTorch's operators multiply: the operators of its own operation counter, and those that it leaves out.

Amounts follow ``torch.utils.flop_counter``: a product of `m × k` and `k × n` is `2·m·k·n`, whatever a mask leaves of it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_aten = torch.ops.aten


class Product(NamedTuple):
    """One product of a forward pass; an operand of None is the result of the product before it in the same operator."""

    amount: int
    left: Tensor | None
    right: Tensor | None


def _matrices(left: Tensor, right: Tensor) -> list[Product]:
    return [Product(2 * left.numel() * right.shape[-1], left, right)]


def _vectors(left: Tensor, right: Tensor) -> list[Product]:
    return [Product(2 * left.numel(), left, right)]


def _grouped(left: Tensor, right: Tensor) -> list[Product]:
    """Ragged rows: each row of two dimensions meets one matrix of three."""
    inner = left.shape[-1]
    rows = left.numel() // max(inner, 1)
    return [Product(2 * rows * inner * right.shape[-1], left, right)]


def convolution_amount(inputs: Sequence[int], weight: Sequence[int], output: Sequence[int], transposed: bool) -> int:
    """The same for the result, the gradient of the inputs and the gradient of the weight."""
    positions = (inputs if transposed else output)[2:]
    return 2 * inputs[0] * prod(positions) * prod(weight)


def _convolution(args: tuple[Any, ...], output: Tensor) -> list[Product]:
    inputs, weight, transposed = args[0], args[1], bool(args[6])
    return [Product(convolution_amount(inputs.shape, weight.shape, output.shape, transposed), inputs, weight)]


def attention_amounts(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> tuple[int, int]:
    """Scores and values over the full matrix; heads of keys and values may be shared."""
    heads_and_queries = prod(query[:-1])
    return 2 * heads_and_queries * key[-2] * query[-1], 2 * heads_and_queries * key[-2] * value[-1]


def _attention(args: tuple[Any, ...], _: object) -> list[Product]:
    query, key, value = args[:3]
    scores, values = attention_amounts(query.shape, key.shape, value.shape)
    return [Product(scores, query, key), Product(values, None, value)]


_FORWARD: dict[str, Callable[[tuple[Any, ...], Any], list[Product]]] = {
    "mm": lambda args, _: _matrices(args[0], args[1]),
    "bmm": lambda args, _: _matrices(args[0], args[1]),
    "addmm": lambda args, _: _matrices(args[1], args[2]),
    "baddbmm": lambda args, _: _matrices(args[1], args[2]),
    "addbmm": lambda args, _: _matrices(args[1], args[2]),
    "_addmm_activation": lambda args, _: _matrices(args[1], args[2]),
    "_scaled_mm": lambda args, _: _matrices(args[0], args[1]),
    "_int_mm": lambda args, _: _matrices(args[0], args[1]),
    "mv": lambda args, _: _vectors(args[0], args[1]),
    "addmv": lambda args, _: _vectors(args[1], args[2]),
    "dot": lambda args, _: _vectors(args[0], args[1]),
    "vdot": lambda args, _: _vectors(args[0], args[1]),
    "_grouped_mm": lambda args, _: _grouped(args[0], args[1]),
    "_scaled_grouped_mm": lambda args, _: _grouped(args[0], args[1]),
    "convolution": _convolution,
    "_convolution": _convolution,
    "convolution_overrideable": _convolution,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
}

#: Of bitsandbytes: rows of inputs with a packed matrix, whose first size is that of the outputs.
_PACKED: dict[str, Callable[[tuple[Any, ...]], int]] = {
    "gemm_4bit": lambda args: args[2][0],
    "gemv_4bit": lambda args: args[2][0],
    "int8_linear_matmul": lambda args: args[1].shape[0],
    "int8_scaled_mm": lambda args: args[1].shape[0],
    "int8_mixed_scaled_mm": lambda args: args[2].shape[0],
}

#: Operators that multiply and that nothing here can size.
_OPAQUE = {
    "mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "_trilinear",
    "_cdist_forward", "_flash_attention_forward", "_efficient_attention_forward", "_transformer_encoder_layer_fwd",
    "_native_multi_head_attention", "linear", "mkldnn_linear", "quantized_linear",
}  # fmt: skip

_SEEN_NAMESPACES = {"aten", "prim", "prims", "profiler", "c10d", "_c10d_functional", "fsdp", "streams", "debugprims", "inductor"}


def forward_products(operator: Any, args: tuple[Any, ...], output: Any) -> list[Product]:
    """The products of one call below autograd; empty for what moves, adds or scales."""
    known = _FORWARD.get(operator.__name__.partition(".")[0]) if operator.namespace == "aten" else None
    return [] if known is None else known(args, output)


def packed_amount(operator: Any, args: tuple[Any, ...]) -> int | None:
    """Operations of a product with a weight that bitsandbytes holds packed; None for any other operator."""
    outputs = _PACKED.get(operator.__name__.partition(".")[0]) if operator.namespace == "bitsandbytes" else None
    return None if outputs is None else 2 * args[0].numel() * outputs(args)


def is_product(operator: Any) -> bool:
    """Whether calls of this operator have products that can be sized."""
    return operator.namespace == "aten" and operator.__name__.partition(".")[0] in _FORWARD


def is_opaque(operator: Any) -> bool:
    """Whether this operator may multiply without our knowing how much: fused kernels, and what other libraries add."""
    if operator.namespace == "bitsandbytes" and "quant" in operator.__name__:
        return False  # packs and unpacks
    if operator.namespace != "aten":
        return operator.namespace not in _SEEN_NAMESPACES
    return operator.__name__.partition(".")[0] in _OPAQUE
