"""What one run's summary and trace say against what was really done: faults, what was compared, and what could not be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

# Counter and power × time may differ by this share of the larger: the sensor of an H100 looks a quarter of the time
# (arXiv:2312.02741).
ENERGY_TOLERANCE = 0.10
# Shorter than this, both are too coarse to be held against each other: the counter moves ten times a second.
ENERGY_SECONDS = 3.0
# The activity counters came with it.
HOPPER = (9, 0)
# Bounds if every product ran in a 16-bit format with FP32 accumulation or in a slower one.
SIXTEEN_BIT = ("L0p", "L1p", "L3p")


@dataclass(frozen=True)
class Gpu:
    """The one GPU that job and meter are given."""

    name: str
    capability: tuple[int, int]

    def version(self) -> str:
        return "{}.{}".format(*self.capability)


@dataclass(frozen=True)
class Workload:
    name: str
    arguments: list[str]
    hooked: bool = False
    # So that the layers named SIXTEEN_BIT have to hold.
    sixteen_bit: bool = False


@dataclass(frozen=True)
class Omission:
    what: str
    reason: str


@dataclass
class Outcome:
    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    omitted: list[Omission] = field(default_factory=list)

    def omit(self, what: str, reason: str) -> None:
        self.omitted.append(Omission(what, reason))


@dataclass(frozen=True)
class Bound:
    flop: int
    holds_if: str | None = None


@dataclass(frozen=True)
class Energy:
    """The board's two figures over the same time."""

    seconds: float
    counter: float
    integral: float


def measured(summary: Json) -> list[Json]:
    """The devices that do the work: the GPUs, or the processors where there is none."""
    devices: list[Json] = summary["ceiling"]["devices"]
    return [device for device in devices if not is_processor(device)] or devices


def is_processor(device: Json) -> bool:
    return str(device["device"]).startswith("cpu:")


def bounds(devices: Sequence[Json]) -> tuple[dict[str, Bound], dict[str, str | None]]:
    """Sum of each layer that every device has; for each other layer the reason, `None` where a device tells none."""
    of_device = [{layer["layer"]: layer for layer in device["layers"]} for device in devices]
    found: dict[str, Bound] = {}
    missing: dict[str, str | None] = {}
    for name in dict.fromkeys(name for layers in of_device for name in layers):
        told = [layers.get(name) or {} for layers in of_device]
        if all(layer.get("flop") is not None for layer in told):
            conditions = [layer["holds_if"] for layer in told if layer.get("holds_if")]
            found[name] = Bound(sum(int(layer["flop"]) for layer in told), conditions[0] if conditions else None)
        else:
            reasons = [layer.get("note") for layer in told if layer.get("flop") is None]
            missing[name] = "; ".join(dict.fromkeys(map(str, reasons))) if all(reasons) else None
    return found, missing


def energy_over_both(trace: Iterable[Json], device: str) -> Energy:
    """Rise of the counter and power × time by trapezoids, over neighbouring readings that both told both.

    The summary's two figures are each over all that it could cover: a gap is in its counter and not in its integral.
    """
    seconds = risen = drawn = 0.0
    last: tuple[float, float, float] | None = None
    for record in trace:
        if "read" not in record:
            continue
        reading = record["read"].get(device, {}).get("Ok") or {}
        counter, power = reading.get("energy_millijoules"), reading.get("power_milliwatts")
        now = None if counter is None or power is None else (record["at_milliseconds"] / 1000, counter / 1000, power / 1000)
        # A counter that fell has begun anew: what it counted meanwhile is not known.
        if last and now and now[1] >= last[1]:
            seconds += now[0] - last[0]
            risen += now[1] - last[1]
            drawn += (now[0] - last[0]) * (now[2] + last[2]) / 2
        last = now
    return Energy(seconds, risen, drawn)


def check_energy(outcome: Outcome, device: Json, trace: Iterable[Json]) -> None:
    """The board's counter and power × time have to agree, and what the summary tells with both."""
    both = energy_over_both(trace, device["device"])
    if both.seconds < ENERGY_SECONDS:
        outcome.omit("energy", f"the energy counter and power were not both read over {ENERGY_SECONDS:g} s of {device['name']}")
        return
    outcome.lines.append(
        f"  energy   {both.counter:.1f} J by the counter, {both.integral:.1f} J as power x time, in the same {both.seconds:.1f} s"
    )
    outcome.compared.append("energy counter with power x time")
    if is_apart(both.counter, both.integral):
        outcome.faults.append(
            f"the energy counter says {both.counter:.1f} J and power x time {both.integral:.1f} J over the same {both.seconds:.1f} s"
        )
    told = device.get("energy")
    if told is None:
        outcome.faults.append("counter and power were read, and the summary tells no energy")
    elif is_apart(told["coverage_seconds"], both.seconds):
        covers = f"it covers {told['coverage_seconds']} s, and counter and power together {both.seconds:.1f} s"
        outcome.omit("the energy that the summary tells", covers)
    else:
        expected = both.counter if told["source"] == "counter" else both.integral
        outcome.compared.append("energy told with the trace")
        if is_apart(told["joules"], expected):
            outcome.faults.append(f"the summary tells {told['joules']} J, its trace {expected:.1f} J")


def is_apart(one: float, other: float) -> bool:
    return abs(one - other) > ENERGY_TOLERANCE * max(one, other)


def check_layers(outcome: Outcome, workload: Workload, devices: Sequence[Json], true: int, gpu: Gpu | None) -> None:
    found, missing = bounds(devices)
    for name, bound in found.items():
        mark = "*" if bound.holds_if else ""
        outcome.lines.append(f"  {name + mark:8} {bound.flop / true:10.3f} times what was done")
        if bound.holds_if and not (workload.sixteen_bit and name in SIXTEEN_BIT):
            outcome.omit(name, f"it holds only if {bound.holds_if}")
            continue
        outcome.compared.append(name)
        if bound.flop < true:
            outcome.faults.append(f"{name} is {bound.flop / true:.4f} of what was done")
    wanted = ["L0"] if gpu is None else ["L0", "L1", "L3"]
    for name in dict.fromkeys([*wanted, *missing]):
        if name in found:
            continue
        reason = missing.get(name)
        if name == "L3" and gpu is not None and gpu.capability < HOPPER:
            reason = f"{gpu.name} has compute capability {gpu.version()}, and activity counters came with 9.0"
        if reason is None and name in wanted:
            outcome.faults.append(f"{name} is missing on a device, and no reason is told")
        else:
            outcome.omit(name, reason or "not every device has it")


def check_ceiling(outcome: Outcome, summary: Json, true: int, gpu: Gpu | None) -> None:
    ceiling = summary["ceiling"]["flop"]
    if ceiling is not None:
        outcome.lines.append(f"  ceiling  {int(ceiling) / true:10.3f} times what was done")
        outcome.compared.append("ceiling")
        if int(ceiling) < true:
            outcome.faults.append(f"the ceiling is {int(ceiling) / true:.4f} of what was done")
    elif gpu is not None:
        outcome.faults.append("the run has no ceiling")
    else:
        outcome.omit("ceiling", "the run has none")
    if any(finding["code"] == "above-ceiling" for finding in summary["findings"]):
        outcome.faults.append("more was counted than the hardware can have done")


def check(workload: Workload, summary: Json, done: Json, trace: Sequence[Json] = (), gpu: Gpu | None = None) -> Outcome:
    """Holds a run against what was done; `gpu` is the one that the job had, `None` on the processor."""
    outcome, true = Outcome(), int(done["flop"])
    devices = measured(summary)
    if gpu is not None and (len(devices) != 1 or is_processor(devices[0])):
        named = ", ".join(device["device"] for device in devices) or "nothing"
        outcome.faults.append(f"the job has one GPU, and the meter bounds {named}")
    check_layers(outcome, workload, devices, true, gpu)
    check_ceiling(outcome, summary, true, gpu)
    if workload.hooked:
        counted = int(summary["flops"]["training"]) if summary["flops"] else 0
        outcome.lines.append(f"  counted  {counted / true:10.6f} times PyTorch's own counter")
        outcome.compared.append("counted operations")
        if counted != true:
            outcome.faults.append(f"counted {counted}, PyTorch's counter {true}")
    if gpu is None:
        outcome.omit("energy", "no GPU is measured")
    else:
        for device in devices:
            check_energy(outcome, device, trace)
    return outcome


def conclusion(outcomes: dict[str, Outcome], omitted: Sequence[Omission] = ()) -> tuple[list[str], bool]:
    """The last lines, and whether all is well: it is not where nothing was compared. `omitted` is of no workload that ran."""
    faults = [f"{name}: {fault}" for name, outcome in outcomes.items() for fault in outcome.faults]
    compared = tally((what, name) for name, outcome in outcomes.items() for what in outcome.compared)
    if not compared:
        faults.append("nothing was compared")
    lines = [f"FAULT {fault}" for fault in faults]
    for omission in omitted:
        lines.append(f"not compared: {omission.what} because {omission.reason}")
    ran = [outcome for outcome in outcomes.values() if outcome.compared or outcome.omitted]
    for omission, names in tally((it, name) for name, outcome in outcomes.items() for it in outcome.omitted).items():
        within = "everywhere" if len(names) == len(ran) else f"in {', '.join(names)}"
        lines.append(f"not compared: {omission.what} {within} because {omission.reason}")
    counts = ", ".join(f"{what} ({len(names)})" for what, names in compared.items()) or "nothing"
    number = f"{len(faults)} fault{'' if len(faults) == 1 else 's'}"
    verdict = number if faults else "no bound is below what was done"
    lines.append(f"compared in so many of {len(outcomes)} workloads: {counts}; {verdict}")
    return lines, not faults


def tally(pairs: Iterable[tuple[Any, str]]) -> dict[Any, list[str]]:
    """Names by what they have, both in the order of first sight."""
    found: dict[Any, list[str]] = {}
    for what, name in pairs:
        names = found.setdefault(what, [])
        if name not in names:
            names.append(name)
    return found
