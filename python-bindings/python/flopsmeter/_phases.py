"""What a pass is for: told by the gradient mode, the trainer that calls, and the part its model plays there.

`module.training` decides only between evaluation and other passes outside of any trainer: inside one GRPO generates in training
mode, and a frozen reference is in evaluation mode.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from torch.nn import Module

TRAINED = "training"
"""The part of a model that a trainer trains."""

PARTS = frozenset({"reference-model", "teacher-online", "reward-scoring", "value-model", "evaluation", "other"})
"""Parts that further models play."""

_PARTS = {
    "ref_model": "reference-model",
    "reference_model": "reference-model",
    "teacher_model": "teacher-online",
    "reward_model": "reward-scoring",
    "reward_models": "reward-scoring",
    "reward_funcs": "reward-scoring",
    "value_model": "value-model",
    "critic": "value-model",
}
"""Attributes under which trainers hold further models, and what their passes are for."""

_ADAPTER_PARTS = {"ref": "reference-model", "reference": "reference-model", "teacher": "teacher-online"}
"""Names of adapters that trainers switch to for a pass."""

_EVALUATION = "evaluation"
_STEP = "step"
_AROUND = "around"

_ACTIVITIES = {
    "evaluate": _EVALUATION,
    "predict": _EVALUATION,
    "evaluation_loop": _EVALUATION,
    "prediction_loop": _EVALUATION,
    "training_step": _STEP,
    "train": _AROUND,
    "__init__": _AROUND,
}
"""Methods of a trainer, and what it does in them."""

_GENERATION = "generate"
_GENERATION_FILE = "transformers/generation/utils.py"

_MOST_LISTED = 16
"""Entries that are looked at in a list of which the name says nothing."""

_MOST_WRAPPED = 16
"""Wrappers around a method that are taken off."""

_codes: dict[CodeType, str | None] = {}
_MAXIMUM_CODES = 4096


def situation() -> tuple[str | None, bool]:
    """What the innermost trainer on this thread's stack is doing (None without one), and whether the pass is one of
    ``generate()``, which may run without a cache."""
    generates = False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        found = _codes.get(code, "")
        if found == "":
            found = _remember(code, frame)
        if found == _GENERATION:
            generates = True
        elif found is not None:
            return found, generates
        frame = frame.f_back
    return None, generates


def _remember(code: CodeType, frame: FrameType) -> str | None:
    found = _ACTIVITIES.get(code.co_name)
    if found is not None and not _is_of_trainer(code, frame):
        found = None
    if code.co_name == _GENERATION and code.co_filename.endswith(_GENERATION_FILE):
        found = _GENERATION
    if len(_codes) >= _MAXIMUM_CODES:
        _codes.clear()
    _codes[code] = found
    return found


def _is_of_trainer(code: CodeType, frame: FrameType) -> bool:
    """Whether it is a method of a trainer. Looking into a frame keeps all that it names alive, on Python before 3.13 for as long as
    it runs, so that no frame of the job's is looked into that might not be one, and each code once at most."""
    if code.co_varnames[:1] != ("self",):
        return False
    if any(_has_code(vars(base).get(code.co_name), code) for kind in _trainer_classes() for base in kind.__mro__):
        return True
    # Somebody may have put it on one trainer alone.
    return is_trainer(frame.f_locals.get("self"))


def _trainer_classes() -> Iterator[type]:
    pending = [getattr(sys.modules.get("transformers.trainer"), "Trainer", None)]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type):
            yield kind
            pending.extend(type.__subclasses__(kind))


def _has_code(method: Any, code: CodeType) -> bool:
    """Whether it runs this code, whatever has been put around it."""
    for _ in range(_MOST_WRAPPED):
        if method is None or getattr(method, "__code__", None) is code:
            break
        method = getattr(method, "__wrapped__", None)
    return getattr(method, "__code__", None) is code


def is_trainer(thing: Any) -> bool:
    """Whether it is a `transformers.Trainer`, without importing it."""
    module = sys.modules.get("transformers.trainer")
    trainer = getattr(module, "Trainer", None)
    return trainer is not None and isinstance(thing, trainer)


def calling_trainer() -> Any:
    """The innermost trainer on this thread's stack, or None."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        candidate = frame.f_locals.get("self") if frame.f_code.co_varnames[:1] == ("self",) else None
        if candidate is not None and is_trainer(candidate):
            return candidate
        frame = frame.f_back
    return None


def held_models(trainer: Any) -> Iterator[tuple[Module, str]]:
    """The models that a trainer holds besides the one it trains, and what their passes are for."""
    from torch.nn import Module

    own = {id(part) for name in ("model", "model_wrapped") for part in _chain(getattr(trainer, name, None))}
    for name, value in list(vars(trainer).items()):
        if name in ("model", "model_wrapped"):
            continue
        # A trainer's lists may be data sets, whose rows nobody has counted or which are made as they are read.
        models = value[: None if name in _PARTS else _MOST_LISTED] if type(value) in (list, tuple) else (value,)
        for model in models:
            if isinstance(model, Module) and not own & {id(part) for part in _chain(model)} and _is_model(model):
                yield model, _PARTS.get(name, "other")


def _chain(model: Any) -> list[Any]:
    from ._facts import unwrap

    if model is None:
        return []
    wrappers, plain = unwrap(model)
    return [*wrappers, plain]


def _is_model(module: Module) -> bool:
    """Losses and the like are modules too."""
    return hasattr(_chain(module)[-1], "config")


def phase_of_update(part: str) -> str:
    """The phase of a pass that a backward pass follows, by the names of ``core/src/facts.rs``."""
    return part if part == "value-model" else TRAINED


def phase_of(
    part: str, doing: str | None, generates: bool, training_mode: bool, adapter: str | None, adapters_off: bool
) -> str:
    """The phase of a pass without gradient."""
    if doing == _EVALUATION:
        return "evaluation"
    if part != TRAINED:
        return "value-scoring" if part == "value-model" else part
    if adapters_off:
        return "reference-model"
    if adapter in _ADAPTER_PARTS:
        return _ADAPTER_PARTS[adapter]
    if doing == _STEP:
        return "rollout" if generates else "policy-scoring"
    if generates:
        return "generation"
    return "evaluation" if not training_mode and doing is None else "other"
