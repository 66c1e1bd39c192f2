"""Decoders with experts."""

from groups.dense import COMMON, QV
from models import Case
from text import SIZES, language

EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20}
LOCAL = {"num_local_experts": 6, "num_experts_per_tok": 2}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 14,
    "kv_lora_rank": 10,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
}
ROUTED = {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}
MLA = ["q_b_proj", "kv_a_proj_with_mqa"]


def case(kind, targets=QV, name=None, model="AutoModelForCausalLM", leave_out=(), **entries):
    config = {"model_type": kind, **COMMON, **entries}
    return Case(name or kind, config, model, inputs=language, sizes=SIZES, targets=targets, leave_out=leave_out)


LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 6, "linear_value_head_dim": 10, "linear_conv_kernel_dim": 4}
CASES = [
    case("mixtral", **LOCAL),
    case("mixtral", name="mixtral-windows", **LOCAL, sliding_window=6, head_dim=16, tie_word_embeddings=True),
    case("qwen2_moe", **EXPERTS, shared_expert_intermediate_size=28),
    case("qwen2_moe", name="qwen2_moe-some-dense", **EXPERTS, shared_expert_intermediate_size=28, decoder_sparse_step=2, mlp_only_layers=[1], num_hidden_layers=4, qkv_bias=False, norm_topk_prob=True),
    case("qwen3_moe", **EXPERTS, head_dim=16),
    case("qwen3_moe", name="qwen3_moe-some-dense", **EXPERTS, head_dim=16, mlp_only_layers=[0], tie_word_embeddings=True, norm_topk_prob=True),
    case("qwen3_next", **EXPERTS, **LINEAR, head_dim=16, shared_expert_intermediate_size=28, num_hidden_layers=4),
    case("qwen3_next", name="qwen3_next-some-dense", **EXPERTS, **LINEAR, head_dim=16, shared_expert_intermediate_size=28, num_hidden_layers=4, mlp_only_layers=[1], layer_types=["linear_attention", "full_attention"] * 2),
    case("deepseek_v2", MLA, **LATENT, **ROUTED, topk_method="group_limited_greedy"),
    case("deepseek_v2", ["q_proj", "kv_b_proj"], "deepseek_v2-lite", **{**LATENT, "q_lora_rank": None}, **{**ROUTED, "n_group": 1}, n_shared_experts=1),
    case("deepseek_v3", MLA, **LATENT, **ROUTED),
    case("deepseek_v3", ["q_proj", "kv_b_proj"], "deepseek_v3-no-q-rank", **{**LATENT, "q_lora_rank": None}, **{**ROUTED, "first_k_dense_replace": 2}, n_shared_experts=2, attention_bias=True),
    case("deepseek_v32", MLA, **LATENT, **ROUTED, index_n_heads=3, index_head_dim=8, index_topk=4),
    case("glm_moe_dsa", MLA, **LATENT, **ROUTED, index_n_heads=2, index_head_dim=12, index_topk=5, indexer_types=["full", "shared", "full"], attention_bias=True),
    case("gpt_oss", **LOCAL, head_dim=16, sliding_window=6),
    case("llama4_text", **{**LOCAL, "num_experts_per_tok": 1}, head_dim=16, intermediate_size_mlp=60, interleave_moe_layer_step=2, num_hidden_layers=4, attention_chunk_size=6),
    case("llama4_text", name="llama4_text-top-2", **LOCAL, head_dim=16, intermediate_size_mlp=60, attention_chunk_size=64, use_qk_norm=False, attention_bias=True),
    case("glm4_moe", **{**ROUTED, "n_group": 1}, head_dim=16),
    case("glm4_moe", name="glm4_moe-qk-norm-biased", **{**ROUTED, "n_group": 1}, head_dim=16, use_qk_norm=True, attention_bias=True, n_shared_experts=2),
    case("glm4_moe_lite", MLA, **LATENT, **{key: value for key, value in ROUTED.items() if key != "first_k_dense_replace"}),
    case("granitemoe", **LOCAL),
    case("granitemoeshared", **LOCAL, shared_intermediate_size=28),
    case("granitemoeshared", name="granitemoeshared-none", **LOCAL, tie_word_embeddings=True, attention_bias=True),
    case("olmoe", **{**EXPERTS, "intermediate_size": 20}),
    case("olmoe", name="olmoe-biased", **{**EXPERTS, "intermediate_size": 20}, attention_bias=True, tie_word_embeddings=True, clip_qkv=8.0),
    case("flex_olmo", **{**EXPERTS, "intermediate_size": 20}),
    case("phimoe", **LOCAL),
    case("phimoe", name="phimoe-biased", **LOCAL, attention_bias=True, lm_head_bias=True),
    case("ernie4_5_moe", moe_k=2, moe_num_experts=6, moe_intermediate_size=20, moe_num_shared_experts=2),
    case("ernie4_5_moe", name="ernie4_5_moe-none-shared-biased", moe_k=2, moe_num_experts=6, moe_intermediate_size=20, moe_num_shared_experts=0, use_bias=True, tie_word_embeddings=False, num_hidden_layers=4, moe_layer_interval=2),
    case("dots1", **{**ROUTED, "n_group": 1}, n_shared_experts=1, head_dim=16),
    case("dots1", name="dots1-windows", **{**ROUTED, "n_group": 1}, n_shared_experts=2, head_dim=16, sliding_window=6, max_window_layers=1, attention_bias=True),
    case("hunyuan_v1_moe", num_experts=6, moe_topk=2, head_dim=16),
    case("minimax", **LOCAL, head_dim=16, block_size=8, num_hidden_layers=4),
    case("minimax_m2", **LOCAL, head_dim=16),
    case("jetmoe", ["q_proj", "kv_proj"], leave_out=("checkpointing",), **LOCAL, kv_channels=12),
    case("dbrx", ["Wqkv"], d_model=48, n_heads=4, n_layers=3, attn_config={"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0}, ffn_config={"ffn_hidden_size": 20, "moe_num_experts": 6, "moe_top_k": 2, "hidden_size": 48}),
    case("solar_open", **{key: value for key, value in ROUTED.items() if key != "first_k_dense_replace"}, head_dim=16),
    case("lfm2_moe", **EXPERTS, num_dense_layers=1, layer_types=["conv", "full_attention", "conv"]),
    case("mistral4", MLA, model="Mistral4ForCausalLM", **LATENT, **ROUTED),
]
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
for it in CASES:
    # What recipes name: PEFT turns it into LoRA on the stacks of experts in some of these families.
    if it.config["model_type"] in ("mixtral", "minimax", "minimax_m2"):
        it.other_targets = [["q_proj", "k_proj", "v_proj", "o_proj", "w1", "w2", "w3"]]
    elif it.targets in (QV, MLA):
        it.other_targets = [SEVEN if it.targets is QV else ["q_b_proj", "kv_b_proj", *SEVEN[3:]]]
    it.prompt = it.name in {"mixtral", "qwen3_moe", "deepseek_v3"}
