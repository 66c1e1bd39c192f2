"""Gemma's later text models: embeddings for each block, keys that blocks share, experts beside the feed-forward part."""

from groups.dense import COMMON, QV
from models import Case
from text import SIZES, language

NARROW = {"vocab_size_per_layer_input": 80, "hidden_size_per_layer_input": 8, "sliding_window": 6, "head_dim": 16}
TURNS = ["sliding_attention", "full_attention"]
EXPERTS = {"enable_moe_block": True, "num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 20}


def case(kind, name=None, targets=QV, **entries):
    config = {"model_type": kind, **COMMON, **NARROW, **entries}
    return Case(name or kind, config, inputs=language, sizes=SIZES, targets=targets)


CASES = [
    case("gemma4_text", global_head_dim=20, num_hidden_layers=6, num_kv_shared_layers=3, layer_types=TURNS * 3, use_double_wide_mlp=True),
    case("gemma4_text", "gemma4_text-keys-as-values", hidden_size_per_layer_input=0, global_head_dim=20, num_global_key_value_heads=1, attention_k_eq_v=True, layer_types=[*TURNS, TURNS[1]]),
    case("gemma4_text", "gemma4_text-experts", **{**EXPERTS, "hidden_size_per_layer_input": 0}, global_head_dim=16, layer_types=[TURNS[0], *TURNS], tie_word_embeddings=False, attention_bias=True),
    case("gemma3n_text", num_hidden_layers=6, num_kv_shared_layers=2, layer_types=TURNS * 3, laurel_rank=6, activation_sparsity_pattern=[0.95] * 2 + [0.0] * 4),
    case("gemma3n_text", "gemma3n_text-two-predictions", num_kv_shared_layers=0, layer_types=[*TURNS, TURNS[1]], laurel_rank=6, altup_num_inputs=2, altup_correct_scale=False, intermediate_size=[80, 96, 80], tie_word_embeddings=False, attention_bias=True),
]
