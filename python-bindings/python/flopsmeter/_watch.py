"""Sees what a model is fed: one forward pre-hook on the plain model, reading shapes that the host knows."""

from __future__ import annotations

import functools
import inspect
import os
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from . import _facts
from ._connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch.nn import Module

    from ._flopsmeter import Recorder

_CHECK_INTERVAL_SECONDS = 5.0

_connection = Connection()
_watches: dict[int, Watch] = {}
_models_seen = 0

Act = TypeVar("Act", bound="Callable[..., Any]")


def harmless(act: Act) -> Act:
    """A fault of ours is told once and never reaches the job."""

    @functools.wraps(act)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return act(*args, **kwargs)
        except Exception as problem:
            _tell_fault(problem)
            return None

    return cast("Act", guarded)


def _tell_fault(problem: Exception) -> None:
    text = f"{type(problem).__name__}: {problem}"
    recorder = _connection.recorder
    if recorder is not None:
        recorder.finding("hook-failed", f"the hook failed, so passes may be missing: {text}")
    _connection.warn(f"the hook failed, so passes may be missing: {text}")


class Watch:
    """The hooks on one model, from the first owner's attach to the last one's detach."""

    def __init__(self, plain: Module, wrappers: list[Module], number: int, recorder: Recorder) -> None:
        self.owners: set[Hashable] = set()
        self.recorder = recorder
        self._plain = plain
        self._outermost = wrappers[0] if wrappers else plain
        self._number = number
        self._described = False
        self._seen_gradient = False
        self._signature: tuple[object, ...] = ()
        self._checked = 0.0
        self._seen_inside = False
        self._passes = 0
        self._passes_before_step = 0
        self._step: int | None = None
        self._positions = {name: index for index, name in enumerate(inspect.signature(plain.forward).parameters)}
        self._handles = [plain.register_forward_pre_hook(self._before, with_kwargs=True)]
        for wrapper in wrappers:
            self._handles.append(wrapper.register_forward_pre_hook(self._enter_wrapper, with_kwargs=True))
            self._handles.append(wrapper.register_forward_hook(self._leave_wrapper, with_kwargs=True))

    def remove(self) -> None:
        """Takes the hooks off again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def check(self) -> None:
        """Has the model described again if what is trained or recomputed has changed."""
        self._checked = time.monotonic()
        if self._described and _facts.signature(self._plain) != self._signature:
            self._describe()

    def step_done(self, step: int, first_step: int, max_steps: int | None) -> None:
        """After an optimizer step."""
        if step != self._step:
            self._note_step(step)
        self.recorder.progress(step, first_step, max_steps)
        if time.monotonic() - self._checked > _CHECK_INTERVAL_SECONDS:
            self.check()
        self.recorder.flush_if_due()
        if not self.recorder.is_open:
            _connection.tell_loss(self.recorder)

    def _note_step(self, step: int) -> None:
        """Once a step, however many owners tell of it."""
        if self._passes == self._passes_before_step:
            text = "an optimizer step was made without a pass that the hook could see, so operations are missing"
            self.recorder.finding("passes-not-seen", f"{text}; was the model compiled after it was given to the meter?")
        self._passes_before_step = self._passes
        self._step = step

    def _before(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A compiler that traces this far must not trace us; the pass is then seen from the wrapper outside.
        if torch.compiler.is_compiling():
            return
        self._seen_inside = True
        try:
            self._record(module, args, kwargs)
        except Exception as problem:
            _tell_fault(problem)

    def _enter_wrapper(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not torch.compiler.is_compiling():
            self._seen_inside = False

    def _leave_wrapper(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        if torch.compiler.is_compiling() or self._seen_inside:
            return
        self._before(self._plain, args, kwargs)

    def _record(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        gradient = torch.is_grad_enabled()
        if not self._described:
            self._describe()
            self._seen_gradient = gradient
        elif gradient and not self._seen_gradient:
            # The first passes may have run with adapters switched off, as a reference model.
            self._seen_gradient = True
            self.check()
        shape = self._shape(args, kwargs)
        if shape is None:
            text = f"{type(module).__name__} was called without input_ids or inputs_embeds, which is not counted"
            self.recorder.finding("unknown-input", text)
            return
        sequences, length = shape
        cache = self._argument("past_key_values", args, kwargs)
        if gradient:
            phase = "training"
        elif cache is not None or kwargs.get("use_cache"):
            phase = "generation"
        elif not module.training:
            phase = "evaluation"
        else:
            phase = "other"
        cached_length = 0 if cache is None else _cached_length(cache, length)
        real_tokens = _real_tokens(self._argument("attention_mask", args, kwargs), sequences, length)
        self._passes += 1
        self.recorder.record(self._number, phase, gradient, sequences, length, cached_length, real_tokens)

    def _argument(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = kwargs.get(name)
        if value is None and args:
            index = self._positions.get(name, len(args))
            if index < len(args):
                value = args[index]
        return value

    def _shape(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int] | None:
        tokens = self._argument("input_ids", args, kwargs)
        if tokens is None:
            tokens = self._argument("inputs_embeds", args, kwargs)
            dimensions = 3
        else:
            dimensions = 2
        shape = getattr(tokens, "shape", None)
        if shape is None or len(shape) != dimensions:
            return None
        return shape[0], shape[1]

    @harmless
    def _describe(self) -> None:
        """Where this fails, passes are told all the same: the meter then knows that it cannot count them."""
        self._described = True
        facts = _facts.read(self._outermost, self._number)
        self._signature = _facts.signature(self._plain)
        self._checked = time.monotonic()
        self.recorder.describe(facts.to_json())
        for code, text in facts.findings:
            self.recorder.finding(code, text)


def _real_tokens(mask: Any, sequences: int, length: int) -> int | None:
    """Without a mask the model attends to every position. A mask on a device is not read: that would wait for it."""
    if mask is None:
        return sequences * length
    if not isinstance(mask, torch.Tensor) or not mask.is_cpu or mask.dim() != 2 or mask.shape[1] < length:
        return None
    own = mask if mask.shape[1] == length else mask[:, -length:]
    return int(own.sum())


def _cached_length(cache: Any, length: int) -> int:
    """Positions of the cache besides the pass's own; a static cache is always multiplied in full."""
    if isinstance(cache, (tuple, list)):
        return int(cache[0][0].shape[-2]) if cache else 0
    if getattr(cache, "is_compileable", False):
        return max(int(cache.get_max_length()) - length, 0)
    return int(cache.get_seq_length())


@harmless
def attach(model: Module, owner: Hashable) -> Watch | None:
    """Watches a model for an owner; a model that is watched already is not watched twice."""
    global _models_seen
    wrappers, plain = _facts.unwrap(model)
    watch = _watches.get(id(plain))
    if watch is None:
        recorder = _connection.open()
        if recorder is None:
            return None
        watch = Watch(plain, wrappers, _models_seen, recorder)
        _models_seen += 1
        _watches[id(plain)] = watch
    watch.owners.add(owner)
    watch.check()
    return watch


@harmless
def detach(watch: Watch, owner: Hashable) -> None:
    """Ends an owner's interest; hands everything over when nobody watches any more."""
    watch.owners.discard(owner)
    if watch.owners:
        watch.recorder.flush()
        return
    watch.remove()
    _watches.pop(id(watch._plain), None)
    if _watches:
        watch.recorder.flush()
    else:
        _connection.close()


def _start_anew() -> None:
    """In a forked child nothing is watched until the child itself asks for it, over a connection of its own."""
    global _connection
    for watch in _watches.values():
        watch.remove()
    _watches.clear()
    _connection.abandon()
    _connection = Connection()


os.register_at_fork(after_in_child=_start_anew)
