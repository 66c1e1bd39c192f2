"""Decoders that end in another head than that of a language model."""

import torch

from groups.dense import COMMON, FALCON, IDS, NEOX, OLD, QKV, QV
from models import Case
from text import SIZES, classes, tokens


def labelled(config, size):
    """A label for each position."""
    return {"input_ids": tokens(config, size), "labels": torch.randint(0, config.num_labels, (size["sequences"], size["seq_len"]))}


def answers(config, size):
    """Where an answer starts and ends."""
    starts, ends = torch.randint(0, size["seq_len"], (2, size["sequences"]))
    return {"input_ids": tokens(config, size), "start_positions": starts, "end_positions": ends}


HEADS = {"Sequence": ("SequenceClassification", classes), "Token": ("TokenClassification", labelled), "Question": ("QuestionAnswering", answers)}


def case(head, kind, targets=QV, common=COMMON, **entries):
    ending, inputs = HEADS[head]
    config = {"model_type": kind, **common, **entries}
    name = f"{kind}-{head.lower()}"
    return Case(name, config, f"AutoModelFor{ending}", inputs=inputs, sizes=SIZES[:2], targets=targets, head="qa_outputs" if head == "Question" else "")


OPT = {"vocab_size": 96, "hidden_size": 48, "ffn_dim": 80, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 24, "do_layer_norm_before": False, "max_position_embeddings": 64, **IDS}
CASES = [
    case("Token", "llama", num_labels=5),
    case("Question", "llama"),
    case("Question", "mistral", sliding_window=6),
    case("Token", "qwen3", head_dim=16, tie_word_embeddings=True, num_labels=1),
    case("Sequence", "gemma2", head_dim=16, num_labels=4),
    case("Sequence", "olmo2", num_labels=1),
    case("Token", "apertus", num_labels=3),
    case("Sequence", "phi", num_labels=3),
    case("Token", "gpt2", ["c_attn"], OLD, num_labels=7),
    case("Question", "gpt2", ["c_attn"], OLD),
    case("Sequence", "gptj", QV, OLD, rotary_dim=8),
    case("Token", "gpt_neox", QKV, NEOX, num_labels=3),
    case("Question", "gpt_neox", QKV, NEOX),
    case("Token", "falcon", QKV, FALCON, num_labels=3),
    case("Sequence", "opt", QV, OPT, num_labels=3),
    case("Question", "opt", QV, OPT),
    case("Token", "biogpt", QV, {"vocab_size": 96, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80, "max_position_embeddings": 64, **IDS}, num_labels=3),
    case("Token", "bloom", QKV, {"vocab_size": 96, "hidden_size": 48, "n_layer": 2, "n_head": 4, **IDS}, num_labels=3),
    case("Question", "mpt", ["Wqkv"], {"vocab_size": 96, "d_model": 48, "n_heads": 4, "n_layers": 2, "max_seq_len": 64, **IDS}),
]
