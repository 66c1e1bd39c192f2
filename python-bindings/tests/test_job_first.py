"""No fault of ours stops, slows or changes the job."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import python, script
from models import llama, sequences, trainer
from receiver import Receiver
from transformers import TrainerCallback

import flopsmeter
from flopsmeter import _batch, _connection, _facts, _watch

IDS = torch.ones((2, 4), dtype=torch.long)


class KillMeter(TrainerCallback):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            self._receiver.kill()


def losses(job: Any) -> list[float]:
    job.train()
    return [row["loss"] for row in job.state.log_history if "loss" in row]


def test_training_is_the_same_with_and_without_us(receiver: Receiver, tmp_path: Path) -> None:
    settings = {"logging_steps": 1, "logging_nan_inf_filter": False}
    alone = losses(trainer(llama(), tmp_path, [4] * 12, **settings))
    assert losses(trainer(llama(), tmp_path, [4] * 12, [flopsmeter.FlopsMeterCallback()], **settings)) == alone


def test_a_meter_that_dies_is_told_once(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watch, "_CHECK_INTERVAL_SECONDS", 0.0)
    job = trainer(llama(), tmp_path, [4] * 40, [KillMeter(receiver), flopsmeter.FlopsMeterCallback()])
    with pytest.warns(RuntimeWarning, match="not metered any more") as told:
        job.train()
    assert job.state.global_step == 20
    assert sum(issubclass(warning.category, RuntimeWarning) for warning in told) == 1


def test_a_meter_that_is_not_there_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    monkeypatch.setenv("FLOPSMETER_SOCKET", str(tmp_path / "nothing.sock"))
    job = trainer(llama(), tmp_path, [4] * 4, [flopsmeter.FlopsMeterCallback()])
    with pytest.warns(RuntimeWarning, match="cannot connect"):
        job.train()
    assert job.state.global_step == 2


def test_a_hook_that_fails_does_not_reach_the_job(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise ZeroDivisionError("injected")

    model = llama()
    monkeypatch.setattr(_batch, "_real", fail)
    with pytest.warns(RuntimeWarning, match="injected"), flopsmeter.Meter(model):
        assert model(input_ids=IDS).logits.shape == (2, 4, 128)
        model(input_ids=IDS)
    receiver.wait()
    assert receiver.findings() == {"hook-failed"}


def test_facts_that_cannot_be_read_do_not_reach_the_job(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("injected")

    model = llama()
    monkeypatch.setattr(_facts, "read", fail)
    with pytest.warns(RuntimeWarning, match="injected"), flopsmeter.Meter(model) as meter:
        model(input_ids=IDS)
        meter.step()
    receiver.wait()
    assert receiver.findings() == {"hook-failed"}
    # The meter learns that there was something it cannot count.
    assert sum(receiver.passes().values()) == 1
    assert not receiver.models()


def test_what_is_no_model_does_not_reach_the_job(receiver: Receiver) -> None:
    with pytest.warns(RuntimeWarning, match="hook failed"), flopsmeter.Meter("no model") as meter:  # type: ignore[arg-type]
        meter.step()


def test_warnings_that_are_errors_do_not_reach_the_job(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSMETER_SOCKET", "/nonexistent/hook.sock")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with flopsmeter.Meter(llama()) as meter:
            meter.step()


def test_the_job_s_own_exception_passes(receiver: Receiver) -> None:
    model = llama()
    with pytest.raises(KeyError, match="the job's"), flopsmeter.Meter(model):
        model(input_ids=IDS)
        raise KeyError("the job's")
    receiver.wait()
    assert receiver.connections[0].messages[-1] == {"message": "goodbye"}
    assert not model._forward_pre_hooks


def test_a_job_that_ends_by_an_exception_still_reports(receiver: Receiver, tmp_path: Path) -> None:
    code = """
        import flopsmeter, torch
        from models import llama
        model = llama()
        flopsmeter.Meter(model).__enter__()
        model(input_ids=torch.ones((2, 4), dtype=torch.long))
        sys.exit(37)
    """
    assert python(script(tmp_path, code), socket=receiver.path).returncode == 37
    receiver.wait()
    assert sum(receiver.passes().values()) == 1
    assert receiver.messages("goodbye")


def test_a_job_that_ends_while_it_is_metered_ends_silently(receiver: Receiver, tmp_path: Path) -> None:
    code = """
        import torch
        from models import llama
        model = llama()
        {meter}
        model(input_ids=torch.ones((2, 4), dtype=torch.long))
    """
    job = script(tmp_path, code.format(meter="import flopsmeter; meter = flopsmeter.Meter(model); meter.__enter__()"))
    done = python(job, socket=receiver.path)
    # On some processors what a trainer imports says something by itself.
    unmetered = python(script(tmp_path, code.format(meter="")), socket=None)
    assert (done.returncode, done.stderr) == (0, unmetered.stderr)


def test_a_job_that_dies_of_broken_pipes_does_not_die_of_ours(receiver: Receiver, tmp_path: Path) -> None:
    code = """
        import signal, flopsmeter, torch
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        from models import llama
        model = llama()
        with flopsmeter.Meter(model) as meter:
            model(input_ids=torch.ones((2, 4), dtype=torch.long))
            print("ready", flush=True)
            sys.stdin.readline()
            for _ in range(3):
                model(input_ids=torch.ones((2, 4), dtype=torch.long))
                meter._watch.recorder.flush()
        print("done")
    """
    environment = {**os.environ, "FLOPSMETER_SOCKET": receiver.path}
    job = subprocess.Popen(
        [sys.executable, script(tmp_path, code)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    receiver.kill()
    output, _ = job.communicate("\n", timeout=300)
    assert (job.returncode, output) == (0, "done\n")


def test_data_loader_workers_are_silent(receiver: Receiver, tmp_path: Path) -> None:
    trainer(llama(), tmp_path, [4] * 8, [flopsmeter.FlopsMeterCallback()], dataloader_num_workers=2).train()
    receiver.wait()
    assert len(receiver.connections) == 1
    assert receiver.passes() == {("training", True, 2, 4, 0): 4}


def test_a_forked_child_reports_only_for_itself(receiver: Receiver) -> None:
    model = llama()
    with flopsmeter.Meter(model):
        model(input_ids=IDS)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                # Not watched in the child until the child says so.
                model(input_ids=IDS)
                with flopsmeter.Meter(model):
                    model(input_ids=IDS[:1])
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        model(input_ids=IDS)
    receiver.wait(processes=2)
    told = [[row for message in connection.messages if message["message"] == "fed" for row in message["passes"]] for connection in receiver.connections]
    forms = sorted(sorted((row["sequences"], row["count"]) for row in rows) for rows in told)
    assert forms == [[(1, 1)], [(2, 2)]]


def test_a_trainer_made_only_to_be_called_is_called(receiver: Receiver, tmp_path: Path) -> None:
    def make() -> Any:
        return trainer(llama(), tmp_path, [4] * 2, [flopsmeter.FlopsMeterCallback()], evaluation=sequences([6, 6]))

    assert "eval_loss" in make().evaluate()
    assert "test_loss" in make().predict(sequences([6, 6])).metrics
    job = make()
    evaluate = job.evaluate
    assert vars(job).keys().isdisjoint(("evaluate", "predict", "train"))
    assert pickle.loads(pickle.dumps(type(job).evaluate)) is type(job).evaluate
    del job
    assert "eval_loss" in evaluate()
    _watch._connection.close()
    receiver.wait()
    assert receiver.passes() == {("evaluation", False, 2, 6, 0): 3}
    assert not receiver.findings()


def test_a_trainer_is_freed_as_soon_as_without_us(receiver: Receiver, tmp_path: Path) -> None:
    """Memory of a device that waits for the collector is memory that the next trial lacks."""

    def is_alive(callbacks: list[Any]) -> bool:
        job = trainer(llama(), tmp_path, [4] * 2, callbacks, evaluation=sequences([6, 6]))
        job.evaluate()
        alive = weakref.ref(job)
        gc.collect()
        gc.disable()
        try:
            del job
            return alive() is not None
        finally:
            gc.enable()

    assert is_alive([flopsmeter.FlopsMeterCallback()]) == is_alive([])


class Break(TrainerCallback):
    """Fails as a device does that runs out of memory, or is interrupted."""

    def __init__(self, problem: BaseException) -> None:
        self._problem = problem

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise self._problem


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("is_late", [False, True])
def test_training_that_fails_lets_its_model_go(
    receiver: Receiver, tmp_path: Path, problem: type[BaseException], is_late: bool
) -> None:
    """Also where the callback came after the trainer, so that its `train()` was under way before we knew of it."""
    callback = flopsmeter.FlopsMeterCallback()
    job = trainer(llama(), tmp_path, [4] * 8, [Break(problem()), *([] if is_late else [callback])])
    if is_late:
        job.add_callback(callback)
        job.callback_handler.callbacks.reverse()
    with pytest.raises(problem):
        job.train()
    assert is_late or not _watch._watches
    model = weakref.ref(job.model)
    assert is_late or not job.model._forward_pre_hooks
    del job
    gc.collect()
    assert model() is None
    assert not _watch._watches
    _watch._connection.close()
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 1}


def test_a_model_that_is_dropped_while_it_is_metered_is_freed_at_once(receiver: Receiver) -> None:
    model = llama()
    meter = flopsmeter.Meter(model)
    meter.__enter__()
    model(input_ids=IDS)
    meter._model = None  # type: ignore[assignment]
    gc.collect()
    alive = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert alive() is None
    finally:
        gc.enable()
    meter.__exit__(None, None, None)
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 1}


@pytest.fixture
def native_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> Path:
    """Stands in for the native command; the test writes what it does."""
    monkeypatch.delenv("FLOPSMETER_SOCKET")
    command = tmp_path / "flopsmeter"
    monkeypatch.setattr(_connection, "_native_command", lambda: str(command))
    return command


def write_command(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def test_without_the_wrapper_a_session_is_started(
    native_command: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    monkeypatch.setattr(_connection, "_SESSION_PATIENCE_SECONDS", 60)
    said = native_command.with_suffix(".arguments")
    write_command(native_command, f'echo "$@" > {said}; echo {receiver.path}')
    model = llama()
    with flopsmeter.Meter(model):
        model(input_ids=IDS)
    with flopsmeter.Meter(model):
        model(input_ids=IDS)
    receiver.wait(processes=2)
    assert receiver.passes() == {("training", True, 2, 4, 0): 2}
    # One session for both.
    assert said.read_text(encoding="utf-8") == f"session --parent {os.getpid()}\n"


@pytest.mark.parametrize("body", ["exit 3", "sleep 120", "echo /nonexistent/hook.sock"])
def test_a_session_that_fails_is_told_and_the_job_goes_on(
    native_command: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(_connection, "_SESSION_PATIENCE_SECONDS", 0.3)
    write_command(native_command, body)
    model = llama()
    began = time.monotonic()
    with pytest.warns(RuntimeWarning, match="not metered"), flopsmeter.Meter(model) as meter:
        model(input_ids=IDS)
        meter.step()
    assert time.monotonic() - began < 60
