//! Decoders with experts, put together from their family's facts.

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::mask;
use super::super::parts::{Attention, Decoder, Experts, FeedForward, HeadNorms, Indexer, LatentAttention, Shared};
use super::super::program::{Block, Program, Slot};
use super::super::quantity::{Mask, Stream};
use super::classes::ending;
use super::sizes::{Key, heads, layer_kinds};
use facts::{Attends, Family, HeadNorm, LatentSizes, Norms, SharedExpert, Sparse};

mod dbrx;
mod facts;
mod jetmoe;
mod table;

pub(super) use table::MODEL_TYPES;

/// Reads a configuration of any of these families.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    match model_type {
        "dbrx" => return dbrx::read(config),
        "jetmoe" => return jetmoe::read(config),
        _ => {}
    }
    let family = table::family(model_type);
    let hidden = config.required_size("hidden_size", most::WIDTH)?;
    let layers = config.required_size("num_hidden_layers", most::LAYERS)?;
    let vocabulary = config.required_size("vocab_size", most::VOCABULARY)?;
    let tied_head = config.flag("tie_word_embeddings")?.unwrap_or(family.tied_head);
    let attention = attention(&family, config, hidden)?;
    let experts = experts(&family, config)?;
    let dense = dense_feed_forward(&family, config)?;
    let kinds = kinds(&family, config, layers)?;
    let build = |kind: &Kind| {
        let feed_forward = if kind.sparse { Inner::Experts(&experts) } else { Inner::Dense(&dense) };
        block(&family, hidden, &attention, *kind, feed_forward)
    };
    let head_bias = match family.head_bias {
        Some(key) => config.flag(key)?.unwrap_or(false),
        None => false,
    };
    let shifted = family.norms == Norms::BeforeShifted;
    let frame = Decoder { norm_bias: Some(shifted), head_bias, ..Decoder::usual(vocabulary, hidden, tied_head) };
    let mut program = ending(config, frame)?.program(&kinds, build);
    program.expert_targets = family.targets;
    program.prefix_width = attention.prefix_width();
    Ok(program)
}

/// Attention of either kind.
enum AnyAttention {
    Usual { attention: Attention, sinks: bool },
    Latent(LatentAttention),
}

impl AnyAttention {
    /// Compressed keys have no place where `peft` 0.21 could put a trained prefix.
    const fn prefix_width(&self) -> Option<u64> {
        match self {
            Self::Usual { attention, .. } => Some(attention.key_value_heads.saturating_mul(attention.head_size)),
            Self::Latent(_) => None,
        }
    }
}

/// What sets a block apart from the others.
#[derive(Clone, Copy, PartialEq)]
struct Kind {
    mask: Mask,
    /// It has experts.
    sparse: bool,
    /// It chooses keys itself, where blocks choose any.
    indexes: bool,
}

/// The feed-forward part of a block.
#[derive(Clone, Copy)]
enum Inner<'a> {
    Dense(&'a FeedForward),
    Experts(&'a Experts),
}

fn block(family: &Family, hidden: u64, attention: &AnyAttention, kind: Kind, inner: Inner<'_>) -> Block {
    let mut block = Builder::new(Stream::Text);
    let after = family.norms == Norms::After;
    let norm = |block: &mut Builder, name: &'static str, from: Slot| match family.norms {
        Norms::BeforeShifted => block.layer_norm(name, hidden, from),
        _ => block.norm(name, hidden, from),
    };
    let entered = if after { Slot::RESIDUAL } else { norm(&mut block, "input_layernorm", Slot::RESIDUAL) };
    let mut branch = match attention {
        AnyAttention::Usual { attention, sinks } => {
            let attention = Attention { mask: kind.mask, ..attention.clone() };
            attention.build_with_sinks(&mut block, hidden, entered, sinks.then_some("self_attn.sinks"))
        }
        AnyAttention::Latent(attention) => {
            let indexer = attention.indexer.filter(|_| kind.indexes);
            LatentAttention { indexer, ..*attention }.build(&mut block, hidden, entered)
        }
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
    let (input_bias, output_bias) = match family.attends {
        Attends::Latent(sizes) => return latent_attention(config, sizes).map(AnyAttention::Latent),
        Attends::Plain => (false, false),
        Attends::Biased { key, default, output } => {
            let bias = flag(key, default)?;
            (bias, bias && output)
        }
        Attends::WithSinks => (flag("attention_bias", true)?, flag("attention_bias", true)?),
    };
    let (query, key) = ("self_attn.q_norm", "self_attn.k_norm");
    let norms = match family.head_norms {
        HeadNorm::Each { query, key } => HeadNorms::Head { query, key },
        HeadNorm::EachIf if flag("use_qk_norm", false)? => HeadNorms::Head { query, key },
        HeadNorm::Whole => HeadNorms::Whole { query, key },
        HeadNorm::None | HeadNorm::EachIf => HeadNorms::None,
    };
    let (count, key_value, size) = heads(config, family.heads, hidden)?;
    let attention = Attention { input_bias, output_bias, norms, ..Attention::usual(count, key_value, size) };
    Ok(AnyAttention::Usual { attention, sinks: family.attends == Attends::WithSinks })
}

fn latent_attention(config: Config<'_>, defaults: LatentSizes) -> Result<LatentAttention, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let query_rank = config.size("q_lora_rank", most::WIDTH)?;
    Ok(LatentAttention {
        heads: config.required_size("num_attention_heads", most::HEADS)?,
        query_rank: if config.has("q_lora_rank") { query_rank } else { Some(defaults.query_rank) },
        key_value_rank: size("kv_lora_rank", defaults.key_value_rank)?,
        plain_size: size("qk_nope_head_dim", defaults.plain)?,
        rotary_size: size("qk_rope_head_dim", defaults.rotary)?,
        value_size: size("v_head_dim", defaults.value)?,
        bias: config.flag("attention_bias")?.unwrap_or(false),
        indexer: match defaults.index_heads {
            None => None,
            Some(heads) => Some(Indexer {
                heads: config.size("index_n_heads", most::HEADS)?.unwrap_or(heads),
                head_size: config.size("index_head_dim", most::HEAD_SIZE)?.unwrap_or(128),
            }),
        },
    })
}

fn experts(family: &Family, config: Config<'_>) -> Result<Experts, ShapeProblem> {
    let (count, chosen) = counts(config, family.count, family.chosen)?;
    check_expert_groups(config, count)?;
    let inner = family.inner.size(config, most::WIDTH)?;
    // Llama 4 leads every position through every expert and weighs what enters.
    let chosen = if family.router.weights_input { count } else { chosen };
    let bias = family.attends == Attends::WithSinks;
    let shared = shared_expert(family, config, inner)?;
    Ok(Experts { bias, shared, ..Experts::gated((count, chosen), inner, family.stack, family.router) })
}

/// How many experts there are, and how many of them a position goes through.
pub(super) fn counts(config: Config<'_>, count: Key, chosen: Key) -> Result<(u64, u64), ShapeProblem> {
    let (all, some) = (count.size(config, most::EXPERTS)?, chosen.size(config, most::EXPERTS)?);
    if some > all {
        return Err(ShapeProblem::Contradiction {
            key: chosen.name().to_owned(),
            found: some.to_string(),
            conflict: format!("there are only {all} experts ({})", count.name()),
        });
    }
    Ok((all, some))
}

/// The router chooses groups of experts first, so that these share them out evenly.
fn check_expert_groups(config: Config<'_>, count: u64) -> Result<(), ShapeProblem> {
    let Some(groups) = config.size("n_group", most::EXPERTS)? else { return Ok(()) };
    let contradiction = |key: &str, found: u64, conflict: String| {
        Err(ShapeProblem::Contradiction { key: key.to_owned(), found: found.to_string(), conflict })
    };
    if !count.is_multiple_of(groups) {
        return contradiction("n_group", groups, format!("does not divide the number of experts, {count}"));
    }
    match config.size("topk_group", most::EXPERTS)? {
        Some(chosen) if chosen > groups => {
            contradiction("topk_group", chosen, format!("there are only {groups} groups (n_group)"))
        }
        _ => Ok(()),
    }
}

fn shared_expert(family: &Family, config: Config<'_>, inner: u64) -> Result<Option<Shared>, ShapeProblem> {
    let shared = match family.shared {
        SharedExpert::None => None,
        SharedExpert::Gated => {
            let inner = config.size("shared_expert_intermediate_size", most::WIDTH)?.unwrap_or(5632);
            Some(Shared::gated("mlp.shared_expert", inner).weighed("mlp.shared_expert_gate"))
        }
        SharedExpert::Several { times, first } => {
            let times = times.count(config, most::EXPERTS)?;
            let shared = Shared { first, ..Shared::gated("mlp.shared_experts", inner.saturating_mul(times)) };
            (times > 0).then_some(shared)
        }
        SharedExpert::Fused => {
            let inner = config.count("shared_intermediate_size")?.unwrap_or(0).min(most::WIDTH);
            (inner > 0).then(|| Shared::fused("shared_mlp.input_linear", "shared_mlp.output_linear", inner))
        }
        SharedExpert::Same { name, first } => Some(Shared { first, ..Shared::gated(name, inner) }),
    };
    let bias = feed_forward_bias(family, config)?;
    Ok(shared.map(|shared| Shared { feed_forward: FeedForward { bias, ..shared.feed_forward }, ..shared }))
}

fn feed_forward_bias(family: &Family, config: Config<'_>) -> Result<bool, ShapeProblem> {
    let Some(key) = family.feed_forward_bias else { return Ok(false) };
    Ok(config.flag(key)?.unwrap_or(false))
}

/// The feed-forward part of blocks without experts.
fn dense_feed_forward(family: &Family, config: Config<'_>) -> Result<FeedForward, ShapeProblem> {
    match family.sparse {
        Sparse::All => Ok(FeedForward::gated(1)),
        Sparse::Listed => {
            let inner = config.size("intermediate_size_mlp", most::WIDTH)?.unwrap_or(16384);
            Ok(Shared::gated("feed_forward", inner).feed_forward)
        }
        Sparse::From(_) | Sparse::Step | Sparse::Typed(_) | Sparse::Range => {
            let bias = feed_forward_bias(family, config)?;
            Ok(FeedForward { bias, ..FeedForward::gated(config.required_size("intermediate_size", most::WIDTH)?) })
        }
    }
}

fn kinds(family: &Family, config: Config<'_>, layers: u64) -> Result<Vec<Kind>, ShapeProblem> {
    let masks = mask::read(family.windows, config, layers)?;
    let sparse = sparse(family.sparse, config, layers)?;
    let indexes = indexing(config, layers)?;
    let blocks = masks.into_iter().zip(sparse).zip(indexes);
    Ok(blocks.map(|((mask, sparse), indexes)| Kind { mask, sparse, indexes }).collect())
}

/// Blocks that choose keys themselves; the others take over what the one before chose.
///
/// Those that `indexer_types` calls full, else by `index_topk_pattern`, else each `index_topk_freq`-th; all without these.
fn indexing(config: Config<'_>, layers: u64) -> Result<Vec<bool>, ShapeProblem> {
    if let Some(kinds) = layer_kinds(config, &["indexer_types"], Some(layers), &["shared", "full"])? {
        return Ok(kinds.into_iter().map(|kind| kind == 1).collect());
    }
    if config.is_there("index_topk_pattern") {
        let pattern = config.text("index_topk_pattern")?.unwrap_or_default();
        if u64::try_from(pattern.len()) == Ok(layers) {
            return Ok(pattern.bytes().map(|letter| letter == b'F').collect());
        }
        return Err(ShapeProblem::Contradiction {
            key: "index_topk_pattern".to_owned(),
            found: format!("a pattern of {}", pattern.len()),
            conflict: format!("num_hidden_layers is {layers}"),
        });
    }
    let every = config.count("index_topk_freq")?.unwrap_or(1).max(1);
    let offset = config.count("index_skip_topk_offset")?.unwrap_or(2);
    Ok((0..layers).map(|layer| layer.saturating_add(1).saturating_sub(offset).is_multiple_of(every)).collect())
}

/// Which blocks have experts.
fn sparse(rule: Sparse, config: Config<'_>, layers: u64) -> Result<Vec<bool>, ShapeProblem> {
    let step = |key: &str| Ok(config.size(key, most::LAYERS)?.unwrap_or(1));
    let those = |has: &dyn Fn(u64) -> bool| (0..layers).map(has).collect();
    let from = |default: u64| -> Result<Vec<bool>, ShapeProblem> {
        let first = config.count("first_k_dense_replace")?.unwrap_or(default);
        Ok(those(&|layer| layer >= first))
    };
    Ok(match rule {
        Sparse::All => those(&|_| true),
        Sparse::From(default) => from(default)?,
        Sparse::Step => {
            let (step, dense) = (step("decoder_sparse_step")?, config.counts("mlp_only_layers")?.unwrap_or_default());
            those(&|layer| (layer + 1).is_multiple_of(step) && !dense.contains(&layer))
        }
        Sparse::Listed => {
            let (step, listed) = (step("interleave_moe_layer_step")?, config.counts("moe_layers")?);
            those(&|layer| match &listed {
                Some(listed) => listed.contains(&layer),
                None => (layer + 1).is_multiple_of(step),
            })
        }
        Sparse::Typed(default) => {
            match layer_kinds(config, &["mlp_layer_types"], Some(layers), &["dense", "sparse"])? {
                Some(kinds) => kinds.into_iter().map(|kind| kind == 1).collect(),
                None => from(default)?,
            }
        }
        Sparse::Range => {
            let first = config.count("moe_layer_start_index")?.unwrap_or(1);
            let last = config.count_or_minus_one("moe_layer_end_index")?.unwrap_or(layers);
            let step = step("moe_layer_interval")?;
            those(&|layer| (layer + 1).is_multiple_of(step) && (first..=last).contains(&layer))
        }
    })
}
