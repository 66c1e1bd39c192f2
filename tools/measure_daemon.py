#!/usr/bin/env python3
"""Processor time and resident memory of `flopsmeter daemon` with its process that asks the driver, a client that watches
included or not, beside `codecarbon monitor` and a loop over `pynvml`: all on one stand-in for eight GPUs, once a second.

usage: measure_daemon.py FLOPSMETER STAND_IN.so [SECONDS] [--python PYTHON]

PYTHON (default: this one) is one in which codecarbon and pynvml can be imported; a peer that cannot is left out. Resident memory
is the sum over a program's processes at its end, what they share counted in each; the proportional set size stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GPUS = 8
SETTLE_SECONDS = 5

PYNVML_LOOP = """
import time, pynvml
pynvml.nvmlInit()
gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
while True:
    for gpu in gpus:
        pynvml.nvmlDeviceGetUtilizationRates(gpu)
        pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
        pynvml.nvmlDeviceGetPowerUsage(gpu)
    time.sleep(1)
"""


@dataclass
class Spent:
    """What a program's processes have spent so far, and what they hold."""

    seconds: float
    resident_mib: float
    proportional_mib: float
    processes: int


def family(root: int) -> Iterator[int]:
    yield root
    for task in Path(f"/proc/{root}/task").glob("*"):
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def kibibytes(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0)


def processor_seconds(pid: int) -> float:
    """The kernel's own clock of the process (`clock_getcpuclockid`), threads that have ended included: ticks of ten milliseconds
    are too coarse for what is measured here."""
    return time.clock_gettime((~pid << 3) | 2)


def spent(root: int) -> Spent:
    pids = list(family(root))
    resident = sum(kibibytes(Path(f"/proc/{pid}/status").read_text(), "VmRSS:") for pid in pids)
    shared = sum(kibibytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:") for pid in pids)
    return Spent(sum(map(processor_seconds, pids)), resident / 1024, shared / 1024, len(pids))


@contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[int]:
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(root: int, seconds: float) -> tuple[float, Spent]:
    time.sleep(SETTLE_SECONDS)
    before, began = spent(root), time.perf_counter()
    time.sleep(seconds)
    after, took = spent(root), time.perf_counter() - began
    return 100 * (after.seconds - before.seconds) / took, after


def tell(name: str, share: float, held: Spent) -> None:
    print(
        f"{name:34} {share:7.3f} % of a core  {held.resident_mib:6.1f} MiB resident ({held.proportional_mib:.1f} proportional)"
        f"  {held.processes} processes",
        flush=True,
    )


def scene(folder: Path, stand_in: Path) -> dict[str, str]:
    library = folder / "libnvidia-ml.so.1"
    shutil.copy(stand_in, library)
    gpu = {"utilization": [[0, 60]], "power_milliwatts": [[0, 500_000]]}
    devices = [{"uuid": f"GPU-{index:08d}", **gpu} for index in range(GPUS)]
    Path(f"{library}.json").write_text(json.dumps({"driver_version": "570.1", "devices": devices}))
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 0\n")
    smi.chmod(0o755)
    return {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "LD_LIBRARY_PATH": str(folder),
        "FLOPSMETER_NVML_LIBRARY": str(library),
        "FLOPSMETER_DAEMON": str(folder / "d.sock"),
    }


def wait_for(what: Callable[[], bool]) -> None:
    for _ in range(500):
        if what():
            return
        time.sleep(0.02)
    sys.exit("the daemon did not start")


def ours(program: str, environment: dict[str, str], folder: Path, seconds: float) -> None:
    with running([program, "daemon", "--socket", environment["FLOPSMETER_DAEMON"]], environment, folder) as daemon:
        wait_for(Path(environment["FLOPSMETER_DAEMON"]).exists)
        tell("flopsmeter daemon, nobody watches", *measure(daemon, seconds))
        job = [program, "run", "--quiet", "--", "sleep", str(2 * seconds + 60)]
        with running(job, environment, folder) as wrapper:
            time.sleep(SETTLE_SECONDS)
            tell("flopsmeter daemon, a run watches", *measure(daemon, seconds))
            tell("  that run's wrapper", *measure_alone(wrapper, seconds))


def measure_alone(root: int, seconds: float) -> tuple[float, Spent]:
    """One process without its children: the job is not the meter's."""
    before, began = processor_seconds(root), time.perf_counter()
    time.sleep(seconds)
    status, rollup = Path(f"/proc/{root}/status").read_text(), Path(f"/proc/{root}/smaps_rollup").read_text()
    share = 100 * (processor_seconds(root) - before) / (time.perf_counter() - began)
    return share, Spent(0, kibibytes(status, "VmRSS:") / 1024, kibibytes(rollup, "Pss:") / 1024, 1)


def peers(python: str, environment: dict[str, str], folder: Path, seconds: float) -> None:
    loop = folder / "loop.py"
    loop.write_text(PYNVML_LOOP)
    monitor = "from codecarbon.cli.main import codecarbon; codecarbon()"
    arguments = ["monitor", "--measure-power-secs", "1", "--no-api", "--offline", "--country-iso-code", "FRA"]
    for module, name, command in [
        ("pynvml", "pynvml loop", [python, str(loop)]),
        ("codecarbon", "codecarbon monitor", [python, "-c", monitor, *arguments]),
    ]:
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode != 0:
            print(f"{name:34} is not here")
            continue
        with running(command, environment, folder) as root:
            time.sleep(SETTLE_SECONDS)
            try:
                tell(name, *measure(root, seconds))
            except FileNotFoundError:
                print(f"{name:34} ended by itself")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("stand_in", type=Path)
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--python", default=sys.executable)
    arguments = parser.parse_args()
    program = str(Path(arguments.program).resolve())
    with tempfile.TemporaryDirectory(prefix="fm", dir="/tmp") as name:
        folder = Path(name)
        environment = scene(folder, arguments.stand_in)
        ours(program, environment, folder, arguments.seconds)
        peers(arguments.python, environment, folder, arguments.seconds)


if __name__ == "__main__":
    main()
