//! CLIP and SigLIP: a tower of images and one of text, held against each other, and each of them alone.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Attention, Branch, FeedForward, Patches, PoolingHead, Tower, TowerBlock};

use super::super::positions::PositionTable;
use super::super::program::{ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::{Mask, Quantity, Stream};
use super::features::Features;
use crate::flops::Part;

/// Every `model_type` of the families.
pub(super) const MODEL_TYPES: [&str; 6] =
    ["clip", "clip_vision_model", "clip_text_model", "siglip", "siglip_vision_model", "siglip_text_model"];

const PROJECTIONS: [&str; 4] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"];

/// Which of the two families.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    Clip,
    Siglip,
}

/// Defaults of the sizes of a tower.
struct Defaults {
    hidden: u64,
    inner: u64,
    heads: u64,
}

/// Those of an image tower, of both families.
const VISION: Defaults = Defaults { hidden: 768, inner: 3072, heads: 12 };

/// Reads a configuration of the families.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let kin = if model_type.starts_with("clip") { Kin::Clip } else { Kin::Siglip };
    let ending = head::ending(config)?;
    let none = Map::new();
    let inner = |key: &str| Ok::<Config<'_>, ShapeProblem>(config.inner(key)?.unwrap_or(Config::of(&none)));
    match (model_type, ending) {
        ("clip" | "siglip", None | Some("Model")) => {
            let (text, vision) = (inner("text_config")?, inner("vision_config")?);
            contrast(config, kin, text, vision)
        }
        ("clip" | "siglip", Some("ImageClassification")) => {
            let labels = head::labels(config)?;
            images(kin, inner("vision_config")?, &Tower::alone("vision_model"), None, Some(labels))
        }
        ("clip_vision_model" | "siglip_vision_model", None | Some("Model")) => {
            images(kin, config, &Tower::alone(""), None, None)
        }
        ("clip_vision_model", Some("ModelWithProjection")) => {
            let width = config.size("projection_dim", most::WIDTH)?.unwrap_or(512);
            images(kin, config, &Tower::alone("vision_model"), Some(width), None)
        }
        ("clip_text_model" | "siglip_text_model", None | Some("Model")) => text_alone(kin, config, "", None),
        ("clip_text_model", Some("ModelWithProjection")) => {
            let width = config.size("projection_dim", most::WIDTH)?.unwrap_or(512);
            text_alone(kin, config, "text_model", Some(width))
        }
        _ => Err(head::unknown(config)),
    }
}

/// The tower of images, for whatever reads its features.
pub(super) fn tower(config: Config<'_>, kin: Kin, tower: Tower) -> Result<Features, ShapeProblem> {
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(VISION.hidden);
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(12);
    let clip = kin == Kin::Clip;
    let patches = Patches::read(config, (224, if clip { 32 } else { 16 }), !clip)?;
    let extra = u64::from(clip);
    let positions = patches.count.saturating_add(extra);
    let block = block(config, &VISION)?;
    let mut stem = tower.builder(positions);
    let mut all = tower.cut(&mut stem, "embeddings.patch_embedding", patches, hidden);
    if clip {
        all = tower.parameter(&mut stem, "embeddings.class_embedding", hidden, all);
    }
    all = tower.table(&mut stem, "embeddings.position_embedding", (positions, hidden), all);
    if clip {
        all = stem.layer_norm(tower.name("pre_layrnorm"), hidden, all);
    }
    stem.rename(all, Slot::RESIDUAL);
    let pooled = !clip && config.flag("vision_use_head")?.unwrap_or(true);
    let pool = pooled.then_some(PoolingHead { hidden, inner: block.feed_forward.inner, positions });
    Ok(Features {
        stem: vec![Piece::once(stem.finish())],
        blocks: tower.name("encoder.layers"),
        block,
        layers,
        by_name: false,
        norm: Some(tower.name("post_layernorm")),
        pool,
        hidden,
        stream: tower.stream(positions),
        patches: tower.stream(patches.count),
        grid: patches.grid,
        tower,
    })
}

fn block(config: Config<'_>, defaults: &Defaults) -> Result<TowerBlock, ShapeProblem> {
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(defaults.hidden);
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(defaults.heads);
    let head_size = Attention::head_size(hidden, heads, &["num_attention_heads"])?;
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(defaults.inner);
    Ok(TowerBlock {
        branch: Branch::before(hidden),
        attention: Attention::both_ways((heads, head_size), PROJECTIONS),
        feed_forward: FeedForward::plain(inner, "mlp.fc1", "mlp.fc2"),
        norms: ["layer_norm1", "layer_norm2"],
        scales: [None, None],
    })
}

/// A model of images alone: its pooled features, a projection of them, or their classes.
fn images(
    kin: Kin,
    config: Config<'_>,
    place: &Tower,
    projected: Option<u64>,
    labels: Option<u64>,
) -> Result<Program, ShapeProblem> {
    let features = tower(config, kin, place.clone())?;
    let hidden = features.hidden;
    let positions = match features.stream {
        Stream::Fixed(positions) => Some(positions),
        _ => None,
    };
    let mut program = Program {
        input_embeddings: Some(place.name("embeddings.patch_embedding")),
        last_layers: Some(features.stem.len()),
        sequence_length: positions,
        ..Program::default()
    };
    // The mean of the patches is classified, not what is pooled.
    program.pieces = if labels.is_some() { features.whole() } else { features.pooled() };
    let mut tail = Builder::new(Stream::Pooled);
    if let Some(width) = projected {
        tail.linear("visual_projection", (hidden, width), false, Part::Projector, Slot::RESIDUAL);
    }
    if let Some(labels) = labels {
        tail.linear("classifier", (hidden, labels), true, Part::OutputHead, Slot::RESIDUAL);
        program.output_head = Some(Cow::Borrowed("classifier"));
        program.classifies = true;
    }
    program.pieces.push(Piece::once(tail.finish()));
    Ok(program)
}

/// The pieces of the tower of text, up to its pooled features, with the place of its stack among them.
fn text(config: Config<'_>, kin: Kin, inside: &str) -> Result<(Vec<Piece>, u64), ShapeProblem> {
    let clip = kin == Kin::Clip;
    let defaults = if clip { Defaults { hidden: 512, inner: 2048, heads: 8 } } else { VISION };
    let mut block = block(config, &defaults)?;
    if clip {
        block.attention.mask = Mask::Causal;
    }
    let hidden = block.branch.hidden;
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(12);
    let place = Tower { name: Cow::Owned(inside.to_owned()), beside_text: false };
    let words = config.size("vocab_size", most::VOCABULARY)?.unwrap_or(if clip { 49_408 } else { 32_000 });
    let rows = longest(config, kin)?;
    let mut stem = Builder::new(Stream::Text);
    let tokens = stem.slot();
    let kind = ModuleKind::Embedding { rows: words, width: hidden };
    let looked_up = stem.apply(place.name("embeddings.token_embedding"), kind, Part::InputEmbeddings, tokens);
    stem.step(Step::InputGradients { slot: looked_up });
    let placed = place.table(&mut stem, "embeddings.position_embedding", (rows, hidden), looked_up);
    stem.rename(placed, Slot::RESIDUAL);
    let mut tail = Builder::new(Stream::Text);
    let mut last = tail.layer_norm(place.name("final_layer_norm"), hidden, Slot::RESIDUAL);
    let mut width = hidden;
    if !clip {
        tail.switch(Stream::Pooled);
        width = config.size("projection_size", most::WIDTH)?.unwrap_or(hidden);
        last = tail.linear(place.name("head"), (hidden, width), true, Part::Projector, last);
    }
    tail.rename(last, Slot::RESIDUAL);
    let stack = place.stack("encoder.layers", &block, layers, Stream::Text);
    Ok((vec![Piece::once(stem.finish()), stack, Piece::once(tail.finish())], width))
}

/// Rows of the table of positions of a text.
fn longest(config: Config<'_>, kin: Kin) -> Result<u64, ShapeProblem> {
    let usual = if kin == Kin::Clip { 77 } else { 64 };
    Ok(config.size("max_position_embeddings", most::VOCABULARY)?.unwrap_or(usual))
}

fn text_alone(
    kin: Kin,
    config: Config<'_>,
    inside: &'static str,
    projected: Option<u64>,
) -> Result<Program, ShapeProblem> {
    let (pieces, hidden) = text(config, kin, inside)?;
    let place = Tower::alone(inside);
    let mut program = Program {
        pieces,
        reads_tokens: true,
        input_embeddings: Some(place.name("embeddings.token_embedding")),
        last_layers: Some(1),
        position_tables: vec![PositionTable::of_text("max_position_embeddings", longest(config, kin)?)],
        ..Program::default()
    };
    if let Some(width) = projected {
        let mut tail = Builder::new(Stream::Pooled);
        tail.linear("text_projection", (hidden, width), false, Part::Projector, Slot::RESIDUAL);
        program.pieces.push(Piece::once(tail.finish()));
    }
    Ok(program)
}

/// Both towers, and the product of every text with every image.
fn contrast(
    config: Config<'_>,
    kin: Kin,
    text_config: Config<'_>,
    vision_config: Config<'_>,
) -> Result<Program, ShapeProblem> {
    let features = tower(vision_config, kin, Tower::beside_text("vision_model"))?;
    let hidden = features.hidden;
    let stream = features.tower.stream(1);
    let mut pieces = features.pooled();
    let (text, text_width) = text(text_config, kin, "text_model")?;
    let mut width = text_width;
    let mut between = Builder::new(stream);
    let mut image = Slot::RESIDUAL;
    if kin == Kin::Clip {
        width = config.size("projection_dim", most::WIDTH)?.unwrap_or(512);
        image = between.linear("visual_projection", (hidden, width), false, Part::Projector, image);
    } else if width != hidden {
        return Err(ShapeProblem::Contradiction {
            key: "projection_size".to_owned(),
            found: width.to_string(),
            conflict: format!("the images' vectors have {hidden} numbers"),
        });
    }
    between.rename(image, Slot::MEMORY);
    between.step(Step::Detach { slot: Slot::RESIDUAL });
    pieces.push(Piece::once(between.finish()));
    pieces.extend(text);
    let mut tail = Builder::new(Stream::Pooled);
    let mut words = Slot::RESIDUAL;
    if kin == Kin::Clip {
        words = tail.linear("text_projection", (text_width, width), false, Part::Projector, words);
    }
    let factor = u128::from(width).saturating_mul(2);
    let logits = tail.product(words, Slot::MEMORY, factor, Quantity::SequencesByImages, Part::OutputHead);
    let scaled = tail.apply("logit_scale", ModuleKind::Scale { weight: 1, bias: 0 }, Part::OutputHead, logits);
    if kin == Kin::Siglip {
        tail.apply("logit_bias", ModuleKind::Parameter { elements: 1 }, Part::OutputHead, scaled);
    }
    pieces.push(Piece::once(tail.finish()));
    let embeddings = (kin == Kin::Siglip).then_some(Cow::Borrowed("text_model.embeddings.token_embedding"));
    let position_tables = vec![PositionTable::of_text("max_position_embeddings", longest(text_config, kin)?)];
    Ok(Program { pieces, reads_tokens: true, input_embeddings: embeddings, position_tables, ..Program::default() })
}
