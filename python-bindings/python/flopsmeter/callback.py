"""Metering of a ``transformers.Trainer``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from transformers.trainer_callback import TrainerCallback

from ._watch import Watch, attach, detach, harmless

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import TrainerControl, TrainerState, TrainingArguments


class FlopsMeterCallback(TrainerCallback):  # type: ignore[misc]
    """Counts what a ``Trainer`` feeds its model, from ``train()``'s beginning to its end::

        trainer = Trainer(model=model, args=args, train_dataset=data, callbacks=[FlopsMeterCallback()])

    Under ``flopsmeter run`` every ``Trainer`` has one already; a second one changes nothing.
    """

    def __init__(self) -> None:
        self._watch: Watch | None = None
        self._first_step = 0

    @harmless
    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Puts the hook on the model; the steps of an earlier process are not this one's."""
        self._first_step = state.global_step
        if model is not None:
            self._watch = attach(_as_called(model), owner=id(self))

    @harmless
    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Layers may have been frozen or released."""
        if self._watch is not None:
            self._watch.check()

    @harmless
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tells where the trainer stands, and now and then what was fed."""
        if self._watch is not None:
            self._watch.step_done(state.global_step, self._first_step, state.max_steps if state.max_steps > 0 else None)

    @harmless
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Takes the hook off and hands everything over."""
        watch, self._watch = self._watch, None
        if watch is not None:
            detach(watch, owner=id(self))


def _as_called(model: Module) -> Module:
    """The model as the trainer calls it, with DDP or ``torch.compile`` around it.

    A compiled model must be watched from outside: what is traced does not run. No event is told of the wrapped model, but
    the trainer that has it is who called.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        wrapped: Module | None = getattr(frame.f_locals.get("self"), "model_wrapped", None)
        if wrapped is not None:
            return wrapped if any(part is model for part in wrapped.modules()) else model
    return model


class AutomaticCallback(FlopsMeterCallback):
    """The one that ``flopsmeter run`` adds: a class of its own, so that a user's own raises no duplicate warning."""
