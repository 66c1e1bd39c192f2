"""`flopsmeter run --gate`: the trainer saves and stops by itself, every rank after the same step, before the line is crossed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from jobs import script
from models import llama
from receiver import Receiver

import flopsmeter

COMMAND = str(Path(sysconfig.get_path("scripts")) / "flopsmeter")

# A machine that stalls for seconds just before the line makes even the nearest step at which all ranks can stop lie behind it.
tried_again = pytest.mark.flaky(reruns=4)

TRAINER = """
    import os, time
    from models import llama, trainer
    from ranks import leave_group
    from transformers import TrainerCallback

    class Slow(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            time.sleep(0.05)

    class Note(TrainerCallback):
        def on_train_end(self, args, state, control, **kwargs):
            with open(f"{folder}/steps." + os.environ.get("RANK", "0"), "w") as file:
                file.write(str(state.global_step))

    settings = {{"ddp_backend": "gloo"}} if "RANK" in os.environ else {{}}
    job = trainer(llama(), "{folder}/out", [8] * 4000, [Slow(), Note()], **settings)
    job.train()
    del job
    leave_group()
"""

LOOP = """
    import time, torch
    import flopsmeter
    from models import llama
    model = llama()
    ids = torch.ones((2, 8), dtype=torch.long)
    step = 0
    with flopsmeter.Meter(model, max_steps=4000) as meter:
        while step < 4000 and not meter.should_stop():
            model(input_ids=ids, labels=ids).loss.backward()
            time.sleep(0.05)
            step += 1
            meter.step()
    print(step)
"""


def declared_base(folder: Path, steps: int) -> Path:
    """A base of which so many steps of two sequences of eight are the line."""
    spent = flopsmeter.count(llama(), sequences=2, length=8).training
    path = folder / "base.toml"
    path.write_text(
        f'name = "acme/tiny"\nflop = "{3 * steps * spent}"\nsource = "a test"\ndeclared_by = "Ada"\ndate = "2026-11-01"\ngpai = true\n'
    )
    return path


def gated(folder: Path, steps: int, *command: str, gate: str = "exceeds") -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "FLOPSMETER_SOCKET"}
    environment |= {"FLOPSMETER_LEDGER": str(folder / "ledger.sqlite"), "CUDA_VISIBLE_DEVICES": ""}
    summary = folder / "summary.json"
    options = ["--base", str(declared_base(folder, steps)), "--gate", gate, "--summary", str(summary), "--device", "cpu"]
    done = subprocess.run(
        [COMMAND, "run", *options, "--", *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert summary.exists(), done.stderr
    return done, json.loads(summary.read_text(encoding="utf-8"))


def stop_step(summary: dict[str, Any]) -> int:
    texts = [finding["text"] for finding in summary["findings"] if finding["code"] == "gate-stop"]
    assert len(texts) == 1, summary["findings"]
    return int(texts[0].split("stop after step ")[1].split(":")[0])


@tried_again
def test_a_trainer_stops_by_itself_and_its_checkpoint_loads(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    done, summary = gated(tmp_path, 200, sys.executable, script(tmp_path, TRAINER.format(folder=tmp_path)))
    assert done.returncode == 11, done.stderr
    step = int((tmp_path / "steps.0").read_text())
    assert step == stop_step(summary)
    # It stopped by itself, and before the line.
    assert "gate-terminated" not in {finding["code"] for finding in summary["findings"]}
    assert summary["exit"] == {"code": 0}
    assert summary["assessment"]["verdict"] in ("below", "near")
    assert summary["complete"] is True
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / f"checkpoint-{step}")
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(parameter.numel() for parameter in llama().parameters())


@tried_again
def test_two_ranks_stop_after_the_same_step(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone", "--local-addr", "127.0.0.1"]
    done, summary = gated(tmp_path, 400, *torchrun, script(tmp_path, TRAINER.format(folder=tmp_path)))
    assert done.returncode == 11, done.stderr
    steps = [int((tmp_path / f"steps.{rank}").read_text()) for rank in (0, 1)]
    assert steps == [stop_step(summary)] * 2
    assert summary["assessment"]["verdict"] in ("below", "near")
    assert (tmp_path / "out" / f"checkpoint-{steps[0]}" / "model.safetensors").exists()


@tried_again
def test_a_loop_of_one_s_own_asks(tmp_path: Path) -> None:
    done, summary = gated(tmp_path, 200, sys.executable, script(tmp_path, LOOP))
    assert done.returncode == 11, done.stderr
    assert int(done.stdout) == stop_step(summary)


def test_a_job_that_stays_below_is_left_alone(tmp_path: Path) -> None:
    code = LOOP.replace("4000", "5")
    done, summary = gated(tmp_path, 100, sys.executable, script(tmp_path, code))
    assert (done.returncode, done.stdout.strip()) == (0, "5")
    assert not any(finding["code"].startswith("gate") for finding in summary["findings"])


def test_without_a_meter_nothing_stops(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    model = llama()
    with flopsmeter.Meter(model) as meter:
        assert meter.should_stop() is False
        meter.step()
        assert meter.should_stop() is False
    assert meter.should_stop() is False
