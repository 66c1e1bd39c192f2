"""State-space and hybrid decoders. Lengths exceed a chunk in some rows and are no multiple of it in others."""

from groups.dense import COMMON, IDS
from groups.experts import EXPERTS, LINEAR, LOCAL
from models import Case
from text import SIZES, language

# The gated delta rule works on chunks of 64 positions that no configuration changes.
LONG = [{"sequences": 2, "seq_len": 9}, {"sequences": 1, "seq_len": 70}, {"sequences": 2, "seq_len": 130}]
CHUNKED = [{"sequences": 2, "seq_len": 9}, {"sequences": 1, "seq_len": 16}, {"sequences": 3, "seq_len": 3}]

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
REFUSED = {
    "mamba": ["in_proj", "x_proj", "dt_proj"],
    "falcon_mamba": ["in_proj", "x_proj", "dt_proj"],
    "mamba2": ["in_proj"],
    "falcon_h1": [*ATTENTION, "in_proj", "gate_proj", "up_proj", "down_proj"],
    "nemotron_h": [*ATTENTION, "in_proj", "up_proj", "down_proj"],
}


def case(kind, targets, name=None, sizes=CHUNKED, common=COMMON, **entries):
    linear = REFUSED.get(kind, "all-linear")
    entries = {"model_type": kind, **common, **entries}
    return Case(name or kind, entries, inputs=language, sizes=sizes, targets=targets, linear=linear)


MAMBA = {"vocab_size": 96, "hidden_size": 48, "state_size": 6, "num_hidden_layers": 3, "conv_kernel": 4, **IDS}
MAMBA2 = {**MAMBA, "num_heads": 6, "head_dim": 16, "n_groups": 2, "chunk_size": 4}
BLOCK = {"mamba_n_heads": 6, "mamba_d_head": 16, "mamba_n_groups": 2, "mamba_d_state": 5, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_chunk_size": 4}
HYBRID = ["mamba", "attention", "mamba"]
FALCON = {**BLOCK, "mamba_d_ssm": 72, "mamba_d_head": 12}
NEMOTRON = {
    "ssm_state_size": 5,
    "mamba_num_heads": 6,
    "mamba_head_dim": 16,
    "n_groups": 2,
    "conv_kernel": 4,
    "expand": 2,
    "chunk_size": 4,
    "head_dim": 16,
}
ZAMBA = {"mamba_d_state": 5, "mamba_d_conv": 4, "mamba_expand": 2}
NEXT = ["linear_attention", "full_attention", "linear_attention", "full_attention"]
CASES = [
    case("mamba", ["in_proj"], common=MAMBA),
    case("mamba", ["x_proj"], "mamba-untied-biased", common=MAMBA, tie_word_embeddings=False, use_bias=True, use_conv_bias=False, time_step_rank=5),
    case("mamba2", ["in_proj"], common=MAMBA2),
    case("mamba2", ["in_proj"], "mamba2-tied-biased", common=MAMBA2, tie_word_embeddings=True, use_bias=True, use_conv_bias=False, n_groups=1, chunk_size=8),
    case("falcon_mamba", ["in_proj"], common=MAMBA),
    case("falcon_h1", ["q_proj", "in_proj"], **FALCON),
    case("falcon_h1", ["q_proj", "v_proj"], "falcon_h1-rms-biased", **FALCON, mamba_rms_norm=True, mamba_norm_before_gate=False, mamba_proj_bias=True, projectors_bias=True, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    case("granitemoehybrid", ["q_proj", "in_proj"], **BLOCK, **LOCAL, layer_types=HYBRID, shared_intermediate_size=28),
    case("granitemoehybrid", ["q_proj", "v_proj"], "granitemoehybrid-dense", **BLOCK, num_local_experts=0, num_experts_per_tok=0, layer_types=HYBRID, shared_intermediate_size=28, tie_word_embeddings=True),
    case("bamba", ["q_proj", "in_proj"], **BLOCK, attn_layer_indices=[1]),
    case("bamba", ["q_proj", "in_proj"], "bamba-tied-biased", **BLOCK, attn_layer_indices=[0, 2], mamba_proj_bias=True, mamba_conv_bias=False, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    case("jamba", ["q_proj", "in_proj"], **ZAMBA, num_experts=4, num_experts_per_tok=2, mamba_dt_rank=5, attn_layer_period=2, attn_layer_offset=1, num_hidden_layers=4, use_mamba_kernels=False),
    case("zamba2", ["q_proj", "in_proj"], **{**ZAMBA, "mamba_ngroups": 2, "n_mamba_heads": 6, "chunk_size": 4}, num_key_value_heads=4, num_hidden_layers=6, layers_block_type=["mamba", "hybrid", "mamba", "hybrid", "mamba", "hybrid"], num_mem_blocks=2, adapter_rank=3, use_mamba_kernels=False),
    case("zamba2", ["q_proj", "in_proj"], "zamba2-adapters-rope", **{**ZAMBA, "mamba_ngroups": 2, "n_mamba_heads": 6, "chunk_size": 4}, num_key_value_heads=4, num_hidden_layers=4, layers_block_type=["mamba", "hybrid", "mamba", "hybrid"], num_mem_blocks=1, adapter_rank=3, use_shared_attention_adapter=True, use_mem_rope=True, use_mamba_kernels=False),
    case("zamba", ["q_proj", "out_proj"], **ZAMBA, n_mamba_heads=2, mamba_dt_rank=5, num_key_value_heads=4, num_hidden_layers=4, layers_block_type=["mamba", "hybrid", "mamba", "hybrid"], use_mamba_kernels=False),
    case("nemotron_h", ["q_proj", "v_proj"], **NEMOTRON, layers_block_type=["mamba", "mlp", "attention", "mlp"], num_hidden_layers=4, use_mamba_kernels=False),
    case("nemotron_h", ["q_proj", "in_proj"], "nemotron_h-experts", **NEMOTRON, layers_block_type=["mamba", "moe", "attention", "moe"], num_hidden_layers=4, n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=20, moe_shared_expert_intermediate_size=28, use_mamba_kernels=False),
    case("recurrent_gemma", ["q_proj", "v_proj"], lru_width=40, attention_window_size=6, conv1d_width=4, num_key_value_heads=1, block_types=["recurrent", "recurrent", "attention"], num_hidden_layers=4),
    case("lfm2", ["q_proj", "in_proj"], layer_types=["conv", "full_attention", "conv"], block_multiple_of=16),
    case("qwen3_next", ["q_proj", "in_proj_qkvz"], "qwen3_next-long", sizes=LONG, **EXPERTS, **LINEAR, head_dim=16, shared_expert_intermediate_size=28, num_hidden_layers=4),
    case("qwen3_5_text", ["q_proj", "in_proj_qkv"], sizes=LONG, **LINEAR, head_dim=16, layer_types=NEXT, num_hidden_layers=4),
    case("qwen3_5_moe_text", ["q_proj", "in_proj_qkv"], sizes=LONG, **EXPERTS, **LINEAR, head_dim=16, shared_expert_intermediate_size=28, layer_types=NEXT, num_hidden_layers=4),
    case("olmo_hybrid", ["q_proj", "v_proj"], sizes=LONG, **LINEAR, layer_types=NEXT, num_hidden_layers=4),
    case("kimi_linear", ["q_proj", "kv_b_proj"], sizes=LONG, linear_num_heads=4, linear_head_dim=10, kv_lora_rank=10, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6, num_local_experts=6, num_experts_per_tok=2, moe_intermediate_size=20, num_key_value_heads=4, num_hidden_layers=4),
    case("rwkv", ["key", "receptance"], vocab_size=96, hidden_size=48, num_hidden_layers=2, attention_hidden_size=40, intermediate_size=80, context_length=64, common=IDS),
    case("rwkv", ["key", "value"], "rwkv-tied", vocab_size=96, hidden_size=48, num_hidden_layers=3, context_length=64, tie_word_embeddings=True, common=IDS),
]
