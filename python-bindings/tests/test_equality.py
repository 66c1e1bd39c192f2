"""The count equals PyTorch's own operation counter around a whole `Trainer.train()`, to the last operation.

With eager attention: the fused CPU kernel repeats one product in its backward pass, which the counter sees.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from models import sequences, trainer
from receiver import Receiver
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

import flopsmeter
from flopsmeter import _flopsmeter

SIZES = {
    "vocab_size": 160,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 12},
    "gemma2": {"head_dim": 16, "sliding_window": 8},
    "phi3": {},
    "mistral": {"sliding_window": None},
}


def build(family: str) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SIZES, **FAMILIES[family]})
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager")


def full(model: Any) -> Any:
    return model


def lora(model: Any) -> Any:
    import peft

    targets = ["qkv_proj"] if model.config.model_type == "phi3" else ["q_proj", "v_proj"]
    return peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))


def lora_everywhere(model: Any) -> Any:
    import peft

    settings = {"target_modules": "all-linear", "modules_to_save": ["lm_head"]}
    if model.config.tie_word_embeddings:
        del settings["modules_to_save"]
    return peft.get_peft_model(model, peft.LoraConfig(r=8, lora_dropout=0.1, task_type="CAUSAL_LM", **settings))


def last_layer(model: Any) -> Any:
    model.requires_grad_(False)
    model.model.layers[-1].requires_grad_(True)
    return model


CHECKPOINTING: dict[str, dict[str, Any]] = {
    "plain": {},
    "non-reentrant": {"gradient_checkpointing": True},
    "reentrant": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
}


@pytest.mark.parametrize("checkpointing", CHECKPOINTING)
@pytest.mark.parametrize("method", [full, lora, lora_everywhere, last_layer])
@pytest.mark.parametrize("family", FAMILIES)
def test_difference_is_zero(receiver: Receiver, tmp_path: Path, family: str, method: Any, checkpointing: str) -> None:
    job = trainer(
        method(build(family)),
        tmp_path,
        [5, 12, 7, 9, 3],
        [flopsmeter.FlopsMeterCallback()],
        gradient_accumulation_steps=2,
        eval_strategy="steps",
        eval_steps=1,
        evaluation=sequences([6, 4]),
        **CHECKPOINTING[checkpointing],
    )
    with FlopCounterMode(display=False) as counter:
        job.train()
    receiver.wait()
    (facts,) = receiver.models()
    passes = [row for message in receiver.messages("fed") for row in message["passes"]]
    counted = json.loads(_flopsmeter.count(json.dumps(facts), json.dumps(passes)))
    assert int(counted["executed"]) - counter.get_total_flops() == 0
    assert counter.get_total_flops() > 0
    assert counted["findings"] == []
    assert counted["parameters_total"] == facts["parameters_total"]
    assert counted["parameters_trainable"] == facts["parameters_trainable"]
    assert (int(counted["recompute"]) > 0) == (checkpointing != "plain")
