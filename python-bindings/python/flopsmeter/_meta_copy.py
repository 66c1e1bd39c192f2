"""A copy of a model without its numbers: the same modules over tensors that have shapes alone.

Nothing of the live model is read but names, shapes and settings, and nothing of it is changed.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ._adapters import Adapters, plain_name
from ._meta_kernels import MetaKernels
from ._packed import linear_sizes, logical_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.nn import Module

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip

#: Elements of a table of whole numbers that is copied as it is.
_MOST_COPIED_ELEMENTS = 1 << 20


def copies(plain: Module, adapters: Adapters) -> Iterator[Callable[[], Module]]:
    """Ways to make one, the better first: from the configuration, where that gives the model that is there; else module by module."""
    if hasattr(getattr(plain, "config", None), "to_dict"):
        yield lambda: _ready(_built_again(plain, adapters))
    yield lambda: _ready(_copied(plain))


def _ready(model: Module) -> Module:
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    for module in model.modules():
        if is_checkpointing_layer(module):
            module.gradient_checkpointing = False
    return model


def is_checkpointing_layer(module: Module) -> bool:
    """A layer that `transformers` can recompute."""
    return any(base.__name__ == "GradientCheckpointingLayer" for base in type(module).__mro__)


def _built_again(plain: Any, adapters: Adapters) -> Module:
    # FSDP2 puts a class of its own in front.
    kind = next(base for base in type(plain).__mro__ if not base.__name__.startswith("FSDP"))
    config = copy.deepcopy(plain.config)
    if getattr(config, "_attn_implementation", None) not in (None, "eager"):
        config._attn_implementation = "sdpa" if getattr(kind, "_supports_sdpa", False) else "eager"
    if hasattr(config, "_experts_implementation"):
        config._experts_implementation = "batched_mm"
    with torch.device("meta"), _without_initialization(), MetaKernels():
        model: Module = kind(config)
        model.tie_weights()
    _check_parameters(plain, model, adapters)
    live = {plain_name(name): module for name, module in plain.named_modules()}
    for name, module in model.named_modules():
        settings = live[name].__dict__ if name in live else {}
        for setting in ("gradient_checkpointing", "_gradient_checkpointing_func"):
            if setting in settings:
                setattr(module, setting, settings[setting])
    return model


@contextlib.contextmanager
def _without_initialization() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            from transformers.initialization import no_init_weights

            stack.enter_context(no_init_weights())
        yield


def _check_parameters(plain: Module, built: Module, adapters: Adapters) -> None:
    """What was built has to be what is there; packed weights stand under other names in modules of the same name."""
    expected = {name: parameter.numel() for name, parameter in built.named_parameters()}
    modules = {plain_name(name) for name, _ in plain.named_modules()}
    seen = set()
    for name, parameter in plain.named_parameters():
        if id(parameter) in adapters.parameters:
            continue
        own = plain_name(name)
        seen.add(own)
        elements = math.prod(logical_shape(parameter))
        if expected.get(own, -1 if _is_float(parameter) else elements) != elements and elements > 0:
            raise LookupError(f"the configuration describes another {own} than the live model has")
    for name in expected.keys() - seen:
        if name.rpartition(".")[0] not in modules:
            raise LookupError(f"the live model has no {name}")


def _is_float(tensor: Tensor) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


class _WithoutNumbers(TorchFunctionMode):  # type: ignore[misc]
    """Lets tensors that are no parameters and no buffers be copied as shapes too."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.__deepcopy__:
            original, memo = args[0], args[1]
            if id(original) not in memo:
                memo[id(original)] = _shape_alone(original)
            return memo[id(original)]
        return function(*args, **(kwargs or {}))


def _copied(plain: Module) -> Module:
    memo: dict[int, Any] = {}
    for module in plain.modules():
        for kind in _HOOKS:
            hooks = module.__dict__.get(kind)
            if hooks:
                memo[id(hooks)] = _kept_hooks(hooks)
        for parameter in module.__dict__["_parameters"].values():
            if parameter is not None and id(parameter) not in memo:
                floating = _is_float(parameter) or hasattr(parameter, "quant_state")
                dtype = parameter.dtype if _is_float(parameter) else torch.get_default_dtype()
                shape = torch.empty(logical_shape(parameter), dtype=dtype if floating else parameter.dtype, device="meta")
                memo[id(parameter)] = nn.Parameter(shape, requires_grad=floating)
    with _WithoutNumbers():
        model = copy.deepcopy(plain, memo)
    for module in model.modules():
        # Wrapped forwards (autocast, offloading) hold on to the live module.
        module.__dict__.pop("forward", None)
    return _without_wrappers(model)


def _kept_hooks(hooks: Any) -> Any:
    """Those that compute weights, as `torch.nn.utils.weight_norm` does, belong to the model; all others to somebody else."""
    kept = [(number, hook) for number, hook in hooks.items() if type(hook).__module__.startswith("torch.nn.utils")]
    return OrderedDict(kept)


def _shape_alone(tensor: Tensor) -> Tensor:
    if _is_float(tensor):
        return torch.empty(tuple(tensor.shape), dtype=tensor.dtype, device="meta")
    if tensor.device.type == "cpu" and tensor.numel() <= _MOST_COPIED_ELEMENTS:
        return tensor.detach().clone()
    return torch.zeros(tuple(tensor.shape), dtype=tensor.dtype, device="meta" if tensor.numel() > _MOST_COPIED_ELEMENTS else "cpu")


def _without_wrappers(model: Module) -> Module:
    """Adapters give way to what they adapt, packed linear modules to plain ones of their logical size."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            plain = _unwrapped(child)
            if plain is not child:
                setattr(module, name, plain)
    return model


def _unwrapped(module: Any) -> Any:
    while True:
        inner = module.__dict__.get("_modules", {})
        if "original_module" in inner:
            module = inner["original_module"]
        elif "base_layer" in inner and hasattr(module, "get_base_layer"):
            module = inner["base_layer"]
        else:
            break
    sizes = linear_sizes(module) or (getattr(module, "in_features", None), getattr(module, "out_features", None))
    inputs, outputs = sizes
    if not isinstance(inputs, int) or not isinstance(outputs, int) or isinstance(module, nn.Bilinear):
        return module
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor) and _is_float(weight) and weight.numel() == inputs * outputs and _is_ordinary(module):
        return module
    return nn.Linear(inputs, outputs, bias=getattr(module, "bias", None) is not None, device="meta")


def _is_ordinary(module: Any) -> bool:
    """Quantized linear modules of other libraries multiply with kernels that know no meta tensors."""
    return not type(module).__module__.startswith(("bitsandbytes", "awq", "auto_gptq", "gptqmodel", "hqq", "quanto"))
