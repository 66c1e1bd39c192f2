"""Logical sizes of weights that are stored in another form: packed to a few bits, or spread over ranks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.nn import Module

#: What libraries call a packed weight: GPTQ and AWQ, HQQ.
_PACKED_WEIGHTS = ("qweight", "W_q")


def logical_shape(parameter: Any) -> tuple[int, ...]:
    """Weights packed to 4 bits and weights that ZeRO-3 has partitioned know their real shape themselves."""
    state = getattr(parameter, "quant_state", None)
    return tuple(getattr(state, "shape", None) or getattr(parameter, "ds_shape", None) or parameter.shape)


def elements(parameter: Any) -> int:
    """Elements of a parameter's logical shape."""
    return math.prod(logical_shape(parameter))


def linear_sizes(module: Any) -> tuple[int, int] | None:
    """Inputs and outputs of a linear module that holds its weight packed, in parameters or in buffers of its own."""
    if not any(isinstance(getattr(module, name, None), Tensor) for name in _PACKED_WEIGHTS):
        return None
    for inputs, outputs in (("in_features", "out_features"), ("infeatures", "outfeatures")):
        sizes = getattr(module, inputs, None), getattr(module, outputs, None)
        if isinstance(sizes[0], int) and isinstance(sizes[1], int):
            return sizes[0], sizes[1]
    return None


def parameters(model: Module) -> Iterator[tuple[int, bool]]:
    """Elements of each of a model's parameters by their logical sizes, and whether it is trained; shared ones once."""
    seen: set[int] = set()
    for module in model.modules():
        sizes = linear_sizes(module)
        if sizes is not None:
            yield math.prod(sizes), False
            if isinstance(getattr(module, "bias", None), Tensor):
                yield sizes[1], bool(module.bias.requires_grad)
            continue
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield elements(parameter), bool(parameter.requires_grad)
