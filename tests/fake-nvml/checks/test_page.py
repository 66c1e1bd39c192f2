"""`/metrics` of a real daemon with two real runs, read by Prometheus's own parser of the format, against what `runs show` says; and
the rules and the board under examples/prometheus against the page."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import job
import pytest
import yaml
from conftest import REPOSITORY
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from scene import Program, Scene

# Real processes against the clock, as in tests/cli: where the machine stalls for seconds they may lose, and are tried again.
pytestmark = pytest.mark.flaky(reruns=2)

PATIENCE_SECONDS = 60
# The most runs that a page shows, and more than that.
MOST_RUNS, MORE_RUNS = 128, 150
MODIFICATION = {"modification", "user", "ledger"}
RUN, VERDICT = {"run"} | MODIFICATION, {"verdict"}
# Name: type, unit, labels. A family that is not here is none that was meant.
FAMILIES: dict[str, tuple[str, str, set[str]]] = {
    "flopsmeter_run_training_operations": ("counter", "operations", RUN),
    "flopsmeter_run_executed_operations": ("counter", "operations", RUN),
    "flopsmeter_run_ceiling_operations": ("gauge", "operations", RUN),
    "flopsmeter_run_ceiling_complete": ("gauge", "", RUN),
    "flopsmeter_run_line_spent_ratio": ("gauge", "ratio", RUN),
    "flopsmeter_run_energy_joules": ("counter", "joules", RUN),
    "flopsmeter_run_gap_seconds": ("counter", "seconds", RUN),
    "flopsmeter_run_held_devices": ("gauge", "", RUN),
    "flopsmeter_run_gaps": ("gauge", "", RUN),
    "flopsmeter_run_running": ("gauge", "", RUN),
    "flopsmeter_run_verdict": ("gauge", "", RUN | VERDICT),
    "flopsmeter_run_forecast_low_operations": ("gauge", "operations", RUN),
    "flopsmeter_run_forecast_high_operations": ("gauge", "operations", RUN),
    "flopsmeter_run_crossing_timestamp_seconds": ("gauge", "seconds", RUN),
    "flopsmeter_modification_training_operations": ("gauge", "operations", MODIFICATION),
    "flopsmeter_modification_line_operations": ("gauge", "operations", MODIFICATION),
    "flopsmeter_modification_reserved_operations": ("gauge", "operations", MODIFICATION),
    "flopsmeter_modification_line_spent_ratio": ("gauge", "ratio", MODIFICATION),
    "flopsmeter_modification_verdict": ("gauge", "", MODIFICATION | VERDICT),
    "flopsmeter_daemon_readings": ("counter", "", set()),
    "flopsmeter_daemon_samples": ("counter", "", set()),
    "flopsmeter_daemon_failed_samples": ("counter", "", set()),
    "flopsmeter_daemon_reading_seconds": ("histogram", "seconds", set()),
    "flopsmeter_daemon_dropped_clients": ("counter", "", {"reason"}),
    "flopsmeter_daemon_driver_restarts": ("counter", "", set()),
    "flopsmeter_daemon_runs_left_out": ("counter", "", set()),
    "flopsmeter_daemon_clients": ("gauge", "", set()),
    "flopsmeter_daemon_watching_clients": ("gauge", "", set()),
    "flopsmeter_daemon_up_seconds": ("gauge", "seconds", set()),
    "flopsmeter_daemon_resident_memory_bytes": ("gauge", "bytes", {"process"}),
    "flopsmeter_build_info": ("gauge", "", {"version"}),
}
# Of a job that tells of no schedule, and has no pace yet, nothing is foreseen; and nothing is set aside for another one.
FORESEEN = {name for name in FAMILIES if "_forecast_" in name or "_crossing_" in name or "_reserved_" in name}
VERDICTS = ["below", "near", "exceeds", "undetermined"]


# A proxy that the environment names is not asked for a page of this machine.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Page:
    """One scrape."""

    def __init__(self, address: str) -> None:
        with DIRECTLY.open(address, timeout=PATIENCE_SECONDS) as answer:
            assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
            text = answer.read().decode()
        # Strict: a unit that is not the name's end, a sample without a family or a missing end of the page raises.
        self.families: list[Metric] = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        found = [sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()]
        assert len(found) <= 1, f"{name} {labels}: {found}"
        return found[0] if found else None


class Daemon:
    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://\S+/metrics", said)
        assert found, said
        self.address, self.socket = found[0], folder / "d.sock"

    def page_when(self, holds: Callable[[Page], bool]) -> Page:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(page := Page(self.address)):
            assert time.monotonic() < deadline, page.samples
            time.sleep(0.2)
        return page


@contextmanager
def daemon(scene: Scene, flopsmeter: Path) -> Iterator[Daemon]:
    command = [flopsmeter, "daemon", "--socket", scene.folder / "d.sock", "--metrics", "127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=scene.folder, env=scene.environment(), stderr=subprocess.PIPE, text=True)
    try:
        yield Daemon(process, scene.folder)
    finally:
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


@pytest.fixture
def scene(tmp_path_factory: pytest.TempPathFactory, stand_in: Path, flopsmeter: Path) -> Iterator[Scene]:
    devices = [{"uuid": f"GPU-{index}", "utilization": [[0, 50]], "power_milliwatts": [[0, 300_000]]} for index in range(2)]
    scene = Scene(tmp_path_factory.mktemp("page"), stand_in, {"devices": devices})
    scene.begin()
    job.write(scene.folder, flopsmeter)
    yield scene
    scene.end()


def start(scene: Scene, flopsmeter: Path, gpu: str, modification: str, ledger: str = "ledger.sqlite") -> Program:
    options = ["--quiet", "--ledger", ledger, "--base", "base.toml", "--modification", modification, "--gpus", gpu]
    return scene.start(flopsmeter, "run", *options, "--", sys.executable, job.HOOKED, "facts.json")


def runs(scene: Scene, flopsmeter: Path) -> list[dict[str, Any]]:
    def told(*words: str) -> Any:
        command = [flopsmeter, "runs", *words, "--ledger", "ledger.sqlite", "--json"]
        return json.loads(subprocess.run(command, cwd=scene.folder, check=True, stdout=subprocess.PIPE).stdout)

    return [told("show", run["run"]) for run in told("list")]


def test_the_page_says_what_the_ledger_says(scene: Scene, flopsmeter: Path) -> None:
    with daemon(scene, flopsmeter) as watched:
        programs = [start(scene, flopsmeter, f"GPU-{index}", f"mod-{index}") for index in range(2)]
        for index, program in enumerate(programs):
            program.wait_for("ready")
            program.tell(f"feed training 1 1 8 {index + 1}")
        # What a run was fed and what its GPU did come to the page each in its time.
        told = ["training_operations_total", "ceiling_operations", "energy_joules_total"]
        each = [(f"flopsmeter_run_{name}", f"mod-{index}") for name in told for index in range(2)]
        both = watched.page_when(lambda page: all(page.value(name, modification=slug) for name, slug in each))
        assert [both.value("flopsmeter_run_running", modification=f"mod-{index}") for index in range(2)] == [1, 1]
        assert both.value("flopsmeter_daemon_watching_clients") == 2
        check_families(both)
        check_examples(both)
        for program in programs:
            program.tell("goodbye")
            assert program.finish() == 0
        after = watched.page_when(
            lambda page: all(page.value("flopsmeter_run_running", modification=f"mod-{i}") == 0 for i in range(2))
        )
    on_record = runs(scene, flopsmeter)
    assert sorted(run["modification"] for run in on_record) == ["mod-0", "mod-1"]
    for run in on_record:
        check_run(after, run)


def check_families(page: Page) -> None:
    names = {family.name for family in page.families}
    assert names <= FAMILIES.keys() and FAMILIES.keys() - names <= FORESEEN
    for family in page.families:
        kind, unit, labels = FAMILIES[family.name]
        assert (family.type, family.unit) == (kind, unit), family.name
        assert len(family.documentation) > len("What is running"), family.name
        assert family.samples, family.name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels, sample


def check_run(page: Page, run: dict[str, Any]) -> None:
    of_run = {"run": run["run"], "modification": run["modification"]}
    assessment = run["assessment"]
    of_run |= {"user": user_name(), "ledger": ledger_name(page)}
    expected = {
        "training_operations_total": float(run["flops"]["training"]),
        "executed_operations_total": float(run["flops"]["executed"]),
        "ceiling_operations": float(run["ceiling"]["flop"]) if run["ceiling"]["complete"] else None,
        "ceiling_complete": float(run["ceiling"]["complete"]),
        "energy_joules_total": run["energy_joules"],
        "gap_seconds_total": sum(gap["duration_seconds"] for gap in run["gaps"]),
        "gaps": len(run["gaps"]),
        "held_devices": len(run["ceiling"]["devices"]),
        "line_spent_ratio": float(assessment["share_of_line_percent"]) / 100,
        "running": 0,
    }
    told = {name: page.value(f"flopsmeter_run_{name}", **of_run) for name in expected}
    assert told == pytest.approx(expected, rel=1e-12)
    assert expected["training_operations_total"] > 0 and expected["energy_joules_total"] > 0
    # A modification of one run says the same of it.
    of_modification = {"modification": run["modification"]}
    sums = {
        "training_operations": expected["training_operations_total"],
        "line_operations": float(assessment["line"]["flop"]),
        "line_spent_ratio": expected["line_spent_ratio"],
    }
    assert {name: page.value(f"flopsmeter_modification_{name}", **of_modification) for name in sums} == pytest.approx(sums)
    for verdict in VERDICTS:
        holds = float(verdict == assessment["verdict"])
        assert page.value("flopsmeter_run_verdict", **of_run, verdict=verdict) == holds
        assert page.value("flopsmeter_modification_verdict", **of_modification, verdict=verdict) == holds


def user_name() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def ledger_name(page: Page) -> str:
    """Of the one ledger on the page: a short name, and not where it lies."""
    (name,) = {sample.labels["ledger"] for sample in page.samples if "ledger" in sample.labels}
    assert re.fullmatch("[0-9a-f]{8}", name), name
    return name


def test_modifications_of_one_name_in_two_ledgers_are_two(scene: Scene, flopsmeter: Path) -> None:
    with daemon(scene, flopsmeter) as watched:
        ledgers = ["one.sqlite", "other.sqlite"]
        programs = [start(scene, flopsmeter, f"GPU-{index}", "demo", ledger) for index, ledger in enumerate(ledgers)]
        for index, program in enumerate(programs):
            program.wait_for("ready")
            program.tell(f"feed training 1 1 8 {index + 1}")
        name = "flopsmeter_modification_training_operations"
        page = watched.page_when(lambda page: len([sample for sample in page.samples if sample.name == name]) == 2)
        told = {sample.labels["ledger"]: sample.value for sample in page.samples if sample.name == name}
        assert len(told) == 2 and max(told.values()) == 2 * min(told.values()), told
        for program in programs:
            program.tell("goodbye")
            assert program.finish() == 0


def check_examples(page: Page) -> None:
    """Every series that a rule or a board asks for is on the page, with the labels by which it is asked for."""
    labels: dict[str, set[str]] = {}
    for sample in page.samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    asked = {"job", "instance"}
    expressions = list(examples())
    assert len(expressions) > 10
    for expression in expressions:
        series = re.findall(r"\b(flopsmeter_\w+)(\{[^}]*\})?", expression)
        assert series or expression.startswith("up{"), expression
        for name, selectors in series:
            assert name in labels, f"{name} of `{expression}` is not on the page"
            selected = re.findall(r"(\w+)\s*=~?\s*\"", selectors)
            grouped = [label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(", ")]
            assert {*selected, *grouped} <= labels[name] | asked, expression


def examples() -> Iterator[str]:
    folder = REPOSITORY / "examples/prometheus"
    for group in yaml.safe_load((folder / "flopsmeter.rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    for panel in json.loads((folder / "grafana.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


def test_labels_are_bounded_whatever_clients_say(scene: Scene, flopsmeter: Path) -> None:
    with daemon(scene, flopsmeter) as watched:
        sockets = []
        for number in range(MORE_RUNS):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(watched.socket))
            status = {"run": f"run-{number}", "ledger": "00000000", "held_devices": 1, "gaps": 0, "gap_seconds": 0, "verdict": "below"}
            status["ceiling_complete"] = False
            client.sendall(json.dumps({"status": status}).encode() + b"\n")
            sockets.append(client)
        page = watched.page_when(
            lambda page: page.value("flopsmeter_daemon_runs_left_out_total") == MORE_RUNS - MOST_RUNS
        )
        shown = {sample.labels["run"] for sample in page.samples if "run" in sample.labels}
        assert len(shown) == MOST_RUNS
        for client in sockets:
            client.close()
