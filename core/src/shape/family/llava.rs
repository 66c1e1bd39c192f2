//! LLaVA: features of some block of a tower, two linear maps, a text model.
//!
//! Sources: `configuration_llava.py` for defaults, `modeling_llava.py` for names and order, of `transformers` 5.23.

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::config::{Config, shortened_text};
use super::super::parts::Tower;
use super::super::program::{Program, Slot};
use super::clip::{self, Kin};
use super::features::Features;
use super::vision_language;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 1] = ["llava"];

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let none = Map::new();
    let text_config = config.inner("text_config")?.unwrap_or(Config::of(&none));
    let mut text = vision_language::text(text_config, "model.language_model")?;
    let tied = |config: Config<'_>| Ok(config.flag("tie_word_embeddings")?.unwrap_or(false));
    vision_language::tie(&mut text, tied(config)? || tied(text_config)?);
    let width = text_config.required_size("hidden_size", u64::MAX)?;
    let features = tower(config)?;
    let layers = config.integers("vision_feature_layer")?.unwrap_or_else(|| vec![-2]);
    let whole = match config.text("vision_feature_select_strategy")?.unwrap_or("default") {
        "full" => true,
        _ => false,
    };
    let positions = features.positions - if whole { 0 } else { features.extra };
    let inputs = features.hidden.saturating_mul(u64::try_from(layers.len()).unwrap_or(u64::MAX));
    let bias = config.flag("multimodal_projector_bias")?.unwrap_or(true);
    let mut projector = vision_language::projector(features.tower.stream(positions));
    let part = crate::flops::Part::Projector;
    let name = |what: &str| format!("model.multi_modal_projector.{what}");
    let wide = projector.linear(name("linear_1"), (inputs, width), bias, part, Slot::SIDE);
    projector.keep(wide);
    let projected = projector.linear(name("linear_2"), (width, width), bias, part, wide);
    let mut pieces = features.taken_from(&layers)?;
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(vision_language::see(pieces, text))
}

fn tower(config: Config<'_>) -> Result<Features, ShapeProblem> {
    let place = Tower::beside_text("model.vision_tower");
    let Some(vision) = config.inner("vision_config")? else {
        return Err(ShapeProblem::Missing { key: "vision_config".to_owned() });
    };
    match vision.text("model_type")?.unwrap_or("clip_vision_model") {
        "clip_vision_model" => clip::tower(vision, Kin::Clip, place),
        "siglip_vision_model" => clip::tower(vision, Kin::Siglip, place),
        other => Err(ShapeProblem::UnknownFamily {
            found: shortened_text(other),
            count: 1,
            nearest: "clip_vision_model".to_owned(),
        }),
    }
}
