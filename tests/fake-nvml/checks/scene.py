"""A folder in which programs find the stand-in as the machine's driver, and one scenario plays for all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

READERS = Path(__file__).with_name("readers.py")
PATIENCE_SECONDS = 120
HOUR_SECONDS = 3600


class Scene:
    """The scenario stands at zero until `begin`."""

    def __init__(self, folder: Path, stand_in: Path, scenario: dict[str, Any]) -> None:
        self.folder = folder
        self._programs: list[Program] = []
        shutil.copy(stand_in, folder / "libnvidia-ml.so.1")
        (folder / "libnvidia-ml.so.1.json").write_text(json.dumps({"origin_file": "began", **scenario}))
        # CodeCarbon takes a machine for one without GPUs if there is no such program.
        smi = folder / "nvidia-smi"
        smi.write_text("#!/bin/sh\nexit 0\n")
        smi.chmod(0o755)
        self._set_origin(time.time() + HOUR_SECONDS)

    def _set_origin(self, at: float) -> None:
        new = self.folder / "began.new"
        new.write_text(str(int(at * 1e6)))
        new.replace(self.folder / "began")
        self._began = at

    def begin(self) -> None:
        self._set_origin(time.time())

    def wait_until(self, seconds: float) -> None:
        time.sleep(max(0.0, self._began + seconds - time.time()))

    def environment(self) -> dict[str, str]:
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOPSMETER_", "CUDA_", "NVIDIA_"))}
        # Others look for the library by its name; ours asks no driver on a machine without its device nodes, unless told to.
        library = str(self.folder / "libnvidia-ml.so.1")
        ours = {"FLOPSMETER_NVML_LIBRARY": library, "FLOPSMETER_DAEMON": str(self.folder / "d.sock")}
        return kept | ours | {"PATH": path, "LD_LIBRARY_PATH": str(self.folder), "HOME": str(self.folder)}

    def start(self, *command: str | Path) -> Program:
        program = Program(command, self)
        self._programs.append(program)
        return program

    def end(self) -> None:
        """No program outlives the scene, whatever became of the test."""
        for program in self._programs:
            program.end()


class Program:
    """A running program that is told lines and answers with lines."""

    def __init__(self, command: tuple[str | Path, ...], scene: Scene) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=scene.folder, env=scene.environment(), stdin=pipe, stdout=pipe, text=True
        )
        # Whoever waits for a line of it does not wait for ever.
        self._end = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        self._end.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._end.cancel()
        self._process.kill()
        self._process.communicate()

    def wait_for(self, line: str) -> None:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said.strip() == line, f"{self._process.args!r} said {said!r}"

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def read(self) -> dict[str, Any]:
        self.tell("now")
        assert self._process.stdout is not None
        reading: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reading

    def finish(self) -> int:
        self._process.communicate(timeout=PATIENCE_SECONDS)
        return self._process.returncode


def reader(scene: Scene, program: str) -> Program:
    return scene.start(sys.executable, READERS, program)
