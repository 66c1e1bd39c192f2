"""Reads peft's adapters off a live model, without importing peft: what is not loaded is not used."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.nn import Module

_WRAPPING_PARTS = re.compile(
    r"\.(?:base_layer|original_module|modules_to_save\.[^.]+|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.|$)"
)

_PARAMETER_HOLDERS = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector")


#: Where those stand that `peft`'s modules of these names make.
_PROMPTS = {"PromptEmbedding": "prompt", "PromptEncoder": "prompt", "PrefixEncoder": "prefix"}


@dataclass
class Adapters:
    """What peft has added to a plain model."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    scaled: list[dict[str, Any]] = field(default_factory=list)
    virtual_tokens: dict[str, Any] | None = None
    copied: list[str] = field(default_factory=list)
    parameters: set[int] = field(default_factory=set)
    """Ids of the parameters that the rows above account for."""
    findings: list[tuple[str, str]] = field(default_factory=list)


def plain_name(name: str) -> str:
    """The name in the model's own checkpoint, without the parts that wrappers put in."""
    return _WRAPPING_PARTS.sub("", f".{name}")[1:]


def is_peft_model(model: Module) -> bool:
    """Whether peft is loaded and this is its outer wrapper."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel)


def read(plain: Module, wrappers: Iterable[Module] = ()) -> Adapters:
    """All adapters inside a plain model, and what the wrappers around it put before its sequences."""
    adapters = Adapters()
    if "peft" not in sys.modules:
        return adapters
    from peft.tuners.ia3 import IA3Layer
    from peft.tuners.lora import LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    for name, module in plain.named_modules():
        if isinstance(module, LoraLayer):
            _read_lora(adapters, name, module)
        elif isinstance(module, IA3Layer):
            _read_ia3(adapters, name, module)
        elif isinstance(module, BaseTunerLayer):
            kind = type(module).__name__
            adapters.findings.append(("unknown-adapter", f"the adapter {kind} on {plain_name(name)} cannot be counted"))
        elif isinstance(module, ModulesToSaveWrapper):
            active = [adapter for adapter in module.active_adapters if adapter in module.modules_to_save]
            if active:
                adapters.copied.append(plain_name(name))
    for wrapper in filter(is_peft_model, wrappers):
        _read_prompt(adapters, wrapper)
    adapters.rows.sort(key=lambda row: (row["module"], row["rank"]))
    adapters.copied.sort()
    return adapters


def first_adapted(plain: Module) -> Any:
    """The first layer that holds adapters, or None."""
    if "peft" not in sys.modules:
        return None
    from peft.tuners.tuners_utils import BaseTunerLayer

    return next((module for module in plain.modules() if isinstance(module, BaseTunerLayer)), None)


def state(adapted: Any) -> tuple[bool, str | None]:
    """Whether the adapters are switched off, and the active one's name if it is one."""
    active = adapted.__dict__.get("_active_adapter")
    if isinstance(active, list):
        active = active[0] if len(active) == 1 else None
    return bool(adapted.__dict__.get("_disable_adapters")), active


def _read_ia3(adapters: Adapters, name: str, module: Any) -> None:
    adapters.parameters.update(map(id, module.ia3_l.parameters()))
    side = "input" if module.is_feedforward else "output"
    for adapter in module.active_adapters:
        if adapter in module.ia3_l and adapter not in module.merged_adapters:
            trained = bool(module.ia3_l[adapter].requires_grad)
            adapters.scaled.append({"module": plain_name(name), "side": side, "trained": trained})


def _read_prompt(adapters: Adapters, wrapper: Any) -> None:
    """Prompt learning: the passes of the plain model show how long prompts and prefixes are, not how they come about."""
    if not wrapper.active_peft_config.is_prompt_learning:
        return
    encoder = wrapper.prompt_encoder[wrapper.active_adapter]
    name = type(encoder).__name__
    kind = _PROMPTS.get(name)
    if kind is None or hasattr(encoder, "lstm_head"):
        how = f"{name} with an LSTM" if kind else name
        adapters.findings.append(("unknown-adapter", f"virtual tokens made by {how} cannot be counted"))
        return
    parameters = list(encoder.parameters())
    adapters.parameters.update(map(id, parameters))
    linear = (module for module in encoder.modules() if hasattr(module, "in_features"))
    adapters.virtual_tokens = {
        "kind": kind,
        "count": encoder.embedding.weight.shape[0],
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained": any(parameter.requires_grad for parameter in parameters),
        "maps": [[module.in_features, module.out_features] for module in linear],
    }


def _read_lora(adapters: Adapters, name: str, module: Any) -> None:
    target = plain_name(name)
    if getattr(module, "parameter_name", None):
        target = f"{target}.{module.parameter_name}"
    # Also while they are switched off for a pass: the passes tell of that themselves.
    active = set(module.active_adapters) - set(module.merged_adapters)
    for adapter, rank in module.r.items():
        kind = _kind(module, adapter)
        if kind is None:
            variant = type(module.lora_variant[adapter]).__name__
            adapters.findings.append(("unknown-adapter", f"the LoRA variant {variant} on {target} cannot be counted"))
            continue
        parameters = _parameters(module, adapter)
        adapters.parameters.update(map(id, parameters))
        if adapter not in active or not parameters:
            continue
        trained = any(parameter.requires_grad for parameter in parameters)
        dropout = getattr(module.lora_dropout[adapter], "p", 0.0) > 0.0
        row = {"module": target, "rank": rank, "kind": kind, "trained": trained, "dropout": dropout}
        adapters.rows.append(row)


def _kind(module: Any, adapter: str) -> str | None:
    """None for a variant whose products are not known."""
    variant = getattr(module, "lora_variant", {}).get(adapter)
    if variant is None:
        return "dora" if module.use_dora.get(adapter) else "lora"
    return "dora" if type(variant).__name__.startswith("Dora") else None


def _parameters(module: Any, adapter: str) -> list[Any]:
    found: list[Any] = []
    for holder in _PARAMETER_HOLDERS:
        held = getattr(module, holder)
        if adapter not in held:
            continue
        part = held[adapter]
        found.extend(part.parameters() if hasattr(part, "parameters") else [part])
    return found
