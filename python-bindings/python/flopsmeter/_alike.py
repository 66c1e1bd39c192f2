"""Passes that are alike, added up before they are handed over: most steps of a job are, and a call costs more than a sum."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._flopsmeter import Recorder

    Form = tuple[int, str, bool, int, int, int]

MAXIMUM_FORMS = 1024
"""Forms that wait at most; with one more, all are handed over."""


class Alike:
    """Passes of which nothing is told but their form and their real tokens."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._lock = threading.RLock()
        """Replicas of `nn.DataParallel` run in threads."""
        self._sums: dict[tuple[Form, bool], list[int]] = {}
        """How many passes and their real tokens, by form and by whether these are known."""

    def add(self, form: Form, real_tokens: int | None) -> None:
        """One pass: the arguments of `Recorder.record` up to the cached length, and its real tokens if they are known."""
        key = (form, real_tokens is not None)
        with self._lock:
            sums = self._sums.get(key)
            if sums is None:
                if len(self._sums) >= MAXIMUM_FORMS:
                    self.hand_over()
                sums = self._sums[key] = [0, 0]
            sums[0] += 1
            sums[1] += real_tokens or 0

    def hand_over(self) -> None:
        """Tells the recorder, which sends it on when it is flushed."""
        with self._lock:
            sums, self._sums = self._sums, {}
        for (form, known), (count, real_tokens) in sums.items():
            self._recorder.record(*form, real_tokens if known else None, count=count)
