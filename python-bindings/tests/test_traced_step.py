"""One early step is counted product by product while it runs, and nothing of it shows in the job."""

from __future__ import annotations

import gc
import json
import pkgutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from models import llama, trainer
from receiver import Receiver
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import flopsmeter
from flopsmeter import _flopsmeter, _traced_step

IDS = torch.ones((2, 6), dtype=torch.long)


def steps(model: Any, count: int, ids: torch.Tensor = IDS) -> None:
    with flopsmeter.Meter(model) as meter:
        for _ in range(count):
            model(input_ids=ids, labels=ids).loss.backward()
            meter.step()


def traces(receiver: Receiver) -> list[dict[str, Any]]:
    receiver.wait()
    return [message["trace"] for message in receiver.messages("traced")]


@pytest.mark.parametrize("checkpointing", [None, {"use_reentrant": False}, {"use_reentrant": True}])
def test_the_second_pass_equals_the_count(receiver: Receiver, checkpointing: dict[str, bool] | None) -> None:
    model = llama()
    if checkpointing:
        model.gradient_checkpointing_enable(checkpointing)
    steps(model, 4)
    (trace,) = traces(receiver)
    counted = json.loads(_flopsmeter.count(json.dumps(receiver.models()[0]), json.dumps([trace["pass"]])))
    assert (trace["outcome"], trace["unseen"]) == ("counted", [])
    assert int(trace["forward"]) == int(counted["forward"]) > 0
    assert int(trace["backward"]) == int(counted["backward"]) + int(counted["recompute"])


def test_a_fused_attention_kernel_is_counted_without_its_repetition(receiver: Receiver) -> None:
    model = llama(attn_implementation="sdpa")
    steps(model, 2)
    (trace,) = traces(receiver)
    counted = json.loads(_flopsmeter.count(json.dumps(receiver.models()[0]), json.dumps([trace["pass"]])))
    assert (int(trace["forward"]), int(trace["backward"])) == (int(counted["forward"]), int(counted["backward"]))


def test_a_depthwise_weight_has_one_gradient() -> None:
    convolution = nn.Conv1d(8, 8, 3, padding=1, groups=8)
    with _traced_step.Counter() as counter:
        convolution(torch.ones(2, 8, 5)).sum().backward()
    product = 2 * 2 * 5 * 8 * 3
    assert counter.problem is None
    assert counter.operations == 2 * product  # no gradient of the input


def test_it_is_told_through_the_trainer(receiver: Receiver, tmp_path: Path) -> None:
    trainer(llama(), tmp_path, [4] * 12, [flopsmeter.FlopsMeterCallback()], gradient_accumulation_steps=2).train()
    (trace,) = traces(receiver)
    assert trace["outcome"] == "counted"
    assert (trace["pass"]["sequences"], trace["pass"]["length"]) == (2, 4)


def test_a_counter_of_the_job_s_own_sees_what_it_would_see(receiver: Receiver) -> None:
    def counted(act: Any) -> int:
        model = llama()
        with FlopCounterMode(display=False) as counter:
            act(model)
        total: int = counter.get_total_flops()
        return total

    def alone(model: Any) -> None:
        for _ in range(3):
            model(input_ids=IDS, labels=IDS).loss.backward()

    assert counted(lambda model: steps(model, 3)) == counted(alone)
    assert traces(receiver)[0]["outcome"] == "counted"


def test_modes_of_the_job_may_begin_and_end_anywhere(receiver: Receiver) -> None:
    model = llama()
    backward = torch.autograd.backward
    with flopsmeter.Meter(model):
        for _ in range(3):
            with FlopCounterMode(display=False):
                loss = model(input_ids=IDS, labels=IDS).loss
            loss.backward()
        assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    assert torch.autograd.backward is backward
    assert traces(receiver)[0]["outcome"] == "counted"


def test_passes_without_a_backward_pass_of_their_own_are_not_traced(receiver: Receiver) -> None:
    model = llama()
    backward = torch.autograd.backward
    with flopsmeter.Meter(model):
        for _ in range(6):
            (model(input_ids=IDS, labels=IDS).loss + model(input_ids=IDS[:1], labels=IDS[:1]).loss).backward()
    assert torch.autograd.backward is backward
    (trace,) = traces(receiver)
    assert trace["outcome"] == "skipped" or trace["pass"]["sequences"] == 1


def test_it_can_be_switched_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSMETER_TRACE_STEP", "0")
    steps(llama(), 3)
    assert traces(receiver) == []


def test_a_compiled_model_is_not_traced(receiver: Receiver) -> None:
    model = torch.compile(llama(), backend="eager")
    with flopsmeter.Meter(model):
        for _ in range(3):
            model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    assert traces(receiver) == [{"outcome": "skipped", "reason": "it is compiled"}]


def test_a_fault_of_ours_does_not_reach_the_pass(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise ZeroDivisionError("injected")

    monkeypatch.setattr(_traced_step, "_amount", fail)
    model = llama()
    steps(model, 3)
    assert all(parameter.grad is not None for parameter in model.parameters())
    (trace,) = traces(receiver)
    assert trace["outcome"] == "skipped" and "injected" in trace["reason"]


OURS = [
    "StepTracer._consider",
    "StepTracer._begin",
    "StepTracer._await_backward",
    "StepTracer._count_backward",
    "StepTracer._conclude",
    "StepTracer._end",
    "StepTracer._say",
    "StepTracer.before",
    "StepTracer.expect",
    "StepTracer.give_up",
    "Counter.__enter__",
    "Counter.start",
    "Counter.stop",
    "_row",
    "_why_not",
]


@pytest.mark.parametrize("name", OURS)
def test_whatever_of_ours_raises_the_job_goes_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    raised = []

    holder, _, own = f"flopsmeter._traced_step.{name}".rpartition(".")
    original = pkgutil.resolve_name(f"flopsmeter._traced_step:{name}")

    def fail(*arguments: Any, **named: Any) -> None:
        raised.append(name)
        if own in ("stop", "give_up"):
            original(*arguments, **named)  # nobody could clean up after one that does not
        raise ZeroDivisionError("injected")

    monkeypatch.setattr(f"{holder}.{own}", fail)
    if name == "StepTracer._end":
        monkeypatch.setattr(_traced_step, "_why_not", lambda model: "of the test")
    model, backward = llama(), torch.autograd.backward
    alone = llama()
    steps(model, 4)
    for _ in range(4):
        alone(input_ids=IDS, labels=IDS).loss.backward()
    assert raised
    assert torch.autograd.backward is backward
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    assert all(torch.equal(one.grad, two.grad) for one, two in zip(model.parameters(), alone.parameters(), strict=True))
    assert "Traceback" not in capsys.readouterr().err


def interrupt(model: Any) -> None:
    """Breaks off the second pass, which is the one that is traced."""

    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    model(input_ids=IDS, labels=IDS).loss.backward()
    handle = model.model.layers[0].register_forward_hook(break_off)
    with pytest.raises(KeyboardInterrupt):
        model(input_ids=IDS, labels=IDS)
    handle.remove()


def modes() -> list[Any]:
    found: list[Any] = torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    return found


def test_an_interrupted_pass_leaves_nothing_behind(receiver: Receiver) -> None:
    model = llama()
    hooks = len(model._forward_hooks)
    with flopsmeter.Meter(model):
        interrupt(model)
    assert modes() == []
    assert len(model._forward_hooks) == hooks


def test_after_an_interrupted_pass_the_next_one_is_traced(receiver: Receiver) -> None:
    model = llama()
    with flopsmeter.Meter(model):
        interrupt(model)
        with torch.no_grad():
            model(input_ids=IDS)
        assert modes() == []
        model(input_ids=IDS, labels=IDS).loss.backward()
        assert modes() == []
    assert [trace["outcome"] for trace in traces(receiver)] == ["counted"]


@pytest.mark.parametrize("inside", [False, True])
def test_an_interrupted_pass_takes_no_mode_of_the_job_s(receiver: Receiver, inside: bool) -> None:
    model = llama()
    outer = FlopCounterMode(display=False)
    with flopsmeter.Meter(model):
        if inside:
            with outer, FlopCounterMode(display=False):
                interrupt(model)
        else:
            with outer:
                with FlopCounterMode(display=False):
                    interrupt(model)
                model(input_ids=IDS)
                assert len(modes()) == 1
    assert modes() == []


def test_what_another_library_keeps_of_ours_holds_no_model(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    original = torch.autograd.backward
    with flopsmeter.Meter(model):
        model(input_ids=IDS, labels=IDS).loss.backward()
        loss = model(input_ids=IDS, labels=IDS).loss
        ours = torch.autograd.backward
        assert ours is not original
        monkeypatch.setattr(torch.autograd, "backward", lambda *args, **named: ours(*args, **named))
        loss.backward()
    cells = [cell.cell_contents for cell in ours.__closure__]
    assert [cell for cell in cells if isinstance(cell, list)] == [[]]
    assert not any(isinstance(cell, (_traced_step.StepTracer, _traced_step.Counter)) for cell in cells)
    model(input_ids=IDS, labels=IDS).loss.backward()  # still the job's own
    del loss
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_pass_that_fails_leaves_nothing_behind(receiver: Receiver) -> None:
    model = llama()
    backward = torch.autograd.backward
    with flopsmeter.Meter(model):
        for _ in range(2):
            with pytest.raises(IndexError):
                model(input_ids=IDS + 1000)
        assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    assert torch.autograd.backward is backward
