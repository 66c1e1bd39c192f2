//! PaliGemma and Gemma 3: SigLIP's patches, one linear map, Gemma.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::parts::Tower;
use super::super::program::{ModuleKind, Program, Slot};
use super::clip::{self, Kin};
use super::features::Features;
use super::llava::unknown_tower;
use super::vision_language::{self, Text, part, tied};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 2] = ["paligemma", "gemma3"];

const PROJECTOR: &str = "model.multi_modal_projector";

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let third = config.text("model_type")? == Some("gemma3");
    let none = Map::new();
    let vision = part(config, "vision_config", &none)?;
    let text_config = part(config, "text_config", &none)?;
    let usual = if third { "gemma3_text" } else { "gemma" };
    let mut text = vision_language::text_with(text_config, usual, "model.language_model", |keys| {
        // PaliGemma reads its prompt both ways unless somebody says otherwise.
        let unset = keys.get("use_bidirectional_attention").is_none_or(serde_json::Value::is_null);
        if !third && unset {
            keys.insert("use_bidirectional_attention".to_owned(), true.into());
        }
    })?;
    text.tie(tied(config, true)?);
    let features = match vision.text("model_type")?.unwrap_or("siglip_vision_model") {
        "siglip_vision_model" => clip::tower(vision, Kin::Siglip, Tower::beside_text("model.vision_tower"))?,
        other => return Err(unknown_tower(other)),
    };
    let (projector, projected) =
        if third { pooled(config, &features, &text)? } else { mapped(config, &features, &text)? };
    let mut pieces = features.whole();
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(text.behind(pieces))
}

/// Neighbouring patches averaged, normed, and multiplied with a bare parameter.
fn pooled(config: Config<'_>, features: &Features, text: &Text) -> Result<(Builder, Slot), ShapeProblem> {
    let tokens = config.size("mm_tokens_per_image", most::WIDTH)?.unwrap_or(256);
    let mut block = vision_language::projector(features.tower.stream(tokens));
    let normed = block.norm(format!("{PROJECTOR}.mm_soft_emb_norm"), features.hidden, Slot::RESIDUAL);
    let nothing = block.slot();
    let elements = features.hidden.saturating_mul(text.hidden);
    let name = format!("{PROJECTOR}.mm_input_projection_weight");
    let weight = block.apply(name, ModuleKind::Parameter { elements }, Part::Projector, nothing);
    let rows = block.positions();
    let projected = block.product(normed, weight, u128::from(elements).saturating_mul(2), rows, Part::Projector);
    Ok((block, projected))
}

/// One linear map.
fn mapped(config: Config<'_>, features: &Features, text: &Text) -> Result<(Builder, Slot), ShapeProblem> {
    let width = config.size("projection_dim", most::WIDTH)?.unwrap_or(2048);
    if width != text.hidden {
        return Err(ShapeProblem::Contradiction {
            key: "projection_dim".to_owned(),
            found: width.to_string(),
            conflict: format!("the text model's hidden_size is {}", text.hidden),
        });
    }
    let mut block = vision_language::projector(features.stream);
    let name = format!("{PROJECTOR}.linear");
    let projected = block.linear(name, (features.hidden, width), true, Part::Projector, Slot::RESIDUAL);
    Ok((block, projected))
}
