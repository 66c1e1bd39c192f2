"""Each formula on networks that are small enough to do it by hand."""

from __future__ import annotations

from typing import Any

import pytest
from peers import decoder, formulas
from peers.cases import Case

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}
# A layer: q 8·8, k 8·4, v 8·4, o 8·8 = 192; gate, up, down 3·8·16 = 384; two norms of 8.
LLAMA_LAYER = 192 + 384
# Embedding and head 2·800, last norm 8.
LLAMA_PARAMETERS = 2 * (LLAMA_LAYER + 16) + 1600 + 8

EXPERTS: dict[str, Any] = {
    **LLAMA,
    "model_type": "qwen3_moe",
    "head_dim": 4,
    "moe_intermediate_size": 4,
    "num_experts": 8,
    "num_experts_per_tok": 2,
}

LATENT: dict[str, Any] = {
    **LLAMA,
    "model_type": "deepseek_v3",
    "num_key_value_heads": 2,
    "moe_intermediate_size": 4,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "q_lora_rank": 6,
    "kv_lora_rank": 5,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 2,
    "v_head_dim": 3,
}


def case(config: dict[str, Any], parameters: int = LLAMA_PARAMETERS, trainable: int | None = None, **run: Any) -> Case:
    defaults = {"method": "full", "sequences": 1, "seq_len": 10, "gradient_checkpointing": None}
    trained = parameters if trainable is None else trainable
    return Case("tiny", "causal", config, parameters, trained, 0, {**defaults, **run})


def test_six_nd_is_parameters_times_tokens() -> None:
    assert formulas.six_nd(case(LLAMA, sequences=3)) == 6 * 2792 * 30


def test_active_parameters_leave_out_idle_experts() -> None:
    # Six of eight experts idle in each of two layers, 3·8·4 = 96 parameters each.
    assert formulas.six_nd_active(case(EXPERTS, 5000)) == 6 * (5000 - 2 * 6 * 96) * 10
    assert formulas.six_nd_active(case(LLAMA)) == formulas.six_nd(case(LLAMA))


def test_aws_is_six_nd_for_a_full_fine_tune_and_less_for_lora() -> None:
    assert formulas.aws(case(LLAMA)) == formulas.six_nd(case(LLAMA))
    adapted = case(LLAMA, trainable=100, method="lora")
    assert formulas.aws(adapted) == (4 * 2892 + 2 * 100) * 10
    frozen = case(LLAMA, trainable=100, method="head-only")
    assert formulas.aws(frozen) == (4 * 2792 + 2 * 100) * 10


def test_torchtitan_counts_the_whole_score_matrix_and_no_lookup() -> None:
    # 2 layers · 2 heads · (4 + 4) · 10 positions.
    attention = 2 * 2 * 8 * 10
    assert formulas.torchtitan(case(LLAMA)) == 6 * (2792 - 800 + attention) * 10
    tied = {**LLAMA, "tie_word_embeddings": True}
    assert formulas.torchtitan(case(tied, 2000)) == 6 * (2000 + attention) * 10


def test_megatron_halves_attention_and_pads_the_vocabulary() -> None:
    attention = 2 * 2 * 8 * 10 // 2
    per_token = 2 * (2 * LLAMA_LAYER + attention + 8 * 128)
    assert formulas.megatron(case(LLAMA)) == 3 * per_token * 10


def test_megatron_counts_routed_and_shared_experts_without_the_router() -> None:
    projections = 6 * (8 + 2 * 6) + 5 * (8 + 2 * (4 + 3)) + 8 * 2 + 2 * 3 * 8 + 6 + 5
    attention = 2 * (projections + 2 * (4 + 2 + 3) * 10 // 2)
    mlp = 3 * 8 * 16 + 3 * 8 * (2 * 4 + 4)
    assert formulas.megatron(case(LATENT)) == 3 * 2 * (mlp + attention + 8 * 128) * 10


def test_megatron_has_a_formula_of_its_own_for_mamba() -> None:
    sizes = {"hidden_size": 8, "state_size": 4, "num_heads": 4, "n_groups": 1, "num_hidden_layers": 2, "vocab_size": 100}
    # In 8 -> 2·16 + 2·4 + 4 = 44, scan 7·16·4, out 16 -> 8; the head padded to 128.
    per_token = 2 * (2 * 8 * 44 + 7 * 16 * 4 + 2 * 16 * 8) + 2 * 8 * 128
    assert formulas.megatron(case({"model_type": "mamba2", **sizes})) == 3 * per_token * 10


def test_verl_counts_the_embedding_like_a_second_head() -> None:
    weights = 2 * LLAMA_LAYER + 2 * 800
    # 3 · 10² pairs · 2 layers · 2 heads · (4 + 4).
    assert formulas.verl(case(LLAMA)) == 6 * weights * 10 + 3 * 100 * 2 * 2 * 8


def test_verl_counts_the_router_and_the_chosen_experts() -> None:
    weights = 2 * (192 + 3 * 8 * 2 * 4 + 8 * 8) + 2 * 800
    assert formulas.verl(case(EXPERTS)) == 6 * weights * 10 + 3 * 100 * 2 * 2 * 8


def test_verl_sees_sliding_windows() -> None:
    kinds = ["sliding_attention", "full_attention"]
    config = {**LLAMA, "model_type": "gemma3_text", "head_dim": 4, "sliding_window": 3, "layer_types": kinds}
    weights = 2 * LLAMA_LAYER + 2 * 800
    assert formulas.verl(case(config)) == 6 * weights * 10 + 3 * 10 * (3 + 10) * 2 * 8


@pytest.mark.parametrize("peer", [formulas.torchtitan, formulas.verl, formulas.megatron])
def test_what_a_peer_does_not_describe_gets_no_answer(peer: Any) -> None:
    assert peer(case({"model_type": "vit"})) is None


def test_a_decoder_is_read_with_its_learned_positions() -> None:
    gpt2 = {"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 3, "n_positions": 20, "vocab_size": 50}
    shape = decoder.read(gpt2)
    assert shape is not None
    assert (shape.ffn, shape.embedding_parameters, shape.tied) == (32, 50 * 8 + 20 * 8, True)
