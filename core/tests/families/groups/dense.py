"""Dense decoders."""

from text import SIZES, language
from models import Case

IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
COMMON = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    **IDS,
}
QV, QKV = ["q_proj", "v_proj"], ["query_key_value"]
OLD = {"vocab_size": 96, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64, **IDS}


def llama_like(kind, targets=QV, name=None, **entries):
    config = {"model_type": kind, **COMMON, **entries}
    return Case(name or kind, config, inputs=language, sizes=SIZES, targets=targets)


def other(kind, targets, name=None, **entries):
    return Case(name or kind, {"model_type": kind, **entries}, inputs=language, sizes=SIZES, targets=targets)


NEOX = {key: value for key, value in COMMON.items() if key != "num_key_value_heads"}
WINDOWS = {"sliding_window": 6, "num_hidden_layers": 4}
FALCON = {"vocab_size": 96, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, **IDS}
CASES = [
    other("gpt2", ["c_attn"], **OLD),
    other("gpt2", ["c_attn"], "gpt2-untied-inner-no-dropout", **OLD, tie_word_embeddings=False, n_inner=100, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
    other("gptj", QV, **OLD, rotary_dim=8),
    other("gptj", QV, "gptj-dropout", **OLD, rotary_dim=8, resid_pdrop=0.1, embd_pdrop=0.1),
    other("codegen", ["qkv_proj"], **OLD, rotary_dim=8),
    other("gpt_neox", QKV, **NEOX, rotary_pct=0.5),
    other("gpt_neox", QKV, "gpt_neox-sequential-tied", **NEOX, use_parallel_residual=False, tie_word_embeddings=True, attention_bias=False),
    other("gpt_neox", QKV, "gpt_neox-dropout", **NEOX, hidden_dropout=0.1),
    other("gpt_neo", QV, vocab_size=96, hidden_size=48, num_layers=4, num_heads=4, attention_types=[[["global", "local"], 2]], window_size=6, max_position_embeddings=64, **IDS),
    other("gpt_neo", QV, "gpt_neo-dropout-inner", vocab_size=96, hidden_size=48, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=6, intermediate_size=80, resid_dropout=0.1, max_position_embeddings=64, **IDS),
    other("gpt_bigcode", ["c_attn"], **OLD, n_inner=96),
    other("gpt_bigcode", ["c_attn"], "gpt_bigcode-heads", **OLD, multi_query=False, resid_pdrop=0.0),
    other("opt", QV, vocab_size=96, hidden_size=48, ffn_dim=80, num_hidden_layers=3, num_attention_heads=4, word_embed_proj_dim=48, max_position_embeddings=64, **IDS),
    other("opt", QV, "opt-post-norm-projected", vocab_size=96, hidden_size=48, ffn_dim=80, num_hidden_layers=3, num_attention_heads=4, word_embed_proj_dim=24, do_layer_norm_before=False, dropout=0.0, max_position_embeddings=64, **IDS),
    other("falcon", QKV, "falcon-7b", **FALCON, new_decoder_architecture=False, multi_query=True, parallel_attn=True, bias=False),
    other("falcon", QKV, "falcon-40b", **FALCON, new_decoder_architecture=True, num_kv_heads=2, bias=False),
    other("falcon", QKV, "falcon-11b", **FALCON, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1, ffn_hidden_size=100, bias=False, tie_word_embeddings=False),
    other("falcon", QKV, "falcon-rw", **FALCON, new_decoder_architecture=False, multi_query=False, parallel_attn=False, bias=True, alibi=True),
    other("falcon", QKV, "falcon-dropout", **FALCON, multi_query=True, parallel_attn=True, bias=False, hidden_dropout=0.1),
    other("bloom", QKV, vocab_size=96, hidden_size=48, n_layer=3, n_head=4, **IDS),
    other("bloom", QKV, "bloom-dropout", vocab_size=96, hidden_size=48, n_layer=3, n_head=4, hidden_dropout=0.1, apply_residual_connection_post_layernorm=True, **IDS),
    other("mpt", ["Wqkv"], vocab_size=96, d_model=48, n_heads=4, n_layers=3, expansion_ratio=2, max_seq_len=64, **IDS),
    llama_like("phi"),
    llama_like("phi", name="phi-dropout", resid_pdrop=0.1),
    llama_like("phi", name="phi-qk-norm", qk_layernorm=True, partial_rotary_factor=0.5),
    llama_like("persimmon", QKV, num_key_value_heads=4),
    llama_like("stablelm", partial_rotary_factor=0.5),
    llama_like("stablelm", name="stablelm-parallel-biased", partial_rotary_factor=0.5, use_parallel_residual=True, use_qkv_bias=True, qk_layernorm=True, hidden_dropout=0.1),
    llama_like("llama", name="llama-dropout", attention_dropout=0.1),
    llama_like("ministral", head_dim=16, **WINDOWS),
    llama_like("ministral3", head_dim=16),
    llama_like("olmo"),
    llama_like("olmo", name="olmo-tied-clip", tie_word_embeddings=True, clip_qkv=8.0, attention_bias=True),
    llama_like("olmo2"),
    llama_like("olmo2", name="olmo2-tied", tie_word_embeddings=True),
    llama_like("olmo3", **WINDOWS),
    llama_like("granite"),
    llama_like("granite", name="granite-tied-biased", tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    llama_like("cohere"),
    llama_like("cohere", name="cohere-qk-norm-biased", use_qk_norm=True, attention_bias=True),
    llama_like("cohere2", **WINDOWS),
    llama_like("glm", ["q_proj", "v_proj"], head_dim=16),
    llama_like("glm4", ["q_proj", "v_proj"], head_dim=16),
    llama_like("glm4", name="glm4-biased", head_dim=16, attention_bias=True),
    llama_like("exaone4", sliding_window=6, sliding_window_pattern=2, num_hidden_layers=4),
    llama_like("apertus"),
    llama_like("starcoder2"),
    llama_like("starcoder2", name="starcoder2-no-dropout-no-bias", residual_dropout=0.0, embedding_dropout=0.0, use_bias=False, sliding_window=6),
    llama_like("smollm3", no_rope_layer_interval=2),
    llama_like("nemotron"),
    llama_like("nemotron", name="nemotron-tied-biased", tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    llama_like("helium", head_dim=12),
    llama_like("ernie4_5"),
    llama_like("ernie4_5", name="ernie4_5-biased", use_bias=True, tie_word_embeddings=False),
    llama_like("seed_oss", head_dim=16),
    llama_like("seed_oss", name="seed_oss-dropout", head_dim=16, residual_dropout=0.1, attention_out_bias=True, mlp_bias=True),
    llama_like("hunyuan_v1_dense", head_dim=12),
    llama_like("arcee"),
    llama_like("arcee", name="arcee-biased", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    llama_like("minicpm3", ["q_a_proj", "kv_b_proj"], num_key_value_heads=4, q_lora_rank=12, kv_lora_rank=10, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6),
    llama_like("cwm", **WINDOWS),
    llama_like("jais2"),
    llama_like("nanochat", num_key_value_heads=4),
    llama_like("vaultgemma", head_dim=16, **WINDOWS),
    llama_like("llama", name="llama"),
    llama_like("qwen2", tie_word_embeddings=True, name="qwen2-windows", use_sliding_window=True, max_window_layers=1, sliding_window=6),
    llama_like("qwen3", name="qwen3-biased", attention_bias=True, head_dim=16),
    llama_like("gemma3_text", name="gemma3_text-biased", attention_bias=True, head_dim=16, sliding_window=6),
    other("biogpt", QV, vocab_size=96, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80, max_position_embeddings=64, **IDS),
    other("xglm", QV, vocab_size=96, d_model=48, num_layers=3, attention_heads=4, ffn_dim=80, max_position_embeddings=64, **IDS),
]
PROMPTED = {"gpt2", "gpt_neox", "opt", "falcon-7b", "bloom", "phi", "olmo2", "cohere", "glm4", "exaone4", "llama", "starcoder2"}
for case in CASES:
    case.prompt = case.name in PROMPTED
