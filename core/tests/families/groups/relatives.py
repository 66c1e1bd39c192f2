"""Relatives of families in the other groups, and configurations of these that have more parts."""

from groups import experts, state_space
from groups.experts import EXPERTS
from groups.state_space import NEMOTRON, ZAMBA

TURNS = ["mamba", "hybrid"] * 3
LATENT_EXPERTS = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
    "moe_shared_expert_intermediate_size": 28,
    "moe_latent_size": 12,
}
CASES = [
    experts.case("mellum", **EXPERTS, head_dim=16, sliding_window=6, layer_types=["sliding_attention", "full_attention", "sliding_attention"], mlp_layer_types=["dense", "sparse", "sparse"]),
    experts.case("exaone_moe", **EXPERTS, head_dim=16, sliding_window=6, sliding_window_pattern="LLG", layer_types=["sliding_attention", "sliding_attention", "full_attention"], num_shared_experts=2),
    experts.case("hy_v3", **EXPERTS, head_dim=16, attention_bias=True, mlp_bias=True),
    state_space.case("zamba2", ["q_proj", "in_proj"], "zamba2-attention-adapters", **{**ZAMBA, "mamba_ngroups": 2, "n_mamba_heads": 6, "chunk_size": 4}, num_hidden_layers=6, layers_block_type=TURNS, num_mem_blocks=2, adapter_rank=3, use_shared_attention_adapter=True, use_mem_rope=True, use_mamba_kernels=False, num_key_value_heads=4),
    state_space.case("nemotron_h", ["q_proj", "in_proj"], "nemotron_h-latent-experts", **NEMOTRON, **LATENT_EXPERTS, layers_block_type=["mamba", "moe", "attention", "moe"], num_hidden_layers=4, mlp_bias=True, use_bias=True, use_mamba_kernels=False),
    state_space.case("lfm2", ["q_proj", "in_proj"], "lfm2-scaled-biased", layer_types=["conv", "full_attention", "conv"], block_multiple_of=4, block_ffn_dim_multiplier=1.3, conv_bias=True),
]
