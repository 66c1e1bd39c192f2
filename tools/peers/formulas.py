"""The peers' formulas, written anew from what they publish. All count one multiply-add as two operations.

Each returns the training compute of one micro-batch, or None where the peer does not say how to count the model. None of
them means recomputation to be in its figure: all but 6ND and AWS are numerators of a model FLOP utilisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import decoder

if TYPE_CHECKING:
    from .cases import Case
    from .decoder import Decoder


@dataclass(frozen=True)
class Peer:
    """An estimator and what a reader has to know of it."""

    name: str
    formula: str
    source: str
    faults: str
    training: Callable[[Case], int | None]


FORWARD_AND_BACKWARD = 3
"""Each product is done once forward and twice backward."""

MULTIPLY_ADD = 2


def six_nd(case: Case) -> int:
    """6·N·D with all parameters (Kaplan et al., arXiv:2001.08361; Guidelines, Annex, A.2.2)."""
    return 6 * case.base_parameters * case.tokens


def six_nd_active(case: Case) -> int:
    """6·N·D without the experts that a token is not routed to: the usual repair for mixtures of experts."""
    shape = decoder.read(case.config)
    idle = shape.idle_parameters if shape else 0
    return 6 * (case.base_parameters - idle) * case.tokens


def aws(case: Case) -> int:
    """(4·N + 2·Nt)·D: activations' gradients everywhere, weights' gradients where trained.

    AWS Fine-Tuning FLOPs Meter, `calculate_finetuning_flops` (aws-samples/amazon-sagemaker-generativeai @ 5e2b5906),
    given the model as it is trained, adapters included.
    """
    return (4 * case.total_parameters + 2 * case.trainable_parameters) * case.tokens


def torchtitan(case: Case) -> int | None:
    """6·(active parameters that are not looked up) + 6·layers·heads·(query-key + value size)·length, per token.

    torchtitan, `get_moe_model_nparams_and_flops` (pytorch/torchtitan @ 76dd118b). A table that is also the output head counts,
    as its later versions say outright.
    """
    shape = decoder.read(case.config)
    if shape is None:
        return None
    looked_up = shape.position_embeddings if shape.tied else shape.embedding_parameters
    products = case.base_parameters - looked_up - shape.idle_parameters
    attention = shape.layers * shape.heads * shape.query_key_and_value_dim * case.length
    return 6 * (products + attention) * case.tokens


def megatron(case: Case) -> int | None:
    """Sum of the products of a layer, attention's halved for the causal mask, times three.

    Megatron-LM, `num_floating_point_operations` (NVIDIA/Megatron-LM @ 001b00c2): routed and shared experts without the
    router, the vocabulary padded to a multiple of 128, state-space layers by their own formula.
    """
    shape = decoder.read(case.config)
    if shape is not None:
        per_token = _megatron_transformer(shape, case.length)
    elif case.config["model_type"] == "mamba2":
        per_token = _megatron_mamba(case)
    else:
        return None
    return FORWARD_AND_BACKWARD * per_token * case.tokens


def _megatron_transformer(shape: Decoder, length: int) -> int:
    matrices = 3 if shape.gated else 2
    mlp = matrices * shape.hidden * shape.ffn * shape.dense_layers
    if shape.experts:
        width = shape.experts.chosen * shape.experts.ffn + shape.experts.shared_ffn
        mlp += matrices * shape.hidden * width * shape.experts.layers
    visible_pairs = shape.heads * shape.query_key_and_value_dim * length // 2
    attention = shape.layers * (_projections(shape, with_norms=True) + visible_pairs)
    return MULTIPLY_ADD * (mlp + attention + shape.hidden * _padded(shape.vocabulary))


def _projections(shape: Decoder, *, with_norms: bool) -> int:
    """Weights of query, key, value and output; Megatron-LM adds latent attention's two norms."""
    latent = shape.latent
    if latent is None:
        return shape.hidden * shape.head_dim * 2 * (shape.heads + shape.key_value_heads)
    query_dim = latent.plain_dim + latent.rotary_dim
    query = latent.query_rank * (shape.hidden + shape.heads * query_dim)
    key_value = latent.key_value_rank * (shape.hidden + shape.heads * (latent.plain_dim + latent.value_dim))
    rotary_and_output = shape.hidden * latent.rotary_dim + shape.heads * latent.value_dim * shape.hidden
    norms = latent.query_rank + latent.key_value_rank if with_norms else 0
    return query + key_value + rotary_and_output + norms


def _megatron_mamba(case: Case) -> int:
    config = case.config
    hidden, state = config["hidden_size"], config["state_size"]
    inner = 2 * hidden
    into = 2 * hidden * (2 * inner + 2 * config["n_groups"] * state + config["num_heads"])
    layer = into + 7 * inner * state + 2 * inner * hidden
    return int(config["num_hidden_layers"] * layer + 2 * hidden * _padded(config["vocab_size"]))


def _padded(vocabulary: int) -> int:
    return -(-vocabulary // 128) * 128


VERL_FAMILIES = {
    *("llama", "qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen3", "qwen3_moe", "qwen3_vl", "qwen3_vl_moe"),
    *("deepseek_v3", "minicpmv", "minicpmo", "mistral", "gemma3_text", "seed_oss", "apertus", "glm4v", "gpt_oss", "mimo"),
}
"""What its table of functions names; for all others it returns 0, which is read here as no answer."""


def verl(case: Case) -> int | None:
    """6·(weights of the products, embedding and head always both) per token, attention's pairs halved, sliding windows seen.

    verl, `FlopsCounter` (verl-project/verl @ 34ae9879).
    """
    if case.config["model_type"] not in VERL_FAMILIES:
        return None
    shape = decoder.read(case.config)
    if shape is None:
        return None
    weights = shape.layers * _projections(shape, with_norms=False)
    weights += 3 * shape.hidden * shape.ffn * shape.dense_layers
    if shape.experts:
        width = shape.experts.chosen * shape.experts.ffn + shape.experts.shared_ffn
        weights += (3 * width + shape.experts.experts) * shape.hidden * shape.experts.layers
    weights += 2 * shape.vocabulary * shape.hidden
    windows = shape.windows or (None,) * shape.layers
    attended = sum(min(case.length, window or case.length) for window in windows)
    pairs = case.tokens * attended
    return 6 * weights * case.tokens + 3 * pairs * shape.heads * shape.query_key_and_value_dim


_NO_CONTEXT = "no attention over the context"
_FROZEN = "frozen weights billed as trained"
_IDLE = "idle experts billed"

PEERS = (
    Peer(
        "6·N·D",
        "all parameters × 6 × tokens",
        "Kaplan et al., arXiv:2001.08361; Guidelines, Annex, A.2.2",
        f"{_NO_CONTEXT}; {_IDLE}; {_FROZEN}",
        six_nd,
    ),
    Peer(
        "6·N·D, active N",
        "parameters a token meets × 6 × tokens",
        "the usual repair for mixtures of experts",
        f"{_NO_CONTEXT}; {_FROZEN}",
        six_nd_active,
    ),
    Peer(
        "AWS",
        "(4·N + 2·Nt) × tokens",
        "aws-samples/amazon-sagemaker-generativeai @ 5e2b5906, `calculate_finetuning_flops`",
        f"{_NO_CONTEXT}; {_IDLE}; back-propagation never ends before the first layer",
        aws,
    ),
    Peer(
        "torchtitan",
        "6 × (active products + whole score matrix) × tokens",
        "pytorch/torchtitan @ 76dd118b, `get_moe_model_nparams_and_flops`",
        _FROZEN,
        torchtitan,
    ),
    Peer(
        "Megatron-LM",
        "3 × sum of a layer's products, attention halved",
        "NVIDIA/Megatron-LM @ 001b00c2, `num_floating_point_operations`",
        f"{_FROZEN}; no router, no sliding windows",
        megatron,
    ),
    Peer(
        "verl",
        "6 × (products + embedding) × tokens, attention halved",
        "verl-project/verl @ 34ae9879, `FlopsCounter`",
        f"{_FROZEN}; the embedding billed like a second head",
        verl,
    ),
)
