"""Encoders and encoder-decoders with their own heads, and text models with a classification head."""

import torch

from groups.dense import COMMON, IDS
from models import Case
from text import SIZES, classes, language, tokens

PLAIN = {
    "vocab_size": 96,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
QV, BERT = ["q_proj", "v_proj"], ["query", "value"]
BOTH = [
    {"sequences": 2, "seq_len": 9, "dec_len": 5},
    {"sequences": 1, "seq_len": 16, "dec_len": 7},
    {"sequences": 3, "seq_len": 5, "dec_len": 8},
]
# Ten encoder positions are what its position table says: twenty frames, halved by the second convolution.
SPEECH = [{"sequences": 2, "seq_len": 10, "dec_len": 5}, {"sequences": 1, "seq_len": 10, "dec_len": 9}, {"sequences": 3, "seq_len": 10, "dec_len": 3}]


def pairs(config, size):
    return {"input_ids": tokens(config, size), "labels": tokens(config, size, "dec_len")}


def speech(config, size):
    frames = torch.randn(size["sequences"], config.num_mel_bins, 2 * config.max_source_positions)
    return {"input_features": frames, "labels": tokens(config, size, "dec_len")}


def case(kind, targets, name=None, model="AutoModelForMaskedLM", inputs=language, sizes=SIZES, common=PLAIN, leave_out=(), **entries):
    config = {"model_type": kind, **common, **entries}
    return Case(name or kind, config, model, inputs=inputs, sizes=sizes, targets=targets, leave_out=leave_out)


def classifier(kind, targets, name=None, common=PLAIN, **entries):
    model = "AutoModelForSequenceClassification"
    return case(kind, targets, name or f"{kind}-classification", model, classes, common=common, **entries)


def translator(kind, targets, name=None, inputs=pairs, sizes=BOTH, model="AutoModelForSeq2SeqLM", **entries):
    return case(kind, targets, name, model, inputs, sizes, {"vocab_size": 96}, **entries)


T5 = {"d_model": 48, "d_kv": 10, "d_ff": 80, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
BART = {
    "d_model": 48,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 80,
    "decoder_ffn_dim": 72,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
    **IDS,
}
WHISPER = {key: value for key, value in BART.items() if key not in ("max_position_embeddings", "forced_eos_token_id")}
WHISPER |= {"num_mel_bins": 8, "max_source_positions": 10, "max_target_positions": 32, "begin_suppress_tokens": [], "suppress_tokens": []}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
CASES = [
    case("bert", BERT),
    case("bert", BERT, "bert-no-dropout-untied", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, tie_word_embeddings=False),
    case("roberta", BERT, type_vocab_size=1),
    case("xlm-roberta", BERT, type_vocab_size=1),
    case("distilbert", ["q_lin", "v_lin"], common={"vocab_size": 96, "dim": 48, "n_layers": 3, "n_heads": 4, "hidden_dim": 80, "max_position_embeddings": 64, "pad_token_id": 0}),
    case("electra", BERT, embedding_size=24),
    case("electra", BERT, "electra-same-width", embedding_size=48),
    case("albert", BERT, embedding_size=20, leave_out=("last-layers", "checkpointing")),
    case("albert", BERT, "albert-two-groups", embedding_size=20, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=1, leave_out=("last-layers", "checkpointing")),
    case("deberta", ["in_proj"]),
    case("deberta", ["in_proj"], "deberta-relative", **RELATIVE, position_biased_input=False),
    case("deberta-v2", ["query_proj", "value_proj"]),
    case("deberta-v2", ["query_proj", "value_proj"], "deberta-v3", **RELATIVE, position_biased_input=False, position_buckets=8, share_att_key=True, norm_rel_ebd="layer_norm"),
    case("deberta-v2", ["query_proj", "value_proj"], "deberta-v2-convolution", **RELATIVE, position_buckets=8, share_att_key=False, norm_rel_ebd="layer_norm", conv_kernel_size=3, conv_act="gelu"),
    case("deberta-v2", ["query_proj", "value_proj"], "deberta-v2-xlarge", **RELATIVE, position_biased_input=False, position_buckets=8, share_att_key=True, norm_rel_ebd="layer_norm", conv_kernel_size=3, conv_act="gelu", attention_head_size=12),
    case("deberta-v2", ["query_proj", "value_proj"], "deberta-v2-one-way", relative_attention=True, pos_att_type="c2p", type_vocab_size=2, max_relative_positions=6, conv_kernel_size=5, conv_groups=4, tie_word_embeddings=False),
    case("modernbert", ["Wqkv", "Wo"], num_hidden_layers=4, local_attention=6, global_attn_every_n_layers=3, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2),
    case("modernbert", ["Wqkv"], "modernbert-biased", num_hidden_layers=4, local_attention=6, attention_bias=True, mlp_bias=True, mlp_dropout=0.1, tie_word_embeddings=False, decoder_bias=False, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2),
    case("mpnet", ["q", "v"], leave_out=("checkpointing",)),
    translator("t5", ["q", "v"], **T5, feed_forward_proj="relu", tie_word_embeddings=True),
    translator("t5", ["q", "v"], "t5-v1.1", **T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    translator("t5", ["q", "v"], "t5-no-dropout", **T5, feed_forward_proj="relu", dropout_rate=0.0),
    translator("mt5", ["q", "v"], **T5),
    translator("umt5", ["q", "v"], **T5),
    translator("bart", QV, **BART),
    translator("bart", QV, "bart-no-dropout", **BART, dropout=0.0),
    translator("mbart", QV, **BART),
    translator("pegasus", QV, **BART),
    translator("marian", QV, **BART),
    translator("m2m_100", QV, **BART, encoder_layerdrop=0.0, decoder_layerdrop=0.0),
    translator("blenderbot", QV, **BART),
    translator("whisper", QV, None, speech, SPEECH, "AutoModelForSpeechSeq2Seq", **WHISPER),
    translator("whisper", QV, "whisper-dropout-untied", speech, SPEECH, "AutoModelForSpeechSeq2Seq", **WHISPER, dropout=0.1, tie_word_embeddings=False),
    classifier("bert", BERT, num_labels=3),
    classifier("roberta", BERT, num_labels=3, type_vocab_size=1),
    classifier("distilbert", ["q_lin", "v_lin"], common={"vocab_size": 96, "dim": 48, "n_layers": 3, "n_heads": 4, "hidden_dim": 80, "max_position_embeddings": 64, "pad_token_id": 0}),
    classifier("electra", BERT, embedding_size=24),
    classifier("deberta", ["in_proj"], **RELATIVE, position_biased_input=False, pooler_hidden_size=48),
    classifier("deberta-v2", ["query_proj", "value_proj"], "deberta-v2-xlarge-classification", **RELATIVE, position_biased_input=False, position_buckets=8, share_att_key=True, norm_rel_ebd="layer_norm", conv_kernel_size=3, attention_head_size=12, num_hidden_layers=1),
    classifier("deberta-v2", ["query_proj", "value_proj"], **RELATIVE, position_buckets=8, share_att_key=True, norm_rel_ebd="layer_norm"),
    classifier("modernbert", ["Wqkv"], num_labels=3, local_attention=6, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2),
    classifier("llama", QV, common=COMMON, num_labels=3),
    classifier("qwen2", QV, common=COMMON, tie_word_embeddings=True),
    classifier("mistral", QV, common=COMMON, num_labels=3),
    classifier("gpt2", ["c_attn"], common={"vocab_size": 96, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64, **IDS}),
]
