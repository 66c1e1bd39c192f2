//! Decoders with experts: which parts each family is made of, and the defaults `transformers` 5.23 fills in.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names, biases and order, of the release above.

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::mask::{self, Windows};
use super::super::parts::{Attention, Decoder, Experts, FeedForward, HeadNorms, LatentAttention, Router, Shared};
use super::super::program::{Block, ExpertTargets, Program, Slot};
use super::super::quantity::{Mask, Stream};
use super::dense::check_head;
use super::sizes::{Heads, heads};

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 13] = [
    "mixtral",
    "qwen2_moe",
    "qwen3_moe",
    "deepseek_v2",
    "deepseek_v3",
    "glm4_moe",
    "gpt_oss",
    "granitemoe",
    "granitemoeshared",
    "olmoe",
    "flex_olmo",
    "phimoe",
    "llama4_text",
];

/// What sets one family apart from the others.
struct Family {
    heads: Heads,
    attends: Attends,
    windows: Windows,
    norms: Norms,
    /// Keys of the numbers of experts, of chosen ones, of an expert's width, each with its default.
    count: (&'static str, u64),
    chosen: u64,
    inner: (&'static str, u64),
    router: Router,
    stack: &'static str,
    shared: SharedExpert,
    sparse: Sparse,
    targets: Option<ExpertTargets>,
}

/// How a block attends.
#[derive(Clone, Copy, PartialEq)]
enum Attends {
    /// No biases.
    Plain,
    /// Biases where this key says so, with its default, of the inputs alone or of the output too.
    Biased { key: &'static str, default: bool, output: bool },
    /// The same, with sinks beside the scores.
    WithSinks,
    /// Compressed keys and values.
    Latent,
}

/// Norms of a block and of its heads.
#[derive(Clone, Copy, PartialEq)]
enum Norms {
    Before,
    /// With a shift as well.
    BeforeShifted,
    /// One for each head.
    BeforeAndHeads,
    /// One for each head where `use_qk_norm` says so.
    BeforeAndHeadsIf,
    /// One for all heads together.
    BeforeAndWhole,
    /// After each branch, and one for all heads together.
    AfterAndWhole,
}

/// An expert that every position goes through.
#[derive(Clone, Copy, PartialEq)]
enum SharedExpert {
    None,
    /// `shared_expert`, of `shared_expert_intermediate_size`, with a gate.
    Gated,
    /// `shared_experts`, so many times as wide as one expert (`n_shared_experts`, this default).
    Several(u64),
    /// `shared_mlp` of `shared_intermediate_size` where that is not 0.
    Fused,
    /// `shared_expert`, as wide as an expert.
    Same,
}

/// Which blocks have experts.
#[derive(Clone, Copy, PartialEq)]
enum Sparse {
    All,
    /// From `first_k_dense_replace` on, with this default.
    From(u64),
    /// Each `decoder_sparse_step`-th but those in `mlp_only_layers`.
    Step,
    /// Those in `moe_layers`, else each `interleave_moe_layer_step`-th.
    Listed,
}

const GATE: Router = Router { name: "mlp.gate", is_linear: false, bias: false, weights_input: false };

const MIXTRAL: Family = Family {
    heads: Heads { key_value: Some(8), size: None },
    attends: Attends::Plain,
    windows: Windows::All(None),
    norms: Norms::Before,
    count: ("num_local_experts", 8),
    chosen: 2,
    inner: ("intermediate_size", 14336),
    router: GATE,
    stack: "mlp.experts",
    shared: SharedExpert::None,
    sparse: Sparse::All,
    targets: Some(ExpertTargets::Mixtral),
};

const QWEN3: Family = Family {
    heads: Heads { key_value: Some(4), size: None },
    attends: Attends::Biased { key: "attention_bias", default: false, output: true },
    windows: Windows::Upper,
    norms: Norms::BeforeAndHeads,
    count: ("num_experts", 128),
    chosen: 8,
    inner: ("moe_intermediate_size", 768),
    sparse: Sparse::Step,
    targets: Some(ExpertTargets::Qwen2Moe),
    ..MIXTRAL
};

const DEEPSEEK_V3: Family = Family {
    heads: Heads { key_value: None, size: None },
    attends: Attends::Latent,
    windows: Windows::Never,
    norms: Norms::Before,
    count: ("n_routed_experts", 256),
    inner: ("moe_intermediate_size", 2048),
    shared: SharedExpert::Several(1),
    sparse: Sparse::From(3),
    ..QWEN3
};

const GRANITE: Family = Family {
    heads: Heads { key_value: None, size: None },
    attends: Attends::Biased { key: "attention_bias", default: false, output: true },
    windows: Windows::Never,
    router: Router { name: "block_sparse_moe.router", ..GATE },
    stack: "block_sparse_moe.experts",
    inner: ("intermediate_size", 11008),
    targets: None,
    ..MIXTRAL
};

const OLMOE: Family = Family {
    stack: "mlp.experts",
    router: GATE,
    norms: Norms::BeforeAndWhole,
    count: ("num_experts", 64),
    chosen: 8,
    inner: ("intermediate_size", 2048),
    targets: Some(ExpertTargets::Qwen2Moe),
    ..GRANITE
};

fn family(model_type: &str) -> Family {
    match model_type {
        "qwen2_moe" => Family {
            heads: Heads { key_value: Some(16), size: None },
            attends: Attends::Biased { key: "qkv_bias", default: true, output: false },
            norms: Norms::Before,
            count: ("num_experts", 60),
            chosen: 4,
            inner: ("moe_intermediate_size", 1408),
            shared: SharedExpert::Gated,
            targets: None,
            ..QWEN3
        },
        "qwen3_moe" => QWEN3,
        "deepseek_v2" => Family {
            count: ("n_routed_experts", 64),
            inner: ("moe_intermediate_size", 1407),
            shared: SharedExpert::Several(2),
            sparse: Sparse::From(0),
            ..DEEPSEEK_V3
        },
        "deepseek_v3" => DEEPSEEK_V3,
        "glm4_moe" => Family {
            heads: Heads { key_value: Some(8), size: None },
            attends: Attends::Biased { key: "attention_bias", default: false, output: false },
            norms: Norms::BeforeAndHeadsIf,
            count: ("n_routed_experts", 128),
            inner: ("moe_intermediate_size", 1408),
            sparse: Sparse::From(1),
            ..DEEPSEEK_V3
        },
        "gpt_oss" => Family {
            heads: Heads { key_value: Some(8), size: Some(64) },
            attends: Attends::WithSinks,
            windows: Windows::Alternating { every: 2, adjustable: false },
            count: ("num_local_experts", 128),
            chosen: 4,
            inner: ("intermediate_size", 2880),
            router: Router { name: "mlp.router", bias: true, ..GATE },
            targets: None,
            ..MIXTRAL
        },
        "granitemoe" => GRANITE,
        "granitemoeshared" => Family { shared: SharedExpert::Fused, ..GRANITE },
        "olmoe" => OLMOE,
        "flex_olmo" => Family {
            norms: Norms::AfterAndWhole,
            count: ("num_experts", 7),
            chosen: 5,
            inner: ("intermediate_size", 11008),
            ..OLMOE
        },
        "phimoe" => Family {
            attends: Attends::Biased { key: "attention_bias", default: false, output: true },
            norms: Norms::BeforeShifted,
            count: ("num_local_experts", 16),
            inner: ("intermediate_size", 6400),
            router: Router { name: "mlp.router", is_linear: true, ..GATE },
            targets: None,
            ..MIXTRAL
        },
        "llama4_text" => Family {
            heads: Heads { key_value: Some(8), size: Some(128) },
            attends: Attends::Biased { key: "attention_bias", default: false, output: true },
            windows: Windows::Llama4,
            count: ("num_local_experts", 16),
            chosen: 1,
            inner: ("intermediate_size", 8192),
            router: Router { name: "feed_forward.router", is_linear: true, bias: false, weights_input: true },
            stack: "feed_forward.experts",
            shared: SharedExpert::Same,
            sparse: Sparse::Listed,
            targets: None,
            ..MIXTRAL
        },
        _ => MIXTRAL,
    }
}

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    check_head(config)?;
    let model_type = config.text("model_type")?.unwrap_or_default();
    let family = family(model_type);
    let hidden = config.required_size("hidden_size", most::WIDTH)?;
    let layers = config.required_size("num_hidden_layers", most::LAYERS)?;
    let vocabulary = config.required_size("vocab_size", most::VOCABULARY)?;
    let tied_head = config.flag("tie_word_embeddings")?.unwrap_or(false);
    let attention = attention(&family, config, hidden)?;
    let experts = experts(&family, config)?;
    let dense = dense_feed_forward(&family, config)?;
    let kinds = kinds(&family, config, layers)?;
    let build = |(mask, sparse): &(Mask, bool)| {
        let feed_forward = if *sparse { Inner::Experts(&experts) } else { Inner::Dense(&dense) };
        block(&family, hidden, &attention, *mask, feed_forward)
    };
    let shifted = family.norms == Norms::BeforeShifted;
    let frame = Decoder {
        norm_bias: Some(shifted),
        head_bias: shifted && config.flag("lm_head_bias")?.unwrap_or(false),
        ..Decoder::usual(vocabulary, hidden, tied_head)
    };
    let mut program = frame.program(&kinds, build);
    program.expert_targets = family.targets;
    Ok(program)
}

/// Attention of either kind.
enum AnyAttention {
    Usual { attention: Attention, sinks: bool },
    Latent(LatentAttention),
}

/// The feed-forward part of a block.
enum Inner<'a> {
    Dense(&'a FeedForward),
    Experts(&'a Experts),
}

fn block(family: &Family, hidden: u64, attention: &AnyAttention, mask: Mask, inner: Inner<'_>) -> Block {
    let mut block = Builder::new(Stream::Text);
    let after = family.norms == Norms::AfterAndWhole;
    let norm = |block: &mut Builder, name: &'static str, from: Slot| match family.norms {
        Norms::BeforeShifted => block.layer_norm(name, hidden, from),
        _ => block.norm(name, hidden, from),
    };
    let entered = if after { Slot::RESIDUAL } else { norm(&mut block, "input_layernorm", Slot::RESIDUAL) };
    let mut branch = match attention {
        AnyAttention::Usual { attention, sinks } => {
            let attention = Attention { mask, ..attention.clone() };
            attention.build_with_sinks(&mut block, hidden, entered, sinks.then_some("self_attn.sinks"))
        }
        AnyAttention::Latent(attention) => attention.build(&mut block, hidden, entered),
    };
    if after {
        branch = norm(&mut block, "post_attention_layernorm", branch);
    }
    block.add_to_residual(branch);
    let entered = if after { Slot::RESIDUAL } else { norm(&mut block, "post_attention_layernorm", Slot::RESIDUAL) };
    let mut branch = match inner {
        Inner::Dense(feed_forward) => feed_forward.build(&mut block, hidden, entered),
        Inner::Experts(experts) => experts.build(&mut block, hidden, entered),
    };
    if after {
        branch = norm(&mut block, "post_feedforward_layernorm", branch);
    }
    block.add_to_residual(branch);
    block.finish()
}

fn attention(family: &Family, config: Config<'_>, hidden: u64) -> Result<AnyAttention, ShapeProblem> {
    let flag = |key: &str, default: bool| Ok(config.flag(key)?.unwrap_or(default));
    if family.attends == Attends::Latent {
        return latent_attention(config).map(AnyAttention::Latent);
    }
    let (count, key_value, size) = heads(config, family.heads, hidden)?;
    let (input_bias, output_bias) = match family.attends {
        Attends::Plain | Attends::Latent => (false, false),
        Attends::Biased { key, default, output } => {
            let bias = flag(key, default)?;
            (bias, bias && output)
        }
        Attends::WithSinks => (flag("attention_bias", true)?, flag("attention_bias", true)?),
    };
    let (query, key) = ("self_attn.q_norm", "self_attn.k_norm");
    let norms = match family.norms {
        Norms::BeforeAndHeads => HeadNorms::Head { query, key },
        Norms::BeforeAndHeadsIf if flag("use_qk_norm", false)? => HeadNorms::Head { query, key },
        Norms::BeforeAndWhole | Norms::AfterAndWhole => HeadNorms::Whole { query, key },
        Norms::Before | Norms::BeforeShifted | Norms::BeforeAndHeadsIf => HeadNorms::None,
    };
    let attention = Attention { input_bias, output_bias, norms, ..Attention::usual(count, key_value, size) };
    Ok(AnyAttention::Usual { attention, sinks: family.attends == Attends::WithSinks })
}

fn latent_attention(config: Config<'_>) -> Result<LatentAttention, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let query_rank = config.size("q_lora_rank", most::WIDTH)?;
    Ok(LatentAttention {
        heads: config.required_size("num_attention_heads", most::HEADS)?,
        query_rank: if config.has("q_lora_rank") { query_rank } else { Some(1536) },
        key_value_rank: size("kv_lora_rank", 512)?,
        plain_size: size("qk_nope_head_dim", 128)?,
        rotary_size: size("qk_rope_head_dim", 64)?,
        value_size: size("v_head_dim", 128)?,
        bias: config.flag("attention_bias")?.unwrap_or(false),
    })
}

fn experts(family: &Family, config: Config<'_>) -> Result<Experts, ShapeProblem> {
    let size = |key: &str, default: u64, most: u64| Ok(config.size(key, most)?.unwrap_or(default));
    let (key, default) = family.count;
    let count = size(key, default, most::EXPERTS)?;
    let chosen = size("num_experts_per_tok", family.chosen, most::EXPERTS)?;
    if chosen > count {
        return Err(ShapeProblem::Contradiction {
            key: "num_experts_per_tok".to_owned(),
            found: chosen.to_string(),
            conflict: format!("there are only {count} experts ({key})"),
        });
    }
    let (key, default) = family.inner;
    let inner = size(key, default, most::WIDTH)?;
    let shared = match family.shared {
        SharedExpert::None => None,
        SharedExpert::Gated => {
            let inner = size("shared_expert_intermediate_size", 5632, most::WIDTH)?;
            Some(Shared { gate: Some("mlp.shared_expert_gate"), ..Shared::gated("mlp.shared_expert", inner) })
        }
        SharedExpert::Several(default) => {
            let times = size("n_shared_experts", default, most::EXPERTS)?;
            Some(Shared::gated("mlp.shared_experts", inner.saturating_mul(times)))
        }
        SharedExpert::Fused => {
            let inner = config.count("shared_intermediate_size")?.unwrap_or(0).min(most::WIDTH);
            (inner > 0).then(|| Shared::fused("shared_mlp.input_linear", "shared_mlp.output_linear", inner))
        }
        SharedExpert::Same => Some(Shared::gated("feed_forward.shared_expert", inner)),
    };
    // Llama 4 leads every position through every expert and weighs what enters.
    let chosen = if family.router.weights_input { count } else { chosen };
    let bias = family.attends == Attends::WithSinks;
    Ok(Experts { count, chosen, inner, stack: family.stack, bias, router: family.router, shared })
}

/// The feed-forward part of blocks without experts.
fn dense_feed_forward(family: &Family, config: Config<'_>) -> Result<FeedForward, ShapeProblem> {
    match family.sparse {
        Sparse::All => Ok(FeedForward::gated(1)),
        Sparse::Listed => {
            let inner = config.size("intermediate_size_mlp", most::WIDTH)?.unwrap_or(16384);
            Ok(Shared::gated("feed_forward", inner).feed_forward)
        }
        Sparse::From(_) | Sparse::Step => {
            let bias = config.flag("mlp_bias")?.unwrap_or(false) && config.text("model_type")? == Some("deepseek_v2");
            Ok(FeedForward { bias, ..FeedForward::gated(config.required_size("intermediate_size", most::WIDTH)?) })
        }
    }
}

/// The mask of each block, and whether it has experts.
fn kinds(family: &Family, config: Config<'_>, layers: u64) -> Result<Vec<(Mask, bool)>, ShapeProblem> {
    let masks = mask::read(family.windows, config, layers)?;
    let step = |key: &str| Ok(config.size(key, most::LAYERS)?.unwrap_or(1));
    let sparse: Box<dyn Fn(u64) -> bool> = match family.sparse {
        Sparse::All => Box::new(|_| true),
        Sparse::From(default) => {
            let first = config.count("first_k_dense_replace")?.unwrap_or(default);
            Box::new(move |layer| layer >= first)
        }
        Sparse::Step => {
            let (step, dense) = (step("decoder_sparse_step")?, config.counts("mlp_only_layers")?.unwrap_or_default());
            Box::new(move |layer| (layer + 1).is_multiple_of(step) && !dense.contains(&layer))
        }
        Sparse::Listed => {
            let (step, listed) = (step("interleave_moe_layer_step")?, config.counts("moe_layers")?);
            Box::new(move |layer| match &listed {
                Some(listed) => listed.contains(&layer),
                None => (layer + 1).is_multiple_of(step),
            })
        }
    };
    Ok(masks.into_iter().zip(0_u64..).map(|(mask, layer)| (mask, sparse(layer))).collect())
}
