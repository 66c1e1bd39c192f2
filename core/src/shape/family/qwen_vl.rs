//! Qwen2-VL to Qwen3.5: images of any size, patches merged before the text model reads them.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::parts::{Attention, Branch, FeedForward, Patches, Tower, TowerBlock};
use super::super::program::{Block, Piece, Program, Slot, Step};
use super::super::quantity::{Mask, Stream};
use super::vision_language::{self, Text, part, tied};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 6] =
    ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"];

/// Windows as wide as any image: each patch asks all of its own frame.
const WHOLE_FRAME: Mask = Mask::Window(u64::MAX);

/// What sets one version's tower apart from the others.
struct Version {
    hidden: u64,
    layers: u64,
    heads: u64,
    shift: bool,
    feed_forward: FeedForward,
    /// The convolution has a bias, and a table of positions is added behind it.
    positions: Option<u64>,
    /// What enters the first block can be made to require gradients.
    hooked: bool,
    /// Side of the windows in patches, and the blocks that have none.
    windows: Option<(u64, Vec<i64>)>,
    /// Blocks whose patches join the text's blocks one by one.
    joins: Vec<i64>,
    merger: Merger,
}

/// What leads merged patches into the text model.
struct Merger {
    norm: &'static str,
    maps: [&'static str; 2],
    outputs: u64,
}

/// How blocks of a tower differ.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    mask: Mask,
    /// Which of the features that join later it gives.
    join: Option<Slot>,
}

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let none = Map::new();
    let vision = part(config, "vision_config", &none)?;
    let second = model_type.starts_with("qwen2");
    let usual = match model_type {
        "qwen2_vl" | "qwen2_5_vl" => "qwen2_vl_text",
        "qwen3_vl" => "qwen3_vl_text",
        "qwen3_vl_moe" => "qwen3_vl_moe_text",
        "qwen3_5" => "qwen3_5_text",
        _ => "qwen3_5_moe_text",
    };
    // Files from before there were two configurations hold the text's sizes themselves.
    let flat = config.inner("text_config")?.is_none();
    let text_config = config.inner("text_config")?.unwrap_or(config);
    let mut text = vision_language::text_with(text_config, usual, "model.language_model", |keys| {
        if flat {
            keys.insert("model_type".to_owned(), "qwen2".into());
        }
    })?;
    text.tie(tied(config, false)? || (second && tied(text_config, false)?));
    let version = match model_type {
        "qwen2_vl" => second_version(vision)?,
        "qwen2_5_vl" => windowed_version(vision)?,
        _ => third_version(vision, model_type.starts_with("qwen3_vl"))?,
    };
    let merged = vision.size("spatial_merge_size", most::HEADS)?.unwrap_or(2);
    let merged = merged.saturating_mul(merged);
    let mut pieces = tower(vision, &version)?;
    pieces.push(Piece::once(mergers(&version, merged)));
    join(&mut text, version.joins.len());
    Ok(text.behind(pieces))
}

fn second_version(vision: Config<'_>) -> Result<Version, ShapeProblem> {
    let hidden = vision.size("embed_dim", most::WIDTH)?.unwrap_or(1280);
    let ratio = vision.size("mlp_ratio", most::HEADS)?.unwrap_or(4);
    Ok(Version {
        hidden,
        layers: vision.size_of(&["depth", "num_hidden_layers"], most::LAYERS)?.unwrap_or(32),
        heads: vision.size_of(&["num_heads", "num_attention_heads"], most::HEADS)?.unwrap_or(16),
        shift: true,
        feed_forward: FeedForward::plain(hidden.saturating_mul(ratio), "mlp.fc1", "mlp.fc2"),
        positions: None,
        hooked: true,
        windows: None,
        joins: Vec::new(),
        merger: Merger {
            norm: "ln_q",
            maps: ["mlp.0", "mlp.2"],
            outputs: vision.size("hidden_size", most::WIDTH)?.unwrap_or(3584),
        },
    })
}

fn windowed_version(vision: Config<'_>) -> Result<Version, ShapeProblem> {
    let second = second_version(vision)?;
    let hidden = vision.size("hidden_size", most::WIDTH)?.unwrap_or(3584);
    let inner = vision.size("intermediate_size", most::WIDTH)?.unwrap_or(3420);
    let merge = vision.size("spatial_merge_size", most::HEADS)?.unwrap_or(2);
    let patch = vision.size("patch_size", most::WIDTH)?.unwrap_or(14);
    let window = vision.size("window_size", most::WIDTH)?.unwrap_or(112);
    let side = (window / merge / patch).saturating_mul(merge);
    if side == 0 {
        return Err(ShapeProblem::Contradiction {
            key: "window_size".to_owned(),
            found: window.to_string(),
            conflict: format!("patches have {patch} pixels and {merge} of them are merged"),
        });
    }
    let whole = vision.integers("fullatt_block_indexes")?.unwrap_or_else(|| vec![7, 15, 23, 31]);
    Ok(Version {
        hidden,
        shift: false,
        feed_forward: FeedForward { bias: true, ..FeedForward::gated(inner) },
        windows: Some((side, whole)),
        merger: Merger { outputs: vision.size("out_hidden_size", most::WIDTH)?.unwrap_or(3584), ..second.merger },
        ..second
    })
}

fn third_version(vision: Config<'_>, joins: bool) -> Result<Version, ShapeProblem> {
    let second = second_version(vision)?;
    let hidden = vision.size("hidden_size", most::WIDTH)?.unwrap_or(1152);
    let inner = vision.size("intermediate_size", most::WIDTH)?.unwrap_or(4304);
    let given = if joins { vision.integers("deepstack_visual_indexes")? } else { Some(Vec::new()) };
    let joins = given.unwrap_or_else(|| vec![8, 16, 24]);
    if joins.len() > Slot::LATER.len() {
        let found = format!("a list of {}", joins.len());
        return Err(ShapeProblem::NotCounted { key: "deepstack_visual_indexes".to_owned(), found });
    }
    Ok(Version {
        hidden,
        layers: vision.size_of(&["depth", "num_hidden_layers"], most::LAYERS)?.unwrap_or(27),
        feed_forward: FeedForward::plain(inner, "mlp.linear_fc1", "mlp.linear_fc2"),
        positions: Some(vision.size("num_position_embeddings", most::VOCABULARY)?.unwrap_or(2304)),
        hooked: false,
        joins,
        merger: Merger {
            norm: "norm",
            maps: ["linear_fc1", "linear_fc2"],
            outputs: vision.size("out_hidden_size", most::WIDTH)?.unwrap_or(3584),
        },
        ..second
    })
}

/// From the pixels to the last block.
fn tower(vision: Config<'_>, version: &Version) -> Result<Vec<Piece>, ShapeProblem> {
    let tower = Tower::beside_text("model.visual");
    let hidden = version.hidden;
    let side = vision.size("patch_size", most::WIDTH)?.unwrap_or(if version.positions.is_some() { 16 } else { 14 });
    let frames = vision.size("temporal_patch_size", most::WIDTH)?.unwrap_or(2);
    let patches = Patches {
        channels: vision.size("in_channels", most::WIDTH)?.unwrap_or(3),
        pixels: side.saturating_mul(side).saturating_mul(frames),
        grid: [0, 0],
        count: 0,
        bias: version.positions.is_some(),
    };
    let mut stem = tower.over(Stream::Grid(1));
    let mut all = tower.convolve(&mut stem, "patch_embed.proj", patches, hidden);
    if version.hooked {
        stem.step(Step::InputGradients { slot: all });
    }
    if let Some(rows) = version.positions {
        all = tower.table(&mut stem, "pos_embed", (rows, hidden), all);
    }
    stem.rename(all, Slot::RESIDUAL);
    let head_size = Attention::head_size(hidden, version.heads, &["num_heads"])?;
    let sizes = (version.heads, version.heads, head_size);
    let block = TowerBlock {
        branch: Branch { shift: version.shift, ..Branch::before(hidden) },
        attention: Attention::fused(sizes, "attn.qkv", "attn.proj").biased(true),
        feed_forward: version.feed_forward.clone(),
        norms: ["norm1", "norm2"],
        scales: [None, None],
    };
    let mut build = |kind: &Kind| {
        let attention = Attention { mask: kind.mask, ..block.attention.clone() };
        let mut built = TowerBlock { attention, ..block.clone() }.build(tower.over(Stream::Grid(1)));
        let taken = kind.join.map(|to| Step::Add { from: Slot::RESIDUAL, with: Slot::RESIDUAL, to });
        built.steps.extend(taken);
        built
    };
    let stack = Piece::stack(tower.name("blocks"), &kinds(version), &mut build);
    Ok(vec![Piece::once(stem.finish()), stack])
}

fn kinds(version: &Version) -> Vec<Kind> {
    let kind = |index: u64| {
        let is = |it: &i64| u64::try_from(*it) == Ok(index);
        let mask = match &version.windows {
            Some((side, whole)) if !whole.iter().any(is) => Mask::Window(*side),
            _ => WHOLE_FRAME,
        };
        let join = version.joins.iter().position(is).and_then(|place| Slot::LATER.get(place).copied());
        Kind { mask, join }
    };
    (0..version.layers).map(kind).collect()
}

/// Merged patches to the text model, and those that join its blocks.
fn mergers(version: &Version, merged: u64) -> Block {
    let mut block = vision_language::projector(Stream::Grid(1));
    let wide = version.hidden.saturating_mul(merged);
    let Merger { norm, maps: [first, second], outputs } = version.merger;
    let merge = |block: &mut Builder, name: &str, from: Slot, late_norm: bool| {
        let within = |what: &str| Cow::<'static, str>::Owned(format!("model.visual.{name}.{what}"));
        let width = if late_norm { wide } else { version.hidden };
        let branch = Branch { shift: version.shift, ..Branch::before(width) };
        let normed = branch.normed(block, within(norm), from);
        block.switch(Stream::Grid(merged));
        let widened = block.linear(within(first), (wide, wide), true, Part::Projector, normed);
        block.keep(widened);
        block.linear(within(second), (wide, outputs), true, Part::Projector, widened)
    };
    let features = merge(&mut block, "merger", Slot::RESIDUAL, false);
    block.rename(features, Slot::MEMORY);
    for (index, slot) in Slot::LATER.into_iter().enumerate().take(version.joins.len()) {
        let joining = merge(&mut block, &format!("deepstack_merger_list.{index}"), slot, true);
        block.rename(joining, slot);
    }
    block.step(Step::Detach { slot: Slot::RESIDUAL });
    block.finish()
}

/// Lets features join what leaves the first blocks of the text, one for each.
fn join(text: &mut Text, count: usize) {
    let program = &mut text.program;
    let Some(stack) = program.last_layers.and_then(|index| program.pieces.get_mut(index)) else { return };
    for (layer, slot) in stack.layers.iter_mut().zip(Slot::LATER).take(count) {
        let Some(block) = stack.blocks.get(*layer) else { continue };
        let mut joined = block.clone();
        joined.steps.push(Step::Add { from: Slot::RESIDUAL, with: slot, to: Slot::RESIDUAL });
        stack.blocks.push(joined);
        *layer = stack.blocks.len().saturating_sub(1);
    }
    // Kinds that no block is of any more would stand in lists of names.
    let used = |index: usize| stack.layers.contains(&index);
    let kept: Vec<usize> = (0..stack.blocks.len()).filter(|index| used(*index)).collect();
    let place = |old: &usize| kept.iter().position(|index| index == old).unwrap_or_default();
    let layers = stack.layers.iter().map(place).collect();
    let blocks = kept.iter().filter_map(|index| stack.blocks.get(*index).cloned()).collect();
    stack.layers = layers;
    stack.blocks = blocks;
}
