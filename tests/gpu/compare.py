"""Ceilings against true operations on a real GPU: `make gpu`, or this file by itself where only Python and the binary are.

Each workload runs under `flopsmeter run`, and every bound that is said to hold is held against what was really done. Where there is
no GPU nothing is compared, and that is said. `--device cpu` plays the same comparison small, on the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Counter and power × time may differ by this share of the larger: the sensor of an H100 looks a quarter of the time
# (arXiv:2312.02741).
ENERGY_TOLERANCE = 0.10
# Shorter than this, both are too coarse to be held against each other: the counter moves ten times a second.
ENERGY_SECONDS = 3.0


@dataclass
class Workload:
    name: str
    arguments: list[str]
    hooked: bool = False
    # Every product ran in a 16-bit format or in a slower one, so that L1p and L3p have to hold.
    sixteen_bit: bool = False


def workloads(device: str) -> list[Workload]:
    short = [] if device == "cuda" else ["--size", "256", "--seconds", "1"]
    formats = ["bf16", "fp16", "tf32", "fp32", "fp64", "fp8"] if device == "cuda" else ["fp32", "fp64"]
    tuning = [] if device == "cuda" else ["--steps", "3", "--layers", "2"]
    products = [
        Workload(f"matmul {name}", ["matmul", name, *short], sixteen_bit=name != "fp8") for name in formats
    ]
    return products + [
        Workload(f"{name} fine-tune", ["fine-tune", name, *tuning], hooked=True, sixteen_bit=True) for name in ("full", "lora")
    ]


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def play(meter: str, device: str, workload: Workload, folder: Path) -> tuple[dict, dict]:
    """Runs it under the meter; gives the run's summary and what was really done."""
    summary, trace = folder / "summary.json", folder / "trace.jsonl"
    reading = f"record:{trace}" if device == "cuda" else "cpu"
    command = [
        meter, "run", "--ledger", str(folder / "ledger.sqlite"), "--summary", str(summary), "--device", reading, "--quiet", "--",
        sys.executable, str(HERE / "workloads.py"), "--device", device, *workload.arguments,
    ]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1"}, text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{workload.name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(summary.read_text()), json.loads(done.stdout.strip().splitlines()[-1])


def bounds(summary: dict) -> dict[str, int]:
    """Sum of each layer over the devices, those that every device of one kind has, and the run's ceiling."""
    found: dict[str, int] = {}
    gpus = [device for device in summary["ceiling"]["devices"] if not device["device"].startswith("cpu:")]
    for device in gpus or summary["ceiling"]["devices"]:
        for layer in device["layers"]:
            if layer["flop"] is not None:
                name = layer["layer"] + ("*" if layer.get("holds_if") else "")
                found[name] = found.get(name, 0) + int(layer["flop"])
    if summary["ceiling"]["flop"] is not None:
        found["ceiling"] = int(summary["ceiling"]["flop"])
    return found


def energy_faults(name: str, energy: dict) -> list[str]:
    """The board's counter and power × time, where both were told for long enough, have to agree."""
    counter, integral = energy.get("counter_joules"), energy.get("power_integral_joules")
    if counter is None or integral is None or energy["coverage_seconds"] < ENERGY_SECONDS:
        return []
    difference = abs(float(counter) - float(integral)) / max(float(counter), float(integral), 1e-9)
    if difference <= ENERGY_TOLERANCE:
        return []
    return [f"{name}: the energy counter says {counter} J and power x time {integral} J, {difference:.0%} apart"]


def check(workload: Workload, summary: dict, done: dict) -> tuple[list[str], list[str]]:
    """A line for each figure, and what is wrong."""
    true, lines, faults = int(done["flop"]), [], []
    for name, bound in bounds(summary).items():
        lines.append(f"  {name:8} {bound / true:10.3f} times what was done")
        holds = not name.endswith("*") or (workload.sixteen_bit and name in ("L1p*", "L3p*"))
        if bound < true and holds:
            faults.append(f"{workload.name}: {name} is {bound / true:.4f} of what was done")
    if workload.hooked:
        counted = int(summary["flops"]["training"]) if summary["flops"] else 0
        lines.append(f"  counted  {counted / true:10.6f} times PyTorch's own counter")
        if counted != true:
            faults.append(f"{workload.name}: counted {counted}, PyTorch's counter {true}")
    for device in summary["ceiling"]["devices"]:
        energy = device.get("energy") or {}
        lines.append(f"  energy   {device['name']}: {json.dumps(energy)}")
        faults += [f"{workload.name}: {fault}" for fault in energy_faults(device["name"], energy)]
    if any(finding["code"] == "above-ceiling" for finding in summary["findings"]):
        faults.append(f"{workload.name}: more was counted than the hardware can have done")
    return lines, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flopsmeter", default="target/release/flopsmeter", help="the binary")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, help="folder to leave traces and summaries in")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not has_gpu():
        print("skipped: PyTorch sees no GPU here, so that no ceiling can be held against one")
        return 0
    faults: list[str] = []
    meter = str(Path(arguments.flopsmeter).resolve())
    for workload in workloads(arguments.device):
        folder = Path(tempfile.mkdtemp()) if arguments.out is None else arguments.out / workload.name.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        summary, done = play(meter, arguments.device, workload, folder.resolve())
        lines, found = check(workload, summary, done)
        print("\n".join([f"{workload.name}: {int(done['flop']):.3e} FLOP done", *lines]), flush=True)
        faults += found
    print("\n".join(["", *(f"FAULT {fault}" for fault in faults)]) if faults else "\nno bound is below what was done")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
