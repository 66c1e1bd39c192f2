"""What of a ``transformers.Trainer`` is watched: the model it trains, those it holds besides, and when."""

from __future__ import annotations

import functools
import weakref
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from . import _phases
from ._watch import Watch, attach, detach, harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn import Module


class Link:
    """Watches a trainer's models while it is made, trains or evaluates, whichever of these overlap."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = weakref.ref(trainer)
        self._making = False
        self._training = False
        self._evaluating = 0
        self._accelerator: Any = None
        self._watches: list[Watch] = []
        self.own: Watch | None = None
        """The watch on the model that is trained."""

    def is_of(self, trainer: Any) -> bool:
        """Whether it watches this very trainer."""
        return self._trainer() is trainer

    @harmless
    def begin_making(self) -> None:
        """For reference passes while the trainer is being made (`precompute_ref_log_probs`): its further models are there once
        the accelerator has prepared them."""
        self._making = True
        self._look()
        accelerator = getattr(self._trainer(), "accelerator", None)
        prepare = getattr(accelerator, "prepare_model", None)
        if accelerator is None or prepare is None:
            return

        @functools.wraps(prepare)
        def prepare_and_watch(*args: Any, **kwargs: Any) -> Any:
            prepared = prepare(*args, **kwargs)
            self._look()
            return prepared

        accelerator.prepare_model = prepare_and_watch
        self._accelerator = accelerator

    @harmless
    def begin_training(self) -> None:
        """May be called again without an end: `auto_find_batch_size` begins anew."""
        self._training = True
        self._look()
        self._end_making()

    @harmless
    def end_training(self) -> None:
        """Takes the hooks off, hands everything over and closes the connection if nobody else needs it."""
        self._training = False
        self._release(close=True)

    @harmless
    def leave_training(self) -> None:
        """However `train()` ends: where it raises there is no event, and what it began would last as long as the process."""
        if self._training:
            self.end_training()

    @harmless
    def begin_evaluation(self) -> None:
        """Of `evaluate()` and `predict()`, which may call one another."""
        self._evaluating += 1
        self._look()
        self._end_making()

    @harmless
    def end_evaluation(self) -> None:
        """The connection stays for what may follow."""
        self._evaluating -= 1
        self._release(close=False)

    def _end_making(self) -> None:
        self._making = False
        accelerator, self._accelerator = self._accelerator, None
        if accelerator is not None:
            vars(accelerator).pop("prepare_model", None)

    @harmless
    def _look(self) -> None:
        """Watches what the trainer has now: wrapped models and further ones come with time."""
        trainer = self._trainer()
        if trainer is None:
            return
        model = _as_called(trainer)
        if model is not None:
            self.own = self._watch(model, _phases.TRAINED)
        for held, part in _phases.held_models(trainer):
            self._watch(held, part)

    def _watch(self, model: Module, part: str) -> Watch | None:
        watch = attach(model, owner=id(self), part=part)
        if watch is not None and watch not in self._watches:
            self._watches.append(watch)
        return watch

    def _release(self, *, close: bool) -> None:
        if self._making or self._training or self._evaluating:
            return
        watches, self._watches, self.own = self._watches, [], None
        for watch in watches:
            detach(watch, owner=id(self), close=close)


_ours: WeakSet[FunctionType] = WeakSet()


@harmless
def announce(trainer: Any) -> None:
    """`evaluate()` and `predict()` called alone raise no event before their first pass, and `train()` raises none where it fails.

    What announces them stands in the trainer's class: a method put on the trainer itself would either keep it alive in a circle, or
    outlive it where a trainer is made only to be called.
    """
    around = {"evaluate": _EVALUATION, "predict": _EVALUATION, "train": (None, Link.leave_training)}
    for name, (begin, end) in around.items():
        holder = next((base for base in type(trainer).__mro__ if name in vars(base)), None)
        method = None if holder is None else vars(holder)[name]
        if isinstance(method, FunctionType) and method not in _ours:
            setattr(holder, name, _announcing(method, begin, end))


_EVALUATION = (Link.begin_evaluation, Link.end_evaluation)


def _announcing(method: FunctionType, begin: Callable[[Link], None] | None, end: Callable[[Link], None]) -> FunctionType:
    """The same method; without a link of ours it does nothing else."""

    @functools.wraps(method)
    def announcing(*args: Any, **kwargs: Any) -> Any:
        links = _links(*args[:1]) or []
        if begin is not None:
            for link in links:
                begin(link)
        try:
            return method(*args, **kwargs)
        finally:
            for link in links:
                end(link)

    ours = cast("FunctionType", announcing)
    _ours.add(ours)
    return ours


@harmless
def _links(trainer: Any = None) -> list[Link]:
    """Those of the callbacks that a trainer has now; a copy of a trainer has none until it asks for its own."""
    callbacks = getattr(getattr(trainer, "callback_handler", None), "callbacks", ())
    links = [getattr(callback, "_link", None) for callback in callbacks]
    return [link for link in links if isinstance(link, Link) and link.is_of(trainer)]


def _as_called(trainer: Any) -> Module | None:
    """The model as the trainer calls it, with DDP or ``torch.compile`` around it.

    A compiled model must be watched from outside: what is traced does not run.
    """
    model: Module | None = getattr(trainer, "model", None)
    wrapped: Module | None = getattr(trainer, "model_wrapped", None)
    if model is None or wrapped is None:
        return model
    return wrapped if any(part is model for part in wrapped.modules()) else model
