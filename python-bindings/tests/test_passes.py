"""What was fed is told exactly, whatever the trainer does around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from models import llama, sequences, trainer
from receiver import Receiver
from transformers import TrainerCallback

import flopsmeter


def test_accumulation_padding_and_the_short_last_batch(receiver: Receiver, tmp_path: Path) -> None:
    job = trainer(llama(), tmp_path, [5, 9, 4, 4, 7, 3, 6], [flopsmeter.FlopsMeterCallback()], gradient_accumulation_steps=2)
    job.train()
    receiver.wait()
    assert receiver.passes() == {
        ("training", True, 2, 9, 0): 1,
        ("training", True, 2, 4, 0): 1,
        ("training", True, 2, 7, 0): 1,
        ("training", True, 1, 6, 0): 1,
    }
    assert receiver.real_tokens("training") == 5 + 9 + 4 + 4 + 7 + 3 + 6
    assert receiver.messages("progress")[-1] == {"message": "progress", "step": 2, "first_step": 0, "max_steps": 2}
    assert receiver.connections[0].messages[-1] == {"message": "goodbye"}
    assert not job.model._forward_pre_hooks


def test_interleaved_evaluation_is_not_training(receiver: Receiver, tmp_path: Path) -> None:
    settings = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 3, "evaluation": sequences([8, 5, 6])}
    trainer(llama(), tmp_path, [4] * 4, [flopsmeter.FlopsMeterCallback()], **settings).train()
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 2, ("evaluation", False, 3, 8, 0): 2}


def test_a_resumed_job_tells_only_its_own_part(receiver: Receiver, tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 2}
    trainer(llama(), tmp_path, [4] * 8, [flopsmeter.FlopsMeterCallback()], max_steps=2, **settings).train()
    trainer(llama(), tmp_path, [4] * 8, [flopsmeter.FlopsMeterCallback()], max_steps=4, **settings).train(
        resume_from_checkpoint=True
    )
    receiver.wait(processes=2)
    first, second = (connection.messages for connection in receiver.connections)
    fed = [[row["count"] for message in part if message["message"] == "fed" for row in message["passes"]] for part in (first, second)]
    assert [sum(counts) for counts in fed] == [2, 2]
    last = [message for message in second if message["message"] == "progress"][-1]
    assert (last["first_step"], last["step"], last["max_steps"]) == (2, 4, 4)


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_is_not_a_pass(receiver: Receiver, tmp_path: Path, reentrant: bool) -> None:
    settings = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": reentrant}}
    trainer(llama(), tmp_path, [4] * 4, [flopsmeter.FlopsMeterCallback()], **settings).train()
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 2}


def test_a_second_callback_does_not_count_twice(receiver: Receiver, tmp_path: Path) -> None:
    callbacks = [flopsmeter.FlopsMeterCallback(), flopsmeter.FlopsMeterCallback()]
    trainer(llama(), tmp_path, [4] * 4, callbacks).train()
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 2}
    assert not receiver.findings()


def test_generation_in_training_mode_is_generation(receiver: Receiver) -> None:
    model = llama().train()
    ids = torch.ones((2, 6), dtype=torch.long)
    with flopsmeter.Meter(model), torch.no_grad():
        model.generate(ids, max_new_tokens=3, do_sample=False, eos_token_id=None)
        model(input_ids=ids)
    receiver.wait()
    assert receiver.passes() == {
        ("generation", False, 2, 6, 0): 1,
        ("generation", False, 2, 1, 6): 1,
        ("generation", False, 2, 1, 7): 1,
        ("other", False, 2, 6, 0): 1,
    }


def test_generation_of_a_peft_model_is_seen(receiver: Receiver) -> None:
    model = peft.get_peft_model(llama(), peft.LoraConfig(r=2, target_modules=["q_proj"])).eval()
    ids = torch.ones((1, 4), dtype=torch.long)
    with flopsmeter.Meter(model), torch.no_grad():
        model.generate(input_ids=ids, max_new_tokens=2, do_sample=False, eos_token_id=None)
        model(input_ids=ids)
    receiver.wait()
    assert receiver.passes() == {
        ("generation", False, 1, 4, 0): 1,
        ("generation", False, 1, 1, 4): 1,
        ("evaluation", False, 1, 4, 0): 1,
    }


def test_a_static_cache_is_multiplied_in_full(receiver: Receiver) -> None:
    model = llama().eval()
    ids = torch.ones((1, 4), dtype=torch.long)
    with flopsmeter.Meter(model), torch.no_grad():
        model.generate(ids, max_new_tokens=2, do_sample=False, eos_token_id=None, cache_implementation="static", disable_compile=True)
    receiver.wait()
    lengths = {form[3] + form[4] for form in receiver.passes()}
    assert len(lengths) == 1 and lengths.pop() >= 5


def test_positions_keywords_and_embeddings_are_all_read(receiver: Receiver) -> None:
    model = llama()
    ids = torch.ones((2, 5), dtype=torch.long)
    with flopsmeter.Meter(model):
        model(ids)
        model(ids, torch.tensor([[1, 1, 1, 0, 0]] * 2))
        model(inputs_embeds=torch.zeros(2, 7, 32))
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 5, 0): 2, ("training", True, 2, 7, 0): 1}
    assert receiver.real_tokens("training") == 10 + 6 + 14


def test_a_mask_that_is_not_on_the_host_is_not_read(receiver: Receiver) -> None:
    """A meta tensor refuses to be read, as a device would have to be waited for; the model itself reads it, after us."""
    model = llama(attn_implementation="sdpa").to("meta")
    inputs = {name: torch.ones((2, 5), dtype=torch.long, device="meta") for name in ("input_ids", "attention_mask")}
    with flopsmeter.Meter(model), torch.no_grad(), pytest.raises(RuntimeError, match="meta tensors"):
        model(**inputs)
    receiver.wait()
    assert receiver.passes() == {("other", False, 2, 5, 0): 1}
    assert receiver.real_tokens("other") is None
    assert not receiver.findings()


def test_an_unknown_input_is_a_finding(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSMETER_INVENTORY", "0")
    class Custom(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels

    model = Custom()
    with flopsmeter.Meter(model):
        for _ in range(3):
            model(torch.zeros(2, 3))
    receiver.wait()
    assert receiver.findings() == {"unknown-input", "no-config"}
    assert not receiver.passes()


def test_a_plain_loop_tells_its_steps(receiver: Receiver) -> None:
    model = llama()
    with flopsmeter.Meter(model, max_steps=5, first_step=2) as meter:
        for _ in range(3):
            model(input_ids=torch.ones((1, 4), dtype=torch.long))
            meter.step()
    receiver.wait()
    assert receiver.messages("progress")[-1] == {"message": "progress", "step": 5, "first_step": 2, "max_steps": 5}


def test_two_models_are_told_apart(receiver: Receiver) -> None:
    policy, reference = llama(), llama(num_hidden_layers=1).eval()
    ids = torch.ones((1, 4), dtype=torch.long)
    with flopsmeter.Meter(policy), flopsmeter.Meter(reference):
        policy(input_ids=ids)
        with torch.no_grad():
            reference(input_ids=ids)
    receiver.wait()
    numbers = {facts["config"]["num_hidden_layers"]: facts["model"] for facts in receiver.models()}
    assert receiver.passes(numbers[2]) == {("training", True, 1, 4, 0): 1}
    assert receiver.passes(numbers[1]) == {("evaluation", False, 1, 4, 0): 1}


@pytest.fixture(autouse=True)
def compiled_anew() -> None:
    """A break that an earlier test has met is not counted again."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def graph_breaks() -> int:
    return sum(torch._dynamo.utils.counters["graph_break"].values())


@pytest.mark.parametrize("peft_wrapped", [False, True])
@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_compiled_model_is_counted_and_compiles(receiver: Receiver, peft_wrapped: bool, fullgraph: bool) -> None:
    model = llama()
    if peft_wrapped:
        model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    compiled = torch.compile(model, backend="eager", fullgraph=fullgraph)
    ids = torch.ones((2, 4), dtype=torch.long)
    with flopsmeter.Meter(compiled):
        for _ in range(3):
            compiled(input_ids=ids, use_cache=False)
    assert graph_breaks() == 0
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 3}
    assert not receiver.findings()


@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_model_compiled_in_place_compiles_whole(receiver: Receiver, fullgraph: bool) -> None:
    model = llama(use_cache=False)
    model.compile(backend="eager", fullgraph=fullgraph)
    ids = torch.ones((2, 4), dtype=torch.long)
    with flopsmeter.Meter(model) as meter:
        for _ in range(3):
            model(input_ids=ids, labels=ids).loss.backward()
            meter.step()
    assert graph_breaks() == 0
    receiver.wait()
    assert receiver.findings() <= {"passes-not-seen"}


@pytest.mark.parametrize("peft_wrapped", [False, True])
def test_a_trainer_that_compiles_is_counted(receiver: Receiver, tmp_path: Path, peft_wrapped: bool) -> None:
    model = llama()
    if peft_wrapped:
        model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    settings = {"torch_compile": True, "torch_compile_backend": "eager", "evaluation": sequences([5, 5]), "eval_strategy": "epoch"}
    trainer(model, tmp_path, [4] * 8, [flopsmeter.FlopsMeterCallback()], **settings).train()
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 4, 0): 4, ("evaluation", False, 2, 5, 0): 1}
    assert not receiver.findings()


def test_a_model_compiled_behind_our_back_is_a_finding(receiver: Receiver) -> None:
    model = llama()
    compiled = torch.compile(model, backend="eager")
    with flopsmeter.Meter(model) as meter:
        compiled(input_ids=torch.ones((2, 4), dtype=torch.long), use_cache=False)
        meter.step()
    receiver.wait()
    assert receiver.findings() == {"passes-not-seen"}


def test_virtual_tokens_are_positions_too(receiver: Receiver) -> None:
    model = peft.get_peft_model(llama(), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with flopsmeter.Meter(model):
        model(input_ids=torch.ones((2, 4), dtype=torch.long), attention_mask=torch.ones((2, 4), dtype=torch.long))
    receiver.wait()
    assert receiver.passes() == {("training", True, 2, 7, 0): 1}


def test_what_is_trained_may_change_between_epochs(receiver: Receiver, tmp_path: Path) -> None:
    class Freeze(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            model.model.layers[0].requires_grad_(False)

    model = llama()
    trainer(model, tmp_path, [4] * 4, [Freeze(), flopsmeter.FlopsMeterCallback()], num_train_epochs=2).train()
    receiver.wait()
    kinds = [message["message"] for message in receiver.connections[0].messages if message["message"] in ("model", "fed")]
    assert kinds[0] == "model" and kinds.count("model") == 2
    second = kinds.index("model", 1)
    before = [message for message in receiver.connections[0].messages if message["message"] in ("model", "fed")][:second]
    assert sum(row["count"] for message in before[1:] for row in message["passes"]) == 2
    assert "model.layers.0.mlp.up_proj.weight" not in receiver.models()[1]["training"]["trained"]
