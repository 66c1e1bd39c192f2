"""Sees what a model is fed: one forward pre-hook on the plain model, reading shapes that the host knows."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from . import _adapters, _facts, _phases
from ._arrival import Arrivals
from ._batch import Batch, Reader
from ._connection import Connection
from ._traced_step import StepTracer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch.nn import Module

    from ._alike import Alike
    from ._flopsmeter import Recorder
    from ._inventory import Measure

_CHECK_INTERVAL_SECONDS = 5.0
_HAND_OVER_INTERVAL_SECONDS = 0.2

_watches: dict[int, Watch] = {}
_bereft: list[Watch] = []
"""Those whose model has gone, until what they still hold is handed over."""
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
    # Nothing is left to be done where telling fails as well.
    with contextlib.suppress(Exception):
        text = f"the hook failed, so passes may be missing: {type(problem).__name__}: {problem}"
        tell_finding("hook-failed", text)
        _connection.warn(text)


def tell_finding(code: str, text: str) -> None:
    """Of the process as a whole; nothing where no meter listens."""
    recorder = _connection.recorder
    if recorder is not None:
        recorder.finding(code, text)


class _Hook:
    """A hook that stays with its model: a deep copy (a reference, an average) or a pickle has one that does nothing, and
    that loads where this package is not installed."""

    def __init__(self, act: Callable[..., None]) -> None:
        self._act = act

    def __call__(self, *arguments: Any) -> None:
        try:
            self._act(*arguments)
        except Exception as problem:
            _tell_fault(problem)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


class Watch:
    """The hooks on one model, from the first owner's attach to the last one's detach or to the model's end: nothing here keeps a
    model alive that the job has let go."""

    def __init__(self, plain: Module, number: int, recorder: Recorder, alike: Alike) -> None:
        self.owners: set[Hashable] = set()
        self.part = _phases.TRAINED
        self.recorder = recorder
        self._alike = alike
        self.key = id(plain)
        self._plain = weakref.ref(plain, functools.partial(_bereave, self.key, _watches, _bereft))
        self._outermost: weakref.ref[Module] = self._plain
        self._number = number
        self._reader = Reader(plain)
        self._adapted = _weakly(_adapters.first_adapted(plain))
        self._arrivals = Arrivals(self._tell)
        self._described = False
        self._measure: Measure | None = None
        self._virtual_tokens: dict[str, Any] | None = None
        self._seen_gradient = False
        self._signature: tuple[object, ...] = ()
        self._checked = 0.0
        self._seen_inside = False
        self._passes = 0
        self._passes_before_step = 0
        self._step: int | None = None
        self._progress: tuple[int, int, int | None] | None = None
        self._handed_over = 0.0
        self._wrappers: list[weakref.ref[Module]] = []
        self._thread = threading.get_ident()
        self._tracer = StepTracer(plain, recorder.traced)
        self._handles = [plain.register_forward_pre_hook(_Hook(self._before_plain), with_kwargs=True)]

    def follow(self, wrappers: list[Module]) -> None:
        """Hooks what has been put around the model since."""
        for wrapper in wrappers:
            if any(known() is wrapper for known in self._wrappers):
                continue
            self._wrappers.append(weakref.ref(wrapper))
            if "_orig_mod" in wrapper._modules:
                self._tracer.refuse("it is compiled")
            self._handles.append(wrapper.register_forward_pre_hook(_Hook(self._enter_wrapper), with_kwargs=True))
            self._handles.append(wrapper.register_forward_hook(_Hook(self._leave_wrapper), with_kwargs=True))
        if wrappers:
            self._outermost = weakref.ref(wrappers[0])
        plain = self._plain()
        if plain is not None:
            self._adapted = _weakly(_adapters.first_adapted(plain))

    def remove(self) -> None:
        """Takes the hooks off again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @harmless
    def finish_arrivals(self) -> None:
        """Tells what is still on its way from a device."""
        self._arrivals.finish()

    @harmless
    def finish(self) -> None:
        """Tells what is left to tell."""
        self._arrivals.finish()
        self.hand_over()
        self._tracer.finish()

    def check(self) -> None:
        """Has the model described again if what is trained or recomputed has changed."""
        self._checked = time.monotonic()
        plain = self._plain()
        if plain is not None and self._described and _facts.signature(plain) != self._signature:
            self._describe()

    def step_done(self, step: int, first_step: int, max_steps: int | None) -> None:
        """After an optimizer step."""
        if step != self._step:
            self._note_step(step)
        self._progress = (step, first_step, max_steps)
        now = time.monotonic()
        if now - self._checked > _CHECK_INTERVAL_SECONDS:
            self.check()
        if now - self._handed_over < _HAND_OVER_INTERVAL_SECONDS:
            return
        self._handed_over = now
        _move_arrivals()
        self.hand_over()
        self.recorder.flush_if_due()
        if not self.recorder.is_open:
            _connection.tell_loss(self.recorder)

    def should_stop(self, step: int) -> bool:
        """Whether the meter's gate asks to save and stop now. To be asked after every step: the meter names a step so far ahead that
        every rank has heard of it by then. One of several ranks that hears of it later still goes on until a later one is named."""
        return self.recorder.should_stop(step)

    def hand_over(self) -> None:
        """What has added up here goes to the recorder."""
        self._alike.hand_over()
        if self._progress is not None:
            self.recorder.progress(*self._progress)

    def _note_step(self, step: int) -> None:
        """Once a step, however many owners tell of it."""
        if self._passes == self._passes_before_step:
            text = "an optimizer step was made without a pass that the hook could see, so operations are missing"
            self.recorder.finding("passes-not-seen", f"{text}; was the model compiled after it was given to the meter?")
        self._passes_before_step = self._passes
        self._step = step

    def _before_plain(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A compiler that traces this far must not trace us, which would break its graph; the pass is then seen from the wrapper
        # outside.
        if torch.compiler.is_compiling():
            return
        self._before(module, args, kwargs)
        # Replicas of `nn.DataParallel` run in threads at once, and share one tracer.
        if threading.get_ident() == self._thread:
            self._tracer.before(module, args)

    def _before(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], outside: Module | None = None) -> None:
        self._seen_inside = True
        self._record(module, args, kwargs, outside)

    def _enter_wrapper(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not torch.compiler.is_compiling():
            self._seen_inside = False

    def _leave_wrapper(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        if torch.compiler.is_compiling() or self._seen_inside:
            return
        plain = self._plain()
        if plain is not None:
            self._before(plain, args, kwargs, module)

    def _record(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], outside: Module | None) -> None:
        gradient = torch.is_grad_enabled()
        if not self._described:
            self._describe((args, kwargs))
            self._seen_gradient = gradient
        elif gradient and not self._seen_gradient:
            # The first passes may have run with adapters switched off, as a reference model.
            self._seen_gradient = True
            self.check()
        batch = self._read(args, kwargs, gradient)
        if batch is None:
            text = f"{type(module).__name__} was called without input_ids or inputs_embeds, which is not counted"
            self.recorder.finding("unknown-input", text)
            return
        if batch.unsized is not None:
            text = f"`{batch.unsized}` came in a form that does not say how many pictures it has, so what they cost is not counted"
            self.recorder.finding("images-not-sized", text)
        if outside is not None and self._virtual_tokens is not None and any(map(_adapters.is_peft_model, _facts.unwrap(outside)[0])):
            _add_virtual_tokens(batch, self._virtual_tokens)
        adapted = self._adapted()
        adapters_off, adapter = (False, None) if adapted is None else _adapters.state(adapted)
        if gradient:
            phase = _phases.phase_of_update(self.part)
        else:
            doing, generates = _phases.situation()
            generates = generates or batch.cached or bool(kwargs.get("use_cache"))
            phase = _phases.phase_of(self.part, doing, generates, module.training, adapter, adapters_off)
        if adapters_off:
            batch.extras["adapters_disabled"] = True
        self._passes += 1
        form = (phase, gradient, batch.sequences, batch.length, batch.cached_length)
        if gradient:
            self._tracer.expect(self._number, form, batch)
        if batch.later:
            self._arrivals.add((self._number, *form), batch)
        elif batch.extras:
            self.recorder.record(self._number, *form, batch.real_tokens, **batch.extras)
        else:
            self._alike.add((self._number, *form), batch.real_tokens)

    def _read(self, args: tuple[Any, ...], kwargs: dict[str, Any], gradient: bool) -> Batch | None:
        if self._measure is None:
            return self._reader.read(args, kwargs, gradient)
        size, fits = self._measure(args, kwargs)
        if not fits:
            text = "passes of other sizes than the model's inventory was taken with are counted as if they followed it"
            self.recorder.finding("inventory-size", text)
        return None if size is None else Batch(*size, real_tokens=size[0] * size[1])

    def _tell(self, *positional: Any, **fields: Any) -> None:
        self.recorder.record(*positional, **fields)

    @harmless
    def _describe(self, call: tuple[tuple[Any, ...], dict[str, Any]] | None = None) -> None:
        """Where this fails, passes are told all the same: the meter then knows that it cannot count them."""
        if self._described and self._arrivals:
            # Passes that are still to be told belong to what was described before.
            self._number = _next_number()
        plain = self._plain()
        if plain is None:
            return
        self._described = True
        outermost = self._outermost()
        facts = _facts.read(plain if outermost is None else outermost, self._number, call)
        self._measure = facts.measure
        self._virtual_tokens = facts.message["training"]["virtual_tokens"]
        self._signature = _facts.signature(plain)
        self._checked = time.monotonic()
        # What was fed before stays with what was described before.
        self._alike.hand_over()
        self.recorder.describe(facts.to_json())
        for code, text in facts.findings:
            self.recorder.finding(code, text)


def _add_virtual_tokens(batch: Batch, tokens: dict[str, Any]) -> None:
    """To what was seen outside of peft's wrapper: with a compiled model, and where the wrapper calls only parts of the model."""
    if tokens["kind"] == "prefix":
        batch.cached_length += tokens["count"]
        return
    batch.length += tokens["count"]
    if batch.real_tokens is not None:
        batch.real_tokens += batch.sequences * tokens["count"]


def _weakly(module: Any) -> Callable[[], Any]:
    return (lambda: None) if module is None else weakref.ref(module)


def _bereave(key: int, watches: dict[int, Watch], bereft: list[Watch], reference: object) -> None:
    """A model has gone, perhaps in the midst of a collection or at the end of the process, when names of modules have gone too:
    nothing more may be done here than to note it."""
    watch = watches.get(key)
    if watch is not None and watch._plain is reference:
        del watches[key]
        bereft.append(watch)


def _finish_bereft() -> None:
    while _bereft:
        watch = _bereft.pop()
        watch.finish()
        watch.remove()


@harmless
def _finish_all() -> None:
    """Before the connection ends, be it with the process."""
    _finish_bereft()
    for watch in list(_watches.values()):
        watch.finish_arrivals()


_connection = Connection(_finish_all)


def _move_arrivals() -> None:
    _finish_bereft()
    for watch in list(_watches.values()):
        if watch._arrivals:
            watch._arrivals.move()


def _next_number() -> int:
    global _models_seen
    _models_seen += 1
    return _models_seen - 1


@harmless
def attach(model: Module, owner: Hashable, part: str | None = None) -> Watch | None:
    """Watches a model for an owner; a model that is watched already is not watched twice.

    `part` is what the model's passes are for; without it a model that is new is taken for the one that is trained.
    """
    _finish_bereft()
    wrappers, plain = _facts.unwrap(model)
    watch = _watches.get(id(plain))
    if watch is None:
        recorder, alike = _connection.open(), _connection.alike
        if recorder is None or alike is None:
            return None
        watch = Watch(plain, _next_number(), recorder, alike)
        _watches[id(plain)] = watch
    if part is not None:
        watch.part = part
    watch.follow(wrappers)
    watch.owners.add(owner)
    watch.check()
    return watch


@harmless
def detach(watch: Watch, owner: Hashable, *, close: bool = True) -> None:
    """Ends an owner's interest; hands everything over when nobody watches any more.

    Without `close` the connection is kept, for passes that may follow until the process ends.
    """
    _finish_bereft()
    watch.owners.discard(owner)
    if not watch.owners:
        watch.finish()
        watch.remove()
        if _watches.get(watch.key) is watch:
            del _watches[watch.key]
    if _watches or not close:
        watch.hand_over()
        watch.recorder.flush()
    else:
        _connection.close()


def _start_anew() -> None:
    """In a forked child nothing is watched until the child itself asks for it, over a connection of its own."""
    global _connection
    for watch in _watches.values():
        watch.remove()
    _watches.clear()
    _bereft.clear()
    _connection.abandon()
    _connection = Connection(_finish_all)


os.register_at_fork(after_in_child=_start_anew)
