//! `InternVL`: patches shuffled together, a norm, two linear maps, a text model. Its images are tiles of pictures.
//!
//! Sources: `configuration_internvl.py` for defaults, `modeling_internvl.py` for names and order, of `transformers` 5.23.

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::config::{Config, most, shortened_text};
use super::super::parts::{Attention, Branch, FeedForward, HeadNorms, Patches, Tower, TowerBlock};
use super::super::program::{ModuleKind, Piece, Program, Slot};
use super::features::Features;
use super::vision::scales;
use super::vision_language::{self, part, tied};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 1] = ["internvl"];

const PROJECTOR: &str = "model.multi_modal_projector";

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let none = Map::new();
    let vision = part(config, "vision_config", &none)?;
    let mut text = vision_language::text(part(config, "text_config", &none)?, "qwen2", "model.language_model")?;
    text.tie(tied(config, true)?);
    let features = tower(vision, Tower::beside_text("model.vision_tower"))?;
    let shrinking = shrinking(config, "downsample_ratio")?;
    let merged = shrinking.saturating_mul(shrinking);
    let [rows, columns] = features.grid;
    let tokens = rows.saturating_mul(columns) / merged;
    let layers = config.integers("vision_feature_layer")?.unwrap_or_else(|| vec![-1]);
    let whole = layers.as_slice() == [-1];
    let mut projector = vision_language::projector(features.tower.stream(tokens));
    let inputs = features.hidden.saturating_mul(merged);
    let from = if whole { Slot::RESIDUAL } else { Slot::SIDE };
    let normed = projector.layer_norm(format!("{PROJECTOR}.layer_norm"), inputs, from);
    let projected = vision_language::two_maps(&mut projector, PROJECTOR, (inputs, text.hidden), true, normed);
    let mut pieces = if whole { features.whole() } else { features.taken_from(&layers)? };
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(text.behind(pieces))
}

/// How many patches of a column, and of a row, become one.
pub(super) fn shrinking(config: Config<'_>, key: &str) -> Result<u64, ShapeProblem> {
    match config.number(key)?.as_deref().unwrap_or("0.5") {
        "1" | "1.0" => Ok(1),
        "0.5" => Ok(2),
        "0.25" => Ok(4),
        other => Err(ShapeProblem::NotCounted { key: key.to_owned(), found: shortened_text(other) }),
    }
}

fn tower(config: Config<'_>, tower: Tower) -> Result<Features, ShapeProblem> {
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(1024);
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(24);
    let patches = Patches::read(config, (448, 14), true)?;
    let positions = patches.count.saturating_add(1);
    let flag = |key: &str, default| Ok::<bool, ShapeProblem>(config.flag(key)?.unwrap_or(default));
    let mut stem = tower.builder(positions);
    let cut = tower.cut(&mut stem, "embeddings.patch_embeddings.projection", patches, hidden);
    let mut all = tower.parameter(&mut stem, "embeddings.cls_token", hidden, cut);
    if flag("use_absolute_position_embeddings", true)? {
        all = tower.parameter(&mut stem, "embeddings.position_embeddings", positions.saturating_mul(hidden), all);
    }
    if flag("use_mask_token", false)? {
        let kind = ModuleKind::Parameter { elements: hidden };
        stem.module(tower.name("embeddings.mask_token"), kind, Part::InputEmbeddings);
    }
    stem.rename(all, Slot::RESIDUAL);
    let pooled = flag("use_mean_pooling", true)?;
    Ok(Features {
        stem: vec![Piece::once(stem.finish())],
        blocks: tower.name("encoder.layer"),
        block: block(config, hidden)?,
        layers,
        by_name: false,
        norm: (!pooled).then(|| tower.name("layernorm")),
        pool: None,
        hidden,
        stream: tower.stream(positions),
        patches: tower.stream(patches.count),
        grid: patches.grid,
        tower,
    })
}

fn block(config: Config<'_>, hidden: u64) -> Result<TowerBlock, ShapeProblem> {
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(16);
    let head_size = Attention::head_size(hidden, heads, &["num_attention_heads"])?;
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(4096);
    let names = ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.projection_layer"];
    let norms = if config.flag("use_qk_norm")?.unwrap_or(false) {
        HeadNorms::Whole { query: "attention.q_norm", key: "attention.k_norm" }
    } else {
        HeadNorms::None
    };
    let dropout = config.is_positive("hidden_dropout_prob")? || config.is_positive("projection_dropout")?;
    Ok(TowerBlock {
        branch: Branch {
            shift: config.text("norm_type")?.unwrap_or("layer_norm") != "rms_norm",
            dropout,
            ..Branch::before(hidden)
        },
        attention: Attention {
            input_bias: config.flag("attention_bias")?.unwrap_or(false),
            norms,
            ..Attention::both_ways((heads, head_size), names)
        },
        feed_forward: FeedForward::plain(inner, "mlp.fc1", "mlp.fc2"),
        norms: ["layernorm_before", "layernorm_after"],
        scales: scales(["lambda_1", "lambda_2"], hidden),
    })
}
