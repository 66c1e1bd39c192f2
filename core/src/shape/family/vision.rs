//! ViT and its kin: classifiers of images.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.
//! Images are taken to have the size of the configuration.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Attention, Branch, FeedForward, Patches, Scale, Tower, TowerBlock, Widening};
use super::super::program::{ModuleKind, Piece, Program, Slot};
use super::super::quantity::Stream;
use crate::flops::Part;

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 6] = ["vit", "deit", "beit", "dinov2", "dinov2_with_registers", "dinov3_vit"];

/// A tower of patches and what is made of its last block.
struct Family {
    inside: &'static str,
    blocks: &'static str,
    /// The module that cuts the image, and the convolution in it.
    cut: [&'static str; 2],
    /// Trained positions beside the patches, and how many each name stands for.
    tokens: Vec<(&'static str, u64)>,
    /// A table of positions, and which of the tokens it has rows for.
    positions: Option<u64>,
    /// Parameters that classification does not read.
    unread: Vec<(&'static str, u64)>,
    block: TowerBlock,
    /// A table of distances that every block adds to its scores: its name and its rows.
    distances: Option<(&'static str, u64)>,
    /// The same, one for each block.
    own_distances: Option<(&'static str, u64)>,
    /// Blocks but the first are skipped at random.
    drops_path: bool,
    final_norm: Option<&'static str>,
    /// Norm of the pooled position.
    pooled_norm: Option<&'static str>,
    /// Linear pooler of the class without a head.
    pooler: Option<&'static str>,
    /// Pooled vectors that the classifier reads.
    pooled: u64,
}

/// Sizes that all have.
struct Sizes {
    hidden: u64,
    layers: u64,
    heads: u64,
    patches: Patches,
}

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let bare = match head::ending(config)? {
        None | Some("ImageClassification") => false,
        Some("Model") => true,
        Some(_) => return Err(head::unknown(config)),
    };
    let model_type = config.text("model_type")?.unwrap_or_default();
    let [hidden, heads, patch] = if model_type == "dinov3_vit" { [384, 6, 16] } else { [768, 12, 16] };
    let patch = if model_type == "dinov2" { 14 } else { patch };
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(hidden);
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(heads);
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(12);
    let sizes = Sizes { hidden, heads, layers, patches: Patches::read(config, (224, patch), true)? };
    let family = match model_type {
        "beit" => beit(config, &sizes)?,
        "dinov2" | "dinov2_with_registers" => dinov2(config, &sizes, model_type == "dinov2")?,
        "dinov3_vit" => dinov3(config, &sizes)?,
        _ => vit(config, &sizes, model_type == "deit")?,
    };
    program(config, &family, &sizes, bare || model_type == "dinov3_vit")
}

fn program(config: Config<'_>, family: &Family, sizes: &Sizes, bare: bool) -> Result<Program, ShapeProblem> {
    let hidden = sizes.hidden;
    let tower = Tower::alone(if bare { "" } else { family.inside });
    let tokens = family.tokens.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    let positions = sizes.patches.count.saturating_add(tokens);
    let mut program = Program {
        input_embeddings: Some(tower.name(family.cut[0])),
        last_layers: Some(1),
        sequence_length: Some(positions),
        ..Program::default()
    };
    program.pieces.push(Piece::once(stem(family, &tower, sizes, positions).finish()));
    let drops: Vec<bool> = (0..sizes.layers).map(|index| index > 0 && family.drops_path).collect();
    let mut build = |drops: &bool| {
        let block = &family.block;
        let branch = Branch { dropout: block.branch.dropout || *drops, ..block.branch };
        let mut builder = tower.builder(positions);
        add_distances(&mut builder, family.own_distances.map(|(name, rows)| (name.into(), rows)), sizes.heads);
        TowerBlock { branch, ..block.clone() }.build(builder)
    };
    program.pieces.push(Piece::stack(tower.name(family.blocks), &drops, &mut build));
    let mut tail = tower.builder(positions);
    let mut last = Slot::RESIDUAL;
    if let Some(norm) = family.final_norm {
        last = tail.layer_norm(tower.name(norm), hidden, last);
    }
    tail.switch(Stream::Pooled);
    if let Some(norm) = family.pooled_norm {
        last = tail.layer_norm(tower.name(norm), hidden, last);
    }
    if !bare {
        let inputs = hidden.saturating_mul(family.pooled);
        tail.linear("classifier", (inputs, head::labels(config)?), true, Part::OutputHead, last);
        program.output_head = Some(Cow::Borrowed("classifier"));
        program.classifies = true;
    }
    program.pieces.push(Piece::once(tail.finish()));
    if let Some(pooler) = family.pooler.filter(|_| bare) {
        let width = config.size("pooler_output_size", most::WIDTH)?.unwrap_or(hidden);
        let mut pooled = Builder::new(Stream::Pooled);
        pooled.linear(pooler, (hidden, width), true, Part::OutputHead, Slot::RESIDUAL);
        program.pieces.push(Piece::once(pooled.finish_unread()));
    }
    Ok(program)
}

/// Patches, the tokens beside them, and their positions.
fn stem(family: &Family, tower: &Tower, sizes: &Sizes, positions: u64) -> Builder {
    let hidden = sizes.hidden;
    let mut stem = tower.builder(positions);
    let mut all = tower.cut(&mut stem, family.cut[1], sizes.patches, hidden);
    for (name, count) in &family.tokens {
        all = tower.parameter(&mut stem, name, count.saturating_mul(hidden), all);
    }
    if let Some(tokens) = family.positions {
        let elements = sizes.patches.count.saturating_add(tokens).saturating_mul(hidden);
        all = tower.parameter(&mut stem, "embeddings.position_embeddings", elements, all);
    }
    for (name, elements) in &family.unread {
        stem.module(tower.name(name), ModuleKind::Parameter { elements: *elements }, Part::InputEmbeddings);
    }
    stem.rename(all, Slot::RESIDUAL);
    add_distances(&mut stem, family.distances.map(|(name, rows)| (tower.name(name), rows)), sizes.heads);
    stem
}

/// Leaves trained numbers for each distance in `SIDE`.
fn add_distances(block: &mut Builder, table: Option<(Cow<'static, str>, u64)>, heads: u64) {
    if let Some((name, rows)) = table {
        let nothing = block.slot();
        let kind = ModuleKind::Parameter { elements: rows.saturating_mul(heads) };
        block.apply_to(name, kind, Part::InputEmbeddings, nothing, Slot::SIDE);
    }
}

fn vit(config: Config<'_>, sizes: &Sizes, distilled: bool) -> Result<Family, ShapeProblem> {
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(3072);
    let tokens = [("embeddings.cls_token", 1), ("embeddings.distillation_token", 1)];
    let count = if distilled { 2 } else { 1 };
    Ok(Family {
        inside: if distilled { "deit" } else { "vit" },
        blocks: "layers",
        cut: ["embeddings.patch_embeddings", "embeddings.patch_embeddings.projection"],
        tokens: tokens.into_iter().take(count).collect(),
        positions: Some(if distilled { 2 } else { 1 }),
        unread: Vec::new(),
        block: TowerBlock {
            branch: Branch { dropout: config.is_positive("hidden_dropout_prob")?, ..Branch::before(sizes.hidden) },
            attention: Attention { input_bias: config.flag("qkv_bias")?.unwrap_or(true), ..attention(config, sizes)? },
            feed_forward: FeedForward::plain(inner, "mlp.fc1", "mlp.fc2"),
            norms: ["layernorm_before", "layernorm_after"],
            scales: [None, None],
        },
        distances: None,
        own_distances: None,
        drops_path: false,
        final_norm: Some("layernorm"),
        pooled_norm: None,
        pooler: Some("pooler.dense"),
        pooled: 1,
    })
}

fn beit(config: Config<'_>, sizes: &Sizes) -> Result<Family, ShapeProblem> {
    let family = vit(config, sizes, false)?;
    let flag = |key: &str, default| Ok::<bool, ShapeProblem>(config.flag(key)?.unwrap_or(default));
    let [rows, columns] = sizes.patches.grid;
    let far = |side: u64| side.saturating_mul(2).saturating_sub(1);
    // Beside the distances between patches: from the class to a patch, back, and from the class to itself.
    let far = far(rows).saturating_mul(far(columns)).saturating_add(3);
    let own = flag("use_relative_position_bias", false)?;
    let shared = flag("use_shared_relative_position_bias", false)?;
    let scaled = config.is_above_zero_or("layer_scale_init_value", true)?;
    let mean = flag("use_mean_pooling", true)?;
    let bias = (own || shared).then_some(Slot::SIDE);
    let attention = Attention { key_without_bias: true, input_bias: true, bias, ..family.block.attention };
    Ok(Family {
        inside: "beit",
        positions: flag("use_absolute_position_embeddings", false)?.then_some(1),
        unread: if flag("use_mask_token", false)? { vec![("embeddings.mask_token", sizes.hidden)] } else { Vec::new() },
        block: TowerBlock {
            attention,
            scales: if scaled { scales(["lambda_1", "lambda_2"], sizes.hidden) } else { [None, None] },
            ..family.block
        },
        distances: shared.then_some(("shared_position_bias.relative_position_bias_table", far)),
        own_distances: own.then_some(("relative_position_bias.relative_position_bias_table", far)),
        drops_path: config.is_positive_or("drop_path_rate", true)?,
        final_norm: (!mean).then_some("layernorm"),
        pooled_norm: mean.then_some("pooler.layernorm"),
        pooler: None,
        ..family
    })
}

fn dinov2(config: Config<'_>, sizes: &Sizes, plain: bool) -> Result<Family, ShapeProblem> {
    let family = vit(config, sizes, false)?;
    let ratio = config.size("mlp_ratio", most::HEADS)?.unwrap_or(4);
    let inner = sizes.hidden.saturating_mul(ratio);
    let gated = config.flag("use_swiglu_ffn")?.unwrap_or(false);
    let registers = config.count("num_register_tokens")?.unwrap_or(4).min(most::WIDTH);
    let masks = !plain || config.flag("use_mask_token")?.unwrap_or(true);
    let class = ("embeddings.cls_token", 1);
    Ok(Family {
        inside: if plain { "dinov2" } else { "dinov2_with_registers" },
        blocks: "encoder.layer",
        tokens: if plain { vec![class] } else { vec![class, ("embeddings.register_tokens", registers)] },
        unread: if masks { vec![("embeddings.mask_token", sizes.hidden)] } else { Vec::new() },
        block: TowerBlock {
            branch: Branch { dropout: config.is_positive("drop_path_rate")?, ..family.block.branch },
            feed_forward: if gated {
                // Two thirds, rounded up to a multiple of eight.
                biased_gates((inner.saturating_mul(2) / 3).div_ceil(8).saturating_mul(8))
            } else {
                FeedForward::plain(inner, "mlp.fc1", "mlp.fc2")
            },
            norms: ["norm1", "norm2"],
            scales: scales(["layer_scale1.lambda1", "layer_scale2.lambda1"], sizes.hidden),
            ..family.block
        },
        pooler: None,
        pooled: 2,
        ..family
    })
}

fn dinov3(config: Config<'_>, sizes: &Sizes) -> Result<Family, ShapeProblem> {
    let family = dinov2(config, sizes, true)?;
    let flag = |key: &str, default| Ok::<bool, ShapeProblem>(config.flag(key)?.unwrap_or(default));
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(1536);
    let query = flag("query_bias", true)?;
    if query != flag("value_bias", true)? {
        return Err(ShapeProblem::NotCounted { key: "value_bias".to_owned(), found: (!query).to_string() });
    }
    let bias = flag("mlp_bias", true)?;
    let feed_forward = if flag("use_gated_mlp", false)? {
        FeedForward { bias, ..FeedForward::gated(inner) }
    } else {
        FeedForward { bias, ..FeedForward::plain(inner, "mlp.up_proj", "mlp.down_proj") }
    };
    let registers = config.count("num_register_tokens")?.unwrap_or(0).min(most::WIDTH);
    Ok(Family {
        blocks: "model.layer",
        cut: ["embeddings.patch_embeddings"; 2],
        tokens: vec![("embeddings.cls_token", 1), ("embeddings.register_tokens", registers)],
        positions: None,
        unread: vec![("embeddings.mask_token", sizes.hidden)],
        block: TowerBlock {
            attention: Attention {
                input_bias: query,
                key_without_bias: !flag("key_bias", false)?,
                output_bias: flag("proj_bias", true)?,
                ..family.block.attention
            },
            feed_forward,
            ..family.block
        },
        final_norm: Some("norm"),
        ..family
    })
}

fn attention(config: Config<'_>, sizes: &Sizes) -> Result<Attention, ShapeProblem> {
    let names = ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"];
    let size = match config.size("head_dim", most::HEAD_SIZE)? {
        Some(given) => given,
        None => Attention::head_size(sizes.hidden, sizes.heads, &["num_attention_heads"])?,
    };
    Ok(Attention::both_ways((sizes.heads, size), names))
}

fn biased_gates(inner: u64) -> FeedForward {
    let widening = Widening::Gated { gate: Cow::Borrowed("mlp.gate_proj"), up: Cow::Borrowed("mlp.up_proj") };
    FeedForward { widening, bias: true, ..FeedForward::gated(inner) }
}

/// A trained scale for each channel behind both branches.
pub(super) fn scales(names: [&'static str; 2], width: u64) -> [Option<Scale>; 2] {
    names.map(|name| Some(Scale { name, width }))
}
