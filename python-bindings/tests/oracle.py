"""PyTorch's own operation counter, and our count of what a receiver was told, to hold against each other."""

from __future__ import annotations

import json
from typing import Any

import torch
from receiver import Receiver
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from flopsmeter import _flopsmeter


def counter() -> FlopCounterMode:
    """Knows the product that adds into a tensor it is given as well, in which TRL's head forms its gradients."""
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _add_product})


def _add_product(*shapes: Any, **others: Any) -> int:
    result: int = flop_registry[torch.ops.aten.addmm](*shapes, **others)
    return result


_add_product._get_raw = True  # type: ignore[attr-defined]


def executed(receiver: Receiver) -> dict[str, int]:
    """Executed operations by phase, each pass by the facts that were told before it."""
    sums: dict[str, int] = {}
    for connection in receiver.connections:
        facts: dict[int, str] = {}
        for message in connection.messages:
            if message["message"] == "model":
                facts[message["model"]] = json.dumps(message)
            elif message["message"] == "fed":
                for row in message["passes"]:
                    counted = json.loads(_flopsmeter.count(facts[message["model"]], json.dumps([row])))
                    sums[row["phase"]] = sums.get(row["phase"], 0) + int(counted["executed"])
    return sums


def findings(receiver: Receiver) -> set[str]:
    """Codes of the hook's findings and of the count's."""
    counted = (json.loads(_flopsmeter.count(json.dumps(facts), "[]")) for facts in receiver.models())
    return receiver.findings() | {finding["code"] for result in counted for finding in result["findings"]}
