"""What is counted of peft's adapters, read from the live model, equals PyTorch's own operation counter around a real step."""

from __future__ import annotations

import json
from typing import Any

import peft
import pytest
import torch
from oracle import counter, findings
from receiver import Receiver
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

import flopsmeter
from flopsmeter import _flopsmeter

SIZES: dict[str, Any] = {"vocab_size": 96, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DECODER = {**SIZES, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4}
VIRTUAL = 5

MODELS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "llama": ("CAUSAL_LM", AutoModelForCausalLM, {**DECODER, "num_key_value_heads": 4}),
    "gpt2": ("CAUSAL_LM", AutoModelForCausalLM, {**SIZES, "n_embd": 48, "n_layer": 2, "n_head": 4}),
    "bert": ("SEQ_CLS", AutoModelForSequenceClassification, {**DECODER, "max_position_embeddings": 64}),
    "t5": (
        "SEQ_2_SEQ_LM",
        AutoModelForSeq2SeqLM,
        {**SIZES, "d_model": 48, "d_kv": 12, "d_ff": 80, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    ),
}


def prompt_tuning(task: str) -> Any:
    return peft.PromptTuningConfig(task_type=task, num_virtual_tokens=VIRTUAL)


def p_tuning(task: str) -> Any:
    return peft.PromptEncoderConfig(task_type=task, num_virtual_tokens=VIRTUAL, encoder_hidden_size=24)


def prefix_tuning(task: str) -> Any:
    return peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=VIRTUAL)


def projected_prefix(task: str) -> Any:
    return peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=VIRTUAL, prefix_projection=True, encoder_hidden_size=24)


def ia3(task: str) -> Any:
    return peft.IA3Config(task_type=task)


def build(family: str) -> Any:
    _, kind, sizes = MODELS[family]
    torch.manual_seed(0)
    return kind.from_config(AutoConfig.for_model(family, **sizes), attn_implementation="eager").train()


def batch(family: str) -> dict[str, torch.Tensor]:
    tokens = torch.randint(3, 96, (3, 11))
    labels = torch.tensor([0, 1, 1]) if MODELS[family][0] == "SEQ_CLS" else tokens[:, :7].contiguous() if family == "t5" else tokens
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": labels}


def equal(receiver: Receiver, model: Any, arguments: Any) -> tuple[int, int]:
    """Difference of a training step and of an evaluation; everything that is told fits together."""
    executed = []
    for gradient in (True, False):
        with flopsmeter.Meter(model) as meter, counter() as reference, torch.set_grad_enabled(gradient):
            output = model(**arguments)
            if gradient:
                (output if isinstance(output, torch.Tensor) else output.loss).sum().backward()
                meter.step()
        executed.append(reference.get_total_flops())
    receiver.wait(processes=2)
    differences = []
    for connection, expected in zip(receiver.connections, executed, strict=True):
        facts = [message for message in connection.messages if message["message"] == "model"][-1]
        passes = [row for message in connection.messages if message["message"] == "fed" for row in message["passes"]]
        counted = json.loads(_flopsmeter.count(json.dumps(facts), json.dumps(passes)))
        assert counted["findings"] == []
        assert counted["parameters_total"] == facts["parameters_total"]
        assert counted["parameters_trainable"] == facts["parameters_trainable"] > 0
        differences.append(int(counted["executed"]) - expected)
    assert executed[0] > executed[1] > 0
    assert findings(receiver) == set()
    return differences[0], differences[1]


PROMPTS = [prompt_tuning, p_tuning, prefix_tuning, projected_prefix]


@pytest.mark.parametrize("inventory", ["1", "always"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", [ia3, *PROMPTS])
@pytest.mark.parametrize("family", MODELS)
def test_methods(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, family: str, method: Any, checkpointing: bool, inventory: str
) -> None:
    monkeypatch.setenv("FLOPSMETER_INVENTORY", inventory)
    model = build(family)
    if checkpointing and method in (prefix_tuning, projected_prefix):
        return  # peft refuses it
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model = peft.get_peft_model(model, method(MODELS[family][0]))
    assert equal(receiver, model, batch(family)) == (0, 0)


class Convolutions(nn.Module):
    """Both kinds, one of them in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.third = nn.Conv1d(12, 6, 5, padding=2)
        self.head = nn.Linear(6, 4)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.second(torch.relu(self.first(pixels))))
        return self.head(torch.relu(self.third(features.flatten(2))).mean(2))


CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "lora": {"target_modules": ["first", "third"]},
    "dora": {"target_modules": ["first", "third", "head"], "use_dora": True},
    "dora with dropout": {"target_modules": ["first", "third", "head"], "use_dora": True, "lora_dropout": 0.1},
    "a frozen beginning": {"target_modules": ["third"], "modules_to_save": ["head"]},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_low_rank_pairs_beside_convolutions(receiver: Receiver, name: str) -> None:
    torch.manual_seed(0)
    model = peft.get_peft_model(Convolutions(), peft.LoraConfig(r=4, **CONVOLUTIONS[name]))
    assert equal(receiver, model, {"pixels": torch.randn(3, 3, 16, 16)}) == (0, 0)


def test_a_low_rank_pair_beside_a_convolution_in_groups(receiver: Receiver) -> None:
    model = peft.get_peft_model(Convolutions(), peft.LoraConfig(r=4, target_modules=["second"]))
    product = 2 * (3 * 8 * 8) * (4 // 2) * 12
    # PyTorch's formula multiplies the gradient of a weight in groups by their number, which nobody computes.
    assert equal(receiver, model, {"pixels": torch.randn(3, 3, 16, 16)}) == (product - 2 * product, 0)


@pytest.mark.parametrize("feedforward", [["first"], ["first", "second"]])
def test_scaled_convolutions(receiver: Receiver, feedforward: list[str]) -> None:
    settings = peft.IA3Config(target_modules=["first", "second", "head"], feedforward_modules=feedforward)
    model = peft.get_peft_model(Convolutions(), settings)
    assert equal(receiver, model, {"pixels": torch.randn(3, 3, 16, 16)}) == (0, 0)


def test_what_cannot_be_counted_is_told(receiver: Receiver) -> None:
    settings = peft.PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL, encoder_hidden_size=24, encoder_reparameterization_type="LSTM"
    )
    model = peft.get_peft_model(build("llama"), settings)
    with flopsmeter.Meter(model):
        model(**batch("llama")).loss.backward()
    receiver.wait()
    assert {"unknown-adapter", "unplaced-parameters"} <= findings(receiver)
