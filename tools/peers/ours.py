"""Our own figures, from the real command."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cases import Case


@dataclass(frozen=True)
class Plan:
    """What `flopsmeter plan --json` answered to one case."""

    forward: int
    backward: int
    recompute: int
    trainable: int

    @property
    def training(self) -> int:
        return self.forward + self.backward

    def equals(self, case: Case) -> bool:
        """Each part by itself, to the last operation, and the trainable parameters."""
        counted = (int(case.run[part]) for part in ("forward", "backward", "recompute"))
        return (*counted, case.trainable_parameters) == (self.forward, self.backward, self.recompute, self.trainable)


def plans(binary: Path, cases: Iterable[Case]) -> list[Plan | str]:
    """One answer for each case, or the command's reason for giving none."""
    cases = list(cases)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            Path(folder, f"{case.model}.json").write_text(json.dumps(case.config))
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda case: _plan(binary.resolve(), folder, case), cases))


def _plan(binary: Path, folder: str, case: Case) -> Plan | str:
    command = [str(binary), "plan", "--json", "--config", f"{case.model}.json", *case.options()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return " ".join(done.stderr.split()) or f"exit {done.returncode}"
    answer = json.loads(done.stdout)
    flops = {part: int(answer["flops"][part]) for part in ("forward", "backward", "recompute")}
    return Plan(**flops, trainable=int(answer["params"]["trainable"]))
