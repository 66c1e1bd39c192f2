"""The package as it is installed: types, stubs, and the call that counts without training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from models import llama
from torch.utils.flop_counter import FlopCounterMode

import flopsmeter

ROOT = Path(__file__).parent.parent


def check(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_hold() -> None:
    check("mypy", "--config-file", "pyproject.toml")


def test_the_stub_describes_the_extension() -> None:
    check("mypy.stubtest", "flopsmeter._flopsmeter", "--mypy-config-file", "pyproject.toml")


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(flopsmeter, name) is not None for name in flopsmeter.__all__)
    assert set(flopsmeter.__all__) <= set(dir(flopsmeter))
    with pytest.raises(AttributeError, match="nothing"):
        _ = flopsmeter.nothing


def test_a_count_without_training_is_the_same() -> None:
    model = llama()
    ids = torch.ones((3, 7), dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    counted = flopsmeter.count(model, sequences=3, length=7)
    assert counted.training == counter.get_total_flops()
    assert (counted.recompute, counted.findings) == (0, ())


def test_a_model_that_cannot_be_counted_says_why() -> None:
    with pytest.raises(ValueError, match="Linear"):
        flopsmeter.count(torch.nn.Linear(2, 2), sequences=1, length=1)
