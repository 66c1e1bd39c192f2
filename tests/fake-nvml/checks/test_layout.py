"""The stand-in, the client and the meter against NVIDIA's own header: were all wrong in one way, no other test would tell.

A C program, compiled with each version of the header, tells sizes, offsets and values for every name that `layouts` and
`nvml_constants` print.
"""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

# Which package has each version of the header, and the length of nvmlGpmMetricsGet_t's array in it.
HEADERS = {"12.9": ("nvidia-nvml-dev-cu12", 210), "13.5": ("nvidia-nvml-dev", 477)}
# The client's bindings have the older length: it has to pass room of its own for what the driver may write.
CLIENT_METRICS = 210
VARIABLE_LENGTH = "nvmlGpmMetricsGet_t"
METRIC_BYTES = 40
CYCLE_COUNTERS = ["SM_CYCLES_ELAPSED"] + [
    f"{pipe}_CYCLES_ACTIVE" for pipe in ["SM", "MMA", "DMMA", "HMMA", "IMMA", "DFMA", "INTEGER", "FP64", "FP32", "FP16"]
]
NEWER_THAN_12_9 = {f"NVML_GPM_METRIC_{name}" for name in ["DMMA_TENSOR_UTIL", *CYCLE_COUNTERS]}

Layout = dict[str, Any]


def example(package: str, name: str) -> Layout:
    command = ["cargo", "run", "--quiet", "--locked", "--package", package, "--example", name]
    printed: Layout = json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout)
    return printed


@pytest.fixture(scope="module")
def meter() -> Layout:
    return example("flopsmeter-meter", "nvml_constants")


@pytest.fixture(scope="module")
def layouts() -> Layout:
    printed = example("flopsmeter-fake-nvml", "layouts")
    assert printed["stand-in"]["structs"].keys() == printed["client"]["structs"].keys()
    return printed


def program(layout: Layout, known: list[str]) -> str:
    """C that prints what `layouts` prints, as lines of a kind, names and a number."""
    lines = ["#include <stddef.h>", "#include <stdio.h>", "#include <nvml.h>", "int main(void) {"]
    for name, struct in layout.get("structs", {}).items():
        lines.append(f'printf("size {name} %zu\\n", sizeof({name}));')
        lines += [f'printf("field {name} {field} %zu\\n", offsetof({name}, {field}));' for field in struct["fields"]]
    lines += [f'printf("constant {name} %lld\\n", (long long){name});' for name in known]
    return "\n".join([*lines, "return 0;", "}"])


def include(package: str) -> Path:
    [header] = [file for file in files(package) or [] if file.name == "nvml.h"]
    return Path(header.locate()).parent


def real(layout: Layout, header: Path, folder: Path) -> Layout:
    text = (header / "nvml.h").read_text(encoding="utf-8", errors="replace")
    known = [name for name in layout["constants"] if name in text]
    source = folder / "layouts.c"
    source.write_text(program(layout, [*known, "NVML_GPM_METRIC_MAX"]))
    subprocess.run(["cc", "-I", header, "-o", folder / "layouts", source], check=True)
    told: Layout = {"structs": {}, "constants": {}}
    for line in subprocess.run([folder / "layouts"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        kind, name, *rest = line.split()
        if kind == "size":
            told["structs"][name] = {"size": int(rest[0]), "fields": {}}
        elif kind == "field":
            told["structs"][name]["fields"][rest[0]] = int(rest[1])
        else:
            told["constants"][name] = int(rest[0])
    return told


@pytest.mark.parametrize("version", HEADERS)
@pytest.mark.parametrize("side", ["stand-in", "client"])
def test_structs_and_constants_are_the_headers(side: str, version: str, layouts: Layout, tmp_path: Path) -> None:
    package, array_length = HEADERS[version]
    ours = layouts[side]
    told = real(ours, include(package), tmp_path)
    assert told["constants"].pop("NVML_GPM_METRIC_MAX") == array_length

    # The one known difference: the array behind the head, of which the stand-in has no length and the client an old one.
    head = ours["structs"][VARIABLE_LENGTH]["size"] - (CLIENT_METRICS * METRIC_BYTES if side == "client" else 0)
    assert told["structs"][VARIABLE_LENGTH]["size"] == head + array_length * METRIC_BYTES
    assert told["structs"]["nvmlGpmMetric_t"]["size"] == METRIC_BYTES
    del told["structs"][VARIABLE_LENGTH]["size"]
    expected = {name: dict(struct) for name, struct in ours["structs"].items()}
    del expected[VARIABLE_LENGTH]["size"]
    assert told["structs"] == expected

    missing = ours["constants"].keys() - told["constants"].keys()
    assert missing <= (NEWER_THAN_12_9 if version == "12.9" else set())
    assert told["constants"] == {name: value for name, value in ours["constants"].items() if name not in missing}


@pytest.mark.parametrize("version", HEADERS)
def test_the_meters_own_numbers_are_the_headers(version: str, meter: Layout, tmp_path: Path) -> None:
    package, array_length = HEADERS[version]
    told = real(meter, include(package), tmp_path)["constants"]
    # A driver may fill the whole of its own array, however few metrics were asked for.
    assert told.pop("NVML_GPM_METRIC_MAX") == array_length <= meter["gpm_room"]
    missing = meter["constants"].keys() - told.keys()
    assert missing <= (NEWER_THAN_12_9 if version == "12.9" else set())
    assert told == {name: number for name, number in meter["constants"].items() if name not in missing}
    cycles = {"NVML_GPM_METRIC_SM_CYCLES_ELAPSED", "NVML_GPM_METRIC_SM_CYCLES_ACTIVE"}
    assert cycles <= meter["constants"].keys()


def test_the_check_would_notice_a_wrong_number(meter: Layout, tmp_path: Path) -> None:
    wrong = {"constants": {**meter["constants"], "NVML_GPM_METRIC_FP32_UTIL": 11}}
    told = real(wrong, include("nvidia-nvml-dev"), tmp_path)["constants"]
    assert told["NVML_GPM_METRIC_FP32_UTIL"] == 12


def test_the_check_would_notice_a_difference(layouts: Layout, tmp_path: Path) -> None:
    header = tmp_path / "include"
    header.mkdir()
    text = (include("nvidia-nvml-dev") / "nvml.h").read_text(encoding="utf-8", errors="replace")
    marker = "unsigned long long timeStamp;"
    assert marker in text
    (header / "nvml.h").write_text(text.replace(marker, f"int inserted; {marker}"))
    told = real(layouts["stand-in"], header, tmp_path)
    assert told["structs"]["nvmlSample_t"] != layouts["stand-in"]["structs"]["nvmlSample_t"]
