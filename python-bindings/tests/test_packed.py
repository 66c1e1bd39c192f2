"""Weights that are stored packed are counted at their logical size, whatever library has packed them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from models import llama
from oracle import findings
from receiver import Receiver
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

import flopsmeter
from flopsmeter import _facts, _flopsmeter

IDS = torch.arange(2, 14).view(2, 6)


def oracle() -> FlopCounterMode:
    """PyTorch's counter, told of the operators in which bitsandbytes multiplies with a packed weight."""
    import bitsandbytes  # noqa: F401

    def four_bits(inputs: Any, weight: Any, sizes: Any, *others: Any, **named: Any) -> int:
        return 2 * inputs.numel() * int(sizes[0])

    def eight_bits(inputs: Any, rows: Any, weight: Any, *others: Any, **named: Any) -> int:
        return 2 * inputs.numel() * int(weight.shape[0])

    four_bits._get_raw = eight_bits._get_raw = True  # type: ignore[attr-defined]
    operators = torch.ops.bitsandbytes
    return FlopCounterMode(display=False, custom_mapping={operators.gemm_4bit: four_bits, operators.int8_mixed_scaled_mm: eight_bits})


def equal(receiver: Receiver, model: Any, reference: FlopCounterMode, traced: bool = True) -> None:
    model.train()
    with flopsmeter.Meter(model) as meter:
        model(input_ids=IDS, labels=IDS).loss.backward()
        with reference:
            model(input_ids=IDS, labels=IDS).loss.backward()
        meter.step()
    receiver.wait()
    (facts,) = receiver.models()
    row = {"phase": "training", "gradient": True, "sequences": 2, "length": 6, "count": 1, "real_tokens": None}
    counted = json.loads(_flopsmeter.count(json.dumps(facts), json.dumps([row])))
    assert int(counted["executed"]) - reference.get_total_flops() == 0
    assert counted["parameters_total"] == facts["parameters_total"]
    assert counted["parameters_trainable"] == facts["parameters_trainable"] > 0
    assert findings(receiver) == set()
    (message,) = receiver.messages("traced")
    trace = message["trace"]
    if traced:
        assert trace["unseen"] == []
        assert int(trace["forward"]) + int(trace["backward"]) == reference.get_total_flops()


BITS: dict[str, dict[str, Any]] = {
    "4 bits": {"load_in_4bit": True, "bnb_4bit_compute_dtype": torch.float32},
    "4 bits, twice": {"load_in_4bit": True, "bnb_4bit_use_double_quant": True, "bnb_4bit_quant_type": "nf4"},
    "8 bits": {"load_in_8bit": True},
}


@pytest.mark.parametrize("inventory", ["1", "always"])
@pytest.mark.parametrize("bits", BITS)
def test_bitsandbytes(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: str, inventory: str
) -> None:
    monkeypatch.setenv("FLOPSMETER_INVENTORY", inventory)
    llama().save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path,
        quantization_config=BitsAndBytesConfig(**BITS[bits]),
        device_map="cpu",
        attn_implementation="eager",
        dtype=torch.float32,
    )
    assert "bitsandbytes" in type(model.model.layers[0].self_attn.q_proj).__module__
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=3, target_modules=["q_proj", "down_proj"]))
    equal(receiver, adapted, oracle())


class Packed(nn.Module):
    """A linear module as one of the libraries that run on accelerators alone holds it: the same names, sizes and kinds of
    tensors. It unpacks its weight in each pass, as they do where no kernel fits."""

    def __init__(self, linear: nn.Linear, form: str) -> None:
        super().__init__()
        inputs, outputs, bits = linear.in_features, linear.out_features, 4
        names = ("infeatures", "outfeatures") if form == "auto-gptq" else ("in_features", "out_features")
        setattr(self, names[0], inputs)
        setattr(self, names[1], outputs)
        self._sizes = (outputs, inputs)
        if form == "hqq":
            self.W_q = nn.Parameter(torch.zeros(outputs * inputs // 2, dtype=torch.uint8), requires_grad=False)
            self.meta = {"shape": torch.Size(self._sizes), "nbits": bits}
        else:
            packed = (inputs, outputs * bits // 32) if form == "awq" else (inputs * bits // 32, outputs)
            self.register_buffer("qweight", torch.zeros(packed, dtype=torch.int32))
            self.register_buffer("qzeros", torch.zeros((inputs // 16, outputs * bits // 32), dtype=torch.int32))
            self.register_buffer("scales", torch.ones((inputs // 16, outputs)))
        self.bias = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(values, torch.full(self._sizes, 0.01, dtype=values.dtype))


def pack(model: nn.Module, form: str) -> nn.Module:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and name != "lm_head":
                setattr(module, name, Packed(child, form))
    return model


FORMS = ["gptq", "auto-gptq", "awq", "hqq"]


@pytest.mark.parametrize("inventory", ["1", "always"])
@pytest.mark.parametrize("form", FORMS)
def test_modules_with_the_attributes_of_other_libraries(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, form: str, inventory: str
) -> None:
    monkeypatch.setenv("FLOPSMETER_INVENTORY", inventory)
    model = pack(llama(), form)
    whole = llama()
    assert _facts.read(model, 0).message["parameters_total"] == sum(parameter.numel() for parameter in whole.parameters())
    equal(receiver, model, FlopCounterMode(display=False))


@pytest.mark.parametrize("form", FORMS)
def test_packed_modules_of_a_model_that_no_configuration_describes(receiver: Receiver, form: str) -> None:
    model = pack(nn.Sequential(nn.Embedding(64, 32), nn.Linear(32, 64), nn.Linear(64, 32), nn.LayerNorm(32)), form)
    call = ((IDS,), {})
    with FlopCounterMode(display=False) as reference:
        model(IDS).sum().backward()
    facts = _facts.read(model, 0, call)
    row = {"phase": "training", "gradient": True, "sequences": 2, "length": 6, "count": 1, "real_tokens": None}
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps([row])))
    assert int(counted["executed"]) - reference.get_total_flops() == 0
    assert facts.findings == [] and counted["findings"] == []
    assert counted["parameters_total"] == facts.message["parameters_total"]


@pytest.mark.parametrize("inventory", ["1", "always"])
def test_parameters_that_zero_3_has_partitioned(monkeypatch: pytest.MonkeyPatch, inventory: str) -> None:
    """DeepSpeed leaves empty parameters with their shape beside them; these stand in for its own."""
    monkeypatch.setenv("FLOPSMETER_INVENTORY", inventory)
    model, whole = llama(), llama()
    whole.lm_head.requires_grad_(False)
    for parameter, other in zip(model.parameters(), whole.parameters(), strict=True):
        parameter.ds_shape, parameter.ds_numel = parameter.shape, parameter.numel()
        parameter.data = torch.empty(0)
        parameter.requires_grad_(other.requires_grad)
    facts = _facts.read(model, 0)
    with FlopCounterMode(display=False) as reference:
        whole(input_ids=IDS, labels=IDS).loss.backward()
    row = {"phase": "training", "gradient": True, "sequences": 2, "length": 6, "count": 1, "real_tokens": None}
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps([row])))
    assert int(counted["executed"]) - reference.get_total_flops() == 0
    assert facts.findings == [] and counted["findings"] == []
    assert facts.message["parameters_total"] == sum(parameter.numel() for parameter in whole.parameters())
    assert counted["parameters_trainable"] == facts.message["parameters_trainable"]
