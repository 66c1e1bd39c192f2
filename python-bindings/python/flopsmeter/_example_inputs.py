"""Inputs of several sizes to follow a model with: made up for text models, else scaled from the shapes of a real call."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from torch.nn import Module

Call = tuple[tuple[Any, ...], dict[str, Any]]
Form = tuple[tuple[int, ...], ...]

#: Arguments with which a text model does nothing but what it does with its tokens alone.
_TEXT_ARGUMENTS = {
    "input_ids", "inputs_embeds", "attention_mask", "position_ids", "token_type_ids", "labels", "use_cache", "past_key_values",
    "decoder_input_ids", "decoder_attention_mask", "decoder_inputs_embeds", "return_dict", "cache_position", "num_items_in_batch",
    "output_attentions", "output_hidden_states", "logits_to_keep", "encoder_outputs",
}  # fmt: skip

_BATCHES = (2, 3, 2, 5, 3, 2, 3, 5, 7, 5, 2)
_LENGTHS = (17, 29, 41, 53, 23, 37, 61, 31, 47, 43, 13, 11, 7, 5, 3, 2)
_DECODER_LENGTHS = (19, 43, 13, 59, 47, 11, 67, 7, 31, 5, 73)
#: Beyond the windows and chunks that models cut their sequences into.
_LONG = 1021

#: Elements of a tensor of whole numbers whose values are taken over from a real call.
_MOST_COPIED_ELEMENTS = 1 << 16


@dataclass(frozen=True)
class Size:
    """What a batch is fed."""

    sequences: int
    length: int
    decoder_length: int = 0


@dataclass(frozen=True)
class Inputs:
    """How to call the model with batches of some sizes."""

    scales: str
    """As ``Scales`` in ``core/src/facts/inventory.rs``."""
    seen: Size
    sizes: list[Size]
    """The first is followed in full, the last only checks what the others gave."""
    build: Callable[[int], Call]
    """The call of that number among the sizes."""
    form: Form | None = None
    """What has to be the same in every call, where they are scaled from a real one."""


def possible(plain: Module, example: Call | None) -> Iterator[Inputs]:
    """Ways to call the model, those that tell most of it first."""
    if _reads_text(plain, example):
        yield _text(plain, example)
    if example is not None:
        yield from _Scaled(plain, *example).inputs()


def measure(plain: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int] | None:
    """Sequences and length of a real call, as inputs that are scaled from one understand them."""
    leading = _leading(plain, args, kwargs)
    return None if leading is None else (leading.shape[0], prod(leading.shape[place] for place in _length_places(leading)))


def form(plain: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Form:
    """Sizes of a real call that are neither its batch nor its lengths."""
    leading = _leading(plain, args, kwargs)
    if leading is None:
        return ()
    base = {leading.shape[place] for place in _length_places(leading)}
    shapes = []
    for leaf in tree_flatten((args, kwargs))[0]:
        if isinstance(leaf, Tensor):
            sizes = enumerate(leaf.shape)
            shapes.append(tuple(0 if _is_scaled(leaf, place, old, leading, base) else old for place, old in sizes))
    return tuple(shapes)


def shapes_alone(call: Call) -> Call:
    """A call to keep: its tensors without their numbers."""
    leaves, structure = tree_flatten(call)
    kept = [_without_numbers(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    args, kwargs = tree_unflatten([None if hasattr(leaf, "get_seq_length") else leaf for leaf in kept], structure)
    return args, kwargs


def _without_numbers(tensor: Tensor) -> Tensor:
    if tensor.is_floating_point() or tensor.is_complex():
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    if tensor.is_cpu and tensor.numel() <= _MOST_COPIED_ELEMENTS:
        return tensor.detach().clone()
    return torch.ones((), dtype=tensor.dtype).expand(tensor.shape)


def _is_scaled(leaf: Tensor, place: int, old: int, leading: Tensor, base: Container[int]) -> bool:
    if place == 0 and old == leading.shape[0]:
        return True
    return place > 0 and old in base and _follows(leaf, place, leading)


def _names(plain: Module) -> list[str]:
    return list(inspect.signature(plain.forward).parameters)


def _reads_text(plain: Module, example: Call | None) -> bool:
    names = _names(plain)
    if "input_ids" not in names or not hasattr(getattr(plain, "config", None), "to_dict"):
        return False
    if example is None:
        return True
    args, kwargs = example
    given = {name for name, value in (*zip(names, args, strict=False), *kwargs.items()) if value is not None}
    return given <= _TEXT_ARGUMENTS


def _text(plain: Any, example: Call | None) -> Inputs:
    names = _names(plain)
    has_decoder = bool(getattr(plain.config, "is_encoder_decoder", False)) and "decoder_input_ids" in names
    most = _most_positions(plain.config)
    # Some families begin their positions behind the padding's own.
    most = most * 3 // 4
    lengths = [length for length in _LENGTHS if length < most][: len(_BATCHES) - 1]
    lengths.append(min(_LONG, most))
    decoder = [min(length, most) if has_decoder else 0 for length in _DECODER_LENGTHS]
    sizes = [Size(*row) for row in zip(_BATCHES, lengths, decoder, strict=False)]

    def build(number: int) -> Call:
        size = sizes[number]
        kwargs: dict[str, Any] = {"input_ids": torch.ones((size.sequences, size.length), dtype=torch.long)}
        if has_decoder:
            kwargs["decoder_input_ids"] = torch.ones((size.sequences, size.decoder_length), dtype=torch.long)
        if "use_cache" in names:
            kwargs["use_cache"] = False
        return (), kwargs

    measured = measure(plain, *example) if example is not None else None
    return Inputs("sequences-and-length", Size(*measured) if measured else sizes[0], sizes, build)


def _most_positions(config: Any) -> int:
    sizes = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "max_source_positions")]
    return min((size for size in sizes if isinstance(size, int) and size > 0), default=2 * _LONG)


class _Scaled:
    """A real call with its batch and its lengths scaled."""

    def __init__(self, plain: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._leading = _leading(plain, args, kwargs)
        self._leaves, self._structure = tree_flatten((args, kwargs))
        self._form = form(plain, args, kwargs)

    def inputs(self) -> Iterator[Inputs]:
        leading = self._leading
        if leading is None:
            return
        places = _length_places(leading)
        base = tuple(leading.shape[place] for place in places)
        seen = Size(leading.shape[0], prod(base))
        if places:
            factors = [(factor,) * len(base) for factor in range(1, len(_BATCHES))]
            # Last, sides that grow apart: attention along one of them alone does not follow their product.
            factors.append(tuple(2 + place % 2 for place in range(len(base))))
            yield self._inputs("sequences-and-length", seen, list(_BATCHES), factors)
        unscaled = (1,) * len(base)
        yield self._inputs("sequences", seen, [2, 3, 5], [unscaled] * 3)
        yield self._inputs("nothing", seen, [seen.sequences], [unscaled])

    def _inputs(self, scales: str, seen: Size, batches: list[int], factors: list[tuple[int, ...]]) -> Inputs:
        assert self._leading is not None
        base = [self._leading.shape[place] for place in _length_places(self._leading)]
        grown = [[old * factor for old, factor in zip(base, row, strict=True)] for row in factors]
        sizes = [Size(batch, prod(row)) for batch, row in zip(batches, grown, strict=True)]
        keeps_values = scales == "nothing"

        def build(number: int) -> Call:
            made = [self._resized(leaf, sizes[number].sequences, grown[number], keeps_values) for leaf in self._leaves]
            args, kwargs = tree_unflatten(made, self._structure)
            return args, kwargs

        return Inputs(scales, seen, sizes, build, self._form)

    def _resized(self, leaf: Any, sequences: int, grown: list[int], keeps_values: bool) -> Any:
        if hasattr(leaf, "get_seq_length"):
            return None  # a cache: what a training pass has of it is empty
        if not isinstance(leaf, Tensor):
            return leaf
        leading = self._leading
        assert leading is not None
        places = _length_places(leading)
        base = [leading.shape[place] for place in places]
        shape = list(leaf.shape)
        for place, old in enumerate(leaf.shape):
            if _is_scaled(leaf, place, old, leading, base):
                same_side = [new for side, new, size in zip(places, grown, base, strict=True) if side == place and size == old]
                shape[place] = sequences if place == 0 else next(iter(same_side), grown[base.index(old)])
        if leaf.is_floating_point() or leaf.is_complex():
            return torch.empty(shape, dtype=leaf.dtype, device="meta")
        if leaf.is_cpu and leaf.numel() <= _MOST_COPIED_ELEMENTS and (keeps_values or shape == list(leaf.shape)):
            return leaf.detach().clone()
        return torch.ones(shape, dtype=leaf.dtype)


def _follows(leaf: Tensor, place: int, leading: Tensor) -> bool:
    """Whether a dimension as long as the leading input's length is that length and not a width of the same size."""
    places = _length_places(leading)
    if leaf.dim() == leading.dim() and leaf.dtype == leading.dtype:
        return place in places
    if len(places) == 1:
        is_mask = leaf.dim() > 2 and leaf.shape[-1] == leaf.shape[-2]
        return place == 1 or (is_mask and place >= leaf.dim() - 2) or leaf.dtype is torch.bool
    return place in places


def _leading(plain: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The input that says how large a batch is."""
    named = {**dict(zip(_names(plain), args, strict=False)), **kwargs}
    for name in ("input_ids", "inputs_embeds", "pixel_values", "sample", "hidden_states"):
        if isinstance(named.get(name), Tensor) and named[name].dim() > 1:
            return named[name]
    leaves = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor) and leaf.dim() > 0]
    return next((leaf for leaf in leaves if leaf.dim() > 1), leaves[0] if leaves else None)


def _length_places(leading: Tensor) -> tuple[int, ...]:
    """Tokens stand in two dimensions, vectors in three; pictures have channels before their sides."""
    if leading.is_floating_point():
        return {3: (1,), 4: (2, 3), 5: (2, 3, 4)}.get(leading.dim(), ())
    return (1,) if leading.dim() > 1 else ()
