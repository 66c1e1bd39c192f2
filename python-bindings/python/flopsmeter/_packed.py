"""Logical sizes of weights that are stored in another form: packed to a few bits, or spread over ranks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Sharded(NamedTuple):
    """A parameter that FSDP's first version keeps in one flat piece with others, of which each rank has a part."""

    name: str
    """In the outermost module, with the parts that wrappers put in."""
    elements: int
    is_trained: bool
    piece: str
    """The module that keeps it."""


def sharded(outermost: Module) -> tuple[list[Sharded], set[int]]:
    """Those parameters, and the ids of everything that stands for them: whichever of it a module shows changes during a pass."""
    rows, replaced = [], set()
    for name, module in outermost.named_modules():
        flat: Any = getattr(module.__dict__.get("_handle"), "flat_param", None)
        if flat is None:
            continue
        # None where it was asked to keep no original parameters: all of one piece are then trained, or none.
        originals = getattr(flat, "_params", None) or [flat] * len(flat._fqns)
        replaced |= {id(flat), *map(id, originals)}
        # During a pass others stand in their places, each a view into the whole piece.
        replaced |= {id(getattr(info.module, info.param_name, None)) for info in flat._param_infos}
        for own, shape, original in zip(flat._fqns, flat._shapes, originals, strict=True):
            rows.append(Sharded(f"{name}.{own}" if name else own, math.prod(shape), bool(original.requires_grad), name))
    return rows, replaced


def has_mixed_pieces(outermost: Module) -> bool:
    """Whether frozen parameters share a flat piece with trained ones: its gradient is then formed in full."""
    rows, _ = sharded(outermost)
    kinds = {(row.piece, row.is_trained) for row in rows}
    return len(kinds) > len({piece for piece, _ in kinds})


def parameters(outermost: Module) -> Iterator[tuple[int, bool]]:
    """Elements of each of a model's parameters by their logical sizes, and whether it is trained; shared ones once."""
    rows, seen = sharded(outermost)
    yield from ((row.elements, row.is_trained) for row in rows)
    for module in outermost.modules():
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
