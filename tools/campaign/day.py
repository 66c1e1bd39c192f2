#!/usr/bin/env python3
"""A day of `flopsmeter daemon` and a run that it reads eight GPUs for and that a hook tells what it is fed, on a clock that runs FACTOR
times as fast: nothing that is kept in memory may grow, and the ledger grows by the same every hour.

usage: day.py FLOPSMETER STAND_IN.so FAST_CLOCK.so [--factor FACTOR] [--hours HOURS]

The programs are the ones that are shipped, and so is all that they do: readings, pushes, hashes, commits to a disk. What is in
memory depends on how often things happen, and not on how long it takes. On a machine that is too slow for the factor readings come
late: each such gap is kept, up to some thousands for each GPU, so that a day with many of them is no measure and is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/fake-nvml/checks"))
import job  # noqa: E402

GPUS = 8
HOUR = 3600
# A machine that keeps up has none or a few.
MOST_GAPS = 100
# What begins and ends at the machine's own pace, so that starting and stopping is as ever.
CALM_SECONDS = 15
SETTLED_HOURS = 2
BASE = """name = "acme/base"
flop = "1000000000000000000000000"
source = "a campaign"
declared_by = "Ada, trainer"
date = "2026-11-01"
gpai = true
"""
# A page here and there; what grows with time would be more in a day.
MAY_GROW_MIB = 0.5
# An hour's ledger against another's: counters gain digits.
MAY_DIFFER = 1.05
MAY_WAIT_MIB = 16
LOOK_SECONDS = 5
# A step in about each second of the fast clock.
STEP_SECONDS = 0.02
STEPS = 10_000_000


@dataclass
class Look:
    hours: float
    resident_mib: float
    proportional_mib: float
    ledger_mib: float
    waiting_mib: float

    def tell(self) -> None:
        print(
            f"{self.hours:5.1f} h   {self.resident_mib:5.1f} MiB resident ({self.proportional_mib:.1f} proportional)"
            f"   ledger {self.ledger_mib:6.1f} MiB and {self.waiting_mib:.1f} in its log",
            flush=True,
        )


def clock() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def kibibytes(told: str, name: str) -> int:
    return next((int(line.split()[1]) for line in told.splitlines() if line.startswith(name)), 0)


def text(path: str) -> str:
    """Nothing of a process that has just ended: the ones that ask the driver come and go."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def family(root: int) -> Iterator[int]:
    """A process and what it has started, without the job."""
    if text(f"/proc/{root}/comm").startswith("python"):
        return
    yield root
    for task in Path(f"/proc/{root}/task").glob("*"):
        for child in text(f"{task}/children").split():
            yield from family(int(child))


def mib(path: Path) -> float:
    return path.stat().st_size / 2**20 if path.exists() else 0.0


def recorded_mib(ledger: Path) -> float:
    """All pages of the ledger, those that still stand in its log included: the file itself grows in steps, whenever the log is
    folded into it."""
    if not ledger.exists():
        return 0.0
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        pages, page = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ["page_count", "page_size"])
    return float(pages * page / 2**20)


def look(hours: float, roots: list[int], ledger: Path) -> Look:
    pids = [pid for root in roots for pid in family(root)]
    resident = sum(kibibytes(text(f"/proc/{pid}/status"), "VmRSS:") for pid in pids)
    proportional = sum(kibibytes(text(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in pids)
    waiting = mib(ledger.with_name(ledger.name + "-wal"))
    return Look(hours, resident / 1024, proportional / 1024, recorded_mib(ledger), waiting)


def environment(folder: Path, stand_in: Path, fast_clock: Path, window: tuple[int, int], factor: int) -> dict[str, str]:
    library = folder / "libnvidia-ml.so"
    shutil.copy(stand_in, library)
    # Work and rest in turns of ten minutes.
    steps = [[600_000 * turn, 95 if turn % 2 else 0] for turn in range(200)]
    devices = [{"uuid": f"GPU-{index:08d}", "utilization": steps, "power_milliwatts": [[0, 500_000]]} for index in range(GPUS)]
    Path(f"{library}.json").write_text(json.dumps({"driver_version": "570.1", "devices": devices}))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "FLOPSMETER_NVML_LIBRARY": str(library),
        "FLOPSMETER_DAEMON": str(folder / "d.sock"),
        "FLOPSMETER_LEDGER": str(folder / "ledger.sqlite"),
        "LD_PRELOAD": str(fast_clock.resolve()),
        "FAST_CLOCK": f"{window[0]} {window[1]} {factor}",
    }


def train(wrapper: subprocess.Popen[bytes], until: int) -> None:
    """Steps of the job until then, and its end."""
    assert wrapper.stdin is not None
    step = 0
    try:
        while clock() < until:
            step += 1
            wrapper.stdin.write(b"feed training 1 1 8 100\nstep %d %d\n" % (step, STEPS))
            wrapper.stdin.flush()
            time.sleep(STEP_SECONDS)
        wrapper.stdin.write(b"goodbye\nexit 0\n")
        wrapper.stdin.close()
    except BrokenPipeError:
        # It has ended before its time, which its end tells.
        return


def live(program: str, folder: Path, variables: dict[str, str], window: tuple[int, int], hours: int) -> list[Look]:
    """The looks of the whole day; the job ends by itself."""
    begun = clock()
    daemon = subprocess.Popen([program, "daemon", "--socket", str(folder / "d.sock")], env=variables, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        # All that a run watches beside its devices: what it is fed, the line of its base, and who else works on the modification.
        job.write(folder, Path(program))
        (folder / "base.toml").write_text(BASE)
        watched = ["--base", str(folder / "base.toml"), "--modification", "day"]
        hooked = ["python3", str(job.HOOKED), str(folder / "facts.json")]
        command = [program, "run", "--quiet", *watched, "--summary", str(folder / "summary.json"), "--", *hooked]
        wrapper = subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        threading.Thread(target=train, args=(wrapper, window[1] + CALM_SECONDS * 10**9)).start()
        looks = []
        factor = int(variables["FAST_CLOCK"].split()[2])
        while wrapper.poll() is None:
            now = clock()
            passed = now - begun + (min(max(now, window[0]), window[1]) - window[0]) * (factor - 1)
            if now < window[1]:
                looks.append(look(passed / 1e9 / HOUR, [daemon.pid, wrapper.pid], folder / "ledger.sqlite"))
            time.sleep(LOOK_SECONDS)
        if wrapper.returncode != 0:
            sys.exit(f"the run ended with {wrapper.returncode}")
        return looks
    finally:
        daemon.terminate()
        daemon.wait()


def faults(looks: list[Look], hours: int) -> Iterator[str]:
    settled = [each for each in looks if each.hours >= min(SETTLED_HOURS, hours / 4)]
    first, last = settled[0], settled[-1]
    for name in ["resident_mib", "proportional_mib"]:
        grown = getattr(last, name) - getattr(first, name)
        if grown > MAY_GROW_MIB:
            yield f"{name} grew by {grown:.1f} from hour {first.hours:.1f} to hour {last.hours:.1f}"
    middle = settled[len(settled) // 2]
    rates = [(b.ledger_mib - a.ledger_mib) / (b.hours - a.hours) for a, b in [(first, middle), (middle, last)]]
    print(f"the ledger grew by {rates[0]:.2f} MiB an hour, and later by {rates[1]:.2f}")
    if max(rates) > MAY_DIFFER * min(rates):
        yield "the ledger does not grow evenly"
    if (waiting := max(each.waiting_mib for each in looks)) > MAY_WAIT_MIB:
        yield f"the ledger's log grew to {waiting:.1f} MiB"


def told(folder: Path, hours: int) -> Iterator[str]:
    summary = json.loads((folder / "summary.json").read_text())
    gpus = [device for device in summary["ceiling"]["devices"] if device["device"].startswith("GPU-")]
    held = min(device["held_seconds"] for device in gpus)
    missed = sum(gap["duration_seconds"] for gap in summary["gaps"])
    print(
        f"{len(gpus)} GPUs were held for {held / HOUR:.2f} h, of which {missed / HOUR / GPUS:.3f} h each were not read, or late"
        f" ({len(summary['gaps'])} gaps); the ceiling is complete: {summary['ceiling']['complete']}"
    )
    if len(summary["gaps"]) > MOST_GAPS:
        yield "the machine is too slow for the factor: take a lower one, or let nothing else run"
    if len(gpus) != GPUS or held < hours * HOUR:
        yield "not all of the day is on record"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("stand_in", type=Path)
    parser.add_argument("fast_clock", type=Path)
    parser.add_argument("--factor", type=int, default=50)
    parser.add_argument("--hours", type=int, default=24)
    arguments = parser.parse_args()
    begins = clock() + CALM_SECONDS * 10**9
    window = begins, begins + arguments.hours * HOUR * 10**9 // arguments.factor
    with tempfile.TemporaryDirectory(prefix="fm", dir="/tmp") as name:
        folder = Path(name)
        variables = environment(folder, arguments.stand_in, arguments.fast_clock, window, arguments.factor)
        looks = live(str(Path(arguments.program).resolve()), folder, variables, window, arguments.hours)
        for each in looks[:: max(1, len(looks) // 12)]:
            each.tell()
        looks[-1].tell()
        found = [*faults(looks, arguments.hours), *told(folder, arguments.hours)]
    if found:
        sys.exit("\n".join(found))
    print(f"a day of {arguments.hours} hours left nothing behind but its records")


if __name__ == "__main__":
    main()
