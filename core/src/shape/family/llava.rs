//! LLaVA and its kin: features of some block of a tower, two linear maps, a text model.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.
//! The images of LLaVA-NeXT are the tiles that pictures are cut into, the overview among them.

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most, shortened_text};
use super::super::parts::Tower;
use super::super::program::{ModuleKind, Program, Slot};
use super::super::quantity::Stream;
use super::clip::{self, Kin};
use super::features::Features;
use super::pixtral;
use super::vision_language::{self, Text, part, tied};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 3] = ["llava", "llava_next", "mistral3"];

const PROJECTOR: &str = "model.multi_modal_projector";

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let none = Map::new();
    let text_config = part(config, "text_config", &none)?;
    let mistral = model_type == "mistral3";
    let usual = if mistral { "mistral" } else { "llama" };
    let mut text = vision_language::text(text_config, usual, "model.language_model")?;
    // LLaVA alone looks into the text's configuration too.
    text.tie(tied(config, mistral)? || (model_type == "llava" && tied(text_config, false)?));
    let features = tower(config)?;
    let grid = (!matches!(features.stream, Stream::Image(_))).then_some([1, features.grid[0], features.grid[1]]);
    let layers = config.integers("vision_feature_layer")?.unwrap_or_else(|| vec![if mistral { -1 } else { -2 }]);
    let (projector, projected) = projector(config, &features, &text, layers.len())?;
    let mut pieces = features.taken_from(&layers)?;
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(Program { image_grid: grid, ..text.behind(pieces) })
}

fn projector(
    config: Config<'_>,
    features: &Features,
    text: &Text,
    layers: usize,
) -> Result<(Builder, Slot), ShapeProblem> {
    let mistral = config.text("model_type")? == Some("mistral3");
    let whole = config.text("vision_feature_select_strategy")? == Some("full");
    let mut stream = if whole || mistral { features.stream } else { features.patches };
    let mut block = vision_language::projector(stream);
    let mut last = Slot::SIDE;
    if mistral {
        let merged = config.size("spatial_merge_size", most::HEADS)?.unwrap_or(2);
        let merged = merged.saturating_mul(merged);
        last = block.norm(format!("{PROJECTOR}.norm"), features.hidden, last);
        stream = Stream::Grid(merged);
        block.switch(stream);
        let name = format!("{PROJECTOR}.patch_merger.merging_layer");
        let inputs = features.hidden.saturating_mul(merged);
        last = block.linear(name, (inputs, features.hidden), false, Part::Projector, last);
    }
    let inputs = features.hidden.saturating_mul(u64::try_from(layers).unwrap_or(u64::MAX));
    let bias = config.flag("multimodal_projector_bias")?.unwrap_or(!mistral);
    let mut projected = vision_language::two_maps(&mut block, PROJECTOR, (inputs, text.hidden), bias, last);
    if config.text("model_type")? == Some("llava_next") {
        let nothing = block.slot();
        let kind = ModuleKind::Parameter { elements: text.hidden };
        let line = block.apply("model.image_newline", kind, Part::InputEmbeddings, nothing);
        projected = block.add(projected, line);
    }
    Ok((block, projected))
}

fn tower(config: Config<'_>) -> Result<Features, ShapeProblem> {
    let place = Tower::beside_text("model.vision_tower");
    let Some(vision) = config.inner("vision_config")? else {
        return Err(ShapeProblem::Missing { key: "vision_config".to_owned() });
    };
    let usual = if config.text("model_type")? == Some("mistral3") { "pixtral" } else { "clip_vision_model" };
    match vision.text("model_type")?.unwrap_or(usual) {
        "clip_vision_model" => clip::tower(vision, Kin::Clip, place),
        "siglip_vision_model" => clip::tower(vision, Kin::Siglip, place),
        "pixtral" => pixtral::tower(vision, place),
        other => Err(unknown_tower(other)),
    }
}

/// A tower that nobody has described beside a text model.
pub(super) fn unknown_tower(found: &str) -> ShapeProblem {
    ShapeProblem::NotCounted { key: "vision_config.model_type".to_owned(), found: shortened_text(found) }
}
