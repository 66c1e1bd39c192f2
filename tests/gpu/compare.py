"""Ceilings against true operations on a real GPU: `make gpu`, or this file by itself where only Python and the binary are.

Each workload runs under `flopsmeter run` on one GPU, and every bound that is said to hold is held against what was really done. What
could not be compared is listed with the reason. Where there is no GPU nothing is compared, and that is said. `--device cpu` plays the
same comparison small, on the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from verdict import Gpu, Json, Omission, Outcome, Workload, check, conclusion

HERE = Path(__file__).resolve().parent
# Compute capability from which on a device multiplies the format itself.
FORMATS = {"bf16": (8, 0), "fp16": (5, 3), "tf32": (8, 0), "fp32": (0, 0), "fp64": (0, 0), "fp8": (8, 9)}
# PyTorch may take minutes to load from a shared disk.
PROBE_SECONDS = 300.0
TAIL = 2000


class Failure(Exception):
    """A program that did not do what it was started for."""


@dataclass
class Played:
    """The run's summary, what was really done, and what the driver said meanwhile."""

    summary: Json
    done: Json
    trace: list[Json] = field(default_factory=list)


def workloads(gpu: Gpu | None) -> tuple[list[Workload], list[Omission]]:
    """What to run on this GPU, or small on the processor; and what the GPU cannot do."""
    if gpu is None:
        products = [Workload(f"matmul {name}", ["matmul", name, "--size", "256", "--seconds", "1"]) for name in ("fp32", "fp64")]
        return products + fine_tunes("--steps", "3", "--layers", "2"), []
    chosen, omitted = [], []
    for name, since in FORMATS.items():
        if gpu.capability >= since:
            chosen.append(Workload(f"matmul {name}", ["matmul", name], sixteen_bit=name != "fp8"))
        else:
            omitted.append(Omission(f"matmul {name}", lacks(gpu, name)))
    if gpu.capability >= FORMATS["bf16"]:
        chosen += fine_tunes()
    else:
        omitted.append(Omission("fine-tunes", lacks(gpu, "bf16")))
    return chosen, omitted


def fine_tunes(*options: str) -> list[Workload]:
    return [
        Workload(f"{name} fine-tune", ["fine-tune", name, *options], hooked=True, sixteen_bit=True) for name in ("full", "lora")
    ]


def lacks(gpu: Gpu, format_name: str) -> str:
    since = "{}.{}".format(*FORMATS[format_name])
    return f"{gpu.name} has compute capability {gpu.version()}, and products in {format_name} came with {since}"


def execute(command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float) -> tuple[str, str]:
    """Runs it to its end, or ends it with all that it started; gives what it said."""
    out, err = folder / "stdout", folder / "stderr"
    with out.open("w") as stdout, err.open("w") as stderr:
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
            )
        except OSError as problem:
            raise Failure(f"cannot be started: {problem}") from None
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # A job outlives its meter, and would hold the GPU in the next workload's time.
            if process.returncode != 0:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if code is None:
        raise Failure(f"did not end within {seconds:g} s and was killed\n{tail(err)}".strip())
    if code != 0:
        raise Failure(f"ended with {code}\n{tail(err)}".strip())
    return out.read_text(errors="replace"), err.read_text(errors="replace")


def tail(file: Path) -> str:
    return file.read_text(errors="replace")[-TAIL:].strip()


def last_line(text: str) -> Json:
    try:
        found: Json = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise Failure(f"did not say what it did: {text[-TAIL:]!r}") from None
    return found


def play(meter: str, workload: Workload, folder: Path, environment: Mapping[str, str], seconds: float, gpu: Gpu | None) -> Played:
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
    said, complaints = execute(command, folder, environment, seconds)
    done = last_line(said)
    try:
        lines = trace.read_text().splitlines() if gpu is not None else []
        return Played(json.loads(summary.read_text()), done, [json.loads(line) for line in lines])
    except (OSError, ValueError) as problem:
        raise Failure(f"the meter left no record that can be read: {problem}\n{complaints[-TAIL:]}") from None


def probe(environment: Mapping[str, str]) -> Json:
    """How many GPUs PyTorch sees and what the first is; by a process of its own, so that none is held here meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        said, _ = execute([sys.executable, str(HERE / "workloads.py"), "probe"], Path(folder), environment, PROBE_SECONDS)
    return last_line(said)


def one_gpu(environment: Mapping[str, str]) -> tuple[Gpu, dict[str, str]] | None:
    """The first GPU that is visible, and an environment in which job and meter see no other; `None` where there is none.

    Trainer would spread over several in threads that PyTorch's counter does not follow, and one GPU's work would be held against the
    bounds of all of them.
    """
    found = probe(environment)
    if found["gpus"] == 0:
        return None
    name = first_name(environment.get("CUDA_VISIBLE_DEVICES"), found["uuid"])
    alone = {**environment, "CUDA_VISIBLE_DEVICES": name}
    found = probe(alone)
    if found["gpus"] != 1:
        raise Failure(f"PyTorch sees {found['gpus']} GPUs under CUDA_VISIBLE_DEVICES={name}; set it to one GPU and run this again")
    return Gpu(found["name"], (found["capability"][0], found["capability"][1])), alone


def first_name(visible: str | None, uuid: str | None) -> str:
    """The first GPU's UUID: a number may be read in another order by the driver. An instance of a GPU has a name of its own."""
    first = (visible or "0").split(",")[0].strip()
    return first if uuid is None or first.startswith("MIG-") else f"GPU-{uuid}"


def compare(workload: Workload, arguments: argparse.Namespace, out: Path, environment: Mapping[str, str], gpu: Gpu | None) -> Outcome:
    folder = (out / workload.name.replace(" ", "-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    meter = str(Path(arguments.flopsmeter).resolve())
    try:
        played = play(meter, workload, folder, environment, arguments.timeout, gpu)
    except Failure as failure:
        print(f"{workload.name}: failed", flush=True)
        return Outcome(faults=[str(failure)])
    outcome = check(workload, played.summary, played.done, played.trace, gpu)
    print("\n".join([f"{workload.name}: {int(played.done['flop']):.3e} FLOP done", *outcome.lines]), flush=True)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flopsmeter", default="target/release/flopsmeter", help="the binary")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, help="folder to leave traces and summaries in")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds that one workload may take")
    arguments = parser.parse_args()
    environment, gpu = {**os.environ, "HF_HUB_OFFLINE": "1"}, None
    if arguments.device == "cuda":
        try:
            chosen = one_gpu(environment)
        except Failure as failure:
            print(f"FAULT no GPU could be chosen: {failure}")
            return 1
        if chosen is None:
            print("skipped: PyTorch sees no GPU here, so that no ceiling can be held against one")
            return 0
        gpu, environment = chosen
        print(f"on {gpu.name} alone, compute capability {gpu.version()}, {environment['CUDA_VISIBLE_DEVICES']}", flush=True)
    played, omitted = workloads(gpu)
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch)
        outcomes = {workload.name: compare(workload, arguments, out, environment, gpu) for workload in played}
    lines, is_well = conclusion(outcomes, omitted)
    print("\n".join(["", *lines]))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
