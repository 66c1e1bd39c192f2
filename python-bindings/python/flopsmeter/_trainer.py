"""What of a ``transformers.Trainer`` is watched: the model it trains, those it holds besides, and when."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from . import _phases
from ._watch import Watch, attach, detach, harmless

if TYPE_CHECKING:
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


def announce_evaluation(trainer: Any, link: Link) -> None:
    """`evaluate()` and `predict()` called alone raise no event before their first pass."""
    for name in ("evaluate", "predict"):
        # A method that somebody has put on this very trainer is left alone.
        if name not in vars(trainer) and callable(getattr(trainer, name, None)):
            setattr(trainer, name, _Announced(trainer, name, link))


class _Announced:
    """A trainer's method that watches its models while it runs. Copies and pickles of the trainer have the plain method."""

    def __init__(self, trainer: Any, name: str, link: Link) -> None:
        functools.update_wrapper(self, getattr(trainer, name))
        vars(self).pop("__wrapped__", None)  # It would keep the trainer alive.
        self._trainer = weakref.ref(trainer)
        self._name = name
        self._link = link

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trainer = self._trainer()
        method = getattr(type(trainer), self._name)
        self._link.begin_evaluation()
        try:
            return method(trainer, *args, **kwargs)
        finally:
            self._link.end_evaluation()

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._trainer(), self._name)


def _as_called(trainer: Any) -> Module | None:
    """The model as the trainer calls it, with DDP or ``torch.compile`` around it.

    A compiled model must be watched from outside: what is traced does not run.
    """
    model: Module | None = getattr(trainer, "model", None)
    wrapped: Module | None = getattr(trainer, "model_wrapped", None)
    if model is None or wrapped is None:
        return model
    return wrapped if any(part is model for part in wrapped.modules()) else model
