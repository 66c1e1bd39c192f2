"""What is counted from a live model's inventory equals PyTorch's own operation counter, to the last operation."""

from __future__ import annotations

import gc
import json
import logging
import random
import threading
import time
import warnings
from typing import Any

import numpy
import peft
import pytest
import torch
from custom_models import DiffusionTransformer, Perceptron, UNet
from models import llama
from receiver import Receiver
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

import flopsmeter
from flopsmeter import _adapters, _example_inputs, _facts, _flopsmeter, _inventory, _quiet

#: The product's own, which the fixtures extend.
BUDGET_SECONDS = _inventory._BUDGET_SECONDS

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

FAMILIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (AutoModelForCausalLM, {}),
    "gpt2": (AutoModelForCausalLM, {"n_embd": 48, "n_layer": 2, "n_head": 4}),
    "gemma2": (AutoModelForCausalLM, {"head_dim": 16}),
    "bloom": (AutoModelForCausalLM, {"n_head": 4, "n_layer": 2}),
    "mpt": (AutoModelForCausalLM, {"d_model": 48, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2}),
    "mixtral": (AutoModelForCausalLM, {"num_local_experts": 4}),
    "gpt_oss": (AutoModelForCausalLM, {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 12}),
    "bert": (AutoModelForMaskedLM, {"max_position_embeddings": 64}),
    "deberta-v2": (
        AutoModelForMaskedLM,
        {"max_position_embeddings": 64, "relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]},
    ),
    "albert": (AutoModelForMaskedLM, {"embedding_size": 16}),
    "fnet": (AutoModelForMaskedLM, {}),
    "t5": (
        AutoModelForSeq2SeqLM,
        {"d_model": 48, "d_kv": 12, "d_ff": 80, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    ),
    "bart": (
        AutoModelForSeq2SeqLM,
        {
            "d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
            "encoder_ffn_dim": 80, "decoder_ffn_dim": 80, "decoder_start_token_id": 1,
        },
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def inventory_of_known_families_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSMETER_INVENTORY", "always")


def build(family: str) -> Any:
    kind, changes = FAMILIES[family]
    torch.manual_seed(0)
    model = kind.from_config(AutoConfig.for_model(family, **{**SIZES, **changes}), attn_implementation="eager").float()
    if getattr(model.config, "_experts_implementation", None) is not None:
        model.set_experts_implementation("batched_mm")  # the counter sees nothing of the default
    return model.train()


def operations(act: Any) -> tuple[int, Any]:
    # The fused kernel for processors forms the scores again in its backward pass.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        result = act()
    return counter.get_total_flops(), result


def difference(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], passes: dict[str, int]) -> tuple[int, int]:
    forward, output = operations(lambda: model(*args, **kwargs))
    result = output if isinstance(output, torch.Tensor) else output.logits
    backward = operations(result.sum().backward)[0] if result.requires_grad else 0
    facts = _facts.read(model, 0, (args, kwargs))
    assert facts.findings == []
    assert facts.message["inventory"]["scales"] != "nothing"
    row = {"phase": "training", "gradient": True, "count": 1, "real_tokens": None, **passes}
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps([row])))
    # PyTorch warns of these cases itself: a reentrant checkpoint without an input that requires a gradient.
    assert {finding["code"] for finding in counted["findings"]} <= {"checkpoint-cuts-gradients"}
    assert counted["parameters_total"] == facts.message["parameters_total"]
    assert counted["parameters_trainable"] == facts.message["parameters_trainable"]
    return int(counted["forward"]) - forward, int(counted["backward"]) + int(counted["recompute"]) - backward


def text(model: Any, sequences: int = 2, length: int = 12) -> tuple[dict[str, Any], dict[str, int]]:
    tokens = torch.randint(3, 96, (sequences, length))
    kwargs: dict[str, Any] = {"input_ids": tokens, "use_cache": False}
    passes = {"sequences": sequences, "length": length}
    if model.config.is_encoder_decoder:
        kwargs["decoder_input_ids"] = tokens[:, :7]
        passes["decoder_length"] = 7
    if "use_cache" not in type(model).forward.__code__.co_varnames:
        del kwargs["use_cache"]
    return kwargs, passes


def freeze(model: nn.Module, seed: int) -> None:
    """All trained, or some at random."""
    chance = random.Random(seed)
    for parameter in model.parameters():
        parameter.requires_grad_(seed == 0 or chance.random() < (0.05, 0.3)[seed % 2])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("use_reentrant", [None, False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str, use_reentrant: bool | None, seed: int) -> None:
    model = build(family)
    freeze(model, seed)
    if use_reentrant is not None:
        if not model.supports_gradient_checkpointing:
            pytest.skip("transformers does not recompute it")
        model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    kwargs, passes = text(model)
    assert difference(model, (), kwargs, passes) == (0, 0)


@pytest.mark.parametrize("family", ["llama", "gpt2", "deberta-v2", "t5", "mixtral"])
def test_adapters_are_laid_on_the_plain_model(family: str) -> None:
    model = peft.get_peft_model(build(family), peft.LoraConfig(r=3, target_modules="all-linear"))
    kwargs, passes = text(model)
    assert difference(model, (), kwargs, passes) == (0, 0)


def test_trained_copies_are_laid_on_the_plain_model() -> None:
    settings = peft.LoraConfig(r=3, target_modules=["q_proj"], modules_to_save=["lm_head", "norm"])
    model = peft.get_peft_model(build("llama"), settings)
    kwargs, passes = text(model)
    assert difference(model, (), kwargs, passes) == (0, 0)


def test_checkpointing_may_skip_blocks() -> None:
    model = build("llama")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.model.layers[0].gradient_checkpointing = False
    kwargs, passes = text(model)
    assert difference(model, (), kwargs, passes) == (0, 0)


CUSTOM: dict[str, tuple[Any, Any]] = {
    "unet": (
        UNet,
        lambda: ((torch.randn(3, 4, 16, 16), torch.randint(0, 9, (3,))), {"encoder_hidden_states": torch.randn(3, 7, 24)}),
    ),
    "diffusion-transformer": (
        DiffusionTransformer,
        lambda: ((torch.randn(3, 4, 8, 8), torch.randint(0, 9, (3,)), torch.randint(0, 9, (3,))), {}),
    ),
    "perceptron": (lambda use_reentrant: Perceptron(), lambda: ((torch.randn(5, 20),), {})),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("use_reentrant", [None, False, True])
@pytest.mark.parametrize("name", CUSTOM)
def test_custom_models(name: str, use_reentrant: bool | None, seed: int) -> None:
    make, call = CUSTOM[name]
    model = make(use_reentrant)
    freeze(model, seed)
    args, kwargs = call()
    sequences, length = _example_inputs.measure(model, args, kwargs) or (0, 0)
    assert difference(model, args, kwargs, {"sequences": sequences, "length": length}) == (0, 0)


@pytest.mark.parametrize(("name", "targets"), [("unet", ["to_q", "to_v"]), ("diffusion-transformer", ["mlp.0", "modulation.1"])])
def test_adapters_on_custom_models(name: str, targets: list[str]) -> None:
    make, call = CUSTOM[name]
    model = peft.get_peft_model(make(None), peft.LoraConfig(r=3, target_modules=targets))
    args, kwargs = call()
    sequences, length = _example_inputs.measure(_facts.unwrap(model)[1], args, kwargs) or (0, 0)
    assert difference(model, args, kwargs, {"sequences": sequences, "length": length}) == (0, 0)


def test_an_inventory_holds_for_other_sizes() -> None:
    make, call = CUSTOM["unet"]
    model = make(None)
    facts = _facts.read(model, 0, call())
    other = (torch.randn(2, 4, 32, 24), torch.randint(0, 9, (2,)), torch.randn(2, 7, 24))
    forward, _ = operations(lambda: model(*other))
    row = {"phase": "training", "gradient": True, "sequences": 2, "length": 32 * 24, "count": 1, "real_tokens": None}
    assert int(json.loads(_flopsmeter.count(facts.to_json(), json.dumps([row])))["forward"]) == forward


class Windowed(nn.Module):
    """Attends within windows of sixteen positions, the last of them filled up."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(8, 8)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        missing = -values.shape[1] % 16
        windows = nn.functional.pad(self.query(values), (0, 0, 0, missing)).unflatten(1, (-1, 16))
        return windows @ windows.mT


class Deciding(nn.Module):
    """Its path depends on what its weights say."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        result = self.inner(values)
        return self.inner(result) if result.sum() > 0 else result


class Doubling(torch.autograd.Function):
    """A product whose backward pass nobody can look into."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(values, weight)
        return values @ weight

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> Any:
        values, weight = context.saved_tensors
        return gradient @ weight.mT, values.mT @ gradient


class Opaque(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return Doubling.apply(values, self.weight)  # type: ignore[no-any-return]


def test_what_does_not_follow_the_length_holds_for_one_length() -> None:
    message = _facts.read(Windowed(), 0, ((torch.randn(2, 40, 8),), {})).message["inventory"]
    assert (message["scales"], message["length"]) == ("sequences", 40)


def test_a_path_that_depends_on_values_is_told() -> None:
    facts = _facts.read(Deciding(), 0, ((torch.randn(2, 8),), {}))
    assert facts.message["inventory"] is None
    assert {code for code, _ in facts.findings} == {"inventory-failed", "no-config"}


def test_a_function_with_its_own_backward_pass_is_named() -> None:
    facts = _facts.read(Opaque(), 0, ((torch.randn(4, 8),), {}))
    assert [row["what"] for row in facts.message["inventory"]["inexact"]] == ["DoublingBackward"]
    row = {"phase": "training", "gradient": True, "sequences": 4, "length": 1, "count": 1, "real_tokens": None}
    counted = json.loads(_flopsmeter.count(facts.to_json(), json.dumps([row])))
    assert [finding["code"] for finding in counted["findings"]] == ["inventory-inexact"]


def test_nothing_of_the_job_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    numbers = torch.get_rng_state(), random.getstate()
    with FlopCounterMode(display=False) as counter:
        facts = _facts.read(model, 0)
    assert facts.message["inventory"] is not None
    assert counter.get_total_flops() == 0
    assert torch.equal(torch.get_rng_state(), numbers[0]) and random.getstate() == numbers[1]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == flags
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_it_gives_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inventory, "_BUDGET_SECONDS", 0.0)
    taken = _inventory.take(build("llama"), _adapters.Adapters())
    assert taken.message is None
    assert "took too long" in taken.findings[0][1]


def test_known_families_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSMETER_INVENTORY", "1")
    assert _facts.read(llama(), 0).message["inventory"] is None


def test_a_custom_model_is_metered(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSMETER_INVENTORY", "1")
    make, call = CUSTOM["unet"]
    model = make(None)
    args, kwargs = call()
    with flopsmeter.Meter(model) as meter:
        for _ in range(3):
            model(*args, **kwargs).sum().backward()
            meter.step()
    receiver.wait()
    assert receiver.findings() == set()
    assert receiver.passes() == {("training", True, 3, 256, 0): 3}
    (facts,) = receiver.models()
    trace = receiver.messages("traced")[0]["trace"]
    counted = json.loads(_flopsmeter.count(json.dumps(facts), json.dumps([trace["pass"]])))
    assert (int(trace["forward"]), int(trace["backward"])) == (int(counted["forward"]), int(counted["backward"]))


def test_a_large_model_s_inventory_is_small_and_soon_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32}
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=32, num_key_value_heads=8))
    monkeypatch.setattr(_inventory, "_BUDGET_SECONDS", BUDGET_SECONDS)
    # A machine that is held up by its host counts that as our time: three tries.
    for _ in range(3):
        began = time.thread_time()
        taken = _inventory.take(model, _adapters.Adapters())
        print(f"inventory of 8 billion parameters: {time.thread_time() - began:.2f} s of processor time")
        if taken.message is not None:
            break
    assert taken.message is not None and taken.findings == []
    assert len(json.dumps(taken.message)) < 1 << 20


class Drawing(nn.Module):
    """Draws from every generator that a process has, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        torch.randint(9, (3,)), torch.randperm(4), random.random(), numpy.random.rand()
        logging.getLogger("of.a.model").warning("inside")
        warnings.warn("inside", stacklevel=1)
        return self.linear(values)


def test_other_threads_notice_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """They log, warn, draw and collect as if no inventory were taken."""
    said: list[Any] = []
    taking = _inventory._Taking.message

    def elsewhere() -> None:
        logging.getLogger("of.the.job").warning("outside")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("outside", stacklevel=1)
        said.extend([[str(warning.message) for warning in caught], gc.isenabled(), torch.rand(2)])

    def message(self: Any) -> Any:
        result = taking(self)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return result

    monkeypatch.setattr(_inventory._Taking, "message", message)
    model = Drawing()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    numbers = random.getstate(), repr(numpy.random.get_state())
    filters = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        taken = _inventory.take(model, _adapters.Adapters(), ((torch.ones(4, 8),), {}))
    assert taken.message is not None
    assert said[:2] == [["outside"], True]
    assert torch.equal(torch.cat([said[2], torch.rand(2)]), expected)
    assert (random.getstate(), repr(numpy.random.get_state())) == numbers
    assert [record.message for record in caplog.records] == ["outside"]
    assert caught == []
    assert list(warnings.filters) == filters
    assert not any(isinstance(one, _quiet._OfThread) for one in caplog.handler.filters)
