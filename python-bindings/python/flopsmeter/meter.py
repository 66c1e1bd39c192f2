"""Metering of a plain training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._phases import PARTS
from ._watch import Watch, attach, detach, harmless

if TYPE_CHECKING:
    from types import TracebackType

    from torch.nn import Module


class Meter:
    """Counts what a model is fed while the block runs::

        with flopsmeter.Meter(model, max_steps=1000) as meter:
            for batch in batches:
                model(**batch).loss.backward()
                optimizer.step()
                meter.step()

    A second model takes a second ``Meter``, which is told what it is for::

        with flopsmeter.Meter(policy) as meter, flopsmeter.Meter(reference, phase="reference-model"):
            ...

    Args:
        model: A PyTorch model with a Hugging Face configuration, wrapped (peft, DDP, ``torch.compile``) or not.
        max_steps: Optimizer steps the loop will do in all, if known: the projection needs it.
        first_step: Steps that earlier processes of the same job have done, after a resume.
        phase: What passes of this model are for if it is not the one that the job makes: ``reference-model``,
            ``reward-scoring``, ``teacher-online``, ``value-model`` (a critic; its passes without gradient are
            ``value-scoring``), ``evaluation`` or ``other``.

    Raises:
        ValueError: `phase` is none of these.
    """

    def __init__(
        self, model: Module, *, max_steps: int | None = None, first_step: int = 0, phase: str | None = None
    ) -> None:
        if phase is not None and phase not in PARTS:
            raise ValueError(f"`{phase}` is no phase of a further model: it may be {', '.join(sorted(PARTS))}")
        self._model = model
        self._phase = phase
        self._max_steps = max_steps
        self._first_step = first_step
        self._step = first_step
        self._watch: Watch | None = None

    def __enter__(self) -> Meter:
        self._watch = attach(self._model, owner=id(self), part=self._phase)
        return self

    @harmless
    def step(self) -> None:
        """To be called after each optimizer step."""
        self._step += 1
        if self._watch is not None:
            self._watch.step_done(self._step, self._first_step, self._max_steps)

    def should_stop(self) -> bool:
        """Whether the gate of ``flopsmeter run --gate`` asks to save and stop now, to be asked after each :meth:`step`::

            meter.step()
            if meter.should_stop():
                save(model)
                break

        All ranks hear it after the same step. False without a gate or a meter.
        """
        return bool(self._asks_to_stop())

    @harmless
    def _asks_to_stop(self) -> bool:
        return self._watch is not None and self._watch.should_stop(self._step)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            detach(watch, owner=id(self))
