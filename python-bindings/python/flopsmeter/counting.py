"""Counting a model's passes before, or without, feeding it anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _facts, _flopsmeter

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class Count:
    """Operations, as PyTorch's own operation counter counts them."""

    forward: int
    backward: int
    recompute: int
    """Recomputation of activations, which the law leaves out."""
    findings: tuple[str, ...]
    """What could not be counted, one sentence each; empty for an exact count."""

    @property
    def training(self) -> int:
        """Model operations, the legal basis: forward and backward."""
        return self.forward + self.backward


def count(model: Module, *, sequences: int, length: int) -> Count:
    """Counts one micro-batch through a model as it is set up to be trained now::

        flopsmeter.count(model, sequences=8, length=2048).training

    Raises:
        ValueError: The model's family is not known, or it has no Hugging Face configuration.
    """
    facts = _facts.read(model, 0)
    batch = {"phase": "training", "gradient": True, "sequences": sequences, "length": length, "count": 1, "real_tokens": None}
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps([batch])))
    findings = [text for _, text in facts.findings] + [finding["text"] for finding in counted["findings"]]
    return Count(int(counted["forward"]), int(counted["backward"]), int(counted["recompute"]), tuple(findings))
