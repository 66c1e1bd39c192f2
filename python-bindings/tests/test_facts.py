"""What is told of a live model: names as the plain model's checkpoint has them, whatever wraps it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from models import llama
from transformers import LlamaForSequenceClassification

from flopsmeter import _facts, _flopsmeter

LAYERS = range(2)


def read(model: Any) -> dict[str, Any]:
    facts = _facts.read(model, 0)
    assert facts.findings == []
    message = json.loads(facts.to_json())
    # The receiver accepts it.
    _flopsmeter.count(json.dumps(message), "[]")
    return message


def lora(model: Any, **settings: Any) -> Any:
    return peft.get_peft_model(model, peft.LoraConfig(**{"r": 4, "target_modules": ["q_proj", "v_proj"], **settings}))


def checkpoint(model: Any, **keywords: Any) -> Any:
    model.activation_checkpointing_enable(activation_checkpointing_kwargs=keywords or None)
    return model


def test_a_full_fine_tune() -> None:
    facts = read(llama())
    assert facts["class_name"] == "LlamaForCausalLM"
    assert facts["parameters_total"] == facts["parameters_trainable"] == sum(p.numel() for p in llama().parameters())
    assert facts["training"]["trained"] == sorted(name for name, _ in llama().named_parameters())
    assert facts["training"]["adapters"] == facts["training"]["copied"] == []
    assert facts["training"]["attention_implementation"] == "eager"
    assert facts["config"]["model_type"] == "llama"
    assert set(facts["libraries"]) >= {"torch", "transformers", "peft"}


def test_tied_parameters_stand_once() -> None:
    untied, tied = read(llama()), read(llama(tie_word_embeddings=True))
    assert untied["parameters_total"] - tied["parameters_total"] == 128 * 32
    assert "model.embed_tokens.weight" in tied["training"]["trained"]
    assert "lm_head.weight" not in tied["training"]["trained"]


def test_frozen_embeddings() -> None:
    model = llama()
    model.get_input_embeddings().requires_grad_(False)
    trained = read(model)["training"]["trained"]
    assert "model.embed_tokens.weight" not in trained
    assert "lm_head.weight" in trained


def test_low_rank_pairs() -> None:
    facts = read(lora(llama()))
    assert facts["training"]["trained"] == []
    assert facts["training"]["adapters"] == [
        {"module": f"model.layers.{layer}.self_attn.{name}", "rank": 4, "kind": "lora", "trained": True, "dropout": False}
        for layer in LAYERS
        for name in ("q_proj", "v_proj")
    ]
    assert facts["parameters_trainable"] == 2 * (4 * (32 + 32) + 4 * (32 + 16))


def test_all_linear_adapts_everything_but_the_head() -> None:
    adapters = read(lora(llama(), target_modules="all-linear"))["training"]["adapters"]
    assert len(adapters) == 2 * 7
    assert not any("lm_head" in adapter["module"] for adapter in adapters)


def test_ranks_differ_by_module() -> None:
    adapters = read(lora(llama(), rank_pattern={"v_proj": 9}))["training"]["adapters"]
    assert {adapter["module"].rsplit(".", 1)[1]: adapter["rank"] for adapter in adapters} == {"q_proj": 4, "v_proj": 9}


def test_dora() -> None:
    assert {adapter["kind"] for adapter in read(lora(llama(), use_dora=True))["training"]["adapters"]} == {"dora"}


def test_dropout_is_told_since_dora_multiplies_once_more_with_it() -> None:
    facts = _facts.read(lora(llama(), use_dora=True, lora_dropout=0.1), 0)
    assert {adapter["dropout"] for adapter in facts.message["training"]["adapters"]} == {True}
    assert facts.findings == []
    assert {adapter["dropout"] for adapter in read(lora(llama()))["training"]["adapters"]} == {False}


def test_modules_to_save_stand_twice() -> None:
    facts = read(lora(llama(), modules_to_save=["lm_head", "embed_tokens"]))
    assert facts["training"]["copied"] == ["lm_head", "model.embed_tokens"]
    assert facts["training"]["trained"] == ["lm_head.weight", "model.embed_tokens.weight"]


def test_only_active_adapters_cost() -> None:
    model = lora(llama())
    model.add_adapter("second", peft.LoraConfig(r=7, target_modules=["k_proj"]))
    assert {adapter["rank"] for adapter in read(model)["training"]["adapters"]} == {4}
    model.set_adapter("second")
    assert {adapter["rank"] for adapter in read(model)["training"]["adapters"]} == {7}
    with model.disable_adapter():
        # Passes tell by themselves that they ran without them.
        assert {adapter["rank"] for adapter in read(model)["training"]["adapters"]} == {7}


def test_a_merged_adapter_costs_nothing() -> None:
    model = lora(llama())
    model.merge_adapter()
    assert read(model)["training"]["adapters"] == []


def test_a_frozen_adapter_still_multiplies() -> None:
    model = lora(llama())
    model.requires_grad_(False)
    assert {adapter["trained"] for adapter in read(model)["training"]["adapters"]} == {False}


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, "non-reentrant"),
        ({"use_reentrant": False}, "non-reentrant"),
        ({"use_reentrant": True}, "reentrant"),
        # Nothing bound: torch itself decides, for reentrant.
        ({"preserve_rng_state": True}, "reentrant"),
    ],
)
def test_checkpointing(keywords: dict[str, bool], expected: str) -> None:
    model = checkpoint(llama(), **keywords)
    assert read(model)["training"]["gradient_checkpointing"] == expected
    model.activation_checkpointing_disable()
    assert read(model)["training"]["gradient_checkpointing"] is None


def test_blocks_that_are_not_recomputed_are_named() -> None:
    model = llama()
    model.activation_checkpointing_enable(every_n_layers=2)
    facts = _facts.read(model, 0)
    assert facts.message["training"]["gradient_checkpointing"] == "non-reentrant"
    assert facts.message["training"]["not_recomputed"] == ["model.layers.1"]
    assert facts.findings == []


def test_input_gradients() -> None:
    model = llama()
    assert not read(model)["training"]["input_require_grads"]
    model.enable_input_require_grads()
    assert read(model)["training"]["input_require_grads"]
    model.disable_input_require_grads()
    assert not read(model)["training"]["input_require_grads"]


def test_peft_enables_input_gradients_where_checkpointing_was_on() -> None:
    assert read(lora(checkpoint(llama())))["training"]["input_require_grads"]
    assert not read(lora(llama()))["training"]["input_require_grads"]


@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel])
def test_wrappers_change_nothing(wrap: Any) -> None:
    plain = lora(llama(), modules_to_save=["lm_head"])
    expected = read(plain)
    assert read(wrap(plain)) == expected


def test_the_live_class_counts_not_what_the_checkpoint_was() -> None:
    """A classifier loaded from a language model's configuration still carries that one's architecture."""
    config = llama().config
    config.architectures = ["LlamaForCausalLM"]
    facts = _facts.read(LlamaForSequenceClassification(config), 0)
    assert facts.message["config"]["architectures"] == ["LlamaForSequenceClassification"]
    assert config.architectures == ["LlamaForCausalLM"]


def test_another_kind_of_adapter_is_not_left_out_in_silence() -> None:
    model = peft.get_peft_model(llama(), peft.LoHaConfig(target_modules=["k_proj"]))
    facts = _facts.read(model, 0)
    assert {code for code, _ in facts.findings} == {"unknown-adapter"}
    assert any("hada" in name for name in facts.message["training"]["trained"])


def test_virtual_tokens_are_not_left_out_in_silence() -> None:
    settings = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3, "encoder_reparameterization_type": "LSTM", "encoder_hidden_size": 8}
    facts = _facts.read(peft.get_peft_model(llama(), peft.PromptEncoderConfig(**settings)), 0)
    assert {code for code, _ in facts.findings} == {"unknown-adapter"}
    assert any("prompt" in name for name in facts.message["training"]["trained"])


def test_infinities_of_a_configuration_become_valid_json() -> None:
    model = llama()
    model.config.limit = float("inf")
    text = _facts.read(model, 0).to_json()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["config"]["limit"] == "Infinity"


def test_a_change_of_what_is_trained_changes_the_signature() -> None:
    model = lora(llama())
    plain = _facts.unwrap(model)[1]
    seen = {_facts.signature(plain)}
    model.get_base_model().lm_head.requires_grad_(True)
    seen.add(_facts.signature(plain))
    checkpoint(model.get_base_model())
    seen.add(_facts.signature(plain))
    with model.disable_adapter():
        seen.add(_facts.signature(plain))
    assert len(seen) == 4


def flatten(holder: Any, parameters: list[Any]) -> None:
    """Stands in for the first FSDP, which keeps parameters of a module in one flat piece (`use_orig_params=True`)."""
    infos = [SimpleNamespace(module=holder, param_name="none of it") for _ in parameters]
    names = [f"part.{number}" for number, _ in enumerate(parameters)]
    shapes = [tuple(parameter.shape) for parameter in parameters]
    holder._handle = SimpleNamespace(
        flat_param=SimpleNamespace(_params=parameters, _fqns=names, _shapes=shapes, _param_infos=infos)
    )


@pytest.mark.parametrize("is_mixed", [False, True])
def test_frozen_parameters_in_a_piece_with_trained_ones_are_told(is_mixed: bool) -> None:
    model = llama()
    first, second = model.model.layers
    first.mlp.requires_grad_(False)
    frozen, trained = list(first.mlp.parameters()), list(second.mlp.parameters())
    if is_mixed:
        flatten(first.mlp, [*frozen, *trained])
    else:
        flatten(first.mlp, frozen)
        flatten(second.mlp, trained)
    facts = _facts.read(model, 0)
    assert [code for code, _ in facts.findings] == (["frozen-in-flat-piece"] if is_mixed else [])
    assert facts.message["parameters_total"] == sum(parameter.numel() for parameter in llama().parameters())
