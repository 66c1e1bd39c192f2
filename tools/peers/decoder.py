"""The sizes of a decoder that the peers' formulas ask for, read from a Hugging Face configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cases import Config

# Plain attention decoders whose configurations use the common key names.
_COMMON = {"llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "deepseek_v3", "gpt_oss", "gemma2", "gemma3_text", "phi3"}


@dataclass(frozen=True)
class Experts:
    """The routed layers; `shared_ffn` is the width of all shared experts together."""

    layers: int
    experts: int
    chosen: int
    ffn: int
    shared_ffn: int = 0
    biases: int = 0
    """Parameters of one expert's biases."""

    def parameters_of_one(self, hidden: int) -> int:
        return 3 * hidden * self.ffn + self.biases


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek)."""

    query_rank: int
    key_value_rank: int
    plain_dim: int
    rotary_dim: int
    value_dim: int


@dataclass(frozen=True)
class Decoder:
    """An attention decoder of text."""

    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head_dim: int
    ffn: int
    gated: bool
    vocabulary: int
    tied: bool
    position_embeddings: int = 0
    """Parameters of learned positions."""
    experts: Experts | None = None
    latent: Latent | None = None
    windows: tuple[int | None, ...] = field(default=())
    """Each layer's sliding window where the configuration names them layer by layer."""

    @property
    def dense_layers(self) -> int:
        return self.layers - (self.experts.layers if self.experts else 0)

    @property
    def embedding_parameters(self) -> int:
        """Of the tables that are looked up."""
        return self.vocabulary * self.hidden + self.position_embeddings

    @property
    def query_key_and_value_dim(self) -> int:
        """Of one head, the two products of attention together."""
        if self.latent:
            return self.latent.plain_dim + self.latent.rotary_dim + self.latent.value_dim
        return 2 * self.head_dim

    @property
    def idle_parameters(self) -> int:
        """Of experts that a token is not routed to."""
        if self.experts is None:
            return 0
        idle = self.experts.experts - self.experts.chosen
        return self.experts.layers * idle * self.experts.parameters_of_one(self.hidden)


def read(config: Config) -> Decoder | None:
    """None where it is no attention decoder of text, or of a family whose keys are not known here."""
    family = config["model_type"]
    if family in _COMMON:
        return _common(config)
    if family == "gpt2":
        return _gpt2(config)
    if family == "opt":
        return _opt(config)
    return None


def _common(config: Config) -> Decoder:
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    kinds = config.get("layer_types", ())
    return Decoder(
        layers=config["num_hidden_layers"],
        hidden=hidden,
        heads=heads,
        key_value_heads=config["num_key_value_heads"],
        head_dim=config.get("head_dim", hidden // heads),
        ffn=config["intermediate_size"],
        gated=True,
        vocabulary=config["vocab_size"],
        tied=config["tie_word_embeddings"],
        experts=_experts(config),
        latent=_latent(config),
        windows=tuple(config["sliding_window"] if kind == "sliding_attention" else None for kind in kinds),
    )


def _experts(config: Config) -> Experts | None:
    layers, hidden = config["num_hidden_layers"], config["hidden_size"]
    family = config["model_type"]
    if family == "qwen3_moe":
        return Experts(layers, config["num_experts"], config["num_experts_per_tok"], config["moe_intermediate_size"])
    if family == "deepseek_v3":
        ffn = config["moe_intermediate_size"]
        routed, chosen = config["n_routed_experts"], config["num_experts_per_tok"]
        shared_ffn = config["n_shared_experts"] * ffn
        return Experts(layers - config["first_k_dense_replace"], routed, chosen, ffn, shared_ffn)
    if family == "gpt_oss":
        ffn = config["intermediate_size"]
        routed, chosen = config["num_local_experts"], config["num_experts_per_tok"]
        return Experts(layers, routed, chosen, ffn, biases=2 * ffn + hidden)
    return None


def _latent(config: Config) -> Latent | None:
    if config["model_type"] != "deepseek_v3":
        return None
    return Latent(
        query_rank=config["q_lora_rank"],
        key_value_rank=config["kv_lora_rank"],
        plain_dim=config["qk_nope_head_dim"],
        rotary_dim=config["qk_rope_head_dim"],
        value_dim=config["v_head_dim"],
    )


def _gpt2(config: Config) -> Decoder:
    hidden, heads = config["n_embd"], config["n_head"]
    return Decoder(
        layers=config["n_layer"],
        hidden=hidden,
        heads=heads,
        key_value_heads=heads,
        head_dim=hidden // heads,
        ffn=4 * hidden,
        gated=False,
        vocabulary=config["vocab_size"],
        tied=True,
        position_embeddings=config["n_positions"] * hidden,
    )


def _opt(config: Config) -> Decoder:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    return Decoder(
        layers=config["num_hidden_layers"],
        hidden=hidden,
        heads=heads,
        key_value_heads=heads,
        head_dim=hidden // heads,
        ffn=config["ffn_dim"],
        gated=False,
        vocabulary=config["vocab_size"],
        tied=True,
        # Two positions more than it says, as the family's class has it.
        position_embeddings=(config["max_position_embeddings"] + 2) * hidden,
    )
