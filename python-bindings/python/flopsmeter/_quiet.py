"""Surroundings in which a copy of a model runs without a trace in the job: no log line, no random number, no other mode."""

from __future__ import annotations

import contextlib
import gc
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
    """Whatever the job has set up for itself is as it was afterwards."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_random_numbers_kept())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_without_logging())
        stack.enter_context(_without_collection())
        # A mode of the job's own (an operation counter) would see a model that it was not set up for.
        stack.enter_context(_disable_current_modes())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        yield


@contextlib.contextmanager
def _random_numbers_kept() -> Iterator[None]:
    python, host = random.getstate(), torch.get_rng_state()
    numpy: Any = getattr(sys.modules.get("numpy"), "random", None)
    state = numpy.get_state() if numpy is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(host)
        if numpy is not None:
            numpy.set_state(state)


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Thousands of tensors are made and kept for a moment: looking for cycles among them would take longer than they do."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


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
