"""Ceilings against true operations on a real GPU: `make gpu`, or this file by itself where only Python and the binary are.

Each workload runs under `flopsmeter run` and every bound that is said to hold is held against what was really done. What
could not be compared is listed with the reason. Where there is no GPU nothing is compared, and that is said. `--device cpu` plays the
same comparison small, on the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from verdict import Gpu, Json, Outcome, Workload, check, conclusion

HERE = Path(__file__).resolve().parent


@dataclass
class Played:
    """The run's summary, what was really done, and what the driver said meanwhile."""

    summary: Json
    done: Json
    trace: list[Json] = field(default_factory=list)


def workloads(gpu: Gpu | None) -> list[Workload]:
    """What to run on this GPU, or small on the processor."""
    short = [] if gpu else ["--size", "256", "--seconds", "1"]
    formats = ["bf16", "fp16", "tf32", "fp32", "fp64", "fp8"] if gpu else ["fp32", "fp64"]
    tuning = [] if gpu else ["--steps", "3", "--layers", "2"]
    products = [Workload(f"matmul {name}", ["matmul", name, *short], sixteen_bit=name != "fp8") for name in formats]
    return products + [
        Workload(f"{name} fine-tune", ["fine-tune", name, *tuning], hooked=True, sixteen_bit=True) for name in ("full", "lora")
    ]


def play(meter: str, workload: Workload, folder: Path, environment: Mapping[str, str], gpu: Gpu | None) -> Played:
    """Runs it under the meter."""
    summary, trace = folder / "summary.json", folder / "trace.jsonl"
    # Those of an earlier comparison must not stand for this one.
    for file in (summary, trace):
        file.unlink(missing_ok=True)
    reading, device = ("cpu", "cpu") if gpu is None else (f"record:{trace}", "cuda")
    command = [
        meter, "run", "--ledger", str(folder / "ledger.sqlite"), "--summary", str(summary), "--device", reading, "--quiet", "--",
        sys.executable, str(HERE / "workloads.py"), "--device", device, *workload.arguments,
    ]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{workload.name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    lines = trace.read_text().splitlines() if gpu is not None else []
    return Played(
        json.loads(summary.read_text()), json.loads(done.stdout.strip().splitlines()[-1]), [json.loads(line) for line in lines]
    )


def find_gpu() -> Gpu | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return Gpu(torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0))


def compare(workload: Workload, arguments: argparse.Namespace, out: Path, environment: Mapping[str, str], gpu: Gpu | None) -> Outcome:
    folder = (out / workload.name.replace(" ", "-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    meter = str(Path(arguments.flopsmeter).resolve())
    played = play(meter, workload, folder, environment, gpu)
    outcome = check(workload, played.summary, played.done, played.trace, gpu)
    print("\n".join([f"{workload.name}: {int(played.done['flop']):.3e} FLOP done", *outcome.lines]), flush=True)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flopsmeter", default="target/release/flopsmeter", help="the binary")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, help="folder to leave traces and summaries in")
    arguments = parser.parse_args()
    environment, gpu = {**os.environ, "HF_HUB_OFFLINE": "1"}, None
    if arguments.device == "cuda":
        gpu = find_gpu()
        if gpu is None:
            print("skipped: PyTorch sees no GPU here, so that no ceiling can be held against one")
            return 0
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch)
        outcomes = {workload.name: compare(workload, arguments, out, environment, gpu) for workload in workloads(gpu)}
    lines, is_well = conclusion(outcomes)
    print("\n".join(["", *lines]))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
