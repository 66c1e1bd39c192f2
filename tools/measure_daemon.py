#!/usr/bin/env python3
"""Processor time and resident memory of `flopsmeter run`, of `flopsmeter daemon`, and of both together, each with all its
processes, beside a loop over `pynvml` and `codecarbon monitor`: all on one stand-in for eight GPUs, once a second. A run is looked at
after its first minute, with a job whose hook tells of what it feeds, and with one that has none: then GPUs alone are read.

usage: measure_daemon.py FLOPSMETER STAND_IN.so [SECONDS] [--python PYTHON]

PYTHON (default: this one) is one in which codecarbon and pynvml can be imported; a peer that cannot is left out. Processor
time is the kernel's own account, so that other programs on the machine change nothing of it; what the stand-in itself spends
is in it, as it is in the peers', and is told by itself: the same calls by a program that does nothing else (driver_alone.c).
Resident memory is the sum over a program's processes at the end, what they share counted in each; beside it stands the sum of
their proportional set sizes, in which a shared page is divided among those who share it. The job is not counted.
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
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/fake-nvml/checks"))
import job  # noqa: E402

GPUS = 8
SETTLE_SECONDS = 8
# From its second minute on a run looks ahead every ten seconds, which is how it spends its life.
RUN_SETTLES_SECONDS = 75
DRIVER_SECONDS = 15
# As often as a hook tells what was fed.
FEED_SECONDS = 0.2
TARGET_PERCENT, TARGET_MIB = 0.05, 10

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
class Cost:
    """What a program's processes spend and hold."""

    name: str
    percent: float
    resident_mib: float
    proportional_mib: float
    processes: int


def family(root: int) -> Iterator[int]:
    """A process and what it has started, without the job of a wrapper."""
    yield root
    for task in Path(f"/proc/{root}/task").glob("*"):
        for child in (task / "children").read_text().split():
            if is_ours(int(child)):
                yield from family(int(child))


def is_ours(child: int) -> bool:
    command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    hooked = command[0] == b"python3" and job.HOOKED.name.encode() in b" ".join(command)
    return not hooked and command[0] != b"sleep"


def kibibytes(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0)


def processor_seconds(pid: int) -> float:
    """The kernel's own clock of the process (`clock_getcpuclockid`), threads that have ended included: ticks of ten milliseconds
    are too coarse for what is measured here."""
    return time.clock_gettime((~pid << 3) | 2)


def measure(name: str, roots: list[int], seconds: float, settle: float = SETTLE_SECONDS) -> Cost:
    time.sleep(settle)
    before = {pid: processor_seconds(pid) for root in roots for pid in family(root)}
    began = time.perf_counter()
    time.sleep(seconds)
    pids = [pid for root in roots for pid in family(root)]
    spent = sum(processor_seconds(pid) - before.get(pid, 0) for pid in pids)
    percent = 100 * spent / (time.perf_counter() - began)
    resident = sum(kibibytes(Path(f"/proc/{pid}/status").read_text(), "VmRSS:") for pid in pids)
    proportional = sum(kibibytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:") for pid in pids)
    return Cost(name, percent, resident / 1024, proportional / 1024, len(pids))


@contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


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


@contextmanager
def feeding(wrapper: subprocess.Popen[bytes]) -> Iterator[None]:
    """The job of this wrapper is told to feed, as often as a hook tells of it."""
    stop = threading.Event()

    def feed() -> None:
        assert wrapper.stdin is not None
        while not stop.wait(FEED_SECONDS):
            wrapper.stdin.write(b"feed training 1 1 8 100\n")
            wrapper.stdin.flush()

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def ours(program: str, environment: dict[str, str], folder: Path, seconds: float) -> Iterator[Cost]:
    job.write(folder, Path(program))
    hooked = ["python3", str(job.HOOKED), "facts.json"]

    def run(modification: str, command: list[str]) -> list[str]:
        """Each in a modification of its own, so that it is alone there."""
        return [program, "run", "--quiet", "--base", "base.toml", "--modification", modification, "--", *command]

    with running(run("hooked", hooked), environment, folder) as wrapper, feeding(wrapper):
        yield measure("flopsmeter run, by itself", [wrapper.pid], seconds, RUN_SETTLES_SECONDS)
    with running(run("without-hook", ["sleep", "86400"]), environment, folder) as wrapper:
        yield measure("the same, job without a hook", [wrapper.pid], seconds, RUN_SETTLES_SECONDS)
    with ExitStack() as stack:
        socket = environment["FLOPSMETER_DAEMON"]
        daemon = stack.enter_context(running([program, "daemon", "--socket", socket], environment, folder))
        wait_for(Path(socket).exists)
        yield measure("flopsmeter daemon, no run", [daemon.pid], seconds)
        wrapper = stack.enter_context(running(run("with-daemon", hooked), environment, folder))
        stack.enter_context(feeding(wrapper))
        yield measure("flopsmeter daemon and a run", [daemon.pid, wrapper.pid], seconds, RUN_SETTLES_SECONDS)


def peers(python: str, environment: dict[str, str], folder: Path, seconds: float) -> Iterator[Cost]:
    loop = folder / "loop.py"
    loop.write_text(PYNVML_LOOP)
    monitor = "from codecarbon.cli.main import codecarbon; codecarbon()"
    arguments = ["monitor", "--measure-power-secs", "1", "--no-api", "--offline", "--country-iso-code", "FRA"]
    for module, name, command in [
        ("pynvml", "pynvml loop, four calls", [python, str(loop)]),
        ("codecarbon", "codecarbon monitor", [python, "-c", monitor, *arguments]),
    ]:
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode != 0:
            print(f"{name} is left out: {python} cannot import {module}", flush=True)
            continue
        with running(command, environment, folder) as peer:
            try:
                yield measure(name, [peer.pid], seconds)
            except (FileNotFoundError, OSError) as problem:
                print(f"{name} is left out: it ended by itself ({problem})", flush=True)


def driver_percent(folder: Path, environment: dict[str, str]) -> float:
    """What the library spends within the calls that a run or a daemon makes of it."""
    program = folder / "driver_alone"
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("driver_alone.c"), "-ldl"], check=True)
    command = [program, environment["FLOPSMETER_NVML_LIBRARY"], str(DRIVER_SECONDS)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def table(costs: list[Cost], driver: float) -> None:
    """Ratios are to the first row."""
    first = costs[0]
    print(f"{'':28} {'% of a core':>11} {'ratio':>6}   {'MiB resident':>12} {'ratio':>6}   {'proportional':>12}   processes")
    for cost in costs:
        ratios = cost.percent / first.percent, cost.resident_mib / first.resident_mib
        print(
            f"{cost.name:28} {cost.percent:11.3f} {ratios[0]:5.1f}x   {cost.resident_mib:12.1f} {ratios[1]:5.1f}x"
            f"   {cost.proportional_mib:12.1f}   {cost.processes:9}"
        )
    print(f"of each reading the stand-in's own work: {driver:.3f} %")
    print(f"target of each of ours: below {TARGET_PERCENT} % of a core and {TARGET_MIB} MiB, the stand-in's own work not counted")


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
        costs = list(ours(program, environment, folder, arguments.seconds))
        costs += peers(str(Path(arguments.python).absolute()), environment, folder, arguments.seconds)
        driver = driver_percent(folder, environment)
    table(costs, driver)


if __name__ == "__main__":
    main()
