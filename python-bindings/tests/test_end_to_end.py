"""The native command around a real training: what it records equals PyTorch's own count of the same steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest
from jobs import script

COMMAND = str(Path(sysconfig.get_path("scripts")) / "flopsmeter")

# Neither job imports flopsmeter.
JOB = """
    from pathlib import Path
    import torch
    from models import llama, sequences, trainer
    from torch.utils.flop_counter import FlopCounterMode

    model = llama()
    if "lora" in sys.argv:
        import peft
        model = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="all-linear", modules_to_save=["lm_head"]))
    job = trainer(
        model, sys.argv[1], [5, 12, 7, 9, 3], gradient_accumulation_steps=2, evaluation=sequences([6, 4]),
        eval_strategy="steps", eval_steps=1, gradient_checkpointing="checkpointing" in sys.argv,
    )
    with FlopCounterMode(display=False) as counter:
        job.train()
    Path(sys.argv[1], "counted").write_text(str(counter.get_total_flops()))
    sys.exit(37)
"""


def metered(folder: Path, *command: str) -> tuple[int, dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "FLOPSMETER_SOCKET"}
    environment["FLOPSMETER_LEDGER"] = str(folder / "ledger.sqlite")
    summary = folder / "summary.json"
    done = subprocess.run(
        [COMMAND, "run", "--quiet", "--summary", str(summary), "--", *command], env=environment, timeout=300, check=False
    )
    return done.returncode, json.loads(summary.read_text(encoding="utf-8"))


@pytest.mark.parametrize("options", [("full",), ("full", "checkpointing"), ("lora",), ("lora", "checkpointing")])
def test_the_record_equals_pytorch_s_count(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, summary = metered(tmp_path, sys.executable, script(tmp_path, JOB), str(tmp_path), *options)
    assert code == 37
    assert int(summary["flops"]["executed"]) - int((tmp_path / "counted").read_text()) == 0
    assert (int(summary["flops"]["recompute"]) > 0) == ("checkpointing" in options)
    assert summary["complete"] is True
    assert summary["tokens"]["real"] == 5 + 12 + 7 + 9 + 3


def test_a_plain_loop_without_the_wrapper_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package starts the native command itself; the record is there when the loop's process has ended."""
    monkeypatch.delenv("FLOPSMETER_SOCKET", raising=False)
    monkeypatch.setenv("FLOPSMETER_LEDGER", str(tmp_path / "ledger.sqlite"))
    code = """
        import flopsmeter, torch
        from flopsmeter import _connection
        from models import llama
        _connection._SESSION_PATIENCE_SECONDS = 60
        model = llama()
        with flopsmeter.Meter(model) as meter:
            for _ in range(3):
                model(input_ids=torch.ones((2, 4), dtype=torch.long)).logits.sum().backward()
                meter.step()
        print(3 * flopsmeter.count(model, sequences=2, length=4).training)
    """
    done = subprocess.run(
        [sys.executable, script(tmp_path, code)], stdout=subprocess.PIPE, text=True, timeout=300, check=True
    )
    recorded = wait_for_closed_run()
    assert recorded["flops"]["training"] == done.stdout.strip()


def wait_for_closed_run() -> dict[str, Any]:
    """The session outlives its parent by the moment it needs to close the record."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        listed = subprocess.run([COMMAND, "runs", "list", "--json"], capture_output=True, text=True, check=False)
        # There may be no ledger yet.
        runs: list[dict[str, Any]] = json.loads(listed.stdout) if listed.returncode == 0 else []
        closed = [run for run in runs if run["state"] == "closed"]
        if closed:
            return closed[0]
        time.sleep(0.2)
    raise AssertionError(f"the session did not close its run: {listed.stdout} {listed.stderr}")
