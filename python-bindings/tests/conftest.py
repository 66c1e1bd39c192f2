"""Fixtures: a receiver for each test, and a process-wide connection that starts anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from flopsmeter import _inventory, _watch
from receiver import Receiver


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    meter = Receiver(tmp_path)
    monkeypatch.setenv("FLOPSMETER_SOCKET", meter.path)
    yield meter
    _watch._connection.close()
    _watch._start_anew()
    meter.kill()


@pytest.fixture(autouse=True)
def unhurried_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an inventory says is not to depend on how fast this machine is; how soon one is taken has a test of its own."""
    monkeypatch.setattr(_inventory, "_BUDGET_SECONDS", 60.0)
