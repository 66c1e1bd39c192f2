"""Runs a model's operators without its numbers: floats are shapes alone, whole numbers and masks are really computed.

A model's path may depend on positions and masks (is a row packed, where are the images), never on what its weights say: so
those are small real tensors on the host, and everything else stands on the meta device.
"""

from __future__ import annotations

import time
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Iterator

_META = torch.device("meta")
_HOST = torch.device("cpu")

#: Elements of a tensor that is really computed; a mask over 4,096 positions has as many.
_MOST_REAL_ELEMENTS = 1 << 24

_SHAPED_BY_FIRST = {"ones", "zeros", "full", "empty"}
_PICKING = {"index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_"}


def _really(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs it on the host. One that draws puts the generator back at once: the job's other threads draw from it too."""
    if torch.Tag.nondeterministic_seeded not in operator.tags:
        return operator(*args, **kwargs)
    state = torch.get_rng_state()
    try:
        return operator(*args, **kwargs)
    finally:
        torch.set_rng_state(state)


class MetaKernels(TorchDispatchMode):  # type: ignore[misc]
    """Gives each operator's result as the meta device does, remembered by the form of its arguments: blocks are alike."""

    def __init__(self, deadline: float = float("inf")) -> None:
        super().__init__()
        self._deadline = deadline
        self._results: dict[object, tuple[Any, Any, torch.dtype]] = {}
        self._repeats: dict[Any, bool] = {}
        self._moved: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called below autograd, for every operator."""
        output = self._run(operator, args, kwargs or {})
        self.saw(operator, args, output)
        return output

    def saw(self, operator: Any, args: tuple[Any, ...], output: Any) -> None:
        """For those who look on."""

    def _run(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if time.thread_time() > self._deadline:
            raise TimeoutError("it took too long")
        places = {tensor.device.type for tensor in tensors(args)}
        if places <= {"cpu"} and ("device" in kwargs or (not places and _takes_device(operator))):
            whole = _is_small_whole(operator, args, kwargs)
            kwargs = {**kwargs, "device": _HOST if whole else _META}
            if whole:
                return _really(operator, args, kwargs)
        elif kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": _META}
        if places == {"cpu"} and "device" not in kwargs and _is_small(args):
            return _really(operator, args, kwargs)
        if "cpu" in places:
            args = self._to_meta(operator, args)
        repeats = self._repeats.get(operator)
        if repeats is None:
            repeats = self._repeats[operator] = _is_function(operator)
        return self._remembered(operator, args, kwargs) if repeats and places else operator(*args, **kwargs)

    def _remembered(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            form = (operator, _form(args), tuple(kwargs.items()))
            known = self._results.get(form)
        except TypeError:  # an argument that cannot be a key
            return operator(*args, **kwargs)
        if known is not None:
            size, stride, dtype = known
            return torch.empty_strided(size, stride, dtype=dtype, device=_META)
        output = operator(*args, **kwargs)
        if output.device.type == "meta":
            self._results[form] = (output.shape, output.stride(), output.dtype)
        return output

    def _to_meta(self, operator: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        picks = operator.__name__.partition(".")[0] in _PICKING
        return tuple(self._part_to_meta(arg, picks) for arg in args)

    def _part_to_meta(self, arg: Any, picks: bool) -> Any:
        if isinstance(arg, (list, tuple)):
            parts = _whole_indices(arg) if picks else arg
            return [self._part_to_meta(part, picks) for part in parts]
        if not isinstance(arg, Tensor) or arg.device.type != "cpu":
            return arg
        kept = self._moved.get(id(arg))
        if kept is None:
            # The original is kept beside it, so that its id is not given to another tensor.
            kept = self._moved[id(arg)] = (arg, torch.empty_strided(arg.shape, arg.stride(), dtype=arg.dtype, device=_META))
        return kept[1]


def tensors(args: Any) -> Iterator[Tensor]:
    """The tensors among an operator's arguments or results."""
    for arg in args:
        if isinstance(arg, Tensor):
            yield arg
        elif isinstance(arg, (list, tuple)):
            yield from (part for part in arg if isinstance(part, Tensor))


def _is_function(operator: Any) -> bool:
    """One new tensor, and nothing is written to or looked at through another name."""
    schema = operator._schema
    returns = schema.returns
    pure = all(argument.alias_info is None for argument in (*schema.arguments, *returns))
    return pure and len(returns) == 1 and str(returns[0].type) == "Tensor"


def _takes_device(operator: Any) -> bool:
    return any(argument.name == "device" for argument in operator._schema.arguments)


def _form(arg: Any) -> Any:
    if isinstance(arg, Tensor):
        return (arg.shape, arg.stride(), arg.dtype)
    if isinstance(arg, (list, tuple)):
        return tuple(map(_form, arg))
    return (type(arg), arg)


def _is_small_whole(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a tensor that is made or moved holds whole numbers, few enough to be real ones."""
    dtype = kwargs.get("dtype")
    name = operator.__name__.partition(".")[0]
    given = next(tensors(args), None)
    if dtype is None:
        if given is not None:
            dtype = given.dtype
        elif name == "arange":
            dtype = torch.int64 if all(isinstance(arg, int) for arg in args) else torch.get_default_dtype()
        elif name in ("full", "scalar_tensor"):
            value = args[-1]
            dtype = torch.bool if isinstance(value, bool) else torch.int64 if isinstance(value, int) else torch.get_default_dtype()
        else:
            dtype = torch.get_default_dtype()
    if dtype.is_floating_point or dtype.is_complex:
        return False
    if given is not None:
        return bool(given.numel() <= _MOST_REAL_ELEMENTS)
    return name not in _SHAPED_BY_FIRST or prod(args[0]) <= _MOST_REAL_ELEMENTS


def _is_small(args: tuple[Any, ...]) -> bool:
    """A result is at most as large as what its arguments are when spread over one another."""
    shapes = [tensor.shape for tensor in tensors(args)]
    if max(map(prod, shapes)) > _MOST_REAL_ELEMENTS:
        return False
    if len(shapes) == 1:
        return True
    spread = 1
    for place in range(1, max(map(len, shapes)) + 1):
        spread *= max((shape[-place] for shape in shapes if len(shape) >= place), default=1)
    return spread <= _MOST_REAL_ELEMENTS


def _whole_indices(indices: Any) -> list[Any]:
    """Masks as the positions they pick: how many those are is no question for the meta device."""
    whole: list[Any] = []
    for index in indices:
        if isinstance(index, Tensor) and index.dtype is torch.bool and index.device.type == "cpu":
            whole.extend(index.nonzero().unbind(1))
        else:
            whole.append(index)
    return whole
