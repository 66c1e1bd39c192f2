"""Passes that are alike are told together, and none is lost or told as another."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flopsmeter import _alike
from flopsmeter._alike import Alike

FORM = (0, "training", True, 2, 8, 0)
OTHER = (0, "evaluation", False, 2, 8, 0)


class Told:
    """Stands in for the native recorder."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def record(self, *form: Any, count: int) -> None:
        self.rows.append((*form, count))


def test_passes_of_one_form_add_up() -> None:
    told = Told()
    alike = Alike(told)  # type: ignore[arg-type]
    for form, real in ((FORM, 10), (FORM, 12), (OTHER, 5), (FORM, None), (FORM, 0), (FORM, None)):
        alike.add(form, real)
    assert told.rows == []
    alike.hand_over()
    assert sorted(told.rows, key=str) == sorted([(*FORM, 22, 3), (*OTHER, 5, 1), (*FORM, None, 2)], key=str)
    alike.hand_over()
    assert len(told.rows) == 3, "nothing is told twice"


def test_a_bounded_number_of_forms_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_alike, "MAXIMUM_FORMS", 3)
    told = Told()
    alike = Alike(told)  # type: ignore[arg-type]
    for length in range(1, 8):
        alike.add((0, "training", True, 2, length, 0), length)
    assert len(told.rows) == 6
    alike.hand_over()
    assert [row[4] for row in told.rows] == list(range(1, 8))


def test_threads_lose_no_pass() -> None:
    told = Told()
    alike = Alike(told)  # type: ignore[arg-type]

    def add() -> None:
        for number in range(2_000):
            alike.add(FORM, 3)
            if number % 100 == 0:
                alike.hand_over()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alike.hand_over()
    assert sum(row[-1] for row in told.rows) == 8_000
    assert sum(row[-2] for row in told.rows) == 24_000
