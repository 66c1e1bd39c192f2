"""Counting a model's passes before, or without, feeding it anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _facts, _flopsmeter

if TYPE_CHECKING:
    from torch.nn import Module

    from ._example_inputs import Call


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


def count(model: Module, *, sequences: int, length: int, example: Call | None = None) -> Count:
    """Counts one micro-batch through a model as it is set up to be trained now::

        flopsmeter.count(model, sequences=8, length=2048).training

    A model of an unknown family is counted from an inventory of what it multiplies. One that reads no tokens needs the
    arguments of a call for it, as `example`: only their shapes are looked at. `length` is then what one picture or series has of
    positions where it goes in, for a latent picture its height times its width.

    Raises:
        ValueError: The model's family is not known, and no inventory of it could be taken.
    """
    facts = _facts.read(model, 0, example)
    batch = {"phase": "training", "gradient": True, "sequences": sequences, "length": length, "count": 1, "real_tokens": None}
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps([batch])))
    findings = [text for _, text in facts.findings] + [finding["text"] for finding in counted["findings"]]
    return Count(int(counted["forward"]), int(counted["backward"]), int(counted["recompute"]), tuple(findings))
