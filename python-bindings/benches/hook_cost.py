"""What the hook adds to one training step, on this machine: the same module called with and without it.

A step here is one forward pass and one `on_step_end`. The model's forward does nothing, so that nothing hides the difference.
Three cases: a dense decoder with LoRA whose mask is on the host; the same with its mask on a device, where the sum is formed and
copied without waiting; and a module of no known family, which is counted from its inventory. Without a device, tensors of the host
stand in for the second one and really do the sums, so that it is an upper bound of what the host does there. Processor time of this
thread is compared, which other processes disturb less. The traced step is off: it is one step of the job.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

TARGET_MICROSECONDS = 20.0
STEPS = 2_000
ROUNDS = 15


class Silent(torch.nn.Module):
    def forward(self, input_ids: Any = None, attention_mask: Any = None, labels: Any = None) -> None:
        return None


def silent_decoder() -> torch.nn.Module:
    """A decoder with LoRA that is known by its configuration and computes nothing."""

    class SilentLlama(LlamaForCausalLM):  # type: ignore[misc]
        forward = Silent.forward

    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    adapted = get_peft_model(SilentLlama(config), LoraConfig(r=4, target_modules="all-linear"))
    plain: torch.nn.Module = adapted.base_model.model
    return plain


def swallow(listener: socket.socket) -> None:
    while True:
        stream, _ = listener.accept()
        while stream.recv(1 << 16):
            pass


def microseconds(step: Callable[[], None]) -> float:
    began = time.thread_time()
    for _ in range(STEPS):
        step()
    return (time.thread_time() - began) / STEPS * 1e6


def rounds(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> list[float]:
    import flopsmeter

    def bare() -> None:
        model(**batch)

    added = []
    for _ in range(ROUNDS):
        without = microseconds(bare)
        with flopsmeter.Meter(model) as meter:

            def metered(meter: flopsmeter.Meter = meter) -> None:
                model(**batch)
                meter.step()

            added.append(microseconds(metered) - without)
    return added


def stand_in_for_a_device() -> None:
    from flopsmeter import _arrival, _batch

    _batch.is_on_host = lambda tensor: False
    _batch.can_arrive = lambda tensor: True
    _arrival.ship = lambda values: ([value.clone() for value in values], lambda: True)


def report(name: str, model: torch.nn.Module, ones: torch.Tensor) -> None:
    added = rounds(model, {"input_ids": ones, "attention_mask": ones})
    print(f"{name}: {statistics.median(added):.1f} us a step added (least {min(added):.1f}, target < {TARGET_MICROSECONDS:.0f})")


def main() -> int:
    folder = tempfile.TemporaryDirectory()
    path = str(Path(folder.name) / "hook.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    threading.Thread(target=swallow, args=(listener,), daemon=True).start()
    os.environ["FLOPSMETER_SOCKET"] = path
    os.environ["FLOPSMETER_TRACE_STEP"] = "0"

    torch.set_num_threads(1)
    on_device = torch.cuda.is_available()
    device = "cuda" if on_device else "cpu"
    host = torch.ones((8, 2048), dtype=torch.long)
    report("hook", silent_decoder(), host)
    report("hook, no known family", Silent(), host)
    if not on_device:
        stand_in_for_a_device()
    report("hook, mask on a device" + ("" if on_device else " (stood in for)"), silent_decoder(), host.to(device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
