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
        ours = (self.forward, self.backward, self.recompute)
        return (ours, self.trainable) == (case.counter_parts(), case.trainable_parameters)


@dataclass(frozen=True)
class Answer:
    """A case with our plan of it, or with the command's reason for giving none."""

    case: Case
    plan: Plan | None
    reason: str = ""

    @property
    def is_equal(self) -> bool:
        return self.plan is not None and self.plan.equals(self.case)

    @property
    def is_wrong(self) -> bool:
        return self.plan is not None and not self.plan.equals(self.case)


def answer(binary: Path, cases: Iterable[Case]) -> list[Answer]:
    """Asks the command for each case."""
    cases = list(cases)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            Path(folder, f"{case.model}.json").write_text(json.dumps(case.config))
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda case: _answer(binary.resolve(), folder, case), cases))


def _answer(binary: Path, folder: str, case: Case) -> Answer:
    command = [str(binary), "plan", "--json", "--config", f"{case.model}.json", *case.options()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # The list of what is known instead is long and the same for all.
        reason = " ".join(done.stderr.split()).partition(";")[0]
        return Answer(case, None, reason or f"exit {done.returncode}")
    said = json.loads(done.stdout)
    flops = {part: int(said["flops"][part]) for part in ("forward", "backward", "recompute")}
    return Answer(case, Plan(**flops, trainable=int(said["params"]["trainable"])))
