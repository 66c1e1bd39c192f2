"""Counts one early training pass product by product while it runs, forward and backward, to hold the count against it.

It is on while the model's forward runs and while the backward pass runs that follows it, and never in between: whatever modes
the job itself enters and leaves stay nested. A fault of ours ends the tracing; the pass goes on as if nothing had been.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack, _pop_mode, _push_mode
from torch.utils.flop_counter import flop_registry

from ._operations import attention_amounts, convolution_amount, forward_products, is_opaque, packed_amount

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn import Module

    from ._batch import Batch

    Form = tuple[str, bool, int, int, int]
    Awaited = tuple["StepTracer", dict[str, Any], "Counter"]

#: `0` traces nothing.
SWITCH_VARIABLE = "FLOPSMETER_TRACE_STEP"

#: The first pass fills caches and may build what later ones have.
_TRACED_PASS = 2
_MOST_ATTEMPTS = 4

_active: StepTracer | None = None


class Counter(TorchDispatchMode):  # type: ignore[misc]
    """Adds up operations, below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.unseen: dict[str, None] = {}
        self.problem: Exception | None = None
        """What went wrong while it counted."""
        self._thread = 0
        self._below: list[Any] | None = None

    def __torch_dispatch__(
        self, called: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the operator as it would have run, and counts it."""
        output = called(*args, **(kwargs or {}))
        if self.problem is None:
            try:
                self._count(called, args, kwargs or {}, output)
            except Exception as problem:
                self.problem = problem
        return output

    def _count(self, called: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        packed = packed_amount(called, args)
        if packed is not None:
            self.operations += packed
            return
        if is_opaque(called):
            self.unseen[called.name()] = None
        amount = _amount(called, args, kwargs, output)
        if amount and any(type(arg) not in _PLAIN for arg in args if isinstance(arg, Tensor)):
            self.unseen[f"{called.name()} of {type(args[0]).__name__}"] = None
            return
        self.operations += amount

    def start(self) -> None:
        """Begins the counting, on this thread."""
        below = _get_current_dispatch_mode_stack()
        self._thread = threading.get_ident()
        self.__enter__()
        self._below = below

    def is_elsewhere(self) -> bool:
        """Whether it counts on another thread, whose modes only that thread can end."""
        return self._below is not None and threading.get_ident() != self._thread

    def stop(self) -> None:
        """Ends the counting, wherever among the modes of the thread it stands: an interrupted pass ends nothing in its turn."""
        if self._below is None or self.is_elsewhere():
            return
        below, self._below = self._below, None
        modes = _get_current_dispatch_mode_stack()
        if any(mode is self for mode in modes):
            above = [_pop_mode() for _ in range(len(modes) - 1 - _place(self, modes))]
            self.__exit__(None, None, None)
            for mode in reversed(above):
                _push_mode(mode)
        elif modes and len(modes) <= len(below) and all(map(operator.is_, modes, below)):
            # A mode of the job's has ended since and, taking whatever was on top, took this one in its own stead.
            _pop_mode()


def _place(mode: Any, modes: list[Any]) -> int:
    return next(place for place, other in enumerate(modes) if other is mode)


def _failure(problem: Exception) -> str:
    return f"it failed: {type(problem).__name__}: {problem}"


_PLAIN = (Tensor, torch.nn.Parameter, torch.nn.Buffer)


def _amount(called: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    products = forward_products(called, args, output)
    if products:
        return sum(product.amount for product in products)
    name = called.__name__.partition(".")[0]
    if name == "convolution_backward":
        gradient, inputs, weight, transposed, wanted = args[0], args[1], args[2], bool(args[7]), args[10]
        # PyTorch's own formula multiplies a depthwise weight's gradient by its groups.
        return convolution_amount(inputs.shape, weight.shape, gradient.shape, transposed) * sum(map(int, wanted[:2]))
    if name.startswith("_scaled_dot_product") and name.endswith("_backward"):
        return _attention_backward(args)
    formula = flop_registry.get(called.overloadpacket)
    if formula is None:
        return 0
    amount = int(formula(*args, **kwargs, out_val=output))
    # Kernels of variable length form the scores again, which their formula has as one product of five.
    return amount * 4 // 5 if name in ("_flash_attention_backward", "_efficient_attention_backward") else amount


def _attention_backward(args: tuple[Any, ...]) -> int:
    """The products whose gradients somebody wants; that the kernel forms the scores again is its own affair."""
    scores, values = attention_amounts(*(tensor.shape for tensor in args[1:4]))
    current = getattr(torch._C, "_current_autograd_node", None)
    node = current() if current is not None else None
    query, key, value = (True, True, True) if node is None else (it is not None for it, _ in node.next_functions[:3])
    return int(scores * (query + key) + values * ((query or key) + value))


class StepTracer:
    """Traces one pass of one model; `tell` is handed the outcome as JSON."""

    def __init__(self, plain: Module, tell: Callable[[str], None]) -> None:
        self._plain = weakref.ref(plain)
        self._tell = tell
        self._is_on = os.environ.get(SWITCH_VARIABLE) != "0" and os.environ.get("RANK", "0") == "0"
        self._model = 0
        self._row: dict[str, Any] | None = None
        self._refusal: str | None = None
        self._passes = 0
        self._attempts = 0
        self._begun: tuple[Counter, Any] | None = None
        """The pass whose forward runs: its counter, and the hook that ends it."""
        self._backward: tuple[Callable[..., Any], Callable[..., Any], list[Awaited]] | None = None
        """What stands in the place of `torch.autograd.backward`, what stood there, and what is awaited."""

    def expect(self, model: int, form: Form, batch: Batch) -> None:
        """The pass that begins now trains; where something of it is still on a device, it cannot be told of yet."""
        if self._is_on:
            self._passes += 1
            self._model, self._row = model, None if batch.later else _row(form, batch)

    def refuse(self, reason: str) -> None:
        """Traces nothing, and says why if there is anything to trace."""
        self._refusal = reason

    def finish(self) -> None:
        """When nobody watches any more."""
        self.give_up()
        if self._is_on and self._passes >= _TRACED_PASS:
            self._end(self._refusal or "no backward pass followed its passes")

    def before(self, module: Module, args: Any) -> None:
        """Forward pre-hook on the plain model, after the one that expects."""
        if not torch.compiler.is_compiling():
            self._guarded(self._consider)

    def _guarded(self, act: Callable[..., Any], *args: Any) -> Any:
        """Does something of ours in the midst of the job's pass: what goes wrong ends the tracing and nothing else."""
        try:
            return act(*args)
        except Exception as problem:
            self._is_on = False
            with contextlib.suppress(Exception):
                self.give_up()
            with contextlib.suppress(Exception):
                self._end(_failure(problem))
            return None

    def _consider(self) -> None:
        self._leave()
        if _active is not None and torch.is_grad_enabled():
            _active.give_up()  # two passes whose backward passes nobody could tell apart
        row, self._row = self._row, None
        if self._refusal is None and row is not None and self._is_on and self._passes >= _TRACED_PASS:
            self._begin(row)

    def give_up(self) -> None:
        """Forgets the pass that is being traced; a later one may be."""
        global _active
        if _active is self:
            _active = None
        self._leave()
        patched, self._backward = self._backward, None
        if patched is None:
            return
        ours, original, awaited = patched
        awaited.clear()
        if torch.autograd.backward is ours:
            torch.autograd.backward = original

    def _leave(self) -> None:
        """Ends a forward that was interrupted, after which PyTorch calls no hook."""
        begun = self._begun
        if begun is None or begun[0].is_elsewhere():
            return
        self._begun = None
        counter, handle = begun
        handle.remove()
        counter.stop()

    def _begin(self, row: dict[str, Any]) -> None:
        plain = self._plain()
        if plain is None:
            return
        self._attempts += 1
        reason = _why_not(plain)
        if self._attempts > _MOST_ATTEMPTS:
            reason = "no backward pass that belongs to one forward pass alone was seen"
        if reason is not None:
            self._end(reason)
            return
        counter = Counter()

        def after(module: Module, args: Any, output: Any) -> None:
            self._begun = None
            self._guarded(handle.remove)
            self._guarded(counter.stop)
            self._guarded(self._await_backward, row, counter)

        handle = plain.register_forward_hook(after, always_call=True)
        self._begun = counter, handle
        counter.start()

    def _await_backward(self, row: dict[str, Any], forward: Counter) -> None:
        global _active
        if not self._is_on:
            return
        original, thread = torch.autograd.backward, threading.get_ident()
        # Somebody may patch it once more and keep what we put there: it holds nothing but this, which is emptied.
        awaited: list[Awaited] = [(self, row, forward)]

        def backward(*args: Any, **kwargs: Any) -> Any:
            if not awaited or threading.get_ident() != thread:
                return original(*args, **kwargs)
            tracer, row, forward = awaited[0]
            counter = tracer._guarded(tracer._count_backward)
            if counter is None:
                return original(*args, **kwargs)
            try:
                result = original(*args, **kwargs)
            finally:
                tracer._guarded(counter.stop)
            tracer._guarded(tracer._conclude, row, forward, counter)
            return result

        self._backward = backward, original, awaited
        torch.autograd.backward = backward
        _active = self

    def _count_backward(self) -> Counter:
        self.give_up()
        counter = Counter()
        counter.start()
        return counter

    def _conclude(self, row: dict[str, Any], forward: Counter, backward: Counter) -> None:
        if not self._is_on:
            return
        for counter in (forward, backward):
            if counter.problem is not None:
                self._end(_failure(counter.problem))
                return
        self._is_on = False
        unseen = sorted({*forward.unseen, *backward.unseen})
        trace = {"pass": row, "forward": str(forward.operations), "backward": str(backward.operations), "unseen": unseen}
        self._say({"outcome": "counted", **trace})

    def _end(self, reason: str) -> None:
        self._is_on = False
        self._say({"outcome": "skipped", "reason": reason})

    def _say(self, trace: dict[str, Any]) -> None:
        self._tell(json.dumps({"model": self._model, "trace": trace}))


def _row(form: Form, batch: Batch) -> dict[str, Any]:
    """One pass as ``Passes`` in ``core/src/facts.rs``."""
    phase, gradient, sequences, length, cached_length = form
    row = {"phase": phase, "gradient": gradient, "sequences": sequences, "length": length, "cached_length": cached_length}
    lists = {"image_grid": "grid", "packed": "length"}
    for name, value in batch.extras.items():
        row[name] = [{"count": count, lists[name]: size} for count, size in value] if name in lists else value
    return {**row, "count": 1, "real_tokens": None}


def _why_not(plain: Module) -> str | None:
    """Why a model cannot be traced."""
    if any(module.__dict__.get("_compiled_call_impl") is not None or "_orig_mod" in module._modules for module in plain.modules()):
        return "parts of it are compiled"
    if "flex" in str(getattr(getattr(plain, "config", None), "_attn_implementation", "")):
        return "flex attention runs compiled"
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        return "its passes are captured as a graph"
    return None
