"""Reads a live model into the facts that the meter counts from (``core/src/facts.rs``).

Nothing here reads a tensor's values: names, shapes and flags are known on the host.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _adapters, _flopsmeter, _inventory, _packed, _parallel
from ._adapters import plain_name
from ._inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.nn import Module

    from ._example_inputs import Call
    from ._inventory import Measure

_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "trl")

_PARALLEL_WRAPPERS = {"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "DeepSpeedEngine"}


@dataclass
class Facts:
    """What is told of a model, and what could not be told."""

    message: dict[str, Any]
    findings: list[tuple[str, str]] = field(default_factory=list)
    measure: Measure | None = None
    """How large calls are, where it is not tokens that say it."""

    def to_json(self) -> str:
        """JSON has no infinities: where a configuration has one, its name stands instead."""
        return _without_infinities(self.message)


def _without_infinities(value: dict[str, Any]) -> str:
    text = json.dumps(value, default=str)
    try:
        json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(json.loads(text, parse_constant=str))
    return text


def unwrap(model: Module) -> tuple[list[Module], Module]:
    """The wrappers around a model, outermost first, and the plain model inside."""
    wrappers = []
    while (inner := _inside(model)) is not None:
        wrappers.append(model)
        model = inner
    return wrappers, model


def _inside(model: Module) -> Module | None:
    compiled: Module | None = model.__dict__.get("_modules", {}).get("_orig_mod")
    if compiled is not None:
        return compiled
    if type(model).__name__ in _PARALLEL_WRAPPERS:
        wrapped: Module | None = getattr(model, "module", None)
        return wrapped
    if _adapters.is_peft_model(model):
        base: Module = model.get_base_model()
        return base
    return None


def read(model: Module, number: int, example: Call | None = None) -> Facts:
    """The facts of the model inside whatever wraps it; `example` is the arguments of a call."""
    wrappers, plain = unwrap(model)
    outermost = wrappers[0] if wrappers else model
    findings: list[tuple[str, str]] = []
    adapters = _adapters.read(plain, wrappers)
    findings += adapters.findings
    checkpointing, not_recomputed = _checkpointing(plain)
    config = getattr(plain, "config", None)
    configuration = _configuration(plain)
    inventory = _taken_inventory(plain, configuration, adapters, example)
    findings += inventory.findings
    if configuration is None and inventory.message is None:
        findings.append(("no-config", f"{type(plain).__name__} has no Hugging Face configuration, so its shape is unknown"))
    parameters = list(_packed.parameters(outermost))
    if _packed.has_mixed_pieces(outermost):
        text = "FSDP1 forms gradients of frozen parameters that share a flat piece with trained ones; these are not counted"
        findings.append(("frozen-in-flat-piece", text))
    message = {
        "model": number,
        "class_name": type(plain).__name__,
        "name_or_path": getattr(config, "name_or_path", None) or getattr(config, "_name_or_path", None) or None,
        "config": configuration,
        "parameters_total": sum(elements for elements, _ in parameters),
        "parameters_trainable": sum(elements for elements, is_trained in parameters if is_trained),
        "training": {
            "trained": sorted(_trained(outermost, plain, adapters)),
            "adapters": adapters.rows,
            "scaled": adapters.scaled,
            "virtual_tokens": adapters.virtual_tokens,
            "copied": adapters.copied,
            "gradient_checkpointing": checkpointing,
            "not_recomputed": not_recomputed,
            "input_require_grads": _inputs_require_grads(plain),
            "attention_implementation": getattr(config, "_attn_implementation", None),
        },
        "libraries": dict(_library_versions()),
        "inventory": inventory.message,
    }
    parallel = _parallel.read(plain)
    if parallel is not None:
        message["parallel"] = parallel
    return Facts(message, findings, inventory.measure(plain))


def _taken_inventory(
    plain: Module,
    configuration: dict[str, Any] | None,
    adapters: _adapters.Adapters,
    example: Call | None,
) -> Inventory:
    known = configuration is not None and _flopsmeter.known(_without_infinities(configuration))
    # A prefix is known from the family alone: what an inventory follows has no keys but its own.
    is_prefixed = (adapters.virtual_tokens or {}).get("kind") == "prefix"
    is_wanted = _inventory.is_wanted(known) and not (known and is_prefixed)
    return _inventory.of(plain, adapters, example) if is_wanted else Inventory()


def _configuration(plain: Module) -> dict[str, Any] | None:
    """As the configuration gives it, but with the live class: `architectures` says what the checkpoint was saved from."""
    config: Any = getattr(plain, "config", None)
    if not hasattr(config, "to_dict"):
        return None
    values: dict[str, Any] = config.to_dict()
    live = next((base for base in type(plain).__mro__ if base.__module__.startswith("transformers.models.")), type(plain))
    return {**values, "architectures": [live.__name__]}


def signature(model: Module) -> tuple[object, ...]:
    """Changes when what is trained or recomputed changes; cheap enough to ask now and then."""
    modules = list(model.modules())
    return (
        tuple(parameter.requires_grad for parameter in model.parameters()),
        tuple(module.__dict__.get("gradient_checkpointing") for module in modules),
        tuple(str(module.__dict__.get("_active_adapter")) for module in modules),
        tuple(module.__dict__.get("_disable_adapters") for module in modules),
        sum(len(module._forward_hooks) for module in modules),
    )


def _trained(outermost: Module, plain: Module, adapters: _adapters.Adapters) -> Iterator[str]:
    """Names of trained parameters. What is no part of the plain model and no adapter we know keeps its raw name: the
    count then refuses the model instead of leaving something out."""
    rows, inside = _packed.sharded(outermost)
    own = next((f"{plain_name(name)}." for name, module in outermost.named_modules() if name and module is plain), "")
    yield from (plain_name(row.name).removeprefix(own) for row in rows if row.is_trained)
    for name, parameter in plain.named_parameters():
        if id(parameter) in inside:
            continue
        inside.add(id(parameter))
        if parameter.requires_grad and id(parameter) not in adapters.parameters:
            yield plain_name(name)
    for name, parameter in outermost.named_parameters():
        if parameter.requires_grad and id(parameter) not in inside | adapters.parameters:
            yield name


def _checkpointing(plain: Module) -> tuple[str | None, list[str]]:
    """How blocks are recomputed, and the names of those that could be and are not."""
    on, off = [], []
    for name, module in plain.named_modules():
        flag = getattr(module, "gradient_checkpointing", None)
        if flag is True or type(module).__name__ == "CheckpointWrapper":
            on.append(module)
        elif flag is False and _is_checkpointing_layer(module):
            off.append(plain_name(name))
    if not on:
        return None, []
    kinds = {_is_reentrant(module) for module in on}
    return ("reentrant" if True in kinds else "non-reentrant"), off


def _is_checkpointing_layer(module: Module) -> bool:
    return any(base.__name__ == "GradientCheckpointingLayer" for base in type(module).__mro__)


def _is_reentrant(module: Module) -> bool:
    """`use_reentrant` as it was bound: transformers 5 binds False by itself, torch takes True where nothing is bound."""
    if type(module).__name__ == "CheckpointWrapper":
        return False
    keywords = getattr(getattr(module, "_gradient_checkpointing_func", None), "keywords", {})
    return keywords.get("use_reentrant") is not False


def _inputs_require_grads(plain: Module) -> bool:
    """transformers and peft both hang a hook of (nearly) this name on the input embeddings."""
    return any(
        getattr(hook, "__name__", "").startswith("make_inputs_require_grad")
        for module in plain.modules()
        for hook in module._forward_hooks.values()
    )


def _library_versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            yield name, str(version)
