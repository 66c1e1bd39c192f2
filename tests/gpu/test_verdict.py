"""The comparison calls nothing well that it did not compare, and nothing wrong that it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from verdict import Bound, Energy, Gpu, Json, Omission, Outcome, Workload, bounds, check, conclusion, energy_over_both

H200 = Gpu("NVIDIA H200", (9, 0))
A100 = Gpu("NVIDIA A100-SXM4-80GB", (8, 0))
PRODUCT = Workload("matmul bf16", ["matmul", "bf16"], sixteen_bit=True)
DONE = {"flop": 100}
NOT_READ = "the driver did not tell the activity of this device's units"


def layer(name: str, flop: int | None, note: str = "a note", holds_if: str | None = None) -> Json:
    told = None if flop is None else str(flop)
    return {"layer": name, "flop": told, "note": note} | ({"holds_if": holds_if} if holds_if else {})


def device(*layers: Json, name: str = "GPU-1", **more: Any) -> Json:
    return {"device": name, "name": "NVIDIA H200", "layers": list(layers), **more}


def summary(*devices: Json, ceiling: int | None = 150) -> Json:
    told = None if ceiling is None else str(ceiling)
    return {"ceiling": {"flop": told, "devices": list(devices)}, "findings": [], "flops": None}


def whole(**replaced: Json | None) -> Json:
    """A device with the three strict layers; `None` leaves one out."""
    layers: dict[str, Json | None] = {name: layer(name, 150) for name in ("L0", "L1", "L3")}
    return device(*(told for told in (layers | replaced).values() if told))


def readings(*told: tuple[float, int | None, int | None]) -> list[Json]:
    """Seconds, joules and watts."""

    def of(joules: int | None, watts: int | None) -> Json:
        found = {"energy_millijoules": joules, "power_milliwatts": watts}
        return {name: value * 1000 for name, value in found.items() if value is not None}

    read: list[Json] = [{"at_milliseconds": at * 1000, "read": {"GPU-1": {"Ok": of(joules, watts)}}} for at, joules, watts in told]
    return [{"schema": "flopsmeter.trace/1"}, *read]


def reasons(outcome: Outcome) -> dict[str, str]:
    return {omission.what: omission.reason for omission in outcome.omitted}


def test_all_layers_above_what_was_done_are_no_fault() -> None:
    outcome = check(PRODUCT, summary(whole()), DONE, gpu=H200)
    assert outcome.faults == []
    assert outcome.compared == ["L0", "L1", "L3", "ceiling"]
    assert list(reasons(outcome)) == ["energy"]


@pytest.mark.parametrize("name", ["L0", "L1", "L3"])
def test_a_strict_layer_below_what_was_done_is_a_fault(name: str) -> None:
    outcome = check(PRODUCT, summary(whole(**{name: layer(name, 99)})), DONE, gpu=H200)
    assert outcome.faults == [f"{name} is 0.9900 of what was done"]


def test_a_gpu_without_a_ceiling_is_a_fault() -> None:
    outcome = check(PRODUCT, summary(device(layer("L0", None, "its clock is not known")), ceiling=None), DONE, gpu=H200)
    assert "the run has no ceiling" in outcome.faults
    assert outcome.compared == []
    assert reasons(outcome)["L0"] == "its clock is not known"


def test_a_processor_without_a_ceiling_is_told() -> None:
    cpu = device(layer("L0", None, "its units are not known"), name="cpu:host")
    outcome = check(PRODUCT, summary(cpu, ceiling=None), DONE)
    assert outcome.faults == []
    assert list(reasons(outcome)) == ["L0", "ceiling", "energy"]


@pytest.mark.parametrize("name", ["L0", "L1", "L3"])
def test_a_layer_that_is_missing_without_a_reason_is_a_fault(name: str) -> None:
    fault = f"{name} is missing on a device, and no reason is told"
    assert check(PRODUCT, summary(whole(**{name: None})), DONE, gpu=H200).faults == [fault]
    assert check(PRODUCT, summary(whole(**{name: layer(name, None, "")})), DONE, gpu=H200).faults == [fault]


def test_a_layer_that_is_missing_with_a_reason_is_told() -> None:
    outcome = check(PRODUCT, summary(whole(L3=layer("L3", None, NOT_READ))), DONE, gpu=H200)
    assert outcome.faults == []
    assert reasons(outcome)["L3"] == NOT_READ
    assert "L3" not in outcome.compared


def test_activity_is_not_asked_of_a_gpu_before_hopper() -> None:
    outcome = check(PRODUCT, summary(whole(L3=None)), DONE, gpu=A100)
    assert outcome.faults == []
    assert "compute capability 8.0" in reasons(outcome)["L3"]


def test_sixteen_bit_layers_are_held_against_such_products_alone() -> None:
    condition = "every product ran in a 16-bit format"
    low = [layer(name, 50, holds_if=condition) for name in ("L0p", "L1p", "L3p", "L2x")]
    told = summary(device(*whole()["layers"], *low))
    outcome = check(PRODUCT, told, DONE, gpu=H200)
    assert outcome.faults == [f"{name} is 0.5000 of what was done" for name in ("L0p", "L1p", "L3p")]
    assert reasons(outcome)["L2x"] == f"it holds only if {condition}"
    outcome = check(Workload("matmul fp8", []), told, DONE, gpu=H200)
    assert outcome.faults == []
    assert reasons(outcome)["L0p"] == f"it holds only if {condition}"


def test_only_layers_that_every_device_has_are_summed() -> None:
    devices = [
        device(layer("L0", 60), layer("L2", 40), layer("L3", 55)),
        device(layer("L0", 70), layer("L2", 30, holds_if="a condition"), layer("L3", None, NOT_READ), layer("L9", 1)),
    ]
    found, missing = bounds(devices)
    assert found == {"L0": Bound(130), "L2": Bound(70, "a condition")}
    assert missing == {"L3": NOT_READ, "L9": None}
    outcome = check(PRODUCT, summary(*devices), DONE)
    assert outcome.faults == []


def test_the_meter_has_to_bound_the_one_gpu_of_the_job() -> None:
    two = summary(whole(), {**whole(), "device": "GPU-2"}, {**whole(), "device": "cpu:host"})
    assert check(PRODUCT, two, DONE, gpu=H200).faults == ["the job has one GPU, and the meter bounds GPU-1, GPU-2"]
    none = summary({**whole(), "device": "cpu:host"})
    assert check(PRODUCT, none, DONE, gpu=H200).faults == ["the job has one GPU, and the meter bounds cpu:host"]


def test_a_hole_is_in_neither_figure_of_energy() -> None:
    trace = readings((0, 1000, 400), (2, 1800, 400))
    trace += [{"at_milliseconds": 3000, "read": {"GPU-1": {"Err": "GPU is lost"}}}, {"at_milliseconds": 3500, "listed": {}}]
    trace += readings((6, 3400, 400), (8, 4200, 400))
    assert energy_over_both(trace, "GPU-1") == Energy(4.0, 1600.0, 1600.0)
    assert energy_over_both(trace, "GPU-2") == Energy(0.0, 0.0, 0.0)


def test_a_reading_without_power_or_a_counter_that_fell_is_in_neither() -> None:
    assert energy_over_both(readings((0, 0, 100), (1, 100, None), (2, 200, 100), (3, 300, 100)), "GPU-1").seconds == 1.0
    assert energy_over_both(readings((0, 900, 100), (1, 5, 100), (2, 105, 100)), "GPU-1") == Energy(1.0, 100.0, 100.0)


def energy_of(trace: list[Json], told: Json | None) -> Outcome:
    return check(PRODUCT, summary({**whole(), "energy": told}), DONE, trace, H200)


def test_counter_and_power_have_to_agree_over_the_same_time() -> None:
    told = {"joules": 4000, "source": "counter", "coverage_seconds": 10.0}
    outcome = energy_of(readings((0, 0, 400), (10, 4000, 400)), told)
    assert outcome.faults == []
    assert outcome.compared[-2:] == ["energy counter with power x time", "energy told with the trace"]
    outcome = energy_of(readings((0, 0, 400), (10, 2000, 400)), told)
    assert len(outcome.faults) == 2
    assert "over the same 10.0 s" in outcome.faults[0]


def test_an_energy_over_another_time_is_told_and_not_compared() -> None:
    trace = [*readings((0, 0, 400), (4, 1600, 400)), *readings((5, 2000, None)), *readings((9, 3600, 400))]
    outcome = energy_of(trace, {"joules": 3600, "source": "counter", "coverage_seconds": 9.0})
    assert outcome.faults == []
    assert "covers 9.0 s" in reasons(outcome)["the energy that the summary tells"]


@pytest.mark.parametrize("trace", [[], readings((0, None, 400), (10, None, 400)), readings((0, 0, 400), (2, 800, 400))])
def test_an_energy_that_cannot_be_compared_is_told(trace: list[Json]) -> None:
    outcome = energy_of(trace, None)
    assert outcome.faults == []
    assert "not both read over 3 s" in reasons(outcome)["energy"]


def test_an_energy_that_was_read_has_to_be_in_the_summary() -> None:
    assert energy_of(readings((0, 0, 400), (10, 4000, 400)), None).faults == ["counter and power were read, and the summary tells no energy"]


def test_the_conclusion_says_what_was_compared_and_what_was_not() -> None:
    one = Outcome(compared=["L0", "ceiling"], omitted=[Omission("L3", "it was not read")])
    two = Outcome(compared=["L0"], omitted=[Omission("L3", "it was not read"), Omission("energy", "none was told")])
    lines, is_well = conclusion({"one": one, "two": two}, [Omission("matmul fp8", "the GPU has no such format")])
    assert is_well
    assert lines == [
        "not compared: matmul fp8 because the GPU has no such format",
        "not compared: L3 everywhere because it was not read",
        "not compared: energy in two because none was told",
        "compared in so many of 2 workloads: L0 (2), ceiling (1); no bound is below what was done",
    ]


def test_nothing_compared_is_a_fault() -> None:
    lines, is_well = conclusion({"one": Outcome(omitted=[Omission("L0", "it was not read")])})
    assert not is_well
    assert lines[0] == "FAULT nothing was compared"
    assert lines[-1] == "compared in so many of 1 workloads: nothing; 1 fault"
