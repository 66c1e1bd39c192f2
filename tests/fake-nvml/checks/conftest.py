"""What cargo built, and where NVIDIA's headers are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
TARGET = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target") / "debug"


@pytest.fixture(scope="session")
def stand_in() -> Path:
    return built("libnvidia_ml.so")


@pytest.fixture(scope="session")
def flopsmeter() -> Path:
    return built("flopsmeter")


def built(name: str) -> Path:
    path = TARGET / name
    assert path.is_file(), f"{path} is missing; run `cargo build --workspace` first"
    return path
