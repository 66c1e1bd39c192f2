"""Surroundings in which a copy of a model runs without a trace in the job: no log line, no random number, no other mode."""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import torch
import torch.utils.checkpoint
from torch.utils._python_dispatch import _disable_current_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def unnoticed() -> Iterator[None]:
    """Whatever the job has set up for itself is as it was afterwards, and its other threads notice nothing meanwhile."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_random_numbers_kept())
        stack.enter_context(_without_warnings())
        stack.enter_context(_without_logging())
        # A mode of the job's own (an operation counter) would see a model that it was not set up for.
        stack.enter_context(_disable_current_modes())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        yield


@contextlib.contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Those of Python and NumPy, which know no threads: they are put back only where some were drawn, which few models do. Those of
    PyTorch are put back by each operator that draws (`_meta_kernels`)."""
    python = random.getstate()
    numpy: Any = getattr(sys.modules.get("numpy"), "random", None)
    state = numpy.get_state() if numpy is not None else None
    try:
        yield
    finally:
        if random.getstate() != python:
            random.setstate(python)
        if numpy is not None and repr(numpy.get_state()) != repr(state):
            numpy.set_state(state)


class _OfThread:
    """What this thread says, in the eyes of filters for logging and for warnings, as long as it is on."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self.is_on = True

    def _is_ours(self) -> bool:
        return self.is_on and threading.get_ident() == self._thread

    def filter(self, record: object) -> bool:
        """Of a log's handler: whether the record passes."""
        return not self._is_ours()

    def match(self, text: str) -> bool:
        """Of a filter for warnings, where otherwise a pattern stands."""
        return self._is_ours()


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    ours = _OfThread()
    row: Any = ("ignore", ours, Warning, None, 0)
    # In place of the list another one: it may be gone through at this moment.
    warnings.filters = [row, *warnings.filters]
    try:
        yield
    finally:
        # Another thread may have put a copy in its place that comes back later.
        ours.is_on = False
        warnings.filters = [known for known in warnings.filters if known is not row]


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    ours = _OfThread()
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = {handler for logger in loggers for handler in getattr(logger, "handlers", ())}
    if logging.lastResort is not None:
        handlers.add(logging.lastResort)
    for handler in handlers:
        handler.filters = [ours, *handler.filters]
    try:
        yield
    finally:
        ours.is_on = False
        for handler in handlers:
            handler.filters = [known for known in handler.filters if known is not ours]


@contextlib.contextmanager
def checkpoints_told(begin: Callable[[], Any], end: Callable[[Any, str], None]) -> Iterator[None]:
    """Runs what this thread checkpoints itself as it stands, and tells where that begins and ends and of which kind it is.

    `torch.utils.checkpoint.checkpoint` is often imported by name; what it hands its work to is looked up when it runs.
    """
    thread = threading.get_ident()
    module: Any = torch.utils.checkpoint
    reentrant = module.CheckpointFunction

    class Told:
        """In place of the function with a backward pass of its own."""

        @staticmethod
        def apply(function: Any, preserve: bool, *args: Any) -> Any:
            if threading.get_ident() != thread:
                return reentrant.apply(function, preserve, *args)
            mark = begin()
            result = function(*args)
            end(mark, "reentrant")
            return result

    def telling(original: Any) -> Any:
        def generator(*args: Any, **kwargs: Any) -> Iterator[None]:
            if threading.get_ident() != thread:
                yield from original(*args, **kwargs)
                return
            mark = begin()
            yield
            end(mark, "non-reentrant")

        return generator

    names = ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl")
    originals = {"CheckpointFunction": reentrant, **{name: getattr(module, name) for name in names if hasattr(module, name)}}
    try:
        for name, original in originals.items():
            setattr(module, name, Told if name == "CheckpointFunction" else telling(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(module, name, original)
