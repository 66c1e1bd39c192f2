//! Aya Vision: `SigLIP`'s patches shuffled together, a norm, a gated pair of maps, Cohere's text model.
//!
//! Sources: `configuration_aya_vision.py` for defaults, `modeling_aya_vision.py` for names and order, of `transformers` 5.23.

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::parts::Tower;
use super::super::program::{Program, Slot};
use super::clip::{self, Kin};
use super::llava::unknown_tower;
use super::vision_language::{self, part, tied};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 1] = ["aya_vision"];

const PROJECTOR: &str = "model.multi_modal_projector";

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let none = Map::new();
    let vision = part(config, "vision_config", &none)?;
    let mut text = vision_language::text(part(config, "text_config", &none)?, "cohere2", "model.language_model")?;
    text.tie(tied(config, true)?);
    let features = match vision.text("model_type")?.unwrap_or("siglip_vision_model") {
        "siglip_vision_model" => clip::tower(vision, Kin::Siglip, Tower::beside_text("model.vision_tower"))?,
        other => return Err(unknown_tower(other)),
    };
    let shrinking = config.size("downsample_factor", most::HEADS)?.unwrap_or(2);
    let merged = shrinking.saturating_mul(shrinking);
    let [rows, columns] = features.grid;
    let layers = config.integers("vision_feature_layer")?.unwrap_or_else(|| vec![-1]);
    let inputs = features.hidden.saturating_mul(merged);
    let inner = config.size("alignment_intermediate_size", most::WIDTH)?.unwrap_or(text.hidden);
    let mut projector = vision_language::projector(features.tower.stream(rows.saturating_mul(columns) / merged));
    let normed = projector.layer_norm(format!("{PROJECTOR}.layernorm"), inputs, Slot::SIDE);
    let both = projector.linear(format!("{PROJECTOR}.linear_1"), (inputs, inner), true, Part::Projector, normed);
    let gated = projector.multiply(both, both);
    let widths = (inner / 2, text.hidden);
    let projected = projector.linear(format!("{PROJECTOR}.linear_2"), widths, true, Part::Projector, gated);
    let mut pieces = features.taken_from(&layers)?;
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(text.behind(pieces))
}
