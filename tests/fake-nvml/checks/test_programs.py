"""Other programs read the same stand-in in the same window, and agree with `flopsmeter run` on energy and utilisation."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from scene import Scene, reader

# Real processes against the clock, as in tests/cli: where the machine stalls for seconds they may lose, and the scene is played again.
pytestmark = pytest.mark.flaky(reruns=2)

# All that happens, happens between these seconds of the scenario: whoever reads before and after it has read all of it, so
# that no program's start or end, nor the length of its turns, is left to tolerate. Whoever reads in the middle has four seconds.
BEGIN, END = 2, 10
QUIET = 1.5
# Two GPUs that differ: a program that mixes them up does not agree.
PERCENT = [60, 25]
WATTS = [400, 150]
HMMA_PERMILLE = [700, 0]
MEGAHERTZ = 1980
SAMPLE_PERIOD_SECONDS = 0.1
# CodeCarbon keeps kilowatt-hours in binary fractions.
ROUNDING_JOULES = 0.01


def gpu(index: int) -> dict[str, Any]:
    def pulse(value: int) -> list[list[int]]:
        return [[0, 0], [BEGIN * 1000, value], [END * 1000, 0]]

    return {
        "uuid": f"GPU-{index}",
        "utilization": pulse(PERCENT[index]),
        "power_milliwatts": pulse(WATTS[index] * 1000),
        "activity": {"hmma": pulse(HMMA_PERMILLE[index])},
        "sm_clock_mhz": [[0, MEGAHERTZ]],
        "max_sm_clock_mhz": MEGAHERTZ,
    }


def test_programs_agree_on_energy_and_utilisation(tmp_path: Path, stand_in: Path, flopsmeter: Path) -> None:
    scene = Scene(tmp_path, stand_in, {"driver_version": "595.45.04", "devices": [gpu(0), gpu(1)]})
    command: list[str | Path] = [flopsmeter, "run", "--quiet", "--ledger", "ledger.sqlite", "--summary", "summary.json"]
    with ExitStack() as programs:
        names = ["gpustat", "nvitop", "codecarbon", "nvidia-ml-py"]
        others = {name: programs.enter_context(reader(scene, name)) for name in names}
        job = programs.enter_context(scene.start(*command, "--", "sh", "-c", "echo started; read line; echo $line"))
        job.wait_for("started")
        for other in others.values():
            other.wait_for("ready")
        scene.begin()
        scene.wait_until((BEGIN + END) / 2)
        during = {name: others[name].read() for name in ["gpustat", "nvitop"]}
        scene.wait_until(END + QUIET)
        after = {name: others[name].read() for name in ["codecarbon", "nvidia-ml-py"]}
        assert job.finish() == 0

    seconds = END - BEGIN
    devices = {device["device"]: device for device in json.loads((tmp_path / "summary.json").read_text())["ceiling"]["devices"]}
    ours = [devices[f"GPU-{index}"] for index in range(2)]
    joules = [device["energy_joules"] for device in ours]
    assert joules == [watts * seconds for watts in WATTS]
    assert after["nvidia-ml-py"]["joules"] == joules
    assert sum(after["codecarbon"]["joules"]) == pytest.approx(sum(joules), abs=ROUNDING_JOULES)

    percent = [100 * device["busy_seconds"] / seconds for device in ours]
    # The buffered sample in which the sampler's first turn falls proves nothing, and may hold no more than its own length.
    assert percent == pytest.approx(PERCENT, abs=100 * SAMPLE_PERIOD_SECONDS / seconds)
    for program, reading in during.items():
        assert reading["percent"] == PERCENT, program
        assert reading["watts"] == [energy / seconds for energy in joules], program

    cycles = [permille / 1000 * MEGAHERTZ * 1e6 * seconds for permille in HMMA_PERMILLE]
    assert after["nvidia-ml-py"]["hmma_cycles"] == cycles


@pytest.mark.parametrize(("death", "expected"), [("abort", signal.SIGABRT), ("segfault", signal.SIGSEGV)])
def test_a_driver_that_dies_takes_its_process_along(
    death: str, expected: signal.Signals, tmp_path: Path, stand_in: Path
) -> None:
    fault = {"call": "nvmlDeviceGetPowerUsage", "from_ms": 100, "does": death}
    scene = Scene(tmp_path, stand_in, {"devices": [{"uuid": "GPU-0", "faults": [fault]}]})
    code = (
        "import pynvml, sys; pynvml.nvmlInit(); gpu = pynvml.nvmlDeviceGetHandleByIndex(0);"
        "pynvml.nvmlDeviceGetPowerUsage(gpu); print('ready', flush=True); sys.stdin.readline();"
        "pynvml.nvmlDeviceGetUtilizationRates(gpu); pynvml.nvmlDeviceGetPowerUsage(gpu)"
    )
    with scene.start(sys.executable, "-c", code) as victim:
        victim.wait_for("ready")
        scene.begin()
        scene.wait_until(0.2)
        assert victim.finish() == -expected
